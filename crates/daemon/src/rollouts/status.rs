//! How a rollout stands, for people.

use umbra_api::rollout::{
    ArmStatus, Happened, InstancePhase, InstanceStatus, JudgedStatus, Quantiles, RolloutStatus,
};
use umbra_gateway::split::wire::SplitStatus;
use umbra_judge::standing::Standing;
use umbra_rollout::controller::{Controller, Role};
use umbra_rollout::judged::judged;

use super::made::{Held, Made};
use super::seen::arms;
use super::tools::Tools;
use crate::instances::{self, Instance};

/// An instance changed.
pub(super) fn instance(role: Role, held: &Held, why: Option<String>) -> Happened {
    let arm = match role {
        Role::Candidate => "candidate",
        Role::Control => "control",
    };
    Happened::Instance { arm: arm.to_owned(), instance: held.status(), why }
}

/// One of those that served before changed.
pub(super) fn previous(held: &Held) -> Happened {
    Happened::Instance { arm: "baseline".to_owned(), instance: held.status(), why: None }
}

/// Where an instance is in its life, as its keeper says.
pub(super) fn phase_of(instance: &Instance) -> InstancePhase {
    match instance.phase {
        instances::InstancePhase::Running => InstancePhase::Ready,
        instances::InstancePhase::Starting | instances::InstancePhase::Restarting => {
            InstancePhase::Unwell
        }
    }
}

/// All of it; `split` as it was last seen.
pub(super) fn status(
    tools: &Tools,
    controller: &Controller,
    made: &Made,
    split: Option<&SplitStatus>,
) -> RolloutStatus {
    let plan = &tools.plan;
    let judged = split.and_then(|split| split.standing.as_ref());
    RolloutStatus {
        id: tools.id,
        service: plan.spec.service.clone(),
        candidate: plan.candidate.words.clone(),
        state: plan.candidate.state,
        baseline: plan.baseline.words.clone(),
        phase: controller.phase(),
        reason: controller.reason(),
        steps: controller.steps(),
        weight_percent: controller.weight() * 100.0,
        mirror_percent: controller.mirrored_percent(),
        began_at_ms: controller.began_at_ms(),
        ended_at_ms: controller.ended_at_ms(),
        arms: [baseline(tools, made, split), candidate(made, split)],
        judged: judged.zip(split).map(|(standing, split)| judged_status(standing, split)),
        analyses: controller.analyses(),
        held_by: controller.held_by(),
        journal: made.journal.clone(),
        rolled_back: made.rolled_back.clone(),
        topped_up: controller.topped_up(),
    }
}

fn baseline(tools: &Tools, made: &Made, split: Option<&SplitStatus>) -> ArmStatus {
    let instances = match made.previous.is_empty() {
        // Somebody else runs them: they are where the route leads.
        true => tools
            .plan
            .baseline
            .targets
            .iter()
            .map(|target| {
                let (name, to) = (None, target.to.clone());
                InstanceStatus { name, to, phase: InstancePhase::Ready }
            })
            .collect(),
        false => made.previous.iter().map(Held::status).collect::<Vec<_>>(),
    };
    let control = made.control.iter().map(Held::status);
    arm(instances.into_iter().chain(control).collect(), split, false)
}

fn candidate(made: &Made, split: Option<&SplitStatus>) -> ArmStatus {
    arm(made.candidate.iter().map(Held::status).collect(), split, true)
}

fn arm(instances: Vec<InstanceStatus>, split: Option<&SplitStatus>, candidate: bool) -> ArmStatus {
    let mut status = ArmStatus { instances, ..ArmStatus::default() };
    for arm in split.into_iter().flat_map(|split| arms(split, candidate)) {
        status.requests += arm.requests;
        status.errors += arm.errors;
        status.in_flight += arm.in_flight;
        // Those of the whole of production, where there is a control beside it.
        status.latency = status.latency.or(arm.latency.map(|latency| Quantiles {
            p50_us: latency.p50_us,
            p90_us: latency.p90_us,
            p99_us: latency.p99_us,
            p999_us: latency.p999_us,
        }));
    }
    status
}

fn judged_status(standing: &Standing, split: &SplitStatus) -> JudgedStatus {
    let mut judged = judged(standing.clone());
    judged.left_out.extend(split.left_out.iter().map(|one| {
        let cause = serde_json::to_value(one.cause).ok();
        let cause = cause.and_then(|cause| cause.as_str().map(str::to_owned));
        (cause.unwrap_or_default(), one.count)
    }));
    judged
}
