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
//! | `resume` | those that the last daemon left |
//! | `desk`, `inbox` | where everything about one arrives, and is handed to whoever does it |
//! | `ledger` | what is kept of it, step by step |
//! | `made` | what it has made in the world |
//! | `tools` | what its jobs have at hand |
//! | `steer`, `gate`, `settings` | what the gateway is told |
//! | `watch`, `seen` | how the gateway's split stands |
//! | `staff`, `probe` | instances: started, looked at, warmed up, stopped |
//! | `others` | measurements, webhooks, requests of our own |
//! | `reads`, `status`, `notice`, `mail` | what people are shown and told |
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
mod reads;
mod resume;
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
use umbra_api::rollout::{RolloutPhase, RolloutStatus, StartRollout, Told};
use umbra_rollout::controller::{Controller, Event};
use umbra_state::escape;

use self::desk::{Desk, Given, Shared};
use self::gate::Gate;
use self::inbox::Input;
use self::made::Made;
use self::mail::Mail;
use self::plan::{Plan, Record};
use self::tools::Tools;
use crate::builds::shutting_down;
use crate::clock::now_ms;
use crate::db::rollouts::{RolloutBatch, RolloutRow, RolloutWrite};
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
