//! What became of requests that were to be mirrored.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Why a request was not mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// So many are under way already.
    InFlight,
    /// There is no memory left for it.
    Memory,
}

/// How a mirrored request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was answered.
    Answered,
    /// No connection was made.
    Unreachable,
    /// The connection broke, or what came was no answer.
    Broken,
    /// It took too long.
    TimedOut,
    /// The answer was longer than is read.
    TooLong,
    /// The copy of the body was cut off.
    Truncated,
    /// The client did not finish its request.
    Unfinished,
}

/// Counters of one mirror. `mirrored + dropped = eligible` holds at rest, exactly.
#[derive(Debug, Default)]
pub struct Counts {
    eligible: AtomicU64,
    mirrored: AtomicU64,
    dropped_in_flight: AtomicU64,
    dropped_memory: AtomicU64,
    truncated: AtomicU64,
    answered: AtomicU64,
    unreachable: AtomicU64,
    broken: AtomicU64,
    timed_out: AtomicU64,
    too_long: AtomicU64,
    cut_off: AtomicU64,
    unfinished: AtomicU64,
}

/// Counters as they were at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Chosen to be mirrored.
    pub eligible: u64,
    /// Sent to the shadow, or begun to be.
    pub mirrored: u64,
    /// Not mirrored, since too many were under way.
    pub dropped_in_flight: u64,
    /// Not mirrored, since there was no memory.
    pub dropped_memory: u64,
    /// Mirrored, but not to the end of their body.
    pub truncated: u64,
    /// Mirrored and answered.
    pub answered: u64,
    /// Mirrored, and no connection was made.
    pub unreachable: u64,
    /// Mirrored, and the connection broke or what came was no answer.
    pub broken: u64,
    /// Mirrored, and it took too long.
    pub timed_out: u64,
    /// Mirrored, and the answer was longer than is read.
    pub too_long: u64,
    /// Mirrored, and ended because the copy was cut off.
    pub cut_off: u64,
    /// Mirrored, and the client did not finish.
    pub unfinished: u64,
}

impl Counts {
    /// Chosen, and mirrored unless it is dropped.
    pub(super) fn eligible(&self, dropped: Option<Dropped>) {
        add(&self.eligible);
        add(match dropped {
            None => &self.mirrored,
            Some(Dropped::InFlight) => &self.dropped_in_flight,
            Some(Dropped::Memory) => &self.dropped_memory,
        });
    }

    pub(super) fn truncated(&self) {
        add(&self.truncated);
    }

    pub(super) fn ended(&self, how: Ended) {
        add(match how {
            Ended::Answered => &self.answered,
            Ended::Unreachable => &self.unreachable,
            Ended::Broken => &self.broken,
            Ended::TimedOut => &self.timed_out,
            Ended::TooLong => &self.too_long,
            Ended::Truncated => &self.cut_off,
            Ended::Unfinished => &self.unfinished,
        });
    }

    /// All of them now.
    pub fn now(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            eligible: read(&self.eligible),
            mirrored: read(&self.mirrored),
            dropped_in_flight: read(&self.dropped_in_flight),
            dropped_memory: read(&self.dropped_memory),
            truncated: read(&self.truncated),
            answered: read(&self.answered),
            unreachable: read(&self.unreachable),
            broken: read(&self.broken),
            timed_out: read(&self.timed_out),
            too_long: read(&self.too_long),
            cut_off: read(&self.cut_off),
            unfinished: read(&self.unfinished),
        }
    }
}

impl Counted {
    /// Not mirrored, whatever the cause.
    pub fn dropped(&self) -> u64 {
        self.dropped_in_flight + self.dropped_memory
    }

    /// Mirrored and ended without an answer.
    pub fn failed(&self) -> u64 {
        let [broken, timed_out, too_long] = [self.broken, self.timed_out, self.too_long];
        self.unreachable + broken + timed_out + too_long + self.cut_off + self.unfinished
    }

    /// Mirrored and not over.
    pub fn in_flight(&self) -> u64 {
        self.mirrored.saturating_sub(self.answered + self.failed())
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
