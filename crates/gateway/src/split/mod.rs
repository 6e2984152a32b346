//! One route's sessions, split between two arms, and what came of them judged.
//!
//! ```text
//! request ── session ── a secret hash below the weight? ──> arm ── weights, health ──> target
//!    │                                   ▲
//!    │ began, answered, ended            │ 0, once the candidate is worse
//!    v                                   │
//!  bounded queue ── polled by a thread ──┴── e-process (`umbra_judge`) ── journal file
//! ```
//!
//! Invariants:
//!
//! * **A request never waits for its judge.** What it says goes into a queue where there is room,
//!   and is left out and counted where there is none; nobody is woken.
//! * **Nothing but chance and the weight says which arm a session is of**: not health, not
//!   ejections, not what came of requests before. Where a candidate cannot be reached the client is
//!   served by the baseline, and the candidate is blamed.
//! * **Sessions do not go to and fro**: raising the weight only adds to the candidate's.
//! * **Back to 0 is one store**, of the number that requests read, by the thread that judges.
//!   Whoever watches, and the disk, hear of it afterwards.
//!
//! | module | holds |
//! |---|---|
//! | [`wire`] | what is said about splits at the control socket |
//! | [`splits`] | begun, changed, ended and taken up again |
//! | `gate` | which arm a unit is of |
//! | `arms` | the targets of each |
//! | `watch` | one request, and what it says |
//! | `grpc` | whether a gRPC status is a failure |
//! | `flight` | requests under way, and who is late |
//! | `judging` | the thread |
//! | `counts` | what is counted by arm |
//! | `journal` | the file that keeps every outcome |
//! | `record` | what a gateway that begins anew goes on with |
//! | `exposed` | what Prometheus reads |

pub(crate) mod arms;
mod counts;
mod differences;
pub(crate) mod exposed;
mod flight;
pub(crate) mod gate;
mod grpc;
mod journal;
mod judging;
pub(crate) mod record;
pub mod splits;
pub(crate) mod watch;
pub mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch as version;
use umbra_judge::settings::Metric;
use umbra_judge::standing::Standing;
use umbra_judge::trial::Trial;

use self::counts::{Count, Tally};
use self::gate::{Assigned, Gate};
use self::judging::Mode;
use self::record::{KeptSplit, Record};
use self::watch::Said;
use self::wire::{
    JournalStatus, LeftOutCause, SplitArm, SplitArmStatus, SplitLeftOut, SplitStatus, StartSplit,
    Worse,
};
use crate::compare::Comparison;
use crate::control::target_statuses;
use crate::fraction::mixed;
use crate::routes::Route;
use crate::routes::weigh::Salt;

/// So many weights may be declared, one after another.
const STAGES_MAX: u16 = 1000;

/// What requests said and the judge did not hear yet: some tenths of a second of a busy gateway. A
/// longer queue is not in the processor's cache any more when its places come round again, which
/// both sides feel.
const QUEUE_MAX: usize = 1 << 14;

/// The sessions of one route, split.
#[derive(Debug)]
pub struct Split {
    route: String,
    rollout: u64,
    /// As it was begun.
    start: StartSplit,
    has_control: bool,
    /// What decides which sessions are the candidate's: nobody else knows it.
    salt: Salt,
    /// The same for requests of no session.
    alone: u64,
    gate: Gate,
    numbers: AtomicU64,
    counts: [Count; 3],
    queue: SyncSender<Said>,
    /// What found no room there, and how many requests' ends among it.
    lost: AtomicU64,
    unheard: AtomicU64,
    epoch: Instant,
    version: version::Sender<u64>,
    /// What whoever judges is to do, and does.
    mode: (version::Sender<Mode>, version::Sender<Mode>),
    weights: Mutex<Weights>,
    judged: Mutex<Judged>,
    record: Arc<Record>,
}

/// Every weight so far, and whether there will be another.
#[derive(Debug, Clone, PartialEq)]
struct Weights {
    stages: Vec<f64>,
    worse: Option<Worse>,
    rolled_back: bool,
}

/// What whoever judges knows.
#[derive(Debug)]
struct Judged {
    /// `None` until what was kept before is read again.
    trial: Option<Trial>,
    /// What its differences are of, in this process.
    compared: Option<Arc<Comparison>>,
    tallies: [Tally; 3],
    not_compared: u64,
    lag_us: u64,
    journal: JournalStatus,
}

impl Judged {
    /// How its judge stands, with the fields that differ.
    fn standing(&self) -> Option<Standing> {
        let mut standing = self.trial.as_ref().map(Trial::standing)?;
        let fields = self.compared.as_ref().and_then(|compared| differences::words(compared));
        let mut metrics = standing.metrics.iter_mut();
        let differences = metrics.find(|one| one.metric == Metric::Differences);
        if let Some((differences, fields)) = differences.zip(fields) {
            differences.evidence = fields;
        }
        Some(standing)
    }
}

/// There is no other weight any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoWeight {
    /// The candidate was rolled back.
    RolledBack,
    /// There were too many.
    TooMany,
}

impl Split {
    /// As it is kept. Requests may be assigned from now on; what they say is for whoever judges.
    fn new(
        route: &str,
        rollout: u64,
        kept: &KeptSplit,
        record: Arc<Record>,
    ) -> (Arc<Self>, Receiver<Said>) {
        let (queue, said) = sync_channel(QUEUE_MAX);
        let (stage, weight) = kept.stage();
        let has_control = !kept.start.control.is_empty();
        let journal = JournalStatus { path: kept.start.journal.clone(), bytes: 0, problem: None };
        let split = Self {
            route: route.to_owned(),
            rollout,
            start: kept.start.clone(),
            has_control,
            alone: kept.salt.session(b"alone"),
            salt: kept.salt.clone(),
            gate: Gate::new(stage, weight, has_control),
            numbers: AtomicU64::new(0),
            counts: Default::default(),
            queue,
            lost: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            epoch: Instant::now(),
            version: version::Sender::new(kept.version),
            mode: (version::Sender::new(Mode::Judging), version::Sender::new(Mode::Judging)),
            weights: Mutex::new(Weights {
                stages: kept.stages.clone(),
                worse: kept.worse.clone(),
                rolled_back: kept.rolled_back,
            }),
            judged: Mutex::new(Judged {
                trial: None,
                compared: None,
                tallies: Default::default(),
                not_compared: 0,
                lag_us: 0,
                journal,
            }),
            record,
        };
        (Arc::new(split), said)
    }

    /// Where a session goes of which all requests say this.
    pub(crate) fn assign(&self, told: &[u8]) -> Assigned {
        let unit = self.salt.session(told);
        self.gate.assign(unit, mixed(unit))
    }

    /// Where a request of no session goes; `number` is another one each time.
    pub(crate) fn assign_alone(&self, number: u64) -> Assigned {
        let unit = mixed(number ^ self.alone);
        self.gate.assign(unit, mixed(unit))
    }

    /// The candidate's part of all sessions.
    pub(crate) fn weight(&self) -> f64 {
        lock(&self.weights).stages.last().copied().unwrap_or(0.0)
    }

    /// Whether the candidate was worse and gets nothing any more.
    pub(crate) fn is_rolled_back(&self) -> bool {
        lock(&self.weights).rolled_back
    }

    /// Another weight, from the next request on.
    fn weigh(&self, weight: f64) -> Result<(), NoWeight> {
        let mut weights = lock(&self.weights);
        if weights.rolled_back {
            return Err(NoWeight::RolledBack);
        }
        // One number is left for 0.
        let stage = u16::try_from(weights.stages.len()).ok().filter(|stage| *stage < STAGES_MAX);
        let stage = stage.ok_or(NoWeight::TooMany)?;
        weights.stages.push(weight);
        self.gate.set(stage, weight);
        Ok(())
    }

    /// The candidate gets nothing from the next request on; what it got before.
    fn roll_back(&self) -> f64 {
        let mut weights = lock(&self.weights);
        let before = weights.stages.last().copied().unwrap_or(0.0);
        let stage = u16::try_from(weights.stages.len()).unwrap_or(STAGES_MAX);
        self.gate.set(stage, 0.0);
        weights.stages.push(0.0);
        weights.rolled_back = true;
        before
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self, arm: SplitArm) -> &Count {
        &self.counts[arm as usize]
    }

    /// Never waits, and wakes nobody: whoever judges looks by itself.
    fn say(&self, said: Said) {
        if self.queue.try_send(said).is_err() {
            self.unheard.fetch_add(u64::from(matches!(said, Said::Ended(_))), Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Release);
        }
    }

    fn at_us(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }

    /// Something changed that whoever watches is told of; the number it has from now on.
    fn changed(&self) -> u64 {
        let mut next = 0;
        self.version.send_modify(|version| {
            *version += 1;
            next = *version;
        });
        next
    }

    /// Until it has another version than that.
    pub fn changed_from(&self, after: u64) -> impl Future<Output = ()> + use<> {
        let mut version = self.version.subscribe();
        async move {
            // It is there as long as its split.
            let _ = version.wait_for(|version| *version != after).await;
        }
    }

    /// Its arms, in the order in which they are told.
    fn arms(&self) -> impl Iterator<Item = SplitArm> + use<> {
        let control = self.has_control.then_some(SplitArm::Control);
        [SplitArm::Baseline, SplitArm::Candidate].into_iter().chain(control)
    }

    /// Requests an arm was assigned, by this gateway and those before it.
    fn requests(&self, arm: SplitArm) -> u64 {
        let earlier = lock(&self.judged).tallies[arm as usize].earlier;
        earlier + self.count(arm).begun.load(Ordering::Relaxed)
    }

    /// How it stands, on this route.
    fn status(&self, route: &Route) -> SplitStatus {
        // What changes from here on has another version.
        let version = *self.version.borrow();
        let Weights { stages, worse, rolled_back } = lock(&self.weights).clone();
        let judged = lock(&self.judged);
        let arms = self.arms().map(|arm| self.arm_status(arm, route, &judged)).collect();
        SplitStatus {
            route: self.route.clone(),
            rollout: self.rollout,
            version,
            weight: stages.last().copied().unwrap_or(0.0),
            on_worse: self.start.on_worse,
            // Why is told together with it, a moment after it is in force.
            rolled_back: rolled_back && worse.is_some(),
            worse,
            arms,
            standing: judged.standing(),
            left_out: self.left_out(&judged),
            lag_us: judged.lag_us,
            journal: judged.journal.clone(),
        }
    }

    fn arm_status(&self, arm: SplitArm, route: &Route, judged: &Judged) -> SplitArmStatus {
        let (tally, count) = (&judged.tallies[arm as usize], self.count(arm));
        let targets = route.arm(arm);
        SplitArmStatus {
            arm,
            requests: tally.earlier + count.begun.load(Ordering::Relaxed),
            errors: tally.errors,
            in_flight: count.in_flight(),
            latency: tally.latency(),
            targets: target_statuses(targets),
        }
    }

    fn left_out(&self, judged: &Judged) -> Vec<SplitLeftOut> {
        let unheard = self.unheard.load(Ordering::Acquire);
        let counts =
            [(LeftOutCause::Queue, unheard), (LeftOutCause::NotCompared, judged.not_compared)];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts.map(|(cause, count)| SplitLeftOut { cause, count }).collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
