//! When a drift is rolled back without asking.
//!
//! Pure, so that every decision can be made again from what is kept of it. The first thing that
//! speaks against a rollback is the answer; nothing does only where all of them were looked at.

use std::fmt;

use serde::{Deserialize, Serialize};
use umbra_state::Verdict;

use crate::config::{AutoRollback, OnDrift, QuietHours, Requirement, Severity};

/// Who is put back this often within an hour and drifts again has somebody who fights for it.
const FLIPS_MAX: usize = 2;

const HOUR_MS: i64 = 3_600_000;

/// All that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What the parameter wants done.
    pub on_drift: OnDrift,
    /// How grave its drift is.
    pub severity: Severity,
    /// What may be done without asking; `None` for nothing.
    pub policy: Option<&'a AutoRollback>,
    /// What a rehearsal of the rollback said; `None` if there was none.
    pub rehearsal: Option<Verdict>,
    /// How many conflicts the plan has.
    pub conflicts: usize,
    /// Whether a rollback of the primary goes on.
    pub in_progress: bool,
    /// When the primary was rolled back without asking.
    pub rollbacks_ms: &'a [i64],
    /// When this item was.
    pub rollbacks_of_item_ms: &'a [i64],
    /// Now, in milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// Now, in minutes since the last midnight of the primary's place.
    pub minute: u16,
}

/// What speaks against a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// The parameter does not want it.
    NotWanted,
    /// The configuration has no policy for it.
    NoPolicy,
    /// The drift is not grave enough.
    NotGrave {
        /// The least that is.
        min: Severity,
    },
    /// Another rollback goes on.
    InProgress,
    /// These hours are quiet.
    Quiet,
    /// There were as many as there may be in an hour.
    TooMany {
        /// So many.
        max_per_hour: u32,
    },
    /// It was put back again and again: somebody else changes it on purpose.
    Oscillates {
        /// How often within an hour.
        times: usize,
    },
    /// Something else changed what would be put back.
    Conflict {
        /// At how many places.
        places: usize,
    },
    /// No rehearsal passed.
    NotRehearsed {
        /// What one said, if there was one.
        verdict: Option<Verdict>,
    },
}

/// Whether a rollback may begin.
///
/// # Errors
/// What speaks against it.
pub fn decide(situation: &Situation<'_>) -> Result<(), Refusal> {
    if situation.on_drift != OnDrift::Rollback {
        return Err(Refusal::NotWanted);
    }
    let Some(policy) = situation.policy else { return Err(Refusal::NoPolicy) };
    if situation.severity < policy.min_severity {
        return Err(Refusal::NotGrave { min: policy.min_severity });
    }
    if situation.in_progress {
        return Err(Refusal::InProgress);
    }
    if policy.quiet_hours.iter().any(|hours| is_within(hours, situation.minute)) {
        return Err(Refusal::Quiet);
    }
    let lately = |times: &[i64]| {
        times.iter().filter(|at| situation.now_ms.saturating_sub(**at) < HOUR_MS).count()
    };
    let times = lately(situation.rollbacks_of_item_ms);
    if times >= FLIPS_MAX {
        return Err(Refusal::Oscillates { times });
    }
    if lately(situation.rollbacks_ms) >= policy.max_per_hour as usize {
        return Err(Refusal::TooMany { max_per_hour: policy.max_per_hour });
    }
    let requires = |what| policy.require.contains(&what);
    if requires(Requirement::NoConflict) && situation.conflicts > 0 {
        return Err(Refusal::Conflict { places: situation.conflicts });
    }
    if requires(Requirement::RehearsalPass) && situation.rehearsal != Some(Verdict::Pass) {
        return Err(Refusal::NotRehearsed { verdict: situation.rehearsal });
    }
    Ok(())
}

impl Refusal {
    /// Whether it passes by itself, so that the rollback can be tried again later.
    pub fn passes(&self) -> bool {
        matches!(self, Self::InProgress | Self::Quiet | Self::TooMany { .. })
    }
}

fn is_within(hours: &QuietHours, minute: u16) -> bool {
    let (from, to) = (hours.from_minute, hours.to_minute);
    if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWanted => f.write_str("its parameter does not say `on_drift: rollback`"),
            Self::NoPolicy => f.write_str("the configuration has no `policy.auto_rollback`"),
            Self::NotGrave { min } => write!(f, "only {min} drifts and graver are"),
            Self::InProgress => f.write_str("another rollback goes on"),
            Self::Quiet => f.write_str("these are quiet hours"),
            Self::TooMany { max_per_hour } => {
                write!(f, "there may be {max_per_hour} in an hour, and were")
            }
            Self::Oscillates { times } => {
                write!(f, "it was put back {times} times within an hour and drifted again: ")?;
                f.write_str("somebody else changes it on purpose")
            }
            Self::Conflict { places } => write!(f, "the plan has conflicts at {places} places"),
            Self::NotRehearsed { verdict: None } => f.write_str("it was not rehearsed"),
            Self::NotRehearsed { verdict: Some(verdict) } => {
                write!(f, "its rehearsal ended with {verdict}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> AutoRollback {
        AutoRollback {
            min_severity: Severity::High,
            require: vec![Requirement::NoConflict, Requirement::RehearsalPass],
            max_per_hour: 3,
            quiet_hours: vec![QuietHours { from_minute: 22 * 60, to_minute: 6 * 60 }],
        }
    }

    #[track_caller]
    fn check(edit: impl for<'a> FnOnce(&mut Situation<'a>), refusal: Option<Refusal>) {
        let policy = policy();
        let mut situation = Situation {
            on_drift: OnDrift::Rollback,
            severity: Severity::Critical,
            policy: Some(&policy),
            rehearsal: Some(Verdict::Pass),
            conflicts: 0,
            in_progress: false,
            rollbacks_ms: &[],
            rollbacks_of_item_ms: &[],
            now_ms: 10 * HOUR_MS,
            minute: 12 * 60,
        };
        edit(&mut situation);
        assert_eq!(decide(&situation).err(), refusal);
    }

    #[test]
    fn each_thing_alone_speaks_against_it() {
        const AGO: i64 = 10 * HOUR_MS - 60_000;
        check(|_| {}, None);
        check(|all| all.on_drift = OnDrift::Rehearse, Some(Refusal::NotWanted));
        check(|all| all.policy = None, Some(Refusal::NoPolicy));
        check(|all| all.severity = Severity::High, None);
        let min = Severity::High;
        check(|all| all.severity = Severity::Medium, Some(Refusal::NotGrave { min }));
        check(|all| all.in_progress = true, Some(Refusal::InProgress));
        check(|all| all.minute = 23 * 60, Some(Refusal::Quiet));
        check(|all| all.minute = 5 * 60, Some(Refusal::Quiet));
        check(|all| all.minute = 6 * 60, None);
        check(|all| all.conflicts = 2, Some(Refusal::Conflict { places: 2 }));
        check(|all| all.rehearsal = None, Some(Refusal::NotRehearsed { verdict: None }));
        let verdict = Some(Verdict::Inconclusive);
        check(|all| all.rehearsal = verdict, Some(Refusal::NotRehearsed { verdict }));
        check(|all| all.rollbacks_ms = &[0, AGO, AGO], None);
        let too_many = Refusal::TooMany { max_per_hour: 3 };
        check(|all| all.rollbacks_ms = &[AGO, AGO, AGO], Some(too_many));
        let oscillates = Refusal::Oscillates { times: 2 };
        check(|all| all.rollbacks_of_item_ms = &[AGO, AGO], Some(oscillates));
        check(|all| all.rollbacks_of_item_ms = &[0, AGO], None);
    }
}
