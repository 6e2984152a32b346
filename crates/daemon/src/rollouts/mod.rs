//! Rollouts: each has a desk on a thread of its own, which owns its controller.
//!
//! ```text
//! start --> (plan) --> desk: committed, then done, again and again --> over
//!                        ^                                     |
//!                        └── the daemon ends; the next one goes on where it was
//! ```
//!
//! The gateway judges and takes a worse candidate's requests away by itself, whether or not a
//! daemon lives; here everything else happens. At most one rollout of a service goes on at a time.
//!
//! | module | holds |
//! |---|---|
//! | `start`, `plan` | from what is asked for to what it goes by |
//! | `desk`, `inbox` | where everything about one arrives, and is handed to whoever does it |
//! | `ledger` | what is kept of it, step by step |
//! | `made` | what it has made in the world |
//! | `tools` | what its jobs have at hand |
//! | `steer`, `gate`, `settings` | what the gateway is told |
//! | `watch`, `seen` | how the gateway's split stands |
//! | `staff`, `probe` | instances: started, looked at, warmed up, stopped |
//! | `others` | measurements, webhooks, requests of our own |
//! | `status`, `notice`, `mail` | what people are shown and told |
//! | `ending` | what is left of it: the service, its timeline |

mod desk;
mod ending;
mod gate;
mod inbox;
mod ledger;
mod made;
mod mail;
mod notice;
mod others;
mod plan;
mod probe;
mod seen;
mod settings;
mod staff;
mod start;
mod status;
mod steer;
mod tools;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch as told};
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::rollout::{
    Happened, RolloutEvent, RolloutPhase, RolloutStatus, ServiceInfo, ServingInfo, StartRollout,
    Told,
};
use umbra_rollout::controller::{Controller, Event};
use umbra_state::escape;

use self::desk::{Desk, Given, Shared};
use self::gate::Gate;
use self::inbox::Input;
use self::made::Made;
use self::mail::Mail;
use self::plan::{Plan, Record, Serving};
use self::tools::Tools;
use crate::builds::shutting_down;
use crate::clock::now_ms;
use crate::db::rollouts::{
    EventKind, EventRow, RolloutBatch, RolloutRow, RolloutWrite, ServiceRow,
};
use crate::db::{Db, Write, Writer};
use crate::instances::Instances;
use crate::states::States;

/// Of so many rollouts it is kept what was judged, to be replayed.
const KEPT: u64 = 50;

/// All rollouts.
pub struct Rollouts {
    db: Db,
    writer: Arc<Writer>,
    runtime: Handle,
    states: States,
    instances: Arc<dyn Instances>,
    /// Where the daemon keeps its things.
    state_dir: PathBuf,
    mail: Arc<Mail>,
    desks: Mutex<Desks>,
}

struct Desks {
    next_id: u64,
    going_on: BTreeMap<u64, Kept>,
    /// Services of which a rollout is just being begun.
    beginning: Vec<String>,
    closing: bool,
}

struct Kept {
    service: String,
    inbox: SyncSender<Input>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A rollout as Prometheus sees it.
pub struct Gauge {
    /// Of which service.
    pub service: String,
    /// How it stands.
    pub status: RolloutStatus,
}

impl Rollouts {
    /// All the database knows. Those that go on do so at their desks, once [`Self::resume`] says
    /// so.
    pub(crate) async fn open(
        db: Db,
        writer: Arc<Writer>,
        states: States,
        instances: Arc<dyn Instances>,
        state_dir: PathBuf,
    ) -> Result<Self, WireError> {
        let mail = Mail::open(&db, Arc::clone(&writer)).await?;
        let next_id = db.next_rollout().await?;
        let (going_on, beginning, closing) = (BTreeMap::new(), Vec::new(), false);
        let desks = Mutex::new(Desks { next_id, going_on, beginning, closing });
        let runtime = Handle::current();
        Ok(Self { db, writer, runtime, states, instances, state_dir, mail, desks })
    }

    /// Goes on with every rollout the last daemon left. A sentence for each. Blocking.
    pub(crate) fn resume(self: &Arc<Self>) -> Result<Vec<String>, WireError> {
        let rows = self.runtime.block_on(self.db.rollouts_that_go_on())?;
        let mut notes = Vec::new();
        for row in rows {
            let (id, service) = (row.id, row.service.clone());
            match read(&row) {
                Ok((plan, controller, made)) => {
                    let first = first(&plan, &controller);
                    self.seat(row, plan, controller, made, first)?;
                    notes.push(format!("rollout {id} of {service} goes on"));
                }
                Err(why) => {
                    self.bury(row, &why)?;
                    notes.push(format!("rollout {id} of {service} cannot go on: {why}"));
                }
            }
        }
        Ok(notes)
    }

    /// Starts a rollout. Blocking.
    pub fn start(self: &Arc<Self>, request: StartRollout) -> Result<RolloutStatus, WireError> {
        let id = self.reserve(&request.service)?;
        let begun = self.begin(id, request.clone(), None);
        self.lock().beginning.retain(|service| *service != request.service);
        begun
    }

    /// A number for a rollout of this service, which has none that goes on.
    fn reserve(&self, service: &str) -> Result<u64, WireError> {
        let mut desks = self.lock();
        if desks.closing {
            return Err(shutting_down());
        }
        desks.going_on.retain(|_, kept| !kept.is_over());
        let other = desks.going_on.iter().find(|(_, kept)| kept.service == service);
        if let Some((id, _)) = other {
            return Err(goes_on(service, *id));
        }
        if desks.beginning.iter().any(|one| one == service) {
            let service = shown(service);
            let message = format!("roll out {service}: another rollout of it is just begun");
            return Err(WireError::new(ErrorCode::Conflict, message));
        }
        desks.beginning.push(service.to_owned());
        let id = desks.next_id;
        desks.next_id += 1;
        Ok(id)
    }

    fn begin(
        self: &Arc<Self>,
        id: u64,
        request: StartRollout,
        words: Option<String>,
    ) -> Result<RolloutStatus, WireError> {
        // Nothing collects the states before the rollout's row names them.
        let _pin = self.states.store().pin().map_err(|error| crate::states::environment(&error))?;
        let mut plan = start::plan(self, id, &request)?;
        if let Some(words) = words {
            plan.candidate.words = words;
        }
        let controller = Controller::new(plan.spec.clone(), now_ms());
        let made = Made { previous: desk::previous(&plan), ..Made::default() };
        let row = self.row(id, &request, &plan, &controller, &made);
        self.clear_away(id);
        self.seat(row, plan, controller, made, Event::Begin)
    }

    /// What gateways kept of old rollouts goes: it is as long as they had requests.
    fn clear_away(&self, newest: u64) {
        let Ok(entries) = std::fs::read_dir(self.state_dir.join("rollouts")) else { return };
        let going_on: Vec<u64> = self.lock().going_on.keys().copied().collect();
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            let is_old = |id: &u64| id.saturating_add(KEPT) < newest && !going_on.contains(id);
            if let Some(id) = id.filter(is_old)
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!(rollout = id, %error, "what was kept of a rollout is left");
            }
        }
    }

    fn row(
        &self,
        id: u64,
        request: &StartRollout,
        plan: &Plan,
        controller: &Controller,
        made: &Made,
    ) -> RolloutRow {
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        RolloutRow {
            id,
            service: plan.spec.service.clone(),
            state: plan.candidate.state,
            before: plan.baseline.state,
            goes_on: true,
            phase: phase_word(controller.phase()).to_owned(),
            request: json(serde_json::to_string(request)),
            plan: json(serde_json::to_string(plan)),
            made: json(serde_json::to_string(made)),
            controller: json(serde_json::to_string(controller)),
            status: String::new(),
            began_at_ms: controller.began_at_ms(),
            ended_at_ms: None,
        }
    }

    /// Gives a rollout its desk. It is committed when this returns.
    fn seat(
        self: &Arc<Self>,
        mut row: RolloutRow,
        plan: Plan,
        controller: Controller,
        made: Made,
        first: Event,
    ) -> Result<RolloutStatus, WireError> {
        let (id, service) = (row.id, row.service.clone());
        let (inbox, arrivals) = desk::inbox();
        let tools = Tools {
            id,
            gate: Gate::new(&plan.gateway, &plan.spec.route, id),
            plan: Arc::new(plan),
            instances: Arc::clone(&self.instances),
            db: self.db.clone(),
            runtime: self.runtime.clone(),
            inbox: inbox.clone(),
            ended: Arc::default(),
            turns: Arc::default(),
        };
        let status = status::status(&tools, &controller, &made, None);
        row.status = serde_json::to_string(&status).unwrap_or_default();
        let writes = vec![RolloutWrite::Rollout(Box::new(row.clone()))];
        self.writer.send(Write::Rollout(RolloutBatch { writes, committed: None }))?;
        self.writer.flush()?;
        let next_event = self.runtime.block_on(self.db.next_rollout_event(id))?;
        let committed = Arc::new(told::Sender::new(next_event));
        let shared = Arc::new(Shared {
            status: Mutex::new(status.clone()),
            committed,
            over: AtomicBool::new(false),
        });
        let mail = Arc::clone(&self.mail);
        let given = Given { row, tools, mail, shared: Arc::clone(&shared), next_event };
        let desk = Desk::new(given, controller, made);
        let mut desks = self.lock();
        if desks.closing {
            // Whoever is next goes on with it.
            return Err(shutting_down());
        }
        let work = move || desk.run(&arrivals, first);
        let thread = std::thread::Builder::new().name(format!("umbra-rollout-{id}"));
        let thread = thread.spawn(work).map_err(|error| {
            WireError::new(ErrorCode::Environment, "start a thread").caused_by(error)
        })?;
        desks.going_on.insert(id, Kept { service, inbox, shared, thread: Some(thread) });
        Ok(status)
    }

    /// One that nobody can go on with: it ends, and says why.
    fn bury(&self, row: RolloutRow, why: &str) -> Result<(), WireError> {
        let ended_at_ms = now_ms();
        let reason = format!(
            "nobody can go on with it: {why}; look at `umbra route list` where requests go"
        );
        let seq = self.runtime.block_on(self.db.next_rollout_event(row.id))?;
        let what = Happened::Phase { phase: RolloutPhase::Error, reason: reason.clone() };
        let event = RolloutEvent { seq, at_ms: ended_at_ms, what };
        let line = serde_json::to_string(&event).unwrap_or_default();
        let status = serde_json::from_str::<RolloutStatus>(&row.status).ok().map(|status| {
            let (phase, ended_at_ms) = (RolloutPhase::Error, Some(ended_at_ms));
            RolloutStatus { phase, reason, ended_at_ms, ..status }
        });
        let status = status.and_then(|status| serde_json::to_string(&status).ok());
        let event = EventRow { rollout: row.id, seq, kind: EventKind::Change, line };
        let row = RolloutRow {
            goes_on: false,
            phase: phase_word(RolloutPhase::Error).to_owned(),
            status: status.unwrap_or_else(|| row.status.clone()),
            ended_at_ms: Some(ended_at_ms),
            ..row
        };
        let writes = vec![RolloutWrite::Event(event), RolloutWrite::Rollout(Box::new(row))];
        self.writer.send(Write::Rollout(RolloutBatch { writes, committed: None }))?;
        Ok(self.writer.flush()?)
    }

    /// Tells a rollout something; after [`Told::Retry`] and [`Told::Undo`] the new rollout is
    /// what comes back. Blocking.
    pub fn tell(self: &Arc<Self>, id: u64, told: Told) -> Result<RolloutStatus, WireError> {
        match told {
            Told::Retry | Told::Undo => return self.again(id, told),
            Told::Promote | Told::PromoteFull | Told::Pause | Told::Resume | Told::Abort => {}
        }
        let inbox = self.lock().going_on.get(&id).map(|kept| kept.inbox.clone());
        let over = || {
            let status = self.runtime.block_on(self.status(id))?;
            let message = format!("tell rollout {id}: it is over ({})", phase_word(status.phase));
            Err(WireError::new(ErrorCode::Conflict, message)
                .with_hint(format!("`umbra rollout retry {id}` begins it again")))
        };
        let Some(inbox) = inbox else { return over() };
        let (answer, answered) = oneshot::channel();
        if inbox.send(Input::Told(told, answer)).is_err() {
            return over();
        }
        self.runtime.block_on(answered).unwrap_or_else(|_| over())
    }

    /// A rollout that is over, again or back.
    fn again(self: &Arc<Self>, id: u64, told: Told) -> Result<RolloutStatus, WireError> {
        let row =
            self.runtime.block_on(self.db.rollout(id))?.ok_or_else(|| unknown(&id.to_string()))?;
        let verb = if told == Told::Undo { "undo" } else { "retry" };
        let refused = |why: &str| {
            let message = format!("{verb} rollout {id}: {why}");
            WireError::new(ErrorCode::Conflict, message)
        };
        let nonsense = |_| refused("what was asked for cannot be read any more");
        let request: StartRollout = serde_json::from_str(&row.request).map_err(nonsense)?;
        if row.goes_on {
            return Err(refused("it goes on").with_hint("`umbra rollout abort` ends it"));
        }
        let succeeded = row.phase == phase_word(RolloutPhase::Successful);
        let plan: Plan = serde_json::from_str(&row.plan).map_err(nonsense)?;
        let serving = match (told, succeeded) {
            (Told::Undo, true) => {
                self.check_serves(id, &plan)?;
                plan.baseline
            }
            (Told::Undo, false) => return Err(refused("it put nothing into production")),
            (_, true) => {
                let hint = "`umbra rollout start` begins another; `undo` goes back";
                return Err(refused("it succeeded").with_hint(hint));
            }
            (_, false) => plan.candidate,
        };
        let candidate =
            start::again(&serving).ok_or_else(|| refused("nothing was in production before"))?;
        let next = self.reserve(&row.service)?;
        let begun = self.begin(next, StartRollout { candidate, ..request }, Some(serving.words));
        self.lock().beginning.retain(|service| *service != row.service);
        begun
    }

    /// Only what is in production now can be taken back from there.
    fn check_serves(&self, id: u64, plan: &Plan) -> Result<(), WireError> {
        let service = self.runtime.block_on(self.db.service(&plan.spec.service))?;
        let record = service.and_then(|row| serde_json::from_str::<Record>(&row.record).ok());
        match record {
            Some(record) if record.rollout != id => {
                let message = format!(
                    "undo rollout {id}: rollout {} put something else into production since",
                    record.rollout
                );
                let hint = format!("`umbra rollout undo {}` undoes that one", record.rollout);
                Err(WireError::new(ErrorCode::Conflict, message).with_hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// How a rollout stands.
    pub async fn status(&self, id: u64) -> Result<RolloutStatus, WireError> {
        if let Some(live) = self.live(id) {
            return Ok(live);
        }
        let row = self.db.rollout(id).await?.ok_or_else(|| unknown(&id.to_string()))?;
        kept_status(&row)
    }

    /// The number that a number or a service's name means: of that service's last rollout.
    pub async fn find(&self, name: &str) -> Result<u64, WireError> {
        if let Ok(id) = name.parse() {
            let known = self.live(id).is_some() || self.db.rollout(id).await?.is_some();
            return if known { Ok(id) } else { Err(unknown(name)) };
        }
        let last = self.db.last_rollout(name).await?;
        last.map(|row| row.id).ok_or_else(|| unknown(name))
    }

    /// The last rollouts, newest first.
    pub async fn list(&self, limit: u32) -> Result<Vec<RolloutStatus>, WireError> {
        let rows = self.db.rollouts(limit).await?;
        rows.iter().map(|row| self.live(row.id).map_or_else(|| kept_status(row), Ok)).collect()
    }

    fn live(&self, id: u64) -> Option<RolloutStatus> {
        let desks = self.lock();
        let kept = desks.going_on.get(&id).filter(|kept| !kept.is_over())?;
        Some(kept.status())
    }

    /// A receiver that changes when events of this rollout are committed; `None` of one that is
    /// over.
    pub fn committed(&self, id: u64) -> Option<told::Receiver<u64>> {
        let desks = self.lock();
        let kept = desks.going_on.get(&id).filter(|kept| !kept.is_over())?;
        Some(kept.shared.committed.subscribe())
    }

    /// What serves services, by name.
    pub async fn services(&self) -> Result<Vec<ServiceInfo>, WireError> {
        let rows = self.db.services().await?;
        let info = |row: &ServiceRow| service(row, self.going_on_of(&row.name));
        Ok(rows.iter().filter_map(info).collect())
    }

    fn going_on_of(&self, service: &str) -> Option<u64> {
        let desks = self.lock();
        let mut all = desks.going_on.iter();
        all.find(|(_, kept)| kept.service == service && !kept.is_over()).map(|(id, _)| *id)
    }

    /// The last rollout of each service.
    pub async fn gauges(&self) -> Result<Vec<Gauge>, WireError> {
        let rows = self.db.last_rollouts().await?;
        let gauge = |row: &RolloutRow| {
            let status = self.live(row.id).map_or_else(|| kept_status(row), Ok)?;
            Ok(Gauge { service: row.service.clone(), status })
        };
        rows.iter().map(gauge).collect()
    }

    /// Lets go of every rollout as it is: the gateway judges on, and the next daemon goes on.
    /// Blocking.
    pub fn close(&self) {
        let kept = {
            let mut desks = self.lock();
            desks.closing = true;
            std::mem::take(&mut desks.going_on)
        };
        for kept in kept.values() {
            // One that is over needs no message.
            let _ = kept.inbox.send(Input::Close);
        }
        for thread in kept.into_values().filter_map(|kept| kept.thread) {
            if thread.join().is_err() {
                tracing::error!("a rollout's thread panicked");
            }
        }
        self.mail.close();
    }

    fn lock(&self) -> MutexGuard<'_, Desks> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
            || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn status(&self) -> RolloutStatus {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What one begins with that was kept: one whose daemon was killed just after it was written down
/// has not begun at all.
fn first(plan: &Plan, kept: &Controller) -> Event {
    let fresh = Controller::new(plan.spec.clone(), kept.began_at_ms());
    if *kept == fresh { Event::Begin } else { Event::Resumed }
}

/// What was kept of a rollout.
fn read(row: &RolloutRow) -> Result<(Plan, Controller, Made), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: serde_json::Error| format!("{what} cannot be read: {error}")
    };
    Ok((
        serde_json::from_str(&row.plan).map_err(failed("its plan"))?,
        serde_json::from_str(&row.controller).map_err(failed("where it was"))?,
        serde_json::from_str(&row.made).map_err(failed("what it made"))?,
    ))
}

fn kept_status(row: &RolloutRow) -> Result<RolloutStatus, WireError> {
    serde_json::from_str(&row.status).map_err(|error| {
        let message = format!("read how rollout {} stood", row.id);
        WireError::new(ErrorCode::Environment, message).caused_by(error)
    })
}

fn service(row: &ServiceRow, goes_on: Option<u64>) -> Option<ServiceInfo> {
    let record: Record = serde_json::from_str(&row.record).ok()?;
    let serving = |serving: Serving| ServingInfo {
        what: serving.words,
        state: serving.state,
        targets: serving.targets.into_iter().map(|target| target.to).collect(),
        instances: serving.instances,
    };
    Some(ServiceInfo {
        name: row.name.clone(),
        gateway: record.gateway,
        route: record.route,
        rollout: record.rollout,
        since_ms: record.since_ms,
        goes_on,
        now: serving(record.now),
        before: serving(record.before),
    })
}

/// All phases, in the order of a rollout's life.
pub(crate) const PHASES: [RolloutPhase; 9] = [
    RolloutPhase::Starting,
    RolloutPhase::Running,
    RolloutPhase::Paused,
    RolloutPhase::Promoting,
    RolloutPhase::RollingBack,
    RolloutPhase::Successful,
    RolloutPhase::Failed,
    RolloutPhase::Inconclusive,
    RolloutPhase::Error,
];

/// The word for a phase, as on the wire.
pub(crate) fn phase_word(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Starting => "starting",
        RolloutPhase::Running => "running",
        RolloutPhase::Paused => "paused",
        RolloutPhase::Promoting => "promoting",
        RolloutPhase::RollingBack => "rolling_back",
        RolloutPhase::Successful => "successful",
        RolloutPhase::Failed => "failed",
        RolloutPhase::Inconclusive => "inconclusive",
        RolloutPhase::Error => "error",
    }
}

fn goes_on(service: &str, id: u64) -> WireError {
    let message = format!("roll out {}: rollout {id} of it goes on", shown(service));
    WireError::new(ErrorCode::Conflict, message).with_hint(format!(
        "`umbra rollout watch {id}` shows it, `umbra rollout abort {id}` ends it"
    ))
}

fn unknown(name: &str) -> WireError {
    WireError::new(ErrorCode::NotFound, format!("find a rollout {}", shown(name)))
        .with_hint("`umbra rollout ls` lists them")
}

fn shown(name: &str) -> String {
    escape::line(name.as_bytes(), 60)
}
