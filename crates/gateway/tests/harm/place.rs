//! Production, a gateway in front of it, and a client.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use umbra_gateway::control::{MirrorStatus, StartMirror};

use crate::controlled::{Controlled, server};
use crate::support::all_to;

/// A gateway in front of a server that answers with what it got.
pub(crate) struct Place(pub(crate) Controlled);

impl Place {
    pub(crate) async fn new() -> Self {
        let echo = |path: &str, body: Bytes| {
            Response::new(Full::new(Bytes::from([path.as_bytes(), b" ", &body[..]].concat())))
        };
        Self(Controlled::new(all_to(server(echo).await)).await)
    }

    pub(crate) fn mirror(&self, to: &str) {
        let start = StartMirror {
            to: to.to_owned(),
            percent: "100".to_owned(),
            in_flight_max: Some(32),
            timeout_ms: Some(1_000),
            ..StartMirror::default()
        };
        self.0.control.start("shadow", start).expect("a mirror");
    }

    /// How the mirror stands once nothing is under way.
    pub(crate) async fn at_rest(&self) -> MirrorStatus {
        self.0.rest().await;
        self.0.control.status().mirrors.remove(0)
    }
}
