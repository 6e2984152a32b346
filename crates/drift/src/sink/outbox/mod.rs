//! What is to be delivered, to whom and when.
//!
//! ```text
//!               taken            delivered, refused for ever, too old
//!   waiting ────────────> under way ───────────────────────────────> gone
//!      ^                     │
//!      └─────────────────────┘ failed: again after a wait that doubles
//! ```
//!
//! Documents about the same are delivered to a sink in order, one at a time; others pass. A sink
//! that fails is tried with one document at a time until one arrives. Space is bounded: what is
//! least grave and oldest goes first, and is counted ([`Losses`]) by sink and [`Cause`].
//!
//! Pure: [`Outbox::on`] says which rows to keep ([`Change`]); those of one event belong into one
//! transaction, with what the alert's book asks for. [`Outbox::restore`] begins with what was
//! kept: what was under way is waiting again.

mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Document, Retry};
use queue::Queue;

/// The wait after a first failure; each further one doubles it.
pub const WAIT_MIN_MS: i64 = 1_000;
/// No wait is longer.
pub const WAIT_MAX_MS: i64 = 5 * 60_000;
/// What could not be delivered for so long is given up: a week of alerts tells nobody anything.
pub const AGE_MAX_MS: i64 = 7 * 24 * 3_600_000;
/// Documents kept for one sink.
pub const ROWS_MAX: usize = 100_000;
/// Bytes of them kept for one sink.
pub const BYTES_MAX: usize = 128 << 20;

/// A document on its way to a sink. One row of what the daemon keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its number, greater than that of any row before it.
    pub id: u64,
    /// The sink's name.
    pub sink: String,
    /// What is delivered.
    pub document: Document,
    /// When it was put in.
    pub added_at_ms: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_at_ms: i64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// There is a document for a sink.
    Add {
        /// The sink's name.
        sink: String,
        /// What is to be delivered.
        document: Box<Document>,
    },
    /// It has arrived.
    Delivered {
        /// The row.
        id: u64,
    },
    /// It has not, or nobody knows.
    Failed {
        /// The row.
        id: u64,
        /// Whether it is worth another try.
        retry: Retry,
        /// From 0 to 1: spreads the waits of many.
        jitter: f64,
    },
    /// The configuration names these sinks and no others.
    Sinks {
        /// Their names.
        names: Vec<String>,
    },
    /// Time passed. Expected about every minute: what is too old is given up.
    Tick,
}

/// What is to be kept. All changes of one event belong into one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Keep this new row.
    Insert(Box<Row>),
    /// Of the row, keep these instead.
    Update {
        /// The row.
        id: u64,
        /// How often it was tried.
        attempts: u32,
        /// When it is tried next.
        next_at_ms: i64,
    },
    /// Drop the row.
    Delete {
        /// The row.
        id: u64,
    },
    /// Keep that so many were lost. To be said aloud, too.
    Lost {
        /// The sink's name.
        sink: String,
        /// Why.
        cause: Cause,
        /// How many there are by now, all together.
        count: u64,
    },
}

/// Why a document was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// There was no space left.
    Full,
    /// It could not be delivered for too long.
    Expired,
    /// The sink refused it for ever.
    Refused,
    /// The sink was taken out of the configuration.
    Removed,
}

impl Cause {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Removed => "removed",
        }
    }
}

/// What was lost, by sink and cause.
pub type Losses = BTreeMap<(String, Cause), u64>;

/// Everything that waits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outbox {
    queues: BTreeMap<String, Queue>,
    /// The sink of each row.
    sinks: BTreeMap<u64, String>,
    losses: Losses,
    next_id: u64,
    limits: Limits,
}

/// How much is kept for one sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Documents.
    pub rows_max: usize,
    /// Bytes of them.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: ROWS_MAX, bytes_max: BYTES_MAX }
    }
}

impl Outbox {
    /// An empty one with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// From what was kept. No number of a row is used twice while the row is kept.
    pub fn restore(rows: impl IntoIterator<Item = Row>, losses: Losses, limits: Limits) -> Self {
        let mut outbox = Self { losses, limits, ..Self::default() };
        for row in rows {
            outbox.next_id = outbox.next_id.max(row.id.saturating_add(1));
            outbox.sinks.insert(row.id, row.sink.clone());
            outbox.queues.entry(row.sink.clone()).or_default().restore(row);
        }
        outbox
    }

    /// What follows from an event. One about a row that is not there is nothing.
    pub fn on(&mut self, event: Event, now_ms: i64) -> Vec<Change> {
        match event {
            Event::Add { sink, document } => self.add(sink, *document, now_ms),
            Event::Delivered { id } => {
                if let Some(queue) = self.queue(id) {
                    queue.reached();
                }
                self.remove(id).into_iter().collect()
            }
            Event::Failed { id, retry: Retry::Never, .. } => {
                // It answered, if only to refuse.
                if let Some(queue) = self.queue(id) {
                    queue.reached();
                }
                self.lose(id, Cause::Refused)
            }
            Event::Failed { id, retry: Retry::Later, jitter } => {
                let row = self.queue(id).and_then(|queue| queue.failed(id, jitter, now_ms));
                row.into_iter()
                    .map(|(attempts, next_at_ms)| Change::Update { id, attempts, next_at_ms })
                    .collect()
            }
            Event::Sinks { names } => {
                let gone = self.queues.iter().filter(|(name, _)| !names.contains(name));
                let rows: Vec<u64> = gone.flat_map(|(_, queue)| queue.ids()).collect();
                let changes = rows.into_iter().flat_map(|id| self.lose(id, Cause::Removed));
                let changes = changes.collect();
                self.queues.retain(|name, _| names.contains(name));
                changes
            }
            Event::Tick => {
                let old_ms = now_ms.saturating_sub(AGE_MAX_MS);
                let queues = self.queues.values();
                let old: Vec<u64> = queues.flat_map(|queue| queue.added_before(old_ms)).collect();
                old.into_iter().flat_map(|id| self.lose(id, Cause::Expired)).collect()
            }
        }
    }

    /// Takes rows that are due, at most `count` for each sink; they are under way until their
    /// delivery has succeeded or failed.
    pub fn take(&mut self, count: usize, now_ms: i64) -> Vec<Row> {
        self.queues.values_mut().flat_map(|queue| queue.take(count, now_ms)).collect()
    }

    /// When [`Outbox::take`] has something next, if nothing happens before.
    pub fn next_at_ms(&self) -> Option<i64> {
        self.queues.values().filter_map(Queue::next_at_ms).min()
    }

    /// The row of this number, if it is still there.
    pub fn row(&self, id: u64) -> Option<&Row> {
        self.queues.get(self.sinks.get(&id)?)?.row(id)
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.queues.values().map(Queue::under_way).sum()
    }

    /// How many wait or are under way, by sink.
    pub fn depth(&self) -> impl Iterator<Item = (&str, usize)> {
        self.queues.iter().map(|(name, queue)| (name.as_str(), queue.len()))
    }

    /// What was lost.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn add(&mut self, sink: String, document: Document, now_ms: i64) -> Vec<Change> {
        let id = self.next_id;
        self.next_id += 1;
        let row = Row {
            id,
            sink: sink.clone(),
            document,
            added_at_ms: now_ms,
            attempts: 0,
            next_at_ms: now_ms,
        };
        let mut changes = vec![Change::Insert(Box::new(row.clone()))];
        self.sinks.insert(id, sink.clone());
        self.queues.entry(sink.clone()).or_default().add(row);
        loop {
            let queue = self.queues.get(&sink);
            let Some(victim) = queue.and_then(|queue| queue.too_much(self.limits)) else { break };
            changes.extend(self.lose(victim, Cause::Full));
        }
        changes
    }

    fn queue(&mut self, id: u64) -> Option<&mut Queue> {
        self.queues.get_mut(self.sinks.get(&id)?)
    }

    fn remove(&mut self, id: u64) -> Option<Change> {
        self.queue(id)?.remove(id)?;
        self.sinks.remove(&id);
        Some(Change::Delete { id })
    }

    fn lose(&mut self, id: u64, cause: Cause) -> Vec<Change> {
        let Some(sink) = self.sinks.get(&id).cloned() else { return Vec::new() };
        let Some(deleted) = self.remove(id) else { return Vec::new() };
        let count = self.losses.entry((sink.clone(), cause)).or_default();
        *count += 1;
        vec![deleted, Change::Lost { sink, cause, count: *count }]
    }
}
