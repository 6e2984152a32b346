//! A command that goes on by itself, and the end of what it printed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use umbra_state::Exit;

use super::Run;
use super::printed::Printed;
use crate::provider::Running;

/// A started service. Dropping it kills it.
pub(crate) struct Service {
    run: Run,
    printed: Printed,
    /// The end is told once; later questions are answered from here.
    ended: Mutex<Option<Exit>>,
}

impl Service {
    pub(super) fn new(run: Run, printed: OwnedFd) -> io::Result<Self> {
        Ok(Self { run, printed: Printed::read(printed)?, ended: Mutex::default() })
    }
}

impl Running for Service {
    fn log_tail(&self, bytes_max: u64) -> Vec<u8> {
        self.printed.tail(bytes_max)
    }

    fn ended(&self) -> Option<Exit> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            // A view that is gone took the service with it.
            *ended = self.run.poll().unwrap_or(Some(Exit::Signal(libc::SIGKILL)));
        }
        *ended
    }
}
