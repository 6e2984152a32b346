//! Builds of this daemon: starting, ending, asking, following.
//!
//! ```text
//! start --> running --(its thread sees the end, flushes its events)--> ended
//!              |                                                         |
//!              +-- cancel, answer                   a shadow it failed on is kept with it
//! ```
//!
//! A build that ended keeps the shadow it failed on until somebody removes that shadow, the
//! same image is built again, or the daemon ends.

mod memory;
pub mod ports;
mod project;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::watch;
use umbra_api::build::{Answer, BuildEvent, BuildInfo, BuildPhase, BuildRequest, Event, Figures};
use umbra_api::error::{ErrorCode, WireError};
use umbra_build::EventSink as _;
use umbra_state::Verdict;

use self::memory::{Journal, Memory};
use self::ports::{Builder, Running};
use crate::clock::now_ms;
use crate::db::writer::EventWrite;
use crate::db::{Db, DbError, Write, Writer};
use crate::shadows::Registry;

/// All builds.
pub struct Builds {
    db: Db,
    writer: Arc<Writer>,
    registry: Arc<Registry>,
    builder: Arc<dyn Builder>,
    runtime: Handle,
    inner: Mutex<Inner>,
    collected: Condvar,
}

struct Inner {
    next_id: u64,
    running: BTreeMap<u64, Active>,
    kept: BTreeMap<u64, Kept>,
    threads: Vec<JoinHandle<()>>,
    collecting: bool,
    closing: bool,
}

struct Active {
    build: Arc<dyn Running>,
    journal: Arc<Journal>,
}

struct Kept {
    image: String,
    /// Dropping it removes the shadow.
    _build: Arc<dyn Running>,
}

impl Builds {
    /// Builds over this database; the next gets the number `next_id`.
    pub fn new(
        db: Db,
        writer: Arc<Writer>,
        registry: Arc<Registry>,
        builder: Arc<dyn Builder>,
        runtime: Handle,
        next_id: u64,
    ) -> Self {
        let inner = Inner {
            next_id,
            running: BTreeMap::new(),
            kept: BTreeMap::new(),
            threads: Vec::new(),
            collecting: false,
            closing: false,
        };
        let collected = Condvar::new();
        Self { db, writer, registry, builder, runtime, inner: Mutex::new(inner), collected }
    }

    /// Starts a build. Blocking.
    pub fn start(self: &Arc<Self>, request: BuildRequest) -> Result<BuildInfo, WireError> {
        let id = self.take_id()?;
        let info = BuildInfo {
            id,
            name: file_stem(&request.recipe),
            recipe: request.recipe.clone(),
            phase: BuildPhase::Running,
            verdict: Verdict::Inconclusive,
            state: None,
            started_at_ms: now_ms(),
            ended_at_ms: None,
            reason: None,
        };
        let journal = Arc::new(Journal::new(
            info,
            request.clone(),
            Arc::clone(&self.writer),
            Arc::clone(&self.registry),
        ));
        let memory = Arc::new(Memory {
            db: self.db.clone(),
            writer: Arc::clone(&self.writer),
            runtime: self.runtime.clone(),
        });
        let build: Arc<dyn Running> =
            Arc::from(self.builder.start(id, request, journal.clone(), memory)?);
        journal.begin();
        self.admit(id, build, &journal)?;
        // A client that was told the number finds the build under it.
        self.writer.flush().map_err(|error| broken_database(&error))?;
        Ok(journal.info())
    }

    fn take_id(&self) -> Result<u64, WireError> {
        let mut inner = self.lock();
        while inner.collecting {
            inner = self.collected.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.closing {
            return Err(shutting_down());
        }
        let id = inner.next_id;
        inner.next_id += 1;
        Ok(id)
    }

    fn admit(
        self: &Arc<Self>,
        id: u64,
        build: Arc<dyn Running>,
        journal: &Arc<Journal>,
    ) -> Result<(), WireError> {
        let mut inner = self.lock();
        if inner.closing {
            drop(inner);
            drop(build);
            return Err(shutting_down());
        }
        let active = Active { build: Arc::clone(&build), journal: Arc::clone(journal) };
        inner.running.insert(id, active);
        let (builds, journal) = (Arc::clone(self), Arc::clone(journal));
        let thread = std::thread::Builder::new()
            .name(format!("umbra-build-{id}"))
            .spawn(move || builds.see_through(id, &build, &journal));
        match thread {
            Ok(thread) => {
                inner.threads.retain(|thread| !thread.is_finished());
                inner.threads.push(thread);
                Ok(())
            }
            Err(error) => {
                inner.running.remove(&id);
                Err(WireError::new(ErrorCode::Environment, "start a thread").caused_by(error))
            }
        }
    }

    /// Waits for a build's end and leaves it remembered and cleaned up.
    fn see_through(&self, id: u64, build: &Arc<dyn Running>, journal: &Journal) {
        let span = tracing::info_span!("build", id);
        let _entered = span.enter();
        tracing::info!(recipe = %journal.info().recipe, "build started");
        let phase = build.wait();
        if !journal.info().phase.is_final() {
            journal.emit(Event::Ended {
                phase: if phase.is_final() { phase } else { BuildPhase::Broken },
                verdict: journal.info().verdict.max(Verdict::Inconclusive),
                reason: Some("the build ended without saying how".into()),
                figures: Figures::default(),
            });
        }
        if let Err(error) = self.writer.flush() {
            tracing::error!(%error, "the end of a build was not remembered");
        }
        let info = journal.info();
        tracing::info!(phase = ?info.phase, verdict = %info.verdict, "build ended");
        let image = info.name;
        let mut inner = self.lock();
        let older: Vec<u64> =
            inner.kept.iter().filter(|(_, kept)| kept.image == image).map(|(id, _)| *id).collect();
        let replaced: Vec<Kept> = older.iter().filter_map(|id| inner.kept.remove(id)).collect();
        inner.running.remove(&id);
        if info.phase == BuildPhase::Halted && !inner.closing {
            inner.kept.insert(id, Kept { image, _build: Arc::clone(build) });
        }
        drop(inner);
        // Their streams end now, so that whoever saw one end finds the build ended.
        journal.wake();
        // Outside the lock: removing shadows takes its time.
        drop(replaced);
    }

    /// A build that runs, as it is now; `None` for one that does not.
    pub fn live(&self, id: u64) -> Option<BuildInfo> {
        self.lock().running.get(&id).map(|active| active.journal.info())
    }

    /// How many run.
    pub fn running_count(&self) -> u64 {
        self.lock().running.len() as u64
    }

    /// A receiver that changes when events of this running build are committed.
    pub fn committed(&self, id: u64) -> Option<watch::Receiver<u64>> {
        self.lock().running.get(&id).map(|active| active.journal.committed())
    }

    /// Asks a running build to end; false where it does not run.
    pub fn cancel(&self, id: u64) -> bool {
        let build = self.lock().running.get(&id).map(|active| Arc::clone(&active.build));
        build.is_some_and(|build| {
            build.cancel();
            true
        })
    }

    /// Answers a build; `None` where it does not run, false where it asked nothing.
    pub fn answer(&self, id: u64, answer: Answer) -> Option<bool> {
        let (build, phase) = {
            let inner = self.lock();
            let active = inner.running.get(&id)?;
            (Arc::clone(&active.build), active.journal.info().phase)
        };
        Some(phase == BuildPhase::Asking && build.answer(answer))
    }

    /// Lets go of a build that is kept for the shadow it failed on; blocks while that is
    /// removed.
    pub fn release(&self, id: u64) {
        let kept = self.lock().kept.remove(&id);
        drop(kept);
    }

    /// Runs `collect` while no build runs and none can begin.
    pub fn while_idle<T>(&self, collect: impl FnOnce() -> T) -> Result<T, WireError> {
        let mut inner = self.lock();
        if inner.collecting || !inner.running.is_empty() {
            let message = "collect while builds or another collection run";
            return Err(WireError::new(ErrorCode::Conflict, message)
                .with_hint("wait for them (umbra ls) and try again"));
        }
        inner.collecting = true;
        drop(inner);
        let _reset = Collecting(self);
        Ok(collect())
    }

    /// Refuses new builds, cancels the running ones, waits for their ends and removes what
    /// was kept. Blocking.
    pub fn close(&self) {
        let (running, kept, threads) = {
            let mut inner = self.lock();
            inner.closing = true;
            let running: Vec<_> =
                inner.running.values().map(|active| Arc::clone(&active.build)).collect();
            (running, std::mem::take(&mut inner.kept), std::mem::take(&mut inner.threads))
        };
        running.iter().for_each(|build| build.cancel());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a build's thread panicked");
            }
        }
        drop(kept);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Collecting<'a>(&'a Builds);

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        self.0.lock().collecting = false;
        self.0.collected.notify_all();
    }
}

/// Ends in the database the builds that a killed daemon left running; says which.
pub async fn bury_unfinished(db: &Db, writer: &Arc<Writer>) -> Result<Vec<u64>, DbError> {
    let mut buried = Vec::new();
    for mut info in db.unfinished_builds().await? {
        let last = db.last_event(info.id).await?;
        let (seq, at_us) = last.map_or((0, 0), |event| {
            let at_us = serde_json::from_str::<BuildEvent>(&event.line).map_or(0, |it| it.at_us);
            (event.seq + 1, at_us)
        });
        let reason = "the daemon ended without notice while the build ran".to_owned();
        info.phase = BuildPhase::Broken;
        info.verdict = info.verdict.max(Verdict::Inconclusive);
        info.reason = Some(reason.clone());
        info.ended_at_ms = Some(now_ms());
        let event = Event::Ended {
            phase: info.phase,
            verdict: info.verdict,
            reason: Some(reason),
            figures: Figures::default(),
        };
        buried.push(info.id);
        let write = EventWrite {
            seq,
            line: serde_json::to_string(&BuildEvent { seq, at_us, event }).unwrap_or_default(),
            info,
            step: None,
            metrics: Vec::new(),
            sealed: None,
            committed: Arc::new(watch::Sender::new(0)),
        };
        let writer = Arc::clone(writer);
        let sent = tokio::task::spawn_blocking(move || {
            writer.send(Write::Event(Box::new(write))).and_then(|()| writer.flush())
        });
        sent.await.map_err(|_| DbError::WriterGone)??;
    }
    Ok(buried)
}

/// The error every request gets while the daemon goes down.
pub fn shutting_down() -> WireError {
    WireError::new(ErrorCode::ShuttingDown, "begin anything new: the daemon is going down")
}

fn broken_database(error: &DbError) -> WireError {
    WireError::from_chain(ErrorCode::Environment, error)
}

/// What a build is called until its recipe was read.
fn file_stem(path: &str) -> String {
    let stem = std::path::Path::new(path).file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}
