//! Alerts on their way to the sinks of one primary.
//!
//! ```text
//! alert ──> document for each sink ──> outbox ──> courier ──> sink
//!                                       ^  │         │
//!            rows, committed with the   │  └> rows   │ delivered, or not
//!            alert's own <──────────────┴────────────┘
//! ```
//!
//! A document is handed over after its row was sent to be committed, and its row goes when it
//! has arrived: what a killed daemon had under way is delivered again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::runtime::Handle;
use umbra_drift::alert::{Alert, Book};
use umbra_drift::config::{Dialect, Notify, Target};
use umbra_drift::metrics::Standing;
use umbra_drift::service::What;
use umbra_drift::sink::outbox::{Change, Event, Limits, Outbox, Row};
use umbra_drift::sink::{
    Document, Http, REFRESH_MS, Retry, Sink, SinkError, again, document, wants,
};
use umbra_state::chain;

use super::counts::Counts;
use super::desk::Input;
use super::sinks::{Poster, merged, sink};
use crate::courier::Courier;
use crate::db::drift::DriftWrite;
use crate::db::{Db, DbError};

/// Documents under way to one sink.
const AT_ONCE: usize = 4;
/// Threads that deliver.
const COURIERS_MAX: usize = 8;
/// How often what is too old is given up.
const CLEAN_EVERY_MS: i64 = 60_000;

/// What became of a job of the courier.
pub(super) enum Done {
    /// Of a document.
    Document {
        /// Its row.
        id: u64,
        /// Whether it has arrived.
        result: Result<(), SinkError>,
    },
    /// Of telling an Alertmanager again what is open; the next time tells the same.
    Refresh,
}

/// What is to be committed because of something.
#[derive(Default)]
pub(super) struct Led {
    pub(super) writes: Vec<DriftWrite>,
    pub(super) events: Vec<What>,
}

/// Everything on its way.
pub(super) struct Outgoing {
    name: String,
    notify: BTreeMap<String, Notify>,
    sinks: BTreeMap<String, Arc<dyn Sink>>,
    managers: Vec<(Notify, Arc<Http<Poster>>)>,
    outbox: Outbox,
    courier: Courier<Input>,
    /// Sinks whose last delivery failed, which was told.
    failing: BTreeSet<String>,
    refreshing: usize,
    refresh_at_ms: i64,
    clean_at_ms: i64,
}

impl Outgoing {
    /// With what the database has. Blocking.
    pub(super) fn load(
        db: &Db,
        runtime: &Handle,
        name: &str,
        notify: &[Notify],
        counts: &Counts,
        inbox: SyncSender<Input>,
    ) -> Result<Self, DbError> {
        let rows = runtime.block_on(db.drift_outbox(name))?;
        let rows = rows.iter().filter_map(|row| match serde_json::from_str::<Row>(row) {
            Ok(row) => Some(row),
            Err(error) => {
                tracing::error!(primary = name, %error, "an alert on its way cannot be read");
                None
            }
        });
        let notify = merged(notify);
        let managers = notify.values().filter_map(|one| match &one.target {
            Target::Http { dialect: Dialect::Alertmanager, url, token } => {
                let (url, token) = (url.clone(), token.clone());
                let http = Http::new(Dialect::Alertmanager, url, token, Poster);
                Some((one.clone(), Arc::new(http)))
            }
            _ => None,
        });
        Ok(Self {
            name: name.to_owned(),
            sinks: notify.iter().map(|(name, one)| (name.clone(), sink(&one.target))).collect(),
            managers: managers.collect(),
            outbox: Outbox::restore(rows, counts.losses(), Limits::default()),
            courier: Courier::new(inbox, COURIERS_MAX),
            failing: BTreeSet::new(),
            refreshing: 0,
            // At once: it is not known how long nobody told what is open.
            refresh_at_ms: 0,
            clean_at_ms: 0,
            notify,
        })
    }

    /// An alert is told.
    pub(super) fn tell(&mut self, alert: &Alert, counts: &mut Counts, now_ms: i64) -> Led {
        counts.count(|metrics| metrics.on_alert(alert));
        let documents = self.notify.iter().filter_map(|(name, notify)| {
            Some((name.clone(), Box::new(document(notify, alert, None)?)))
        });
        let documents: Vec<(String, Box<Document>)> = documents.collect();
        let mut led = Led::default();
        for (sink, document) in documents {
            let changes = self.outbox.on(Event::Add { sink, document }, now_ms);
            self.keep(changes, counts, &mut led);
        }
        led
    }

    /// The courier has done something.
    pub(super) fn on_done(&mut self, done: Done, counts: &mut Counts, now_ms: i64) -> Led {
        self.courier.arrived();
        let mut led = Led::default();
        let Done::Document { id, result } = done else {
            self.refreshing = self.refreshing.saturating_sub(1);
            return led;
        };
        let Some(sink) = self.outbox.row(id).map(|row| row.sink.clone()) else { return led };
        counts.count(|metrics| metrics.on_delivery(&sink, result.is_ok()));
        let event = match result {
            Ok(()) => {
                self.failing.remove(&sink);
                Event::Delivered { id }
            }
            Err(error) => {
                let retry = error.retry();
                if retry == Retry::Later && self.failing.insert(sink.clone()) {
                    let sentence = format!(
                        "alerts do not reach {sink} and will be sent again: failed to {}",
                        chain(&error)
                    );
                    led.events.push(What::Warning { sentence });
                }
                Event::Failed { id, retry, jitter: jitter() }
            }
        };
        let changes = self.outbox.on(event, now_ms);
        self.keep(changes, counts, &mut led);
        led
    }

    /// Time passed.
    pub(super) fn on_tick(&mut self, book: &Book, counts: &mut Counts, now_ms: i64) -> Led {
        let mut led = Led::default();
        if now_ms >= self.clean_at_ms {
            self.clean_at_ms = now_ms.saturating_add(CLEAN_EVERY_MS);
            let names = self.notify.keys().cloned().collect();
            for event in [Event::Sinks { names }, Event::Tick] {
                let changes = self.outbox.on(event, now_ms);
                self.keep(changes, counts, &mut led);
            }
        }
        if now_ms >= self.refresh_at_ms && self.refreshing == 0 {
            self.refresh_at_ms = now_ms.saturating_add(REFRESH_MS);
            self.refresh(book, now_ms);
        }
        led
    }

    /// Hands over what is due. What it is about was sent to be committed before.
    pub(super) fn dispatch(&mut self, now_ms: i64) {
        for row in self.outbox.take(AT_ONCE, now_ms) {
            let Some(sink) = self.sinks.get(&row.sink).map(Arc::clone) else { continue };
            let id = row.id;
            let deliver =
                move || Input::Done(Done::Document { id, result: sink.deliver(&row.document) });
            if let Err(error) = self.courier.hand(deliver) {
                tracing::error!(primary = self.name, %error, "no thread delivers alerts");
                // The row is as it was, in memory and in the database.
                self.outbox.on(Event::Failed { id, retry: Retry::Later, jitter: 1.0 }, now_ms);
            }
        }
    }

    /// How many documents are under way.
    pub(super) fn under_way(&self) -> usize {
        self.outbox.under_way()
    }

    /// How the primary stands.
    pub(super) fn standing(&self, counts: &Counts, book: &Book) -> Standing {
        Standing::of(&self.name, counts.metrics().clone(), book, &self.outbox)
    }

    /// Tells each Alertmanager again what is open: it forgets what is not.
    fn refresh(&mut self, book: &Book, now_ms: i64) {
        for (notify, http) in &self.managers {
            let open = book.open().filter(|alert| wants(notify, alert));
            let bodies = again(open, None, now_ms);
            if bodies.is_empty() {
                continue;
            }
            let http = Arc::clone(http);
            let tell = move || {
                let failed = bodies.iter().find_map(|body| http.send(body.as_bytes()).err());
                if let Some(error) = failed {
                    tracing::warn!(error = %chain(&error), "an Alertmanager is not told again");
                }
                Input::Done(Done::Refresh)
            };
            if self.courier.hand(tell).is_ok() {
                self.refreshing += 1;
            }
        }
    }

    /// What the outbox wants kept, as rows; what it lost, aloud.
    fn keep(&self, changes: Vec<Change>, counts: &mut Counts, led: &mut Led) {
        let row = |id, row: Option<&Row>| DriftWrite::Outbox {
            name: self.name.clone(),
            id,
            row: row.and_then(|row| serde_json::to_string(row).ok()),
        };
        for change in changes {
            counts.count(|metrics| metrics.on_change(&change));
            match change {
                Change::Insert(new) => led.writes.push(row(new.id, Some(&new))),
                Change::Update { id, .. } => led.writes.push(row(id, self.outbox.row(id))),
                Change::Delete { id } => led.writes.push(row(id, None)),
                Change::Lost { sink, cause, count } => {
                    counts.lost(&sink, cause, count);
                    // The first, the tenth, the hundredth: aloud, but no storm of its own.
                    if count > 0 && 10_u64.pow(count.ilog10()) == count {
                        let cause = cause.as_str();
                        let sentence =
                            format!("alerts to {sink} are lost ({cause}): {count} so far");
                        led.events.push(What::Warning { sentence });
                    }
                }
            }
        }
    }
}

/// From 0 to 1.
pub(crate) fn jitter() -> f64 {
    let random = RandomState::new().hash_one(());
    f64::from(random as u32) / f64::from(u32::MAX)
}
