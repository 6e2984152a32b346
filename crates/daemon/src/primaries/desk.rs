//! One primary's desk: the thread at which everything about it arrives and is decided.
//!
//! ```text
//!  agent ──── told ────┐                       ┌──> rows and events, one transaction each
//!  people ─── do ──────┼──> desk: compare, ────┤
//!  time ──── (tick) ───┘    open, resolve      └──> answers, once they are committed
//! ```
//!
//! Nothing is shared: what others may know of a primary is copied to where they look.

mod forecast;
mod kept;
mod rehearsal;
mod rollback;
mod tasks;
mod unasked;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use umbra_api::error::WireError;
use umbra_drift::alert::{self, Book, Effect};
use umbra_drift::config::{Config, Provenance};
use umbra_drift::discrepancy::{Attribution, Discrepancy};
use umbra_drift::forecast::{Point, Rules};
use umbra_drift::metrics::LastCheck;
use umbra_drift::primary::{Circumstance, News, Primary};
use umbra_drift::reading::{Item, Reading, Snapshot};
use umbra_drift::service::{AgentInfo, Phase, PrimaryInfo, TakeShadow, What};
use umbra_drift::wire::{self, Begin, Covered, Tell};
use umbra_rehearse::Report as Rehearsed;

use self::forecast::Series;
use self::rehearsal::Rehearsals;
pub(super) use self::rehearsal::Wanted as RehearsalWanted;
use self::rollback::Undo;
pub(super) use self::rollback::Wanted;
pub(super) use self::tasks::{Answer, Task};
use self::unasked::Unasked;
use self::watched::Lost;
use super::agents::{Agents, There};
use super::counts::Counts;
use super::feed::Feed;
use super::line::{Line, Weight, Whom};
use super::outgoing::{Done, Led, Outgoing};
use super::subject::Stages;
use super::timeline::Timeline;
use crate::clock::now_ms;
use crate::db::Db;
use crate::db::drift::{ChangeRow, DriftWrite, PrimaryRow};

/// How often the desk looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// How often others see where a primary stands while more arrives: it is copied for them, which
/// costs too much to be done for each of many.
const PUBLISH: Duration = Duration::from_millis(100);

/// How much is told of which program an agent says it is.
const PROGRAM_CHARS_MAX: usize = 200;
/// Places of which it is kept how they are watched.
const COVERED_MAX: usize = 4_096;

/// How long the end waits for deliveries that are under way: one that it does not see the end of
/// is made again by the next daemon.
const LAST_DELIVERIES: Duration = Duration::from_millis(500);

/// What at a desk follows from time alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// How often numbers are kept for forecasts.
    pub every: Duration,
    /// How many of them a forecast needs.
    pub rules: Rules,
    /// How long a primary may be without its agent before people are told: one that is started
    /// again within it is nobody's business.
    pub grace: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (every, grace) = (Duration::from_secs(60), Duration::from_secs(10));
        Self { every, rules: Rules::default(), grace }
    }
}

/// What arrives.
pub(super) enum Input {
    /// An agent said something.
    Told {
        /// Which agent: one that was replaced does not matter any more.
        generation: u64,
        /// What.
        tell: Box<Tell>,
        /// Room that is made once it was looked at.
        weight: Weight,
    },
    /// An agent was started.
    Started {
        /// Which.
        generation: u64,
        /// Where it is, on another machine.
        there: Option<There>,
    },
    /// An agent is gone.
    Lost {
        /// Which.
        generation: u64,
        /// Why.
        why: String,
    },
    /// The courier has done something.
    Done(Done),
    /// A rehearsal is over.
    Rehearsed(Box<Result<Rehearsed, WireError>>),
    /// Somebody wants something.
    Do(Task),
}

/// What a desk is given.
pub(super) struct Given {
    pub(super) row: PrimaryRow,
    pub(super) config: Config,
    pub(super) state_dir: String,
    pub(super) db: Db,
    pub(super) runtime: Handle,
    pub(super) feed: Arc<Feed>,
    pub(super) agents: Arc<dyn Agents>,
    /// Where others look.
    pub(super) info: Arc<Mutex<PrimaryInfo>>,
    /// Its own inbox, for agents.
    pub(super) inbox: SyncSender<Input>,
    /// Told once everything was read for the first time, if it is a new primary.
    pub(super) added: Option<Answer<PrimaryInfo>>,
    /// What was copied to where it is before there was a desk.
    pub(super) copied_bytes: Option<u64>,
    /// The number of the next rollback, of any primary.
    pub(super) rollbacks: Arc<AtomicU64>,
    /// Where rehearsals are made.
    pub(super) stages: Arc<Stages>,
    /// How long things take that follow from time alone.
    pub(super) pace: Pace,
}

impl Given {
    fn next_rollback(&self) -> u64 {
        self.rollbacks.fetch_add(1, Ordering::Relaxed)
    }
}

/// One primary's desk.
pub(super) struct Desk {
    given: Given,
    timeline: Timeline,
    /// `None` until a new primary was read for the first time.
    primary: Option<Primary>,
    book: Book,
    line: Option<Line>,
    generation: u64,
    lost: Option<Lost>,
    /// Readings of an answer that is not complete.
    gathered: BTreeMap<Item, Reading>,
    /// Who waits for everything to be read again, and the question that has to be answered.
    waiting: Vec<(u64, Task)>,
    next_change: u64,
    counts: Counts,
    outgoing: Outgoing,
    /// When it was last looked whether a shadow is to be taken.
    looked_for_news_ms: i64,
    agent: Option<AgentInfo>,
    coverage: BTreeMap<Vec<u8>, Covered>,
    undo: Option<Undo>,
    unasked: Unasked,
    /// The older shadow a rollback goes back to.
    target: Option<Snapshot>,
    /// What the last rollback put back, until everything was read again.
    lately: BTreeSet<Item>,
    rehearsals: Rehearsals,
    series: Series,
}

impl Desk {
    /// A desk as the database knows it.
    pub(super) fn open(given: Given) -> Result<Self, WireError> {
        let (db, runtime, name) = (&given.db, &given.runtime, &given.row.name);
        let timeline = Timeline::load(db.clone(), runtime.clone(), name, &given.config.history)?;
        let lives = runtime.block_on(db.drift_lives(name))?;
        let lives = lives.iter().filter_map(|life| serde_json::from_str(life).ok());
        let book = Book::restore(lives);
        let next_change = runtime.block_on(db.next_drift_change(name))?;
        let primary = match given.added {
            Some(_) => None,
            None => {
                let good = timeline.snapshot(given.row.good)?;
                // What only soon will differ is the forecasts' to say, and that nobody watches
                // differs from nothing.
                let open = book.open().map(|alert| &alert.discrepancy);
                let open = open.filter(|one| !one.is_ahead() && one.why_unwatched().is_none());
                let open = open.cloned().collect();
                Some(Primary::new(&given.config, good, open))
            }
        };
        let counts = Counts::load(db, runtime, name)?;
        let (notify, inbox) = (&given.config.notify, given.inbox.clone());
        let outgoing = Outgoing::load(db, runtime, name, notify, &counts, inbox)?;
        let points = runtime.block_on(db.drift_points(name))?;
        let points = points.into_iter().filter_map(|(item, at_ms, value)| {
            Some((serde_json::from_str(&item).ok()?, Point { at_ms, value }))
        });
        let series = Series::new(points, &book);
        let mut desk = Self {
            given,
            timeline,
            primary,
            book,
            undo: None,
            unasked: Unasked::default(),
            target: None,
            lately: BTreeSet::new(),
            rehearsals: Rehearsals::default(),
            series,
            line: None,
            generation: 0,
            lost: None,
            gathered: BTreeMap::new(),
            waiting: Vec::new(),
            next_change,
            counts,
            outgoing,
            looked_for_news_ms: 0,
            agent: None,
            coverage: BTreeMap::new(),
        };
        desk.load_unasked()?;
        Ok(desk)
    }

    /// Works until the desk is closed.
    pub(super) fn work(mut self, inbox: &Receiver<Input>) {
        let mut done = self.start_agent();
        let mut tick_at = Instant::now();
        let mut publish_at = Instant::now();
        loop {
            if let Err(error) = done {
                // The database is gone, and with it everything this desk could promise.
                tracing::error!(primary = self.name(), %error, "a primary is not watched any more");
                break;
            }
            self.outgoing.dispatch(now_ms());
            let waiting = inbox.try_recv();
            if waiting.is_err() || publish_at <= Instant::now() {
                self.publish();
                publish_at = Instant::now() + PUBLISH;
            }
            let input = waiting
                .or_else(|_| inbox.recv_timeout(tick_at.saturating_duration_since(Instant::now())));
            done = match input {
                Ok(Input::Do(Task::Close)) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => {
                    // Whoever asks looks next, maybe as soon as there is an answer.
                    if matches!(input, Input::Do(_)) {
                        self.publish();
                        publish_at = Instant::now();
                    }
                    self.on_input(input)
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
            };
            // However much arrives.
            if tick_at <= Instant::now() {
                tick_at = Instant::now() + TICK;
                done = done.and_then(|()| self.on_tick());
            }
        }
        self.line = None;
        self.end(inbox);
    }

    fn on_input(&mut self, input: Input) -> Result<(), WireError> {
        match input {
            Input::Told { generation, tell, weight } => {
                let told = match generation == self.generation {
                    true => self.on_tell(*tell),
                    false => Ok(()),
                };
                drop(weight);
                told
            }
            Input::Started { generation, there } if generation == self.generation => {
                self.on_started(there)
            }
            Input::Lost { generation, why } if generation == self.generation => self.on_lost(&why),
            Input::Started { .. } | Input::Lost { .. } => Ok(()),
            Input::Done(done) => self.on_done(done),
            Input::Rehearsed(report) => self.on_rehearsed(*report),
            Input::Do(task) => self.on_task(task),
        }
    }

    fn on_done(&mut self, done: Done) -> Result<(), WireError> {
        let Led { writes, events } = self.outgoing.on_done(done, &mut self.counts, now_ms());
        self.commit(writes, Vec::new(), events)
    }

    /// Waits a moment for what is under way, and remembers what was counted.
    fn end(&mut self, inbox: &Receiver<Input>) {
        self.rehearsals = Rehearsals::default();
        let until = Instant::now() + LAST_DELIVERIES;
        while self.outgoing.under_way() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left) {
                // Where the database is gone there is nothing to remember it with; so it is below.
                Ok(Input::Done(done)) => drop(self.on_done(done)),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // Of a primary that never was there is nothing to remember.
        if self.primary.is_some() {
            let counts = self.counts.row().into_iter().collect();
            let _ = self.given.feed.send(self.name(), counts, Vec::new());
        }
    }

    fn name(&self) -> &str {
        &self.given.row.name
    }

    fn start_agent(&mut self) -> Result<(), WireError> {
        self.generation += 1;
        self.gathered.clear();
        let begin = Begin {
            version: wire::VERSION,
            root: self.given.row.root.clone(),
            config_name: self.given.row.config_path.clone().unwrap_or_else(|| "default".to_owned()),
            config: self.given.row.config.clone(),
            state_dir: self.given.state_dir.clone(),
        };
        let parameters = self.given.config.parameters.iter();
        let whom = Whom {
            agents: Arc::clone(&self.given.agents),
            at: self.given.row.remote.clone(),
            begin,
            parameters: parameters.map(|parameter| parameter.name.clone()).collect(),
        };
        match Line::open(whom, self.given.inbox.clone(), self.generation) {
            Ok(line) => {
                self.line = Some(line);
                Ok(())
            }
            Err(error) => self.on_lost(&format!("its agent cannot be started: {error}")),
        }
    }

    /// Its agent runs, and has said nothing yet.
    fn on_started(&mut self, there: Option<There>) -> Result<(), WireError> {
        let before = self.given.copied_bytes.take();
        let (path, copied_bytes) = match there {
            Some(There { path, copied_bytes }) => (Some(path), copied_bytes.or(before)),
            None => (None, None),
        };
        let copied = path.clone().zip(copied_bytes);
        self.agent = Some(AgentInfo { program: String::new(), path, copied_bytes });
        let event = copied.map(|(path, bytes)| What::AgentCopied { path, bytes });
        self.commit(Vec::new(), Vec::new(), event.into_iter().collect())
    }

    fn on_tick(&mut self) -> Result<(), WireError> {
        self.on_watch_tick()?;
        self.on_rollback_tick();
        self.take_when_due()?;
        let now_ms = now_ms();
        let effects = self.book.on(alert::Event::Tick, now_ms);
        let Led { writes, events } = self.outgoing.on_tick(&self.book, &mut self.counts, now_ms);
        self.commit(writes, effects, events)?;
        self.on_forecast_tick()?;
        self.on_unasked_tick()?;
        self.next_rehearsal()
    }

    /// A shadow by itself, if something changed since the newest.
    fn take_when_due(&mut self) -> Result<(), WireError> {
        let every = i64::try_from(self.given.config.history.every.as_millis()).unwrap_or(i64::MAX);
        let newest = self.timeline.newest_at_ms().unwrap_or(i64::MAX);
        if now_ms().saturating_sub(newest.max(self.looked_for_news_ms)) < every {
            return Ok(());
        }
        self.looked_for_news_ms = now_ms();
        let held = self.current().map(|current| self.given.config.held(current));
        let news = held.is_ok_and(|held| !self.timeline.is_newest(&held));
        if news { self.take(TakeShadow::default()).map(drop) } else { Ok(()) }
    }

    fn on_tell(&mut self, tell: Tell) -> Result<(), WireError> {
        match tell {
            Tell::Ready { program, .. } => {
                let program = program.chars().take(PROGRAM_CHARS_MAX).collect();
                if let Some(agent) = &mut self.agent {
                    agent.program = program;
                }
                if let Some(lost) = &mut self.lost {
                    lost.is_back = true;
                }
                Ok(())
            }
            Tell::Refused { why } => self.on_lost(&why),
            Tell::Alive { .. } | Tell::Surveyed(_) | Tell::Forgotten => Ok(()),
            Tell::All { number, readings, last } => {
                self.gathered.extend(readings);
                if last { self.on_all(number) } else { Ok(()) }
            }
            Tell::Changed { readings, attribution, provenance } => {
                let how = self.circumstance(attribution, provenance, now_ms());
                self.series.read(readings.iter().map(|(item, _)| item), how.at_ms);
                let Some(primary) = &mut self.primary else { return Ok(()) };
                let news = primary.on_readings(readings, &how);
                self.counts.looked(how.at_ms);
                self.on_news(news, &how, Vec::new(), Vec::new())
            }
            Tell::Receipt(receipt) => {
                self.counts.looked(now_ms());
                self.counts.count(|metrics| metrics.on_receipt(&receipt));
                self.counts.urge();
                self.commit(Vec::new(), Vec::new(), vec![What::Receipt(receipt)])
            }
            Tell::Coverage(covered) => {
                if self.coverage.len() >= COVERED_MAX && !self.coverage.contains_key(&covered.at.0)
                {
                    let why = format!("its agent watches more than {COVERED_MAX} places");
                    return self.on_lost(&why);
                }
                let news = self.coverage.insert(covered.at.0.clone(), covered.clone());
                let events = (news.as_ref() != Some(&covered)).then_some(What::Coverage(covered));
                self.commit(Vec::new(), Vec::new(), events.into_iter().collect())
            }
            Tell::Warning { what } => {
                self.commit(Vec::new(), Vec::new(), vec![What::Warning { sentence: what }])
            }
            Tell::Files { number, files } => self.on_files_told(number, files),
            Tell::RolledBack { id, outcome, left_ms, report, .. } => {
                self.on_rolled_back(&id, outcome, left_ms, *report)
            }
            Tell::Failed { number, why } => self.on_failed(number, &why),
        }
    }

    /// Those who wait for this answer or one before.
    fn answered(&mut self, number: u64) -> Vec<Task> {
        let waiting = std::mem::take(&mut self.waiting);
        let (answered, waiting): (Vec<_>, _) = waiting.into_iter().partition(|one| one.0 <= number);
        self.waiting = waiting;
        answered.into_iter().map(|(_, task)| task).collect()
    }

    /// Whose work it was decides whether it was to be expected.
    fn circumstance(
        &mut self,
        attribution: Option<Attribution>,
        provenance: Provenance,
        at_ms: i64,
    ) -> Circumstance {
        let policy = &self.given.config.policy.maintenance;
        let expected =
            attribution.as_ref().is_some_and(|change| self.counts.is_expected(policy, change));
        let provenance = if expected { Provenance::Expected } else { provenance };
        Circumstance { attribution, provenance, at_ms }
    }

    /// Everything was read, because of this question if there was one.
    fn on_all(&mut self, number: Option<u64>) -> Result<(), WireError> {
        let all = Snapshot { readings: std::mem::take(&mut self.gathered) };
        let at_ms = now_ms();
        self.series.read(all.readings.keys(), at_ms);
        let mut writes = Vec::new();
        let mut events = Vec::new();
        if self.primary.is_none() {
            let kept = self.keep_good(&all, self.captured())?;
            writes.push(DriftWrite::Primary(self.given.row.clone()));
            writes.extend(kept.writes);
            events.extend([What::Added { items: all.readings.len() as u64 }, kept.taken]);
            let (config, good) = (&self.given.config, self.given.config.held(&all));
            self.primary = Some(Primary::new(config, good, Vec::new()));
        }
        let looked_at_ms = self.counts.looked_at_ms();
        if self.lost.take().is_some() || looked_at_ms.is_none() {
            events.push(What::Watched);
        }
        // Who changed what since nobody looked is not known, only that it was since then.
        let attribution = looked_at_ms.map(|after_ms| Attribution {
            seen_at_ms: at_ms,
            after_ms: Some(after_ms),
            writers: Vec::new(),
            more_writers: 0,
        });
        let how = self.circumstance(attribution, Provenance::Unexplained, at_ms);
        let Some(primary) = &mut self.primary else { return Ok(()) };
        let news = primary.on_all(all, &how);
        let check = LastCheck {
            at_ms,
            items: primary.current().readings.len() as u64,
            drifted: primary.discrepancies().count() as u64,
            unread: primary.unknown().len() as u64,
        };
        self.counts.looked(at_ms);
        self.counts.count(|metrics| metrics.on_check(check));
        self.counts.urge();
        self.on_news(news, &how, writes, events)?;
        self.on_watched(at_ms)?;
        self.publish();
        if let Some(added) = self.given.added.take() {
            self.given.feed.flush()?;
            let info = self.given.info.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // Who asked may be gone.
            let _ = added.send(Ok(info));
        }
        for task in self.answered(number.unwrap_or(0)) {
            self.on_fresh(task)?;
        }
        Ok(())
    }

    /// Comparisons led to something.
    fn on_news(
        &mut self,
        news: News,
        how: &Circumstance,
        mut writes: Vec<DriftWrite>,
        events: Vec<What>,
    ) -> Result<(), WireError> {
        for change in &news.changes {
            writes.push(DriftWrite::Change(ChangeRow {
                name: self.name().to_owned(),
                sequence: self.next_change,
                parameter: change.item.parameter.clone(),
                at_ms: change.at_ms,
                change: serde_json::to_string(change).unwrap_or_default(),
            }));
            self.next_change += 1;
        }
        let mut effects = Vec::new();
        let differs = news.differs.clone();
        for discrepancy in news.differs {
            effects.extend(self.differing(discrepancy, how.attribution.clone(), how.at_ms));
        }
        for item in news.agrees {
            let ended = match self.was_rolled_back(&item) {
                true => alert::Ended::RolledBack,
                false => alert::Ended::Agrees,
            };
            effects.extend(self.resolved(item, ended, how.at_ms));
        }
        self.commit(writes, effects, events)?;
        self.on_drift(&differs)?;
        self.rehearse_drift(&differs)
    }

    fn differing(
        &mut self,
        discrepancy: Discrepancy,
        attribution: Option<Attribution>,
        at_ms: i64,
    ) -> Vec<Effect> {
        let differs = alert::Differs {
            primary: self.name().to_owned(),
            path: self.given.config.path_of(&discrepancy.item),
            discrepancy,
            attribution,
        };
        self.book.on(alert::Event::Differs(Box::new(differs)), at_ms)
    }

    fn resolved(&mut self, item: Item, ended: alert::Ended, at_ms: i64) -> Vec<Effect> {
        let primary = self.name().to_owned();
        self.book.on(alert::Event::Agrees { primary, item, ended }, at_ms)
    }

    /// Everything of one event, in one transaction.
    fn commit(
        &mut self,
        mut writes: Vec<DriftWrite>,
        effects: Vec<Effect>,
        mut events: Vec<What>,
    ) -> Result<(), WireError> {
        for effect in effects {
            match effect {
                Effect::Save(life) => writes.push(DriftWrite::Life {
                    name: self.name().to_owned(),
                    item: serde_json::to_string(&life.key.item).unwrap_or_default(),
                    life: serde_json::to_string(&life).ok(),
                }),
                Effect::Forget(key) => writes.push(DriftWrite::Life {
                    name: self.name().to_owned(),
                    item: serde_json::to_string(&key.item).unwrap_or_default(),
                    life: None,
                }),
                Effect::Tell(alert) => {
                    let led = self.outgoing.tell(&alert, &mut self.counts, now_ms());
                    writes.extend(led.writes);
                    events.push(What::Alert(alert));
                    events.extend(led.events);
                }
            }
        }
        // What there is of a primary that is not read yet begins with its row.
        writes.extend(self.primary.as_ref().and_then(|_| self.counts.due()));
        if writes.is_empty() && events.is_empty() {
            return Ok(());
        }
        Ok(self.given.feed.send(self.name(), writes, events)?)
    }

    /// Copies what others may know to where they look.
    fn publish(&self) {
        let mut info = self.given.info.lock().unwrap_or_else(PoisonError::into_inner);
        info.phase = match (&self.lost, &self.primary) {
            (Some(_), _) => Phase::Unwatched,
            (None, Some(primary)) if !primary.current().readings.is_empty() => Phase::Watched,
            _ => Phase::Starting,
        };
        info.why = self.lost.as_ref().map(|lost| lost.why.clone());
        info.items = self.items();
        info.shadows = self.timeline.len() as u64;
        info.good = self.given.row.good;
        let open = self.book.open_counts().iter().rev();
        info.open = open.map(|(severity, count)| (*severity, *count)).collect();
        info.unknown = self.primary.as_ref().map_or(0, |primary| primary.unknown().len() as u64);
        info.looked_at_ms = self.counts.looked_at_ms();
        info.agent = self.agent.clone();
        info.coverage = self.coverage.values().cloned().collect();
    }
}

/// How it is where nobody saw who did it.
fn unwitnessed(at_ms: i64) -> Circumstance {
    Circumstance { attribution: None, provenance: Provenance::Unexplained, at_ms }
}
