//! Where everything about one rollout arrives: it owns the controller and has done what that
//! asks for.
//!
//! ```text
//!  gateway ──(looked at)──┐                      ┌──> committed: controller, events, news
//!  jobs, done or failed ──┼──> event ──> controller ──> then done: gateway, instances, others
//!  people, time ──────────┘
//! ```
//!
//! What is to be done is done after it is committed that it is: a daemon that is killed in between
//! is followed by one that asks the controller what is left ([`Event::Resumed`]).

mod deeds;
mod patrol;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::rollout::{Happened, InstancePhase, RolloutStatus, Told};
use umbra_gateway::split::wire::{JournalStatus, SplitStatus};
use umbra_rollout::controller::{Controller, Effect, Event, Role, Winner};

use super::ending;
use super::inbox::{Answer, Input, Lane, Look, News};
use super::ledger::{Ledger, Waiting};
use super::made::{Held, Made};
use super::mail::Mail;
use super::notice;
use super::plan::Plan;
use super::seen;
use super::status;
use super::steer;
use super::tools::Tools;
use super::watch::Watch;
use crate::clock::now_ms;
use crate::courier::Courier;
use crate::db::DbError;
use crate::db::rollouts::RolloutRow;

/// How often time counts.
const TICK: Duration = Duration::from_secs(1);
/// How often people who follow are told how it stands, if that changed.
const STANDING_EVERY: Duration = Duration::from_secs(1);
/// Measurements, calls and the like at once.
const OTHERS_MAX: usize = 8;

/// What others may know of a rollout.
pub(super) struct Shared {
    /// How it stands, as far as it is committed.
    pub(super) status: Mutex<RolloutStatus>,
    /// The number of its next event, told when those before are committed.
    pub(super) committed: Arc<watch::Sender<u64>>,
    /// Nobody is at the desk any more.
    pub(super) over: AtomicBool,
}

/// At the end, however that comes, jobs are given up and who follows is woken.
struct Leaving(Arc<AtomicBool>, Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        self.1.over.store(true, Ordering::SeqCst);
        self.1.committed.send_modify(|_| {});
    }
}

/// What a desk is given.
pub(super) struct Given {
    /// Its row, as it was kept last.
    pub(super) row: RolloutRow,
    /// What everybody has at hand.
    pub(super) tools: Tools,
    /// Where its news go.
    pub(super) mail: Arc<Mail>,
    /// What others may know.
    pub(super) shared: Arc<Shared>,
    /// The number of its next event.
    pub(super) next_event: u64,
}

/// See the module.
pub(super) struct Desk {
    tools: Tools,
    ledger: Ledger,
    shared: Arc<Shared>,
    controller: Controller,
    made: Made,
    split: Option<SplitStatus>,
    watch: Option<Watch>,
    gate: Courier<Input>,
    hands: Courier<Input>,
    others: Courier<Input>,
    /// Told to those who start instances of a role, when they are to be stopped.
    unwanted: BTreeMap<Role, Arc<AtomicBool>>,
    stopping: Vec<Role>,
    patrolled: Instant,
    patrolling: bool,
    told: (Instant, Option<RolloutStatus>),
}

impl Desk {
    /// With what was kept of it.
    pub(super) fn new(given: Given, controller: Controller, made: Made) -> Self {
        let Given { row, tools, mail, shared, next_event } = given;
        let committed = Arc::clone(&shared.committed);
        let notify = tools.plan.spec.notify.clone();
        let inbox = || tools.inbox.clone();
        let (gate, hands) = (Courier::new(inbox(), 1), Courier::new(inbox(), 1));
        let others = Courier::new(inbox(), OTHERS_MAX);
        let now = Instant::now();
        Self {
            ledger: Ledger {
                row,
                mail,
                notify,
                next_event,
                committed,
                waiting: Waiting::default(),
            },
            tools,
            shared,
            controller,
            made,
            split: None,
            watch: None,
            gate,
            hands,
            others,
            unwanted: BTreeMap::new(),
            stopping: Vec::new(),
            patrolled: now,
            patrolling: false,
            told: (now, None),
        }
    }

    /// Until it is over or the daemon ends. `first` is what it begins with.
    pub(super) fn run(mut self, inbox: &Receiver<Input>, first: Event) {
        let _leaving = Leaving(Arc::clone(&self.tools.ended), Arc::clone(&self.shared));
        if let Err(error) = self.work(inbox, first) {
            // The daemon's health shows why. The gateway judges on, and the next daemon goes on.
            tracing::error!(rollout = self.tools.id, %error, "a rollout is not looked after");
        }
    }

    fn work(&mut self, inbox: &Receiver<Input>, first: Event) -> Result<(), DbError> {
        if self.made.journal.is_some() && self.made.winner.is_none() {
            self.begin_to_watch();
            // The last daemon may have been killed between knowing that one moved and saying so.
            [Role::Candidate, Role::Control].into_iter().for_each(|role| self.aim(role));
        }
        if first == Event::Begin {
            for remark in &self.tools.plan.remarks {
                self.ledger.happened(Happened::Warning { sentence: remark.clone() });
            }
        }
        self.on(first)?;
        let mut tick = Instant::now() + TICK;
        while !self.controller.is_over() {
            match inbox.recv_timeout(tick.saturating_duration_since(Instant::now())) {
                Ok(Input::Close) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(input) => self.on_input(input)?,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= tick {
                tick = Instant::now() + TICK;
                self.on(Event::Tick)?;
                self.patrol();
            }
        }
        Ok(())
    }

    fn on_input(&mut self, input: Input) -> Result<(), DbError> {
        match input {
            Input::Did { lane, news } => {
                match lane {
                    Lane::Gate => self.gate.arrived(),
                    Lane::Instances => self.hands.arrived(),
                    Lane::Rest => self.others.arrived(),
                }
                news.into_iter().try_for_each(|news| self.on_news(news))
            }
            Input::News(news) => self.on_news(news),
            Input::Looked(look) => self.on_look(look),
            Input::Told(told, answer) => self.on_told(told, answer),
            Input::Close => Ok(()),
        }
    }

    fn on_news(&mut self, news: News) -> Result<(), DbError> {
        match news {
            News::Event(event) => self.on(*event),
            News::Happened(what) => {
                self.ledger.happened(*what);
                self.commit(&[])
            }
            News::Begun(journal) => {
                self.made.journal = Some(journal);
                self.begin_to_watch();
                self.on(Event::SplitBegun)
            }
            News::Assigned => {
                self.on(Event::SplitBegun)?;
                self.on_gone(Winner::Candidate)
            }
            News::Gone(targets) => self.on_gone(self.serves(&targets)),
            News::Ended(winner) => {
                self.settle(winner);
                self.on(Event::SplitEnded)
            }
            News::Instance { role, held, why } => {
                if self.made.note(role, held.clone()) {
                    self.ledger.happened(status::instance(role, &held, why));
                    self.commit(&[])?;
                }
                Ok(())
            }
            News::Previous(held) => {
                if let Some(known) = self.made.previous.iter_mut().find(|one| one.name == held.name)
                {
                    *known = held.clone();
                    self.ledger.happened(status::previous(&held));
                    self.commit(&[])?;
                }
                Ok(())
            }
            News::Unlisted => {
                self.patrolling = false;
                Ok(())
            }
            News::Listed(all) => {
                self.patrolling = false;
                [Role::Candidate, Role::Control]
                    .into_iter()
                    .try_for_each(|role| self.on_listed(role, &all))
            }
        }
    }

    /// All requests are the winner's from now on.
    fn settle(&mut self, winner: Winner) {
        self.watch = None;
        self.made.winner = Some(winner);
        if winner == Winner::Candidate {
            let now_ms = now_ms();
            self.made.exposed_at_ms.get_or_insert(now_ms);
            self.ledger.waiting.service = Some(ending::record(&self.tools, &self.made, now_ms));
        }
    }

    /// They are, and there is no split.
    fn on_gone(&mut self, serves: Winner) -> Result<(), DbError> {
        self.settle(serves);
        self.on(Event::SplitGone { serves })
    }

    fn on_look(&mut self, look: Look) -> Result<(), DbError> {
        if self.watch.is_none() {
            // It was under way when the split ended.
            return Ok(());
        }
        match look {
            Look::Split(split, compared) => {
                self.note_journal(&split.journal);
                let seen = seen::seen(&split, compared);
                self.made.journal = Some(split.journal.path.clone());
                self.split = Some(*split);
                self.on(Event::SplitSeen(seen))
            }
            Look::Lost(why) => self.on(Event::SplitLost { why }),
            Look::Nothing(targets) => self.on_gone(self.serves(&targets)),
        }
    }

    /// People who will want to judge it again have to know what that will not be of.
    fn note_journal(&mut self, journal: &JournalStatus) {
        let before = self.split.as_ref().and_then(|split| split.journal.problem.as_ref());
        if let Some(problem) = journal.problem.as_ref().filter(|now| Some(*now) != before) {
            let sentence = format!(
                "it is judged on, but outcomes are not kept any more to be judged again: {problem}"
            );
            self.ledger.happened(Happened::Warning { sentence });
        }
    }

    /// Who serves where a route leads to these targets. Whether the candidate's instances are well
    /// is no part of it: what may serve must not be stopped.
    fn serves(&self, targets: &[Target]) -> Winner {
        let is_candidates =
            |target: &Target| self.made.candidate.iter().any(|one| one.to == target.to);
        match self.tools.plan.baseline.is_at(targets) {
            false if targets.iter().any(is_candidates) => Winner::Candidate,
            _ => Winner::Baseline,
        }
    }

    fn on_told(&mut self, told: Told, answer: Answer) -> Result<(), DbError> {
        let done = self.on(Event::Told(told));
        let reply = match &done {
            Ok(()) => Ok(self.status()),
            Err(error) => Err(WireError::from_chain(ErrorCode::Environment, error)),
        };
        // Who asked may be gone.
        let _ = answer.send(reply);
        done
    }

    /// One event: what follows is committed, and then done.
    fn on(&mut self, event: Event) -> Result<(), DbError> {
        let before = self.controller.phase();
        let (controller, effects) = self.controller.clone().on(event, now_ms());
        self.controller = controller;
        let (mut alerts, mut deeds) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Record(what) => {
                    ending::note(&mut self.made, self.split.as_ref(), &what, now_ms());
                    self.ledger.happened(what);
                }
                Effect::Alert(alert) => alerts.push(alert),
                deed => deeds.push(deed),
            }
        }
        let over = self.controller.is_over() && !before.is_over();
        if over {
            self.ledger.waiting.growth = ending::growth(&self.tools, &self.made, now_ms());
        }
        self.commit(&alerts)?;
        deeds.into_iter().for_each(|deed| self.do_(deed));
        Ok(())
    }

    /// Keeps how everything is now, if anything is other than it was.
    fn commit(&mut self, alerts: &[umbra_rollout::controller::Alert]) -> Result<(), DbError> {
        let status = self.current();
        self.watch.iter().for_each(|watch| watch.mirrors(status.mirror_percent > 0.0));
        let is_news = self.told.1.as_ref() != Some(&status);
        let is_due = self.told.0.elapsed() >= STANDING_EVERY || self.controller.is_over();
        if is_news && is_due {
            self.ledger.standing(&status);
            self.told = (Instant::now(), Some(status.clone()));
        }
        let told = alerts.iter().map(|alert| {
            self.made.told += 1;
            notice::notice(&status, alert, self.made.told, now_ms())
        });
        let notices: Vec<_> = told.collect();
        self.ledger.commit(&self.controller, &self.made, &status, &notices)?;
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        Ok(())
    }

    fn current(&self) -> RolloutStatus {
        status::status(&self.tools, &self.controller, &self.made, self.split.as_ref())
    }

    fn status(&self) -> RolloutStatus {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin_to_watch(&mut self) {
        if self.watch.is_some() {
            return;
        }
        let mirror = steer::mirror_of(&self.tools.plan.spec.service, None);
        match Watch::begin(self.tools.gate.clone(), mirror, self.tools.inbox.clone()) {
            Ok(watch) => self.watch = Some(watch),
            // The controller holds: it sees nothing.
            Err(error) => {
                tracing::error!(rollout = self.tools.id, %error, "no thread looks at a split")
            }
        }
    }
}

type Target = umbra_gateway::routes::setup::TargetSetup;

/// A plan's words for what served before, as far as we run it.
pub(super) fn previous(plan: &Plan) -> Vec<Held> {
    let names = plan.baseline.instances.iter().zip(&plan.baseline.targets);
    let held = names.map(|(name, target)| Held {
        name: Some(name.clone()),
        to: target.to.clone(),
        phase: InstancePhase::Ready,
    });
    held.collect()
}

/// Whom a desk answers with.
pub(super) fn inbox() -> (SyncSender<Input>, Receiver<Input>) {
    std::sync::mpsc::sync_channel(INBOX)
}

/// What waits at a desk; who brings more waits.
const INBOX: usize = 256;
