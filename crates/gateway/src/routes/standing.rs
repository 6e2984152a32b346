//! Whether a target is to be asked: what its health checks say, and what its answers do.
//!
//! ```text
//! well ── `fall` bad checks ──> unwell ── `rise` good checks ──> well
//! kept ── `failures` in a row ──> ejected for a while, longer each time ──> kept
//! ```

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::setup::EjectSetup;

/// Ejections in a row lengthen the time up to so many times.
const LONGER_MAX: u32 = 10;

/// How one target stands. Everything is counted without a lock; where two requests end at once,
/// either order is right.
#[derive(Debug)]
pub(super) struct Standing {
    began: Instant,
    unwell: AtomicBool,
    /// Checks in a row that say otherwise.
    otherwise: AtomicU32,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// In microseconds since `began`; 0 for never.
    ejected_until: AtomicU64,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            unwell: AtomicBool::new(false),
            otherwise: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
        }
    }
}

impl Standing {
    /// Whether its checks say that it is well.
    pub(super) fn is_well(&self) -> bool {
        !self.unwell.load(Ordering::Relaxed)
    }

    /// Whether it is left out because of its answers.
    pub(super) fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until > 0 && self.now() < until
    }

    /// Whether it is to be asked.
    pub(super) fn is_usable(&self) -> bool {
        self.is_well() && !self.is_ejected()
    }

    /// A check was answered well, or not. Whether that changed something.
    pub(super) fn checked(&self, well: bool, rise: u32, fall: u32) -> bool {
        if well == self.is_well() {
            self.otherwise.store(0, Ordering::Relaxed);
            return false;
        }
        let enough = if well { rise } else { fall };
        if self.otherwise.fetch_add(1, Ordering::Relaxed) + 1 < enough {
            return false;
        }
        self.otherwise.store(0, Ordering::Relaxed);
        self.unwell.store(!well, Ordering::Relaxed);
        true
    }

    /// A request was answered well, or not. Whether it is left out from now on.
    pub(super) fn answered(&self, well: bool, eject: &EjectSetup) -> bool {
        if well {
            // Rarely written: all threads read it.
            if self.failures.load(Ordering::Relaxed) > 0 {
                self.failures.store(0, Ordering::Relaxed);
                self.ejections.store(0, Ordering::Relaxed);
            }
            return false;
        }
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 < eject.failures || self.is_ejected() {
            return false;
        }
        let times = self.ejections.fetch_add(1, Ordering::Relaxed).min(LONGER_MAX - 1) + 1;
        let time = Duration::from_millis(eject.for_ms).saturating_mul(times);
        let until = self.now().saturating_add(microseconds(time));
        self.ejected_until.store(until.max(1), Ordering::Relaxed);
        true
    }

    fn now(&self) -> u64 {
        microseconds(self.began.elapsed())
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_in_a_row_change_it() {
        let standing = Standing::default();
        let said: Vec<bool> = [false, false, true, false, false, false, true, true]
            .map(|well| {
                standing.checked(well, 2, 3);
                standing.is_well()
            })
            .to_vec();
        assert_eq!(said, [true, true, true, true, true, false, false, true]);
    }

    #[test]
    fn failures_in_a_row_leave_it_out_for_a_while() {
        let standing = Standing::default();
        let eject = EjectSetup { failures: 2, for_ms: 20 };
        assert!(!standing.answered(false, &eject) && !standing.answered(true, &eject));
        assert!(!standing.answered(false, &eject) && standing.is_usable());
        assert!(standing.answered(false, &eject) && !standing.is_usable());
        // What was under way meanwhile does not eject it again.
        assert!(!standing.answered(false, &eject));
        let until = Instant::now() + Duration::from_secs(5);
        while !standing.is_usable() {
            assert!(Instant::now() < until, "it is never asked again");
            std::thread::yield_now();
        }
        // One more failure is enough then.
        assert!(standing.answered(false, &eject) && !standing.is_usable());
    }
}
