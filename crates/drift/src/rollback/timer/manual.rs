//! A timer that only remembers: for tests, and for those who keep watch themselves.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Order, Timer, TimerError};

/// Remembers what is armed; somebody else must call
/// [`Rollbacks::expire`](crate::rollback::Rollbacks::expire).
#[derive(Debug, Default)]
pub struct Manual {
    armed: Mutex<Vec<Order>>,
}

impl Manual {
    /// What waits.
    pub fn armed(&self) -> MutexGuard<'_, Vec<Order>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for Manual {
    fn name(&self) -> &'static str {
        "manual"
    }

    fn arm(&self, order: &Order) -> Result<(), TimerError> {
        self.armed().push(order.clone());
        Ok(())
    }

    fn disarm(&self, id: &str, _journal: &Path) -> Result<(), TimerError> {
        self.armed().retain(|order| order.id != id);
        Ok(())
    }
}
