//! The one thread that writes.
//!
//! ```text
//! builds, caches --bounded queue--> writer: take all that waits, at most BATCH_MAX
//!                                        -> one transaction -> commit
//!                                        -> tell the builds' followers, open the barriers
//! ```
//!
//! A full queue makes the senders wait: nothing is dropped. A commit that fails stops the
//! writer; everything sent afterwards is refused with [`DbError::WriterGone`] and the daemon
//! is not well ([`Writer::failure`]).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::watch;
use umbra_api::build::{BuildInfo, BuildRequest};
use umbra_build::{StepKey, TestKey};
use umbra_state::{Cause, StateId};

use super::drift::DriftBatch;
use super::rollouts::{RolloutBatch, RolloutWrite};
use super::{Db, DbError};
use crate::fault::Fault;

const QUEUE_MAX: usize = 1024;
const BATCH_MAX: usize = 512;

/// Something to remember.
#[derive(Debug)]
pub enum Write {
    /// A build that begins.
    Build {
        /// The build.
        info: BuildInfo,
        /// What was asked for.
        request: BuildRequest,
    },
    /// An event of a build, and what follows from it.
    Event(Box<EventWrite>),
    /// A step's result.
    Cache {
        /// What it depends on.
        key: StepKey,
        /// What it led to.
        state: StateId,
    },
    /// A test that passed.
    Passed(TestKey),
    /// What drift remembers.
    Drift(DriftBatch),
    /// What rollouts remember.
    Rollout(RolloutBatch),
}

/// An event with everything it changes, committed together.
#[derive(Debug)]
pub struct EventWrite {
    /// Its number within the build.
    pub seq: u64,
    /// It as a line of JSON, without the line's end.
    pub line: String,
    /// The build as it is after it.
    pub info: BuildInfo,
    /// A state that a step led to.
    pub step: Option<StepState>,
    /// Numbers a test measured.
    pub metrics: Vec<MetricRow>,
    /// An image that was sealed, with its timeline's new entries, oldest first.
    pub sealed: Option<SealedImage>,
    /// Told the next sequence number once this is committed.
    pub committed: Arc<watch::Sender<u64>>,
}

/// The state a step led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepState {
    /// Its position.
    pub step: usize,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: StateId,
}

/// A measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// After which step.
    pub step: String,
    /// By which test.
    pub test: String,
    /// Its name.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

/// An image and how it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedImage {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: StateId,
    /// What its timeline gets: every step, then the seal.
    pub entries: Vec<(StateId, Cause)>,
}

enum Message {
    Write(Box<Write>),
    Barrier(SyncSender<()>),
    Close,
}

/// The sending side. Shared by everything that writes.
#[derive(Debug)]
pub struct Writer {
    sender: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Writer {
    /// Starts the thread; it uses `runtime`, which must outlive it.
    pub fn start(db: Db, runtime: Handle) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let failure = Arc::new(Mutex::new(None));
        let reported = Arc::clone(&failure);
        let thread = std::thread::Builder::new().name("umbra-db".into()).spawn(move || {
            if let Err(error) = work(&db, &runtime, &receiver) {
                let chain = umbra_state::chain(&error);
                tracing::error!(error = %chain, "the database writer stopped");
                *reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(chain);
            }
        })?;
        Ok(Self { sender, thread: Mutex::new(Some(thread)), failure })
    }

    /// Queues a write; waits where the queue is full. Must not be called from async code.
    pub fn send(&self, write: Write) -> Result<(), DbError> {
        self.sender.send(Message::Write(Box::new(write))).map_err(|_| DbError::WriterGone)
    }

    /// Waits until everything queued before is committed. Must not be called from async code.
    pub fn flush(&self) -> Result<(), DbError> {
        let (done, wait) = sync_channel(1);
        self.sender.send(Message::Barrier(done)).map_err(|_| DbError::WriterGone)?;
        wait.recv().map_err(|_| DbError::WriterGone)
    }

    /// Why it stopped, if it did.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Commits what is queued and ends the thread. Must not be called from async code.
    pub fn close(&self) {
        // A writer that is gone needs no message.
        let _ = self.sender.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the database writer panicked");
        }
    }
}

fn work(db: &Db, runtime: &Handle, receiver: &Receiver<Message>) -> Result<(), DbError> {
    while let Ok(first) = receiver.recv() {
        let mut batch = Batch::default();
        let mut more = batch.take(first);
        while more && batch.writes.len() < BATCH_MAX {
            match receiver.try_recv() {
                Ok(message) => more = batch.take(message),
                Err(_) => break,
            }
        }
        runtime.block_on(batch.commit(db))?;
        if !more {
            break;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    barriers: Vec<SyncSender<()>>,
}

impl Batch {
    /// False where nothing follows.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Write(write) => self.writes.push(*write),
            Message::Barrier(done) => self.barriers.push(done),
            Message::Close => return false,
        }
        true
    }

    async fn commit(self, db: &Db) -> Result<(), DbError> {
        if !self.writes.is_empty() {
            db.record(&self.writes).await?;
        }
        if self.writes.iter().any(is_an_end) {
            db.sync().await?;
        }
        for write in &self.writes {
            match write {
                Write::Event(event) => drop(event.committed.send_replace(event.seq + 1)),
                Write::Drift(DriftBatch { committed: Some((told, next)), .. })
                | Write::Rollout(RolloutBatch { committed: Some((told, next)), .. }) => {
                    told.send_replace(*next);
                }
                _ => {}
            }
        }
        db.faults.hit(Fault::Told);
        for barrier in self.barriers {
            // Who does not wait any more needs no answer.
            let _ = barrier.send(());
        }
        Ok(())
    }
}

/// Whether somebody will rely on it for long.
fn is_an_end(write: &Write) -> bool {
    match write {
        Write::Event(event) => event.info.phase.is_final(),
        Write::Rollout(batch) => batch
            .writes
            .iter()
            .any(|write| matches!(write, RolloutWrite::Rollout(row) if !row.goes_on)),
        _ => false,
    }
}
