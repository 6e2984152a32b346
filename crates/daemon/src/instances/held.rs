//! One instance: a thread that begins it, looks after it, and begins it again.
//!
//! ```text
//!   Starting ──ready──> Running ──a service ends──> Restarting ──ready──> Running
//!      │                   └── the shadow ends, or somebody asks ──> begun again, likewise
//!      └─ failed: over where somebody waits for it, else tried again after a rest
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use umbra_api::error::WireError;
use umbra_shadow::startup::{self, StartError};
use umbra_shadow::{Shadow, ShadowError};
use umbra_state::Command;

use super::attended::{Attended, LOOK, Look, ServiceLog};
use super::backoff::Backoff;
use super::ground::Ground;
use super::journal::Wanted;
use super::refusal::{no_thread, started, stopped, unreachable_here, words};
use super::{Instance, InstancePhase, InstanceSpec};
use crate::clock::now_ms;

/// How often a shadow without services is asked whether it is there.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// What does not answer for so long is there all the same.
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Held {
    spec: InstanceSpec,
    services: Vec<Attended>,
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    instance: Instance,
    /// Whether it is to be there whatever happens to it: it was ready once.
    wanted: bool,
    order: Order,
    /// What became of the last attempt to begin it.
    begun: Option<Result<(), WireError>>,
    shadow: Option<Arc<dyn Shadow>>,
}

/// What somebody wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Go,
    Again,
    End,
}

/// Why looking after it ended.
enum Turn {
    /// It is begun again, for this reason, after a rest unless somebody asked for it.
    Again { why: String, asked: bool },
    /// It is over.
    End,
}

impl Held {
    /// Begins an instance somebody waits for ([`Held::await_begun`]).
    pub(super) fn begin(spec: InstanceSpec, ground: &Arc<Ground>) -> Result<Arc<Self>, WireError> {
        Self::new(Wanted { spec, address: None }, false, ground)
    }

    /// Begins one that was there before.
    pub(super) fn resume(wanted: Wanted, ground: &Arc<Ground>) -> Result<Arc<Self>, WireError> {
        Self::new(wanted, true, ground)
    }

    fn new(from: Wanted, wanted: bool, ground: &Arc<Ground>) -> Result<Arc<Self>, WireError> {
        let Wanted { spec, address } = from;
        let instance = Instance {
            name: spec.name.clone(),
            service: spec.service.clone(),
            state: spec.state,
            to: address.map(|address| spec.at(address)).unwrap_or_default(),
            phase: InstancePhase::Starting,
            restarts: 0,
            why: None,
            started_at_ms: now_ms(),
        };
        let state = State { instance, wanted, order: Order::Go, begun: None, shadow: None };
        let held = Arc::new(Self {
            services: spec.startup.services.iter().cloned().map(Attended::new).collect(),
            spec,
            state: Mutex::new(state),
            changed: Condvar::new(),
            thread: Mutex::default(),
        });
        let (own, ground) = (Arc::clone(&held), Arc::clone(ground));
        let thread = thread::Builder::new()
            .name("umbra-instance".to_owned())
            .spawn(move || own.live(&ground))
            .map_err(|error| no_thread(&error))?;
        *held.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(held)
    }

    pub(super) fn spec(&self) -> &InstanceSpec {
        &self.spec
    }

    /// Returns once it is ready, or with what became of the attempt.
    pub(super) fn await_begun(&self) -> Result<(), WireError> {
        let mut state = self.lock();
        loop {
            match &state.begun {
                // It may have been well until it was told to end.
                Some(Ok(())) | None if state.order == Order::End => {
                    return Err(stopped(&self.spec.name));
                }
                Some(begun) => return begun.clone(),
                None => state = self.wait(state, LOOK),
            }
        }
    }

    /// As it is to be written down, if it is to be there again.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let state = self.lock();
        let address = address(&state.instance);
        let wanted = state.wanted && state.order != Order::End;
        wanted.then(|| Wanted { spec: self.spec.clone(), address })
    }

    /// As it is now.
    pub(super) fn instance(&self) -> Instance {
        let mut instance = self.lock().instance.clone();
        instance.restarts += self.services.iter().map(Attended::restarts).sum::<u64>();
        let all_run = self.services.iter().all(Attended::runs);
        if instance.phase == InstancePhase::Running && !all_run {
            instance.phase = InstancePhase::Restarting;
        }
        instance
    }

    /// What its services printed last, so much of each.
    pub(super) fn logs(&self, bytes_max: u64) -> Vec<ServiceLog> {
        self.services.iter().map(|service| service.log(bytes_max)).collect()
    }

    /// Begins it anew, on a fresh view.
    pub(super) fn again(&self) {
        let mut state = self.lock();
        if state.order == Order::Go {
            state.order = Order::Again;
            state.begun = None;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// It is wanted no more.
    pub(super) fn is_to_end(&self) {
        self.lock().order = Order::End;
        self.changed.notify_all();
    }

    /// Ends it; [`Held::ended`] waits for that. What it waits for itself breaks off.
    ///
    /// # Errors
    /// Something of it could not be removed.
    pub(super) fn end(&self) -> Result<(), ShadowError> {
        self.is_to_end();
        let shadow = self.lock().shadow.clone();
        shadow.map_or(Ok(()), |shadow| shadow.destroy())
    }

    /// Returns when nothing of it is left.
    pub(super) fn ended(&self) {
        // Held meanwhile, so that everybody waits who asks.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(instance = self.spec.name, "looking after an instance panicked");
        }
    }

    /// The whole life.
    fn live(&self, ground: &Ground) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let turn = match self.show(ground) {
                Ok(shadow) => self.attend(&*shadow),
                Err(error) if !self.lock().wanted => {
                    self.tell(Err(error));
                    break;
                }
                Err(error) => {
                    let why = words(&error);
                    self.tell(Err(error));
                    Turn::Again { why, asked: false }
                }
            };
            self.services.iter().for_each(Attended::end);
            let Turn::Again { why, asked } = turn else { break };
            let rest = if asked { Duration::ZERO } else { backoff.after(began.elapsed()) };
            if !self.rest(why, rest) {
                break;
            }
        }
        let shadow = self.lock().shadow.take();
        self.services.iter().for_each(Attended::end);
        drop(shadow);
    }

    /// Shows the state on a fresh view and starts what is to run, until it is ready.
    fn show(&self, ground: &Ground) -> Result<Arc<dyn Shadow>, WireError> {
        let state = self.lock();
        let (former, at) = (state.shadow.clone(), address(&state.instance));
        drop(state);
        let shadow = ground.show(&self.spec, former, at)?;
        let address = shadow.address().ok_or_else(|| unreachable_here(&self.spec.name))?;
        let mut state = self.lock();
        state.shadow = Some(Arc::clone(&shadow));
        state.instance.to = self.spec.at(address);
        state.instance.started_at_ms = now_ms();
        if state.order == Order::End {
            return Err(stopped(&self.spec.name));
        }
        drop(state);
        self.run(&*shadow).map_err(|error| started(&self.spec.name, &error))?;
        self.tell(Ok(()));
        Ok(shadow)
    }

    fn run(&self, shadow: &dyn Shadow) -> Result<(), StartError> {
        startup::await_system(shadow, &self.spec.startup)?;
        self.services.iter().try_for_each(|service| service.start(shadow))
    }

    /// Looks after it until it has to be begun again, or is over.
    fn attend(&self, shadow: &dyn Shadow) -> Turn {
        let mut probed = Instant::now();
        loop {
            match self.lock().order {
                Order::End => return Turn::End,
                Order::Again => {
                    return Turn::Again { why: "somebody asked for it".to_owned(), asked: true };
                }
                Order::Go => {}
            }
            for service in &self.services {
                match service.look(shadow) {
                    Look::Ended(why) => self.note(why, service.restarts()),
                    Look::Gone => return gone(),
                    Look::Runs | Look::Rests | Look::Again => {}
                }
            }
            if self.services.is_empty() && probed.elapsed() >= PROBE_EVERY {
                if !is_there(shadow) {
                    return gone();
                }
                probed = Instant::now();
            }
            let state = self.lock();
            if state.order == Order::Go {
                drop(self.wait(state, LOOK));
            }
        }
    }

    /// Tells whoever waits what became of an attempt to begin it.
    fn tell(&self, begun: Result<(), WireError>) {
        let mut state = self.lock();
        if begun.is_ok() {
            state.wanted = true;
            state.instance.phase = InstancePhase::Running;
            if state.order == Order::Again {
                // What was asked for has been done.
                state.order = Order::Go;
            }
        }
        state.begun = Some(begun);
        drop(state);
        self.changed.notify_all();
    }

    fn note(&self, why: String, times: u64) {
        // One that ends all the time says so ever more rarely.
        if times == 0 || times.is_power_of_two() {
            tracing::warn!(instance = self.spec.name, why, times, "something of an instance ended");
        }
        self.lock().instance.why = Some(why);
    }

    /// Rests before it is begun again; false where it is over instead.
    fn rest(&self, why: String, rest: Duration) -> bool {
        let times = self.lock().instance.restarts;
        self.note(why, times);
        let until = Instant::now() + rest;
        let mut state = self.lock();
        if state.order == Order::Again {
            state.order = Order::Go;
        }
        state.instance.phase = InstancePhase::Restarting;
        state.instance.restarts += 1;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match state.order {
                Order::End => return false,
                Order::Again => return true,
                Order::Go if left.is_zero() => return true,
                Order::Go => state = self.wait(state, left),
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where it is, or was.
fn address(instance: &Instance) -> Option<IpAddr> {
    instance.to.parse().map(|at: SocketAddr| at.ip()).ok()
}

fn gone() -> Turn {
    Turn::Again { why: "its first process ended".to_owned(), asked: false }
}

/// Whether something can still be run in it: what cannot be run is refused by its init.
fn is_there(shadow: &dyn Shadow) -> bool {
    let nothing = Command::new(["/"]).with_timeout(PROBE_TIME_MAX);
    !matches!(shadow.run(&nothing), Err(ShadowError::Gone(_)))
}
