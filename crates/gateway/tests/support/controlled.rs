//! A gateway in this process that is told what to do, and a client of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Semaphore;
use umbra_gateway::control::Control;
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::upstream::Trust;

use crate::support::{gateway, listen};

pub(crate) const MEMORY: usize = 8 << 20;

pub(crate) struct Controlled {
    pub(crate) at: SocketAddr,
    pub(crate) control: Control,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Controlled {
    pub(crate) async fn new(routes: RoutesSetup) -> Self {
        let (at, front) = gateway(routes).await;
        let control = Control {
            proxy: front.proxy(),
            front,
            trust: Trust::default(),
            routes_file: None,
            listen: at.to_string(),
            memory: Arc::new(Semaphore::new(MEMORY)),
            memory_bytes_max: MEMORY,
        };
        Self { at, control, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Asks, and is answered by production.
    pub(crate) async fn ask(&self, path: &str, body: Bytes) -> Bytes {
        let request = Request::builder()
            .method(if body.is_empty() { "GET" } else { "POST" })
            .uri(format!("http://{}{path}", self.at))
            .body(Full::new(body));
        let answer = self.client.request(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.expect("a whole answer").to_bytes()
    }

    /// Waits until no mirror has anything under way.
    pub(crate) async fn rest(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let mirrors = self.control.status().mirrors;
            let free = self.control.memory.available_permits();
            let over = mirrors.iter().all(|mirror| mirror.counted.in_flight() == 0);
            if over && free == MEMORY {
                return;
            }
            assert!(Instant::now() < until, "{mirrors:?}, {free} bytes free");
            tokio::task::yield_now().await;
        }
    }
}

/// A server whose answers are made of a request's path and body.
pub(crate) async fn server(
    answer: impl Fn(&str, Bytes) -> Response<Full<Bytes>> + Send + Sync + 'static,
) -> SocketAddr {
    let (at, listener) = listen().await;
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = Arc::clone(&answer);
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.map(|body| body.to_bytes());
                    Ok::<_, Infallible>(answer(&path, body.unwrap_or_default()))
                }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    at
}
