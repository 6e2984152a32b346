//! Where a build's events go, and its memory of steps: the database.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::watch;
use umbra_api::build::{BuildEvent, BuildInfo, BuildRequest, Event};
use umbra_build::{EventSink, StepCache, StepKey, TestKey};
use umbra_state::StateId;

use super::project::Projection;
use crate::clock::now_ms;
use crate::db::writer::EventWrite;
use crate::db::{Db, DbError, Write, Writer};
use crate::shadows::Registry;

/// Numbers a build's events, folds them into its row and queues both.
pub(super) struct Journal {
    writer: Arc<Writer>,
    registry: Arc<Registry>,
    began: Instant,
    committed: Arc<watch::Sender<u64>>,
    inner: Mutex<Inner>,
}

struct Inner {
    build: Projection,
    /// Until the first event or a successful start, nothing of the build is remembered.
    request: Option<BuildRequest>,
    next_seq: u64,
}

impl Journal {
    pub(super) fn new(
        info: BuildInfo,
        request: BuildRequest,
        writer: Arc<Writer>,
        registry: Arc<Registry>,
    ) -> Self {
        let inner = Inner { build: Projection::new(info), request: Some(request), next_seq: 0 };
        Self {
            writer,
            registry,
            began: Instant::now(),
            committed: Arc::new(watch::Sender::new(0)),
            inner: Mutex::new(inner),
        }
    }

    /// The build as its events so far tell it.
    pub(super) fn info(&self) -> BuildInfo {
        self.lock().build.info.clone()
    }

    /// Changes each time events are committed.
    pub(super) fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Wakes who follows, to see that the build no longer runs.
    pub(super) fn wake(&self) {
        self.committed.send_modify(|_| {});
    }

    /// Remembers that the build exists, if no event did.
    pub(super) fn begin(&self) {
        self.begin_locked(&mut self.lock());
    }

    fn begin_locked(&self, inner: &mut Inner) {
        if let Some(request) = inner.request.take() {
            self.send(Write::Build { info: inner.build.info.clone(), request });
        }
    }

    fn send(&self, write: Write) {
        // The writer has reported why it stopped, and the daemon's health shows it.
        if self.writer.send(write).is_err() {
            tracing::warn!("an event was not remembered: the database writer has stopped");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Journal {
    /// Order is kept because numbering and queueing happen under one lock. What comes after
    /// the end is refused.
    fn emit(&self, event: Event) {
        let mut inner = self.lock();
        if inner.build.info.phase.is_final() {
            tracing::warn!(?event, "an event came after the end of its build");
            return;
        }
        self.begin_locked(&mut inner);
        let event = finite(event);
        let effects = inner.build.on(&event, now_ms());
        if let Some((name, state)) = &effects.kept_shadow {
            self.registry.shows(name, *state);
        }
        let seq = inner.next_seq;
        let at_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let line = match serde_json::to_string(&BuildEvent { seq, at_us, event }) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "an event could not be written as JSON");
                return;
            }
        };
        inner.next_seq += 1;
        self.send(Write::Event(Box::new(EventWrite {
            seq,
            line,
            info: inner.build.info.clone(),
            step: effects.step,
            metrics: effects.metrics,
            sealed: effects.sealed,
            committed: Arc::clone(&self.committed),
        })));
    }
}

/// JSON has no infinity: a number that is none says nothing and is left out.
fn finite(mut event: Event) -> Event {
    if let Event::TestEnded { result, .. } = &mut event {
        result.metrics.retain(|metric| metric.value.is_finite());
    }
    event
}

/// The step cache in the database. Must be used from threads that may block.
pub(super) struct Memory {
    pub(super) db: Db,
    pub(super) writer: Arc<Writer>,
    pub(super) runtime: Handle,
}

impl Memory {
    /// A memory that cannot be read is an empty one: the step runs again, which is slow and
    /// right.
    fn read<T: Default>(&self, question: impl Future<Output = Result<T, DbError>>) -> T {
        let answer = self.writer.flush().and_then(|()| self.runtime.block_on(question));
        answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "the memory of steps could not be read");
            T::default()
        })
    }

    fn write(&self, write: Write) {
        if self.writer.send(write).is_err() {
            tracing::warn!("a step was not remembered: the database writer has stopped");
        }
    }
}

impl StepCache for Memory {
    fn get(&self, key: &StepKey) -> Option<StateId> {
        self.read(self.db.cached_step(key))
    }

    fn put(&self, key: &StepKey, state: StateId) {
        self.write(Write::Cache { key: key.clone(), state });
    }

    fn last(&self, image: &str, step: &str) -> Option<StepKey> {
        self.read(self.db.last_key(image, step))
    }

    fn passed(&self, key: &TestKey) -> bool {
        self.read(self.db.passed(key))
    }

    fn put_passed(&self, key: &TestKey) {
        self.write(Write::Passed(*key));
    }
}
