//! Rollouts in the database: each with its controller and its events, services and what they are
//! served by, news on their way to somebody.
//!
//! What other crates define is kept as JSON; columns are what is searched for.

mod read;
pub(super) mod write;

use std::sync::Arc;

use tokio::sync::watch;
use umbra_state::{Cause, StateId};

/// Rows that belong together.
#[derive(Debug, Default)]
pub struct RolloutBatch {
    /// In this order.
    pub writes: Vec<RolloutWrite>,
    /// Told, once they are committed, the number of the rollout's next event.
    pub committed: Option<(Arc<watch::Sender<u64>>, u64)>,
}

/// Something to remember.
#[derive(Debug)]
pub enum RolloutWrite {
    /// A rollout begins, or has got further.
    Rollout(Box<RolloutRow>),
    /// Something happened to it.
    Event(EventRow),
    /// What serves a service.
    Service(ServiceRow),
    /// What was in production, in order of time.
    Grow {
        /// The timeline.
        timeline: String,
        /// States, causes and times in milliseconds since 1970 UTC.
        entries: Vec<(StateId, Cause, i64)>,
    },
    /// A document on its way to a sink, or that it is not any more.
    Outbox {
        /// Its number.
        id: u64,
        /// The rollout it tells of.
        rollout: u64,
        /// It, as JSON.
        row: Option<String>,
    },
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutRow {
    /// Its number.
    pub id: u64,
    /// Of which service.
    pub service: String,
    /// The candidate's state, if that is known.
    pub state: Option<StateId>,
    /// That of what was in production before, likewise.
    pub before: Option<StateId>,
    /// Whether something may happen to it still.
    pub goes_on: bool,
    /// Where in its life it is, in a word.
    pub phase: String,
    /// What was asked for.
    pub request: String,
    /// What it goes by, settled when it began.
    pub plan: String,
    /// What it has made in the world.
    pub made: String,
    /// Its controller.
    pub controller: String,
    /// What people were told last.
    pub status: String,
    /// In milliseconds since 1970 UTC.
    pub began_at_ms: i64,
    /// Likewise.
    pub ended_at_ms: Option<i64>,
}

/// How long an event is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// For ever.
    Change,
    /// While there are not too many newer ones.
    Detail,
    /// Until the next one.
    Standing,
}

/// Details of one rollout that are kept.
pub const DETAILS_MAX: u64 = 1_000;

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Detail => "detail",
            Self::Standing => "standing",
        }
    }
}

/// Something that happened to a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its rollout.
    pub rollout: u64,
    /// Its number within it.
    pub seq: u64,
    /// How long it is kept.
    pub kind: EventKind,
    /// It as a line of JSON, without the line's end.
    pub line: String,
}

/// What serves a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its name.
    pub name: String,
    /// The state in production, if it is known.
    pub state: Option<StateId>,
    /// The one before, likewise.
    pub before: Option<StateId>,
    /// Everything, as JSON.
    pub record: String,
}

/// A document on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The rollout it tells of.
    pub rollout: u64,
    /// It, as JSON.
    pub row: String,
}

/// The timeline of a service. No image's name has a slash.
pub fn timeline_of(service: &str) -> String {
    format!("service/{service}")
}
