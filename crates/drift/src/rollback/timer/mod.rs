//! What undoes a rollback when whoever began it is gone: a timer outside the process, kept by
//! the service manager or by a process of its own.
//!
//! The deadline stands in the journal, on a clock that goes on while the machine sleeps, with
//! the boot it belongs to: in another boot it is over. Whoever the timer wakes asks the journal.

mod manual;
mod systemd;
mod watchdog;

pub use manual::Manual;
pub use systemd::Systemd;
pub use watchdog::Watchdog;
pub(super) use watchdog::{READY, sign};

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// When a rollback is undone unless it was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadline {
    /// Which boot its clock belongs to.
    pub boot: String,
    /// On the clock since boot, with sleep, in milliseconds.
    pub at_ms: u64,
}

/// What a journal knows of its timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Armed {
    pub(super) by: String,
    pub(super) deadline: Deadline,
}

/// What a timer is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The rollback's name.
    pub id: String,
    /// Its journal.
    pub journal: PathBuf,
    /// How long from now.
    pub after: Duration,
}

/// A timer that cannot be armed.
#[derive(Debug, thiserror::Error)]
pub enum TimerError {
    /// Its process could not be started or never reported.
    #[error("start the process that would undo the rollback")]
    Process(#[source] std::io::Error),
    /// The service manager refused.
    #[error("have the service manager undo the rollback: {said}")]
    Refused {
        /// What it said.
        said: String,
    },
    /// The unit for the next boot could not be written.
    #[error("write {}", path.display())]
    Unit {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Runs [`Rollbacks::keep_watch`](super::Rollbacks::keep_watch) in another process.
///
/// `arm` returns when the timer runs for certain, and what the next boot needs of it is on the
/// disk. `disarm` is for tidiness: a timer that fires
/// after all finds a journal that needs nothing. Both are idempotent.
pub trait Timer: Send + Sync {
    /// A word for it.
    fn name(&self) -> &'static str;

    /// Begins to wait.
    ///
    /// # Errors
    /// It does not wait.
    fn arm(&self, order: &Order) -> Result<(), TimerError>;

    /// Ends waiting for the rollback of this name and journal.
    ///
    /// # Errors
    /// It still waits, perhaps.
    fn disarm(&self, id: &str, journal: &Path) -> Result<(), TimerError>;
}

/// The timer this machine can have. `argv` is the program that keeps watch, `{journal}` standing
/// for the journal.
pub fn of_machine(argv: Vec<String>) -> Box<dyn Timer> {
    match Path::new("/run/systemd/system").is_dir() {
        true => Box::new(Systemd::new(argv)),
        false => Box::new(Watchdog::new(argv)),
    }
}

impl Deadline {
    /// So long from now.
    pub fn after(duration: Duration) -> Self {
        let after_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { boot: boot(), at_ms: since_boot_ms().saturating_add(after_ms) }
    }

    /// How long it is until then; nothing in another boot.
    pub fn left(&self) -> Duration {
        if self.boot != boot() {
            return Duration::ZERO;
        }
        Duration::from_millis(self.at_ms.saturating_sub(since_boot_ms()))
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

fn since_boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// This boot's name; a machine that has none has only one boot.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The command with the journal's path in it.
fn command(argv: &[String], journal: &Path) -> Vec<std::ffi::OsString> {
    argv.iter()
        .map(|argument| match argument.as_str() {
            "{journal}" => journal.as_os_str().to_owned(),
            other => other.into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_of_another_boot_is_over() {
        let deadline = Deadline::after(Duration::from_secs(1000));
        assert!(!deadline.is_over() && deadline.left() > Duration::from_secs(900));
        let other = Deadline { boot: "another".to_owned(), ..deadline };
        assert!(other.is_over());
        assert!(Deadline::after(Duration::ZERO).is_over());
    }
}
