//! Rollbacks: plans, and what became of them.

use umbra_drift::rollback::{Outcome, Said};
use umbra_drift::service::{By, RollbackInfo, RollbackReply};
use umbra_state::escape::escape;

use super::summary::{right, table, trimmed};
use super::{safe, units};

/// What would be done.
pub fn plan(reply: &RollbackReply) -> String {
    let mut text = reply.plan.to_string();
    if !reply.plan.conflicts.is_empty() {
        text.push_str("something must be decided first: `--overwrite` takes the shadow's value\n");
    }
    text
}

/// What was done and what is.
pub fn done(reply: &RollbackReply) -> String {
    let Some(info) = &reply.rollback else { return plan(reply) };
    let mut text = reply.plan.to_string();
    for checked in &info.report.checked {
        let said = match &checked.said {
            Said::Accepts => "accepts it".to_owned(),
            Said::Rejects { .. } => "REJECTS it".to_owned(),
            Said::Unknown { why } => format!("was not asked: {}", safe(why)),
        };
        text.push_str(&format!("  {} {said}\n", safe(&checked.argv.join(" "))));
    }
    for note in &info.report.notes {
        text.push_str(&format!("  note: {}\n", safe(note)));
    }
    text.push_str(&format!("rollback {}: {}\n", info.number, outcome(info)));
    if info.outcome.is_some() {
        text.push_str(&format!("  what it displaced is in shadow #{}\n", info.displaced));
    }
    text
}

/// Rollbacks, newest first.
pub fn list(all: &[RollbackInfo]) -> String {
    if all.is_empty() {
        return "no rollbacks yet\n".to_owned();
    }
    let mut table = table(&["#", "begun", "by", "to", "displaced", "places", "outcome"]);
    for info in all {
        table.add_row(vec![
            right(info.number.to_string()),
            units::moment(info.begun_at_ms).into(),
            by(info.by).into(),
            right(format!("#{}", info.to)),
            right(format!("#{}", info.displaced)),
            right(info.plan.changes.len().to_string()),
            outcome(info).into(),
        ]);
    }
    trimmed(&table)
}

/// Who wanted it.
pub(super) fn by(by: By) -> &'static str {
    match by {
        By::Person => "a person",
        By::Policy => "the policy",
    }
}

/// Whether the primary is as the plan says.
pub fn is_good(info: &RollbackInfo) -> bool {
    matches!(info.outcome, Some(Outcome::Done | Outcome::Waiting { .. }))
}

/// Whether it was undone.
pub fn is_undone(info: &RollbackInfo) -> bool {
    matches!(info.outcome, Some(Outcome::Reverted { .. }))
}

fn outcome(info: &RollbackInfo) -> String {
    let Some(outcome) = &info.outcome else { return "goes on".to_owned() };
    in_words(outcome, info.confirm_until_ms, &info.primary)
}

/// What became of it.
pub(super) fn in_words(outcome: &Outcome, until_ms: Option<i64>, primary: &str) -> String {
    let why = |why: &str| escape(why.as_bytes()).to_string();
    match outcome {
        Outcome::Done => "done and verified".to_owned(),
        Outcome::Waiting { .. } => {
            let until = until_ms.map_or(String::new(), units::moment);
            let primary = safe(primary);
            format!("done and verified; undone at {until} unless `umbra drift confirm {primary}`")
        }
        Outcome::Reverted { why: because } => {
            format!("REVERTED, everything is as before: {}", why(because))
        }
        Outcome::Refused { why: because } => {
            format!("REFUSED, nothing was changed: {}", why(because))
        }
        Outcome::Stuck { why: because } => {
            format!("STUCK between before and after: {}", why(because))
        }
    }
}
