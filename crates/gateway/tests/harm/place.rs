//! Production, a gateway in front of it, and a client.

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
use umbra_gateway::control::{Control, MirrorStatus, StartMirror};
use umbra_gateway::gateway::Limits;
use umbra_gateway::listen::front::Front;

use crate::support::{gateway, listen};

pub(crate) const MEMORY: usize = 8 << 20;

/// A gateway in front of a server that answers with what it got.
pub(crate) struct Place {
    pub(crate) at: SocketAddr,
    pub(crate) control: Control,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let primary = echo().await;
        let (at, proxy) = gateway(primary, Limits::default()).await;
        let control = Control {
            front: Arc::new(Front::new(Arc::clone(&proxy), Limits::default())),
            proxy,
            trust: umbra_gateway::upstream::Trust::default(),
            listen: at.to_string(),
            memory: Arc::new(Semaphore::new(MEMORY)),
            memory_bytes_max: MEMORY,
        };
        Self { at, control, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) fn mirror(&self, to: &str) {
        let start = StartMirror {
            to: to.to_owned(),
            percent: "100".to_owned(),
            in_flight_max: Some(32),
            timeout_ms: Some(1_000),
            ..StartMirror::default()
        };
        self.control.start("shadow", start).expect("a mirror");
    }

    /// Asks, and is told what production got.
    pub(crate) async fn ask(&self, path: &str, body: Bytes) -> Bytes {
        let request = Request::builder()
            .method(if body.is_empty() { "GET" } else { "POST" })
            .uri(format!("http://{}{path}", self.at))
            .body(Full::new(body));
        let answer = self.client.request(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.expect("a whole answer").to_bytes()
    }

    /// How the mirror stands once nothing is under way.
    pub(crate) async fn at_rest(&self) -> MirrorStatus {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let mirror = self.control.status().mirrors.remove(0);
            let free = self.control.memory.available_permits();
            if mirror.counted.in_flight() == 0 && free == MEMORY {
                return mirror;
            }
            assert!(Instant::now() < until, "{mirror:?}, {free} bytes free");
            tokio::task::yield_now().await;
        }
    }
}

async fn echo() -> SocketAddr {
    let (at, listener) = listen().await;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let service = service_fn(|request: Request<Incoming>| async {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.map(|body| body.to_bytes());
                let body = body.unwrap_or_default();
                let text = [path.as_bytes(), b" ", &body[..]].concat();
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    at
}
