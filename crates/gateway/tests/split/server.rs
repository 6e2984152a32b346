//! Servers that behave as they are told, and count.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;

use crate::support::listen;

/// What a server does with one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    /// Answers at once, with this status.
    Answers(u16),
    /// Answers with this instead of where it is.
    Says(&'static str),
    /// Answers then.
    Waits(Duration),
    /// Never answers.
    Hangs,
    /// Answers at once with more than a client takes in one go.
    Pours(usize),
    /// Breaks its answer off.
    Breaks,
    /// Answers a call of gRPC, with this status behind its body.
    Calls(&'static str),
}

/// A server, and how many requests it was asked.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl Server {
    /// One that does `does` with its n-th request, counted from 0.
    pub(crate) async fn new(does: impl Fn(u64) -> Does + Send + Sync + 'static) -> Self {
        let (at, listener) = listen().await;
        let (asked, does) = (Arc::new(AtomicU64::new(0)), Arc::new(does));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, does) = (Arc::clone(&counter), Arc::clone(&does));
                let service = service_fn(move |_: Request<Incoming>| {
                    let does = does(counter.fetch_add(1, Ordering::SeqCst));
                    async move { Ok::<_, Infallible>(answer(does, at).await) }
                });
                let builder = hyper::server::conn::http1::Builder::new();
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { at, asked }
    }

    /// One that is well.
    pub(crate) async fn well() -> Self {
        Self::new(|_| Does::Answers(200)).await
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(does: Does, at: SocketAddr) -> Response<Said> {
    let text = match does {
        Does::Says(text) => Bytes::from(text),
        Does::Pours(bytes) => Bytes::from(vec![b'x'; bytes]),
        _ => Bytes::from(at.to_string()),
    };
    let mut said = Said { frames: vec![Ok(Frame::data(text))], is_whole: true };
    let mut response = Response::builder();
    match does {
        Does::Says(_) | Does::Pours(_) => {}
        Does::Answers(status) => response = response.status(status),
        Does::Waits(time) => tokio::time::sleep(time).await,
        Does::Hangs => std::future::pending().await,
        Does::Breaks => said.is_whole = false,
        Does::Calls(status) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().expect("a status"));
            said.frames.insert(0, Ok(Frame::trailers(trailers)));
            response = response.header("content-type", "application/grpc");
            response = response.header("trailer", "grpc-status");
        }
    }
    response.body(said).expect("an answer")
}

/// A body of a few frames, the last first, which may break off.
pub(crate) struct Said {
    frames: Vec<Result<Frame<Bytes>, std::io::Error>>,
    is_whole: bool,
}

impl Body for Said {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let next = self.frames.pop();
        let broken = || (!self.is_whole).then(|| Err(std::io::Error::other("no more")));
        Poll::Ready(next.or_else(broken))
    }
}
