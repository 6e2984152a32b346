//! Drift in the database: primaries, their historical shadows, what differs, who was told.
//!
//! What the drift crate defines is kept as the JSON it has on the wire; columns are what is
//! searched for.

mod read;
pub(super) mod rows;
pub(super) mod write;

use std::sync::Arc;

use tokio::sync::watch;
use umbra_drift::remote::Remote;
use umbra_state::Digest;

/// Rows that belong together.
#[derive(Debug, Default)]
pub struct DriftBatch {
    /// In this order.
    pub writes: Vec<DriftWrite>,
    /// Told, once they are committed, how many events there are.
    pub committed: Option<(Arc<watch::Sender<u64>>, u64)>,
}

/// Something to remember.
#[derive(Debug)]
pub enum DriftWrite {
    /// A primary, new or with another configuration.
    Primary(PrimaryRow),
    /// A primary and all that is known of it goes.
    Forget(String),
    /// A shadow was taken.
    Shadow {
        /// Its place in the timeline.
        row: ShadowRow,
        /// The objects it needs, compressed; those the database has already are left alone.
        objects: Vec<(Digest, Vec<u8>)>,
    },
    /// Another shadow is the known good one.
    Good {
        /// The primary.
        name: String,
        /// The shadow.
        sequence: u64,
    },
    /// A shadow's labels changed.
    Labels {
        /// The primary.
        name: String,
        /// The shadow.
        sequence: u64,
        /// All of them.
        labels: Vec<String>,
        /// Whether it is never thinned out.
        kept: bool,
    },
    /// Shadows go.
    Thin {
        /// The primary.
        name: String,
        /// The shadows.
        sequences: Vec<u64>,
    },
    /// An item's life, or that it is forgotten.
    Life {
        /// The primary.
        name: String,
        /// The item, as JSON.
        item: String,
        /// Its life, as JSON.
        life: Option<String>,
    },
    /// A reading became another.
    Change(ChangeRow),
    /// Something a person follows.
    Event(EventRow),
    /// A document on its way to a sink, or that it is not any more.
    Outbox {
        /// The primary it tells of.
        name: String,
        /// Its number among that primary's.
        id: u64,
        /// It, as JSON.
        row: Option<String>,
    },
    /// Counts that survive a restart.
    Counts {
        /// Whose.
        name: String,
        /// They, as JSON.
        counts: String,
    },
    /// A number at a time.
    Point {
        /// Whose.
        name: String,
        /// The item, as JSON.
        item: String,
        /// In milliseconds since 1970 UTC.
        at_ms: i64,
        /// It.
        value: f64,
        /// The times of those that are forgotten for it.
        gone: Vec<i64>,
    },
    /// A rollback, new or further.
    Rollback(RollbackRow),
}

/// A primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryRow {
    /// Its name.
    pub name: String,
    /// Its root directory; `None` for a whole machine.
    pub root: Option<String>,
    /// How it is reached; `None` for this machine.
    pub remote: Option<Remote>,
    /// The image it runs from, if it is known.
    pub image: Option<String>,
    /// Where its configuration was read.
    pub config_path: Option<String>,
    /// Its configuration's text.
    pub config: String,
    /// The sequence of the known good shadow.
    pub good: u64,
    /// In milliseconds since 1970 UTC.
    pub added_at_ms: i64,
}

/// A historical shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowRow {
    /// Whose.
    pub name: String,
    /// Its place.
    pub sequence: u64,
    /// Its first object.
    pub root: Digest,
    /// Why it was taken, as JSON.
    pub cause: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whether it is never thinned out.
    pub kept: bool,
    /// How many items it has.
    pub items: u64,
    /// In milliseconds since 1970 UTC.
    pub taken_at_ms: i64,
}

/// A reading that became another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    /// Whose.
    pub name: String,
    /// Its place among the primary's changes.
    pub sequence: u64,
    /// Of which parameter.
    pub parameter: String,
    /// In milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// It, as JSON.
    pub change: String,
}

/// Something a person follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its place among all events.
    pub sequence: u64,
    /// About which primary.
    pub name: String,
    /// In milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// It as a line of JSON, without the line's end.
    pub line: String,
}

/// A rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackRow {
    /// Its number.
    pub id: u64,
    /// Of which primary.
    pub name: String,
    /// In milliseconds since 1970 UTC.
    pub begun_at_ms: i64,
    /// It, as JSON.
    pub record: String,
}

/// The name of a document's row. No primary's name has a slash.
fn outbox_id(name: &str, id: u64) -> String {
    format!("{}{id}", outbox_prefix(name))
}

/// What the names of all rows of a primary begin with.
fn outbox_prefix(name: &str) -> String {
    format!("{name}/")
}
