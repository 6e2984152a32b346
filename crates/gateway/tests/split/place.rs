//! A gateway with one route that is split, and clients of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use umbra_api::error::WireError;
use umbra_gateway::routes::setup::{RouteSetup, RoutesSetup, StickySetup, TargetSetup};
use umbra_gateway::split::splits::Place as Splits;
use umbra_gateway::split::wire::{OnWorse, SplitArm, SplitArmStatus, SplitStatus, StartSplit};
use umbra_judge::settings::{Metrics, Settings};

use crate::controlled::Controlled;
use crate::server::Server;
use crate::support::all_to;

/// Whatever does not happen in this time never does.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(60);

pub(crate) const DIFFERENCES: Metrics = Metrics { differences: true, ..Metrics::NONE };
pub(crate) const LATENCY: Metrics = Metrics { latency: true, ..Metrics::NONE };
pub(crate) const ERRORS: Metrics = Metrics { errors: true, ..Metrics::NONE };

pub(crate) struct Place {
    pub(crate) gateway: Controlled,
    pub(crate) baseline: Server,
    pub(crate) candidate: Server,
    pub(crate) dir: tempfile::TempDir,
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// What came of many requests.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) whole: u64,
    pub(crate) failed: u64,
    pub(crate) broken: u64,
}

impl Place {
    pub(crate) async fn new(baseline: Server, candidate: Server) -> Self {
        Self::with(baseline, candidate, None).await
    }

    /// Sessions are told by `x-user`.
    pub(crate) async fn sticky(baseline: Server, candidate: Server) -> Self {
        Self::with(baseline, candidate, Some(StickySetup::Header("x-user".to_owned()))).await
    }

    async fn with(baseline: Server, candidate: Server, sticky: Option<StickySetup>) -> Self {
        let setup = all_to(baseline.at);
        let route = RouteSetup { sticky, name: "web".to_owned(), ..setup.routes[0].clone() };
        let gateway = Controlled::new(RoutesSetup { routes: vec![route], ..setup }).await;
        let dir = tempfile::tempdir().expect("a directory");
        gateway.control.proxy.splits().keep_beside(&dir.path().join("gateway.sock"));
        let mut client = Client::builder(TokioExecutor::new());
        let client = client.pool_max_idle_per_host(64).build_http();
        Self { gateway, baseline, candidate, dir, client }
    }

    pub(crate) fn splits(&self) -> Splits {
        self.gateway.control.place()
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.path().join("web.journal")
    }

    pub(crate) fn start_of(&self, weight: f64, metrics: Metrics) -> StartSplit {
        StartSplit {
            candidate: vec![to(&self.candidate)],
            control: Vec::new(),
            weight,
            settings: Settings { metrics, ..Settings::default() },
            journal: self.journal(),
            on_worse: OnWorse::Rollback,
            rollout: 7,
        }
    }

    /// Begins, judged by these.
    pub(crate) async fn start(&self, weight: f64, metrics: Metrics) -> SplitStatus {
        let start = self.start_of(weight, metrics);
        self.tell(move |splits| splits.start("web", start)).await.expect("a split")
    }

    /// On a thread that may wait.
    pub(crate) async fn tell<T: Send + 'static>(
        &self,
        tell: impl FnOnce(&Splits) -> Result<T, WireError> + Send + 'static,
    ) -> Result<T, WireError> {
        let splits = self.splits();
        tokio::task::spawn_blocking(move || tell(&splits)).await.expect("no panic")
    }

    /// As if a successor were about to take over.
    pub(crate) async fn leave(&self) {
        let splits = self.splits();
        tokio::task::spawn_blocking(move || splits.leave()).await.expect("no panic");
    }

    /// As if none had come.
    pub(crate) async fn stay(&self) {
        self.splits().stay();
    }

    pub(crate) async fn status(&self) -> SplitStatus {
        let status = |splits: &Splits| splits.split("web").and_then(|one| splits.status(&one));
        self.tell(status).await.expect("a split")
    }

    /// How it stands once it stands so.
    #[track_caller]
    pub(crate) fn until(
        &self,
        so: impl Fn(&SplitStatus) -> bool,
    ) -> impl Future<Output = SplitStatus> {
        let begun = Instant::now();
        async move {
            loop {
                let status = self.status().await;
                if so(&status) {
                    return status;
                }
                assert!(begun.elapsed() < TIME_MAX, "{status:#?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Asks once, and says what was answered: its status and whether it was whole.
    pub(crate) async fn ask(&self, user: Option<&str>) -> (u16, Option<Bytes>) {
        let request = Request::builder().uri(format!("http://{}/", self.gateway.at));
        // Only who says so is sent trailers.
        let request = request.header("te", "trailers");
        let request = user.into_iter().fold(request, |one, user| one.header("x-user", user));
        let request = request.body(Empty::new()).expect("a request");
        let answer = self.client.request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.ok().map(|body| body.to_bytes()))
    }

    /// Asks so often, some at once, unless it is rolled back before.
    pub(crate) async fn ask_many(self: &Arc<Self>, requests: u64, at_once: u64) -> Came {
        let left = Arc::new(AtomicU64::new(requests));
        let clients = (0..at_once).map(|_| {
            let (place, left) = (Arc::clone(self), Arc::clone(&left));
            tokio::spawn(async move {
                let mut came = Came::default();
                while left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok()
                {
                    match place.ask(None).await {
                        (_, None) => came.broken += 1,
                        (200, Some(_)) => came.whole += 1,
                        _ => came.failed += 1,
                    }
                }
                came
            })
        });
        let mut all = Came::default();
        for client in clients.collect::<Vec<_>>() {
            let came = client.await.expect("no panic");
            all.whole += came.whole;
            all.failed += came.failed;
            all.broken += came.broken;
        }
        all
    }

    /// Asks until it is rolled back, but no more than so often.
    pub(crate) async fn ask_until_rolled_back(self: &Arc<Self>, requests: u64) -> SplitStatus {
        for _ in 0..requests.div_ceil(50) {
            self.ask_many(50, 8).await;
            let status = self.status().await;
            if status.rolled_back {
                return status;
            }
        }
        let status = self.until(|status| status.arms[1].in_flight == 0).await;
        assert!(status.rolled_back, "{requests} requests: {status:#?}");
        status
    }
}

pub(crate) fn to(server: &Server) -> TargetSetup {
    TargetSetup { to: server.at.to_string(), weight: 1.0, send_proxy: None }
}

pub(crate) fn arm(status: &SplitStatus, arm: SplitArm) -> &SplitArmStatus {
    status.arms.iter().find(|one| one.arm == arm).expect("the arm")
}
