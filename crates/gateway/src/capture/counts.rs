//! What became of requests that were to be captured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Why an exchange is not in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// There is no memory left for it.
    Memory,
    /// So many wait to be written already.
    Queue,
    /// It is longer than a record may be.
    TooLong,
    /// The file cannot be written.
    File,
    /// It was under way when the capture ended.
    Stopped,
}

/// Counters of one capture.
#[derive(Debug, Default)]
pub struct Counts {
    eligible: AtomicU64,
    captured: AtomicU64,
    /// By [`Dropped`].
    dropped: [AtomicU64; 5],
    cut: AtomicU64,
    bodies_dropped: AtomicU64,
}

/// Counters as they were at one time. `captured + dropped = eligible` holds at rest, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Chosen to be captured.
    pub eligible: u64,
    /// In the file.
    pub captured: u64,
    /// Not captured, since there was no memory.
    pub dropped_memory: u64,
    /// Not captured, since too many waited to be written.
    pub dropped_queue: u64,
    /// Not captured, since it is longer than a record may be.
    pub dropped_too_long: u64,
    /// Not captured, since the file could not be written.
    pub dropped_file: u64,
    /// Not captured, since it was under way when the capture ended.
    pub dropped_stopped: u64,
    /// Captured, but not to the end of a body.
    pub cut: u64,
    /// Captured without a body that could not be redacted.
    pub bodies_dropped: u64,
}

impl Counted {
    /// Not captured, with causes as they are told elsewhere.
    pub fn causes(&self) -> [(&'static str, u64); 5] {
        [
            ("memory", self.dropped_memory),
            ("queue", self.dropped_queue),
            ("too_long", self.dropped_too_long),
            ("file", self.dropped_file),
            ("stopped", self.dropped_stopped),
        ]
    }

    /// Not captured, whatever the cause.
    pub fn dropped(&self) -> u64 {
        self.causes().iter().map(|(_, count)| count).sum()
    }

    /// Neither captured nor dropped so far.
    pub fn under_way(&self) -> u64 {
        self.eligible.saturating_sub(self.captured + self.dropped())
    }
}

impl Counts {
    /// One more is chosen.
    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        self.eligible.fetch_add(1, Ordering::Relaxed);
        Ticket { counts: Arc::clone(self), fate: Some(Dropped::Stopped) }
    }

    pub(super) fn cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bodies_dropped(&self, count: u64) {
        self.bodies_dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// All of them now.
    pub fn now(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [memory, queue, too_long, file, stopped] = &self.dropped;
        Counted {
            captured: read(&self.captured),
            dropped_memory: read(memory),
            dropped_queue: read(queue),
            dropped_too_long: read(too_long),
            dropped_file: read(file),
            dropped_stopped: read(stopped),
            cut: read(&self.cut),
            bodies_dropped: read(&self.bodies_dropped),
            // Last: whatever is over was begun.
            eligible: read(&self.eligible),
        }
    }
}

/// One that was chosen. Whatever happens to it, it is counted once, when this is gone.
#[derive(Debug)]
pub(super) struct Ticket {
    counts: Arc<Counts>,
    /// Why it is dropped, if it is not captured.
    fate: Option<Dropped>,
}

impl Ticket {
    pub(super) fn captured(mut self) {
        self.fate = None;
    }

    pub(super) fn dropped(mut self, why: Dropped) {
        self.fate = Some(why);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let counter = match self.fate {
            None => &self.counts.captured,
            Some(why) => &self.counts.dropped[why as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
