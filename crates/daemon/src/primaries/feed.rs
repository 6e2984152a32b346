//! What happens to primaries, numbered in the order in which it is committed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use umbra_drift::service::{Event, What};

use crate::clock::now_ms;
use crate::db::drift::{DriftBatch, DriftWrite, EventRow};
use crate::db::{DbError, Write, Writer};

/// Where all primaries' events and rows go.
pub(crate) struct Feed {
    writer: Arc<Writer>,
    /// Held while a batch is queued: the writer commits in this order, so that a follower who
    /// has seen a number has seen all before it.
    next: Mutex<u64>,
    committed: Arc<watch::Sender<u64>>,
}

impl Feed {
    /// A feed whose next event has this number.
    pub(crate) fn new(writer: Arc<Writer>, next: u64) -> Self {
        Self { writer, next: Mutex::new(next), committed: Arc::new(watch::Sender::new(next)) }
    }

    /// Queues rows and events of a primary, to be committed together. Must not be called from
    /// async code.
    pub(crate) fn send(
        &self,
        primary: &str,
        mut writes: Vec<DriftWrite>,
        events: Vec<What>,
    ) -> Result<(), DbError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        for what in events {
            let at_ms = now_ms();
            let event = Event { sequence: *next, at_ms, primary: primary.to_owned(), what };
            writes.push(DriftWrite::Event(EventRow {
                sequence: *next,
                name: primary.to_owned(),
                at_ms,
                line: serde_json::to_string(&event).unwrap_or_default(),
            }));
            *next += 1;
        }
        let committed = Some((Arc::clone(&self.committed), *next));
        self.writer.send(Write::Drift(DriftBatch { writes, committed }))
    }

    /// Does something while nothing is sent and everything that was is committed. Must not be
    /// called from async code.
    pub(crate) fn alone<T>(&self, what: impl FnOnce() -> T) -> Result<T, DbError> {
        let _still = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.writer.flush()?;
        Ok(what())
    }

    /// Waits until everything sent is committed. Must not be called from async code.
    pub(crate) fn flush(&self) -> Result<(), DbError> {
        self.writer.flush()
    }

    /// Changes when events were committed: to the number of the next one.
    pub(crate) fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}
