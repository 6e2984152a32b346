//! News of rollouts on their way to whom a rollout's `notify` names.
//!
//! ```text
//! desk ──> document for each sink ──> outbox ──> courier ──> sink
//!              rows, committed with      │          │
//!              what they tell of <───────┴──────────┘ delivered, or not
//! ```
//!
//! One outbox for all rollouts: one that is over still has news on their way. A document is handed
//! over after its row was sent to be committed, and its row goes when it has arrived: what a killed
//! daemon had under way is delivered again.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::config::Notify;
use umbra_drift::sink::outbox::{Change, Event, Limits, Outbox, Row};
use umbra_drift::sink::{Notice, Retry, Sink, SinkError};
use umbra_state::chain;

use super::plan::Plan;
use crate::clock::now_ms;
use crate::courier::Courier;
use crate::db::rollouts::{RolloutBatch, RolloutWrite};
use crate::db::{Db, DbError, Write, Writer};
use crate::primaries::outgoing::jitter;
use crate::primaries::sinks::{merged, sink};

const INBOX: usize = 256;
/// Documents under way to one sink.
const AT_ONCE: usize = 4;
/// Threads that deliver.
const COURIERS_MAX: usize = 8;
/// How often it is looked for what is due again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often what is too old is given up.
const CLEAN_EVERY: Duration = Duration::from_secs(60);
/// How long the end of the daemon waits for what is under way.
const LAST_DELIVERIES: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Mail {
    writer: Arc<Writer>,
    post: Mutex<Post>,
    inbox: SyncSender<Input>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Post {
    outbox: Outbox,
    sinks: BTreeMap<String, Arc<dyn Sink>>,
    /// The rollout each row tells of.
    rollouts: BTreeMap<u64, u64>,
}

enum Input {
    /// There is something new.
    Rung,
    /// A document has arrived, or not.
    Done(u64, Result<(), SinkError>),
    /// The daemon goes down.
    Close,
}

impl Mail {
    /// With what the database has.
    pub(super) async fn open(db: &Db, writer: Arc<Writer>) -> Result<Arc<Self>, WireError> {
        let (mut rows, mut rollouts, mut sinks) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for kept in db.rollout_outbox().await? {
            let Ok(row) = serde_json::from_str::<Row>(&kept.row) else {
                tracing::error!(rollout = kept.rollout, "news on their way cannot be read");
                continue;
            };
            if rollouts.values().all(|known| *known != kept.rollout) {
                sinks.extend(sinks_of(&notify_of(db, kept.rollout).await?));
            }
            rollouts.insert(row.id, kept.rollout);
            rows.push(row);
        }
        let outbox = Outbox::restore(rows, BTreeMap::new(), Limits::default());
        let (inbox, arrivals) = sync_channel(INBOX);
        let post = Mutex::new(Post { outbox, sinks, rollouts });
        let mail = Arc::new(Self { writer, post, inbox, thread: Mutex::default() });
        let carrying = Arc::clone(&mail);
        let thread = std::thread::Builder::new().name("umbra-mail".into());
        let thread = thread.spawn(move || carrying.carry(&arrivals)).map_err(|error| {
            WireError::new(ErrorCode::Environment, "start a thread").caused_by(error)
        })?;
        *mail.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(mail)
    }

    /// Commits what happened to a rollout together with what is told of it. Must not be called
    /// from async code.
    pub(super) fn send(
        &self,
        rollout: u64,
        notify: &[Notify],
        notices: &[Notice],
        mut batch: RolloutBatch,
    ) -> Result<(), DbError> {
        if notices.is_empty() || notify.is_empty() {
            return self.writer.send(Write::Rollout(batch));
        }
        let mut inner = self.lock();
        for (name, notify) in merged(notify) {
            for document in notices.iter().filter_map(|notice| notice.document(&notify)) {
                let sink = inner.sinks.entry(name.clone());
                sink.or_insert_with(|| crate::primaries::sinks::sink(&notify.target));
                let event = Event::Add { sink: name.clone(), document: Box::new(document) };
                let changes = inner.outbox.on(event, now_ms());
                batch.writes.extend(inner.keep(changes, Some(rollout)));
            }
        }
        // Under the lock: nothing is handed over whose row is not on its way.
        let sent = self.writer.send(Write::Rollout(batch));
        drop(inner);
        // One that is full is awake.
        let _ = self.inbox.try_send(Input::Rung);
        sent
    }

    /// Waits until everything sent is committed. Must not be called from async code.
    pub(super) fn flush(&self) -> Result<(), DbError> {
        self.writer.flush()
    }

    /// Waits a moment for what is under way. Blocking.
    pub(super) fn close(&self) {
        // One that is gone needs no message.
        let _ = self.inbox.send(Input::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("what carries news of rollouts panicked");
        }
    }

    fn carry(&self, arrivals: &Receiver<Input>) {
        let mut courier = Courier::new(self.inbox.clone(), COURIERS_MAX);
        let mut clean_at = Instant::now();
        loop {
            if Instant::now() >= clean_at {
                clean_at = Instant::now() + CLEAN_EVERY;
                self.commit(Event::Tick);
            }
            self.dispatch(&mut courier);
            match arrivals.recv_timeout(LOOK_EVERY) {
                Ok(Input::Done(id, result)) => {
                    courier.arrived();
                    self.on_done(id, result);
                }
                Ok(Input::Close) => break,
                Ok(Input::Rung) | Err(_) => {}
            }
        }
        let until = Instant::now() + LAST_DELIVERIES;
        while self.lock().outbox.under_way() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            match arrivals.recv_timeout(left) {
                Ok(Input::Done(id, result)) => self.on_done(id, result),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }

    fn on_done(&self, id: u64, result: Result<(), SinkError>) {
        let event = match result {
            Ok(()) => Event::Delivered { id },
            Err(error) => {
                tracing::warn!(error = %chain(&error), "news of a rollout have not arrived");
                Event::Failed { id, retry: error.retry(), jitter: jitter() }
            }
        };
        self.commit(event);
    }

    fn commit(&self, event: Event) {
        let mut inner = self.lock();
        let changes = inner.outbox.on(event, now_ms());
        let writes = inner.keep(changes, None);
        if writes.is_empty() {
            return;
        }
        let batch = RolloutBatch { writes, committed: None };
        // The writer has reported why it stopped; what is not remembered is delivered again.
        if self.writer.send(Write::Rollout(batch)).is_err() {
            tracing::warn!("a delivery was not remembered: the database writer has stopped");
        }
    }

    fn dispatch(&self, courier: &mut Courier<Input>) {
        let mut inner = self.lock();
        for row in inner.outbox.take(AT_ONCE, now_ms()) {
            let id = row.id;
            let handed = match inner.sinks.get(&row.sink).map(Arc::clone) {
                Some(sink) => {
                    courier.hand(move || Input::Done(id, sink.deliver(&row.document))).is_ok()
                }
                None => false,
            };
            if !handed {
                // The row is as it was, in memory and in the database.
                let later = Event::Failed { id, retry: Retry::Later, jitter: 1.0 };
                inner.outbox.on(later, now_ms());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    /// What the outbox wants kept, as rows; what it lost, aloud.
    fn keep(&mut self, changes: Vec<Change>, new: Option<u64>) -> Vec<RolloutWrite> {
        let mut writes = Vec::new();
        for change in changes {
            let (id, row) = match &change {
                Change::Insert(row) => (row.id, Some(row.as_ref())),
                Change::Update { id, .. } => (*id, self.outbox.row(*id)),
                Change::Delete { id } => (*id, None),
                Change::Lost { sink, cause, count } => {
                    tracing::warn!(
                        sink,
                        cause = cause.as_str(),
                        count,
                        "news of rollouts are lost"
                    );
                    continue;
                }
            };
            let known = self.rollouts.get(&id).copied().or(new);
            let rollout = known.unwrap_or_default();
            match row {
                Some(_) => self.rollouts.insert(id, rollout),
                None => self.rollouts.remove(&id),
            };
            let row = row.and_then(|row| serde_json::to_string(row).ok());
            writes.push(RolloutWrite::Outbox { id, rollout, row });
        }
        writes
    }
}

fn sinks_of(notify: &[Notify]) -> impl Iterator<Item = (String, Arc<dyn Sink>)> {
    merged(notify).into_iter().map(|(name, one)| (name, sink(&one.target)))
}

/// Whom a rollout tells; nobody, where it cannot be read any more.
async fn notify_of(db: &Db, rollout: u64) -> Result<Vec<Notify>, DbError> {
    let row = db.rollout(rollout).await?;
    let plan = row.and_then(|row| serde_json::from_str::<Plan>(&row.plan).ok());
    Ok(plan.map_or_else(Vec::new, |plan| plan.spec.notify))
}
