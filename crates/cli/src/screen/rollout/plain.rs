//! One line per event that matters: for CI, pipes and those who read later.
//!
//! ```text
//!    62.412s weight 1 % -> 5 %
//! ^^^^^^^^^ since the rollout began; then a fixed word, and what happened
//! ```
//!
//! The words at the beginning are stable: `phase`, `step`, `weight`, `instance`, `analysis`,
//! `hook`, `standing`, `warning`.

use umbra_api::rollout::{ArmStatus, Happened, RolloutEvent, RolloutStatus};

use super::{evidence, words};
use crate::screen::{safe, units};

/// At least so much time lies between two lines about how everything stands.
const STANDING_EVERY_MS: i64 = 10_000;

/// Writes lines, and remembers which it wrote.
#[derive(Debug, Clone)]
pub struct Writer {
    began_at_ms: i64,
    stood_at_ms: Option<i64>,
}

impl Writer {
    /// For a rollout that began then.
    pub fn new(began_at_ms: i64) -> Self {
        Self { began_at_ms, stood_at_ms: None }
    }

    /// The line of an event, if it has one.
    pub fn line(&mut self, event: &RolloutEvent) -> Option<String> {
        if matches!(event.what, Happened::Standing { .. }) {
            let due = self.stood_at_ms.is_none_or(|at| event.at_ms >= at + STANDING_EVERY_MS);
            if !due {
                return None;
            }
            self.stood_at_ms = Some(event.at_ms);
        }
        Some(line(event, self.began_at_ms))
    }
}

/// The line of any event.
pub fn line(event: &RolloutEvent, began_at_ms: i64) -> String {
    let at = event.at_ms.saturating_sub(began_at_ms) as f64 / 1e3;
    format!("{at:>9.3}s {}", text(&event.what))
}

fn text(what: &Happened) -> String {
    match what {
        Happened::Phase { phase, reason } if reason.is_empty() => {
            format!("phase {}", words::phase(*phase))
        }
        Happened::Phase { phase, reason } => {
            format!("phase {}: {}", words::phase(*phase), safe(reason))
        }
        Happened::Step { step, words } => format!("step {}: {}", step + 1, safe(words)),
        Happened::Weight { from_percent, to_percent } => {
            format!("weight {} -> {}", words::percent(*from_percent), words::percent(*to_percent))
        }
        Happened::Instance { arm, instance, why } => {
            let why = why.as_ref().map_or(String::new(), |why| format!(": {}", safe(why)));
            format!("instance {} {}{why}", safe(arm), words::instance(instance))
        }
        Happened::Analysis { analysis } => format!("analysis {}", words::analysis(analysis)),
        Happened::Hook { name, outcome } => format!("hook {}: {}", safe(name), safe(outcome)),
        Happened::Standing { status } => standing(status),
        Happened::Warning { sentence } => format!("warning {}", safe(sentence)),
    }
}

fn standing(status: &RolloutStatus) -> String {
    let [baseline, candidate] = &status.arms;
    let arm = |name: &str, arm: &ArmStatus| {
        format!("{name} {} of {} failed", units::count(arm.errors), units::count(arm.requests))
    };
    let judged = status.judged.as_ref().map_or(String::new(), |judged| {
        format!(
            "; evidence {} of {}; {}",
            words::e_value(judged.log_e),
            words::e_value(judged.log_limit),
            evidence::needed(judged)
        )
    });
    format!(
        "standing {}: {}, {}{judged}",
        words::percent(status.weight_percent),
        arm("candidate", candidate),
        arm("baseline", baseline)
    )
}
