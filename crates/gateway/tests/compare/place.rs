//! Servers whose answers differ by chance and otherwise, and a gateway in front of one of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use umbra_gateway::compare::report::CompareReport;
use umbra_gateway::control::{Control, StartMirror};
use umbra_gateway::mirror::Role;

use crate::controlled::{Controlled, server};
use crate::support::all_to;

const AT_ONCE: u64 = 8;

/// A server of articles. A random id and a secret are in every answer, and the date.
#[derive(Default)]
pub(crate) struct Server {
    /// Whether a price is another in every 20th answer.
    pub(crate) price_changes: bool,
    /// The paths that were asked for.
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start(self) -> String {
        let number = AtomicU64::new(0);
        let answer = move |path: &str, _| {
            self.heard.lock().expect("nobody panicked").push(path.to_owned());
            let number = number.fetch_add(1, Ordering::Relaxed);
            let price = if self.price_changes && number % 20 == 19 { 11 } else { 10 };
            let (id, token) = (random(), random());
            let body = format!(
                r#"{{"id":"{id}","token":"s3cret{token}","items":[{{"price":7}},{{"price":{price}}}],"path":"{path}"}}"#
            );
            let answer = Response::builder()
                .header(CONTENT_TYPE, "application/json")
                .header("x-request-id", random())
                .body(Full::new(Bytes::from(body)));
            answer.expect("an answer")
        };
        server(answer).await.to_string()
    }
}

/// Always as long.
fn random() -> String {
    use std::hash::BuildHasher;
    format!("{:016x}", std::hash::RandomState::new().hash_one(()))
}

pub(crate) fn role(role: Role, to: &str) -> StartMirror {
    StartMirror {
        to: to.to_owned(),
        percent: "100".to_owned(),
        timeout_ms: Some(300),
        role: Some(role),
        ..StartMirror::default()
    }
}

/// A gateway in front of such a server.
pub(crate) struct Place {
    controlled: Arc<Controlled>,
    asked: AtomicU64,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let primary = all_to(Server::default().start().await);
        Self { controlled: Arc::new(Controlled::new(primary).await), asked: AtomicU64::new(0) }
    }

    pub(crate) fn control(&self) -> &Control {
        &self.controlled.control
    }

    pub(crate) fn candidate(&self, to: &str) {
        // A busy machine is slow now and then; that is measured elsewhere.
        let start = StartMirror { slower_percent: Some(10_000), ..role(Role::Candidate, to) };
        self.control().start("new", start).expect("a mirror");
    }

    pub(crate) fn baseline(&self, to: &str) {
        self.control().start("old", role(Role::Baseline, to)).expect("a mirror");
    }

    pub(crate) async fn ask_many(&self, requests: u64) {
        let first = self.asked.fetch_add(requests, Ordering::Relaxed);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..AT_ONCE {
            let controlled = Arc::clone(&self.controlled);
            clients.spawn(async move {
                for number in (client..requests).step_by(AT_ONCE as usize) {
                    let path = format!("/{}", first + number);
                    let answer = controlled.ask(&path, Bytes::new()).await;
                    let path = format!("\"path\":\"{path}\"}}");
                    assert!(answer.ends_with(path.as_bytes()), "{answer:?}");
                }
            });
        }
        clients.join_all().await;
    }

    /// How the comparison stands once nothing is under way.
    pub(crate) async fn report(&self) -> CompareReport {
        self.controlled.rest().await;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let report = self.control().compared().await.expect("a comparison");
            if report.under_way == 0 {
                return report;
            }
            assert!(Instant::now() < until, "{report:?}");
        }
    }
}
