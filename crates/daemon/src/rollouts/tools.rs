//! What the jobs of a rollout have at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::runtime::Handle;

use super::gate::{Gate, GateError};
use super::inbox::{Input, News};
use super::plan::Plan;
use crate::db::Db;
use crate::instances::Instances;

/// Waits between two tries of what a gateway does not answer: at first, and at most.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// See the module.
#[derive(Clone)]
pub(super) struct Tools {
    /// The rollout's number.
    pub(super) id: u64,
    /// What it goes by.
    pub(super) plan: Arc<Plan>,
    /// Its gateway.
    pub(super) gate: Gate,
    /// What runs instances.
    pub(super) instances: Arc<dyn Instances>,
    /// Who knows how states are run.
    pub(super) db: Db,
    /// Where that is asked.
    pub(super) runtime: Handle,
    /// The desk.
    pub(super) inbox: SyncSender<Input>,
    /// Nobody waits for jobs any more.
    pub(super) ended: Arc<AtomicBool>,
    /// How many jobs of each kind the gateway was given: a new one makes those before needless.
    pub(super) turns: Arc<[AtomicU64; 3]>,
}

/// Jobs of the gateway of which only the last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whether there is a split.
    Split,
    /// The candidate's part.
    Weight,
    /// Copies.
    Mirrors,
}

/// A job's place among those of its kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    kind: Kind,
    number: u64,
}

impl Tools {
    /// Tells the desk before a job is done.
    pub(super) fn tell(&self, news: impl Into<News>) {
        // A desk that is gone needs to know nothing.
        let _ = self.inbox.send(Input::News(news.into()));
    }

    /// Whether the desk is gone.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The next job of a kind.
    pub(super) fn turn(&self, kind: Kind) -> Turn {
        Turn { kind, number: self.turns[kind as usize].fetch_add(1, Ordering::Relaxed) + 1 }
    }

    fn is_needless(&self, turn: Turn) -> bool {
        self.turns[turn.kind as usize].load(Ordering::Relaxed) > turn.number
    }

    /// What the gateway says to `ask`, which is repeated while it says nothing. `None` if nobody
    /// waits for it any more.
    pub(super) fn insist<T>(
        &self,
        turn: Option<Turn>,
        ask: impl Fn(&Gate) -> Result<T, GateError>,
    ) -> Option<Result<T, GateError>> {
        let mut wait = WAITS[0];
        loop {
            // Looked at before it is asked as well: a weight that was given up while the gateway
            // was away must not be in force for the moment until the next one is.
            if turn.is_some_and(|turn| self.is_needless(turn)) || self.is_ended() {
                return None;
            }
            match ask(&self.gate) {
                Err(GateError::Away(why)) => {
                    tracing::debug!(rollout = self.id, why, "the gateway is asked again");
                }
                said => return Some(said),
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(WAITS[1]);
        }
    }
}
