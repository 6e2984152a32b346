//! What may be done without asking.

use std::time::Duration;

use super::severity::Severity;
use super::words::words;

/// What may be done without asking.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Rollbacks on drifts whose parameter wants one; none if not given.
    pub auto_rollback: Option<AutoRollback>,
    /// Whose work makes changes expected while it lasts.
    pub maintenance: Vec<Maintenance>,
}

/// When a drift may be rolled back without asking.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoRollback {
    /// The least grave drift.
    pub min_severity: Severity,
    /// What must hold besides.
    pub require: Vec<Requirement>,
    /// How many in any hour.
    pub max_per_hour: u32,
    /// When none is begun, in local time.
    pub quiet_hours: Vec<QuietHours>,
}

words! {
    /// What must hold before a drift is rolled back without asking.
    Requirement {
        /// The rollback was tried on a shadow and broke nothing.
        RehearsalPass = "rehearsal_pass",
        /// Nothing else changed what would be put back.
        NoConflict = "no_conflict",
    }
}

/// A span of the day; one that ends before it begins goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// Its first minute, from midnight.
    pub from_minute: u16,
    /// The minute after its last.
    pub to_minute: u16,
}

/// A program whose changes are expected while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// The name of its process.
    pub process: String,
    /// How long after its last change it still counts as working.
    pub until_idle: Duration,
}
