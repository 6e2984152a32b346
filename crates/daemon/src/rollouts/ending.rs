//! What is left of a rollout: what serves its service, and what its timeline tells.

use umbra_api::rollout::{Happened, RolledBack, RolloutPhase};
use umbra_gateway::split::wire::SplitStatus;
use umbra_rollout::controller::{Role, Winner};
use umbra_state::Cause;

use super::made::Made;
use super::plan::{Record, Serving};
use super::tools::Tools;
use crate::db::rollouts::{RolloutWrite, ServiceRow, timeline_of};

/// Takes note of when users get to the candidate, and of how it is taken away from them.
pub(super) fn note(made: &mut Made, split: Option<&SplitStatus>, what: &Happened, now_ms: i64) {
    match what {
        Happened::Phase { phase: RolloutPhase::RollingBack, .. } => {
            made.back_at_ms.get_or_insert(now_ms);
        }
        Happened::Weight { to_percent, .. } if *to_percent > 0.0 => {
            made.exposed_at_ms.get_or_insert(now_ms);
        }
        Happened::Weight { from_percent, .. } => {
            let judged = split.filter(|split| split.rolled_back);
            let worse = judged.and_then(|split| split.worse.as_ref());
            let at_ms = worse.map_or(made.back_at_ms.unwrap_or(now_ms), |worse| worse.at_ms);
            let since_us = u64::try_from((now_ms - at_ms).max(0)).unwrap_or(0) * 1_000;
            made.rolled_back = Some(RolledBack {
                at_ms,
                took_us: worse.map_or(since_us, |worse| worse.took_us),
                from_percent: *from_percent,
                judged: worse.is_some(),
            });
        }
        _ => {}
    }
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
