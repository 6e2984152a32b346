//! Servers that say who they are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::support::listen;

/// A server that can be told to answer otherwise.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Server {
    /// In HTTP/1.1 and HTTP/2, over TLS if there is something to do it with.
    pub(crate) async fn new(name: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let (at, listener) = listen().await;
        let status = Arc::new(AtomicU16::new(200));
        let answers = Arc::clone(&status);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (status, tls) = (Arc::clone(&answers), tls.clone());
                tokio::spawn(serve(stream, tls, name, status));
            }
        });
        Self { at, status }
    }

    pub(crate) fn answers_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    name: &'static str,
    status: Arc<AtomicU16>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let status = status.load(Ordering::SeqCst);
        async move { Ok::<_, Infallible>(answer(request, name, status).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // Whoever asks may be gone.
    let _ = match tls {
        None => builder.serve_connection(TokioIo::new(stream), service).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
            Err(_) => return,
        },
    };
}

/// Says who answers, in which version, for which host; a body and its trailers come back.
async fn answer(
    request: Request<Incoming>,
    name: &'static str,
    status: u16,
) -> Response<BoxBody<Bytes, Infallible>> {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let host = host.or(request.uri().authority().map(|host| host.as_str())).unwrap_or("none");
    let said = format!("{name} {:?} {host}", request.version());
    let body = request.into_body().collect().await.expect("a whole body");
    let trailers = body.trailers().cloned();
    let bytes = [said.as_bytes(), b" ", &body.to_bytes()].concat();
    let builder = Response::builder().status(status);
    let body = match trailers {
        None => Full::new(Bytes::from(bytes)).boxed(),
        Some(trailers) => with_trailers(bytes, trailers),
    };
    builder.header("trailer", "x-sum").body(body).expect("an answer")
}

pub(crate) fn with_trailers(
    bytes: impl Into<Bytes>,
    trailers: HeaderMap,
) -> BoxBody<Bytes, Infallible> {
    let frames = [Frame::data(bytes.into()), Frame::trailers(trailers)].map(Ok);
    http_body_util::StreamBody::new(Frames(frames.into_iter())).boxed()
}

struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
