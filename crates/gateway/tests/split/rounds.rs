//! Many rollouts, one after another, under load that never stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use umbra_gateway::split::wire::{EndTo, SplitArm};
use umbra_judge::settings::Metrics;

use crate::place::{Place, arm};
use crate::server::{Does, Server};

/// Clients at once.
const CLIENTS: usize = 8;

/// What came of rollouts of a bad candidate.
#[derive(Debug, Default)]
pub(crate) struct RolledBack {
    /// From the end of the request that decided until nobody got there any more, from the shortest.
    pub(crate) took: Vec<Duration>,
    /// Requests that were answered, by whomever, and those that were not.
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    /// Requests that got to the candidate after those under way had ended.
    pub(crate) late: u64,
}

/// Rolls a candidate back so often that fails every request.
pub(crate) async fn bad(rounds: usize, metrics: Metrics) -> RolledBack {
    let failing = Server::new(|_| Does::Answers(500)).await;
    let place = Arc::new(Place::new(Server::well().await, failing).await);
    let load = Load::begin(&place);
    let mut all = RolledBack::default();
    for _ in 0..rounds {
        place.start(0.05, metrics).await;
        let status = place
            .until(|status| status.rolled_back && arm(status, SplitArm::Candidate).in_flight == 0)
            .await;
        let asked = place.candidate.asked();
        let took = status.worse.expect("why").took_us;
        all.took.push(Duration::from_micros(took));
        load.more(50).await;
        all.late += place.candidate.asked() - asked;
        place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
        std::fs::remove_file(place.journal()).expect("a journal");
    }
    (all.answered, all.lost) = load.end().await;
    all.took.sort_unstable();
    all
}

/// Rolls out what changes nothing so often, on a ladder of weights; how often it was rolled back.
pub(crate) async fn healthy(rounds: usize, metrics: Metrics, each: u64) -> usize {
    // Both fail now and then, and wait now and then.
    let same = || {
        Server::new(|n| match n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57 {
            0 => Does::Answers(500),
            1..12 => Does::Waits(Duration::from_millis(2)),
            _ => Does::Answers(200),
        })
    };
    let place = Arc::new(Place::new(same().await, same().await).await);
    let load = Load::begin(&place);
    let mut rolled_back = 0;
    for _ in 0..rounds {
        place.start(0.05, metrics).await;
        for weight in [0.05, 0.25, 0.5] {
            // One that was rolled back has no other.
            let _ = place.tell(move |splits| splits.weigh("web", weight)).await;
            load.more(each).await;
        }
        rolled_back += usize::from(place.status().await.worse.is_some());
        place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
        std::fs::remove_file(place.journal()).expect("a journal");
    }
    let (_, lost) = load.end().await;
    assert_eq!(lost, 0);
    rolled_back
}

/// Clients that ask all the time.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<u64>>,
}

impl Load {
    fn begin(place: &Arc<Place>) -> Self {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..CLIENTS).map(|_| {
            let (place, over) = (Arc::clone(place), Arc::clone(&over));
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let mut lost = 0;
                while !over.load(Ordering::Relaxed) {
                    match place.ask(None).await {
                        (200 | 500, Some(_)) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => lost += 1,
                    }
                }
                lost
            })
        });
        let clients = clients.collect();
        Self { over, answered, clients }
    }

    /// Until so many more were answered.
    async fn more(&self, requests: u64) {
        let enough = self.answered.load(Ordering::Relaxed) + requests;
        let begun = Instant::now();
        while self.answered.load(Ordering::Relaxed) < enough {
            assert!(begun.elapsed() < crate::place::TIME_MAX, "nobody is answered");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How many were answered, and how many were not.
    async fn end(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        let mut lost = 0;
        for client in self.clients {
            // One that panicked lost a request, too.
            lost += client.await.unwrap_or(1);
        }
        (self.answered.load(Ordering::Relaxed), lost)
    }
}
