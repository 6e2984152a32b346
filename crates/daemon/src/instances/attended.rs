//! A service of an instance: started, looked after, started again when it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use umbra_shadow::provider::Running;
use umbra_shadow::startup::{self, Service, StartError};
use umbra_shadow::{Shadow, ShadowError};

use super::backoff::Backoff;

/// How much of what a service printed before it was started again is remembered.
const FORMER_BYTES: u64 = 16 << 10;

/// See the module. One thread looks after it; anybody may read what it printed.
pub(super) struct Attended {
    service: Service,
    state: Mutex<State>,
}

struct State {
    running: Option<Arc<dyn Running>>,
    began: Instant,
    /// When it is to be started again.
    due: Option<Instant>,
    backoff: Backoff,
    /// The end of what it printed before it was last started.
    former: Vec<u8>,
    restarts: u64,
}

/// What a look at a service found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It runs.
    Runs,
    /// It ended just now, for this reason, and is started again in a while.
    Ended(String),
    /// It rests.
    Rests,
    /// It runs again.
    Again,
    /// There is nothing it could run in.
    Gone,
}

/// What one service printed, at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLog {
    /// Which.
    pub service: String,
    /// How often it was started again.
    pub restarts: u64,
    /// The end of what it printed, before it was last started again as well.
    pub text: String,
}

impl Attended {
    pub(super) fn new(service: Service) -> Self {
        let state = State {
            running: None,
            began: Instant::now(),
            due: None,
            backoff: Backoff::default(),
            former: Vec::new(),
            restarts: 0,
        };
        Self { service, state: Mutex::new(state) }
    }

    /// Starts it and returns once it is ready.
    pub(super) fn start(&self, shadow: &dyn Shadow) -> Result<(), StartError> {
        let running = startup::start_service(shadow, &self.service)?;
        let mut state = self.lock();
        state.running = Some(Arc::from(running));
        state.began = Instant::now();
        state.due = None;
        Ok(())
    }

    /// Ends it.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.remember();
        state.due = None;
        let running = state.running.take();
        drop(state);
        drop(running);
    }

    /// Looks whether it runs, and starts it again where it is time to.
    pub(super) fn look(&self, shadow: &dyn Shadow) -> Look {
        let mut state = self.lock();
        if let Some(running) = &state.running {
            let Some(exit) = running.ended() else { return Look::Runs };
            return state.rest(format!("service {} ended with {exit}", self.service.name));
        }
        if state.due.is_some_and(|due| due > Instant::now()) {
            return Look::Rests;
        }
        state.began = Instant::now();
        drop(state);
        let started = self.start(shadow);
        if matches!(started, Err(StartError::Shadow(ShadowError::Gone(_)))) {
            return Look::Gone;
        }
        let mut state = self.lock();
        state.restarts += 1;
        match started {
            Ok(()) => Look::Again,
            Err(error) => {
                if let StartError::Service { log, .. } = &error {
                    state.former.extend_from_slice(log.as_bytes());
                    state.trim();
                }
                state.rest(umbra_state::chain(&error))
            }
        }
    }

    /// Whether it runs, as far as was seen.
    pub(super) fn runs(&self) -> bool {
        self.lock().running.is_some()
    }

    /// How often it was started again.
    pub(super) fn restarts(&self) -> u64 {
        self.lock().restarts
    }

    /// The last bytes of what it printed.
    pub(super) fn log(&self, bytes_max: u64) -> ServiceLog {
        let state = self.lock();
        let mut bytes = state.former.clone();
        bytes.extend(state.running.iter().flat_map(|running| running.log_tail(bytes_max)));
        let excess = bytes.len().saturating_sub(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        let text = String::from_utf8_lossy(&bytes[excess..]).into_owned();
        ServiceLog { service: self.service.name.clone(), restarts: state.restarts, text }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rest(&mut self, why: String) -> Look {
        self.remember();
        self.running = None;
        let ran = self.began.elapsed();
        self.due = Some(Instant::now() + self.backoff.after(ran));
        Look::Ended(why)
    }

    fn remember(&mut self) {
        let tail = self.running.iter().flat_map(|running| running.log_tail(FORMER_BYTES));
        let tail: Vec<u8> = tail.collect();
        self.former.extend(tail);
        self.trim();
    }

    fn trim(&mut self) {
        let excess = self.former.len().saturating_sub(FORMER_BYTES as usize);
        self.former.drain(..excess);
    }
}

/// How often an instance is looked after.
pub(super) const LOOK: Duration = Duration::from_millis(100);
