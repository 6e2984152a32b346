//! What is left of a rollout: what serves its service, and what its timeline tells.

use umbra_api::rollout::{Happened, RolledBack, RolloutPhase};
use umbra_gateway::split::wire::{SplitStatus, Worse};
use umbra_rollout::controller::{Role, Winner};
use umbra_state::Cause;

use super::made::Made;
use super::plan::{Record, Serving};
use super::tools::Tools;
use crate::db::rollouts::{RolloutWrite, ServiceRow, timeline_of};

/// Takes note of when users get to the candidate, and of how it is taken away from them.
pub(super) fn note(made: &mut Made, split: Option<&SplitStatus>, what: &Happened, now_ms: i64) {
    let worse = split.filter(|split| split.rolled_back).and_then(|split| split.worse.as_ref());
    match what {
        Happened::Phase { phase: RolloutPhase::RollingBack, .. } => {
            made.back_at_ms.get_or_insert(now_ms);
            if let Some(worse) = worse.filter(|worse| worse.weight > 0.0) {
                // A weight that nobody here heard of any more was in force all the same.
                made.exposed_at_ms.get_or_insert(worse.at_ms);
                made.rolled_back.get_or_insert_with(|| judged(worse));
            }
        }
        Happened::Weight { to_percent, .. } if *to_percent > 0.0 => {
            made.exposed_at_ms.get_or_insert(now_ms);
        }
        Happened::Weight { from_percent, .. } => {
            let asked = || {
                let at_ms = made.back_at_ms.unwrap_or(now_ms);
                let took_us = u64::try_from((now_ms - at_ms).max(0)).unwrap_or(0) * 1_000;
                RolledBack { at_ms, took_us, from_percent: *from_percent, judged: false }
            };
            made.rolled_back = Some(worse.map_or_else(asked, judged));
        }
        _ => {}
    }
}

/// The gateway did so by itself.
fn judged(worse: &Worse) -> RolledBack {
    let Worse { at_ms, took_us, weight, .. } = *worse;
    RolledBack { at_ms, took_us, from_percent: weight * 100.0, judged: true }
}

/// What serves the service once its requests are the candidate's.
pub(super) fn record(tools: &Tools, made: &Made, now_ms: i64) -> ServiceRow {
    let plan = &tools.plan;
    let held = made.candidate.iter().filter(|held| held.is_kept());
    let now = Serving {
        targets: made.targets(Role::Candidate),
        instances: held.filter_map(|held| held.name.clone()).collect(),
        ..plan.candidate.clone()
    };
    let record = Record {
        gateway: plan.gateway.clone(),
        route: plan.spec.route.clone(),
        rollout: tools.id,
        since_ms: now_ms,
        now,
        before: plan.baseline.clone(),
    };
    ServiceRow {
        name: plan.spec.service.clone(),
        state: plan.candidate.state,
        before: plan.baseline.state,
        record: serde_json::to_string(&record).unwrap_or_default(),
    }
}

/// What the service's timeline gets when a rollout is over: what came into production, and that
/// it left again. Nothing where nobody got to the candidate, or no state is known of it.
pub(super) fn growth(tools: &Tools, made: &Made, now_ms: i64) -> Option<RolloutWrite> {
    let (plan, rollout) = (&tools.plan, tools.id);
    let exposed_at_ms = made.exposed_at_ms?;
    let mut entries = vec![(plan.candidate.state?, Cause::Rollout { rollout }, exposed_at_ms)];
    if made.winner != Some(Winner::Candidate) {
        // Where it is not known what is in production again the timeline must not end with what
        // is not.
        entries.push((plan.baseline.state?, Cause::RolledBack { rollout }, now_ms));
    }
    Some(RolloutWrite::Grow { timeline: timeline_of(&plan.spec.service), entries })
}

#[cfg(test)]
mod tests {
    use umbra_gateway::split::wire::{JournalStatus, OnWorse};

    use super::*;

    /// A split that the gateway has rolled back from this weight.
    fn rolled_back(weight: f64) -> SplitStatus {
        let words = "errors: 9 of 9".to_owned();
        SplitStatus {
            route: "web".to_owned(),
            rollout: 1,
            version: 1,
            weight: 0.0,
            on_worse: OnWorse::Rollback,
            worse: Some(Worse { at_ms: 500, weight, took_us: 3_000, log_e: 5.0, words }),
            rolled_back: true,
            arms: Vec::new(),
            standing: None,
            left_out: Vec::new(),
            lag_us: 0,
            journal: JournalStatus { path: "/x".into(), bytes: 0, problem: None },
        }
    }

    #[track_caller]
    fn check(
        split: Option<&SplitStatus>,
        happened: &[Happened],
        exposed_at_ms: Option<i64>,
        back: Option<(f64, u64, bool)>,
    ) {
        let mut made = Made::default();
        for (at, what) in (1_i64..).zip(happened) {
            note(&mut made, split, what, at * 1_000);
        }
        assert_eq!(made.exposed_at_ms, exposed_at_ms);
        let found = made.rolled_back.map(|back| (back.from_percent, back.took_us, back.judged));
        assert_eq!(found, back);
    }

    #[test]
    fn how_it_was_taken_back_is_what_the_gateway_did() {
        let weight = |from_percent, to_percent| Happened::Weight { from_percent, to_percent };
        let back =
            || Happened::Phase { phase: RolloutPhase::RollingBack, reason: "why".to_owned() };
        check(None, &[back()], None, None);
        check(None, &[weight(0.0, 5.0)], Some(1_000), None);
        let aborted = [weight(0.0, 5.0), back(), weight(5.0, 0.0)];
        check(None, &aborted, Some(1_000), Some((5.0, 1_000_000, false)));
        let judged = Some((25.0, 3_000, true));
        let split = rolled_back(0.25);
        check(Some(&split), &[weight(0.0, 25.0), weight(25.0, 0.0), back()], Some(1_000), judged);
        // Of the weight that was in force nobody had heard, or of none.
        check(Some(&split), &[weight(0.0, 5.0), weight(5.0, 0.0), back()], Some(1_000), judged);
        check(Some(&split), &[back()], Some(500), judged);
        check(Some(&rolled_back(0.0)), &[back()], None, None);
    }
}
