//! A real HTTP server on loopback for tests, in a thread, gone when it is dropped.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a request was, for the handler.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Response::builder().status(status).body(Full::new(body.into())).expect("answer")
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(None, handler)
    }

    /// With a certificate for `host` signed by nobody else; its PEM comes along.
    pub(crate) fn start_tls(
        host: &str,
        handler: impl Fn(Asked) -> Answer + Send + Sync + 'static,
    ) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("certificate");
        let pem = made.cert.pem();
        (Self::start_with(Some(TlsAcceptor::from(Arc::new(config))), handler), pem)
    }

    fn start_with(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind((LOOPBACK, 0)).expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("address");
        let (stop, stopped) = oneshot::channel();
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            let accepting = accept(listener, tls, Arc::new(handler), counted);
            runtime.block_on(async {
                let accepting = std::pin::pin!(accepting);
                futures_select(accepting, stopped).await;
            });
        });
        Self { address, connections, stop: Some(stop), thread: Some(thread) }
    }

    /// How many connections it accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Ends when either does.
async fn futures_select(
    mut accepting: std::pin::Pin<&mut impl Future<Output = ()>>,
    mut stopped: oneshot::Receiver<()>,
) {
    std::future::poll_fn(|context| {
        if std::pin::Pin::new(&mut stopped).poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        accepting.as_mut().poll(context)
    })
    .await;
}

async fn accept<H>(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Arc<H>,
    connections: Arc<AtomicU64>,
) where
    H: Fn(Asked) -> Answer + Send + Sync + 'static,
{
    let listener = TcpListener::from_std(listener).expect("listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.fetch_add(1, Ordering::SeqCst);
        let (tls, handler) = (tls.clone(), Arc::clone(&handler));
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(request, Arc::clone(&handler)));
            let http = hyper::server::conn::http1::Builder::new();
            match tls {
                None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(http.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        });
    }
}

async fn serve<H>(request: Request<Incoming>, handler: Arc<H>) -> Result<Answer, Infallible>
where
    H: Fn(Asked) -> Answer,
{
    let method = request.method().to_string();
    let path = request.uri().to_string();
    let host = request.headers().get("host").map(|host| host.to_str().expect("host").to_owned());
    let body = request.into_body().collect().await.map(|body| body.to_bytes().to_vec());
    let asked =
        Asked { method, path, host: host.unwrap_or_default(), body: body.unwrap_or_default() };
    Ok(handler(asked))
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
