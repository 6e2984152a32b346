//! Sites made ahead, so that a shadow begins where the slow half of its making has been done:
//! namespaces, a port on the bridge, control groups, an init that stands by.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::maker::{Maker, Site, Use};
use super::wire::Profile;
use crate::error::ShadowError;
use crate::provider::Network;

/// How long after one was taken the next is made: not while the shadow that took it begins.
const REST: Duration = Duration::from_millis(15);

/// A supply of sites for fenced shadows, begun with the first demand. Dropping it removes them.
pub(super) struct Warm {
    supply: Arc<Supply>,
    thread: Mutex<Option<JoinHandle<()>>>,
    maker: Arc<Maker>,
    count: usize,
}

struct Supply {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ready: VecDeque<Site>,
    /// How many there should be; none again after one could not be made.
    wanted: usize,
    taken_at: Instant,
    number: u64,
    closing: bool,
}

impl Warm {
    /// Keeps up to `count` ready.
    pub(super) fn new(maker: &Arc<Maker>, count: usize) -> Self {
        let state = State {
            ready: VecDeque::new(),
            wanted: 0,
            taken_at: Instant::now(),
            number: 0,
            closing: false,
        };
        let supply = Arc::new(Supply { state: Mutex::new(state), changed: Condvar::new() });
        Self { supply, thread: Mutex::default(), maker: Arc::clone(maker), count }
    }

    /// One that is ready, if any; either way more will be.
    pub(super) fn take(&self) -> Option<Site> {
        if self.count == 0 {
            return None;
        }
        let mut state = self.supply.lock();
        state.wanted = self.count;
        state.taken_at = Instant::now();
        let site = state.ready.pop_front();
        drop(state);
        self.start();
        self.supply.changed.notify_one();
        site
    }

    fn start(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return;
        }
        let (supply, maker) = (Arc::clone(&self.supply), Arc::clone(&self.maker));
        let started =
            thread::Builder::new().name("umbra-warm".to_owned()).spawn(move || supply.fill(&maker));
        match started {
            Ok(started) => *thread = Some(started),
            Err(error) => tracing::warn!(%error, "no shadows are made ahead"),
        }
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.supply.lock().closing = true;
        self.supply.changed.notify_one();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic in it has been reported by its thread.
            let _ = thread.join();
        }
        self.supply.lock().ready.clear();
    }
}

impl Supply {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, maker: &Maker) {
        while let Some(number) = self.next() {
            match make(maker, number) {
                Ok(site) => self.lock().ready.push_back(site),
                Err(error) => {
                    tracing::warn!(%error, "could not make a shadow's site ahead");
                    self.lock().wanted = 0;
                }
            }
        }
    }

    /// Waits until another site is to be made; `None` at the end.
    fn next(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            let rested = state.taken_at.elapsed();
            if state.ready.len() >= state.wanted {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if let Some(rest) = REST.checked_sub(rested).filter(|rest| !rest.is_zero()) {
                let waited = self.changed.wait_timeout(state, rest);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state.number += 1;
                return Some(state.number);
            }
        }
    }
}

/// A site no shadow has named yet: theirs have no dots.
fn make(maker: &Maker, number: u64) -> Result<Site, ShadowError> {
    let purpose = Use::Shadow(&Network::Fenced, Profile::Shadow, None);
    maker.site(format!("{PREFIX}{number}"), None, purpose)
}

/// What the names of sites begin with that are nobody's yet.
const PREFIX: &str = "warm.";
