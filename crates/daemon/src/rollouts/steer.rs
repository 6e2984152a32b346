//! What the gateway is told, job by job. Each does what is left of it when it is done again.

use std::time::{Duration, Instant};

use umbra_api::rollout::Happened;
use umbra_gateway::control::StartMirror;
use umbra_gateway::mirror::Role as MirrorRole;
use umbra_gateway::routes::setup::TargetSetup;
use umbra_gateway::split::wire::{EndTo, OnWorse, SplitArm, SplitStatus, StartSplit};
use umbra_rollout::controller::{Effect, Event, Role, Winner};
use umbra_rollout::spec;

use super::gate::{Gate, GateError};
use super::inbox::News;
use super::settings;
use super::tools::{Tools, Turn};

/// How often a change is tried that another change stands in the way of.
const CONFLICTS_MAX: u32 = 20;
const CONFLICT_WAIT: Duration = Duration::from_millis(250);
/// How often it is looked whether requests are still under way.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// Outcomes of splits of one rollout.
const JOURNALS_MAX: u32 = 1_000;

/// Has a route that leads nowhere lead to the candidate: there is nothing to split.
pub(super) fn assign(tools: &Tools, turn: Turn, candidate: &[TargetSetup]) -> Vec<News> {
    match tools.insist(Some(turn), |gate| gate.assign(candidate.to_vec())) {
        None => Vec::new(),
        Some(Ok(())) => vec![News::Assigned],
        Some(Err(error)) => {
            let effect = Effect::BeginSplit;
            vec![Event::Failed { effect, why: error.to_string() }.into()]
        }
    }
}

/// Begins the split, unless this rollout has one.
pub(super) fn begin(
    tools: &Tools,
    turn: Turn,
    candidate: &[TargetSetup],
    control: &[TargetSetup],
) -> Vec<News> {
    let begun = tools.insist(Some(turn), |gate| match gate.split() {
        Ok(split) if gate.is_own(&split) => Ok(split),
        Ok(split) => Err(GateError::Refused(format!(
            "route {:?} is split already, for rollout {}",
            tools.plan.spec.route, split.rollout
        ))),
        Err(GateError::Nothing(_)) => new(tools, gate, candidate, control),
        Err(error) => Err(error),
    });
    let effect = Effect::BeginSplit;
    match begun {
        None => Vec::new(),
        Some(Ok(split)) => vec![News::Begun(split.journal.path)],
        Some(Err(error)) => vec![Event::Failed { effect, why: error.to_string() }.into()],
    }
}

fn new(
    tools: &Tools,
    gate: &Gate,
    candidate: &[TargetSetup],
    control: &[TargetSetup],
) -> Result<SplitStatus, GateError> {
    let plan = &tools.plan;
    let refused = |why: String| GateError::Refused(why);
    std::fs::create_dir_all(&plan.dir)
        .map_err(|error| refused(format!("make {}: {error}", plan.dir.display())))?;
    let mut journals = (1..=JOURNALS_MAX).map(|number| plan.journal(number));
    let journal = journals.find(|journal| journal.symlink_metadata().is_err());
    let journal = journal.ok_or_else(|| refused("its outcomes were begun too often".to_owned()))?;
    let control = match plan.spec.control {
        spec::Control::Fresh => control.to_vec(),
        spec::Control::Production => Vec::new(),
    };
    let sticky = gate.route()?.is_some_and(|route| route.sticky.is_some());
    gate.begin(&StartSplit {
        candidate: candidate.to_vec(),
        control,
        weight: 0.0,
        settings: settings::settings(&plan.spec, sticky),
        journal,
        on_worse: match plan.spec.on_worse {
            spec::OnWorse::Rollback => OnWorse::Rollback,
            spec::OnWorse::Pause | spec::OnWorse::Notify => OnWorse::Tell,
        },
        rollout: tools.id,
    })
}

/// Gives the candidate this part of requests.
pub(super) fn weigh(tools: &Tools, turn: Turn, weight: f64) -> Vec<News> {
    match persist(tools, Some(turn), |gate| gate.weigh(weight)) {
        None => Vec::new(),
        Some(Ok(_)) => vec![Event::WeightSet { weight }.into()],
        Some(Err(error)) => vec![Event::WeightRefused { why: error.to_string() }.into()],
    }
}

/// Ends the split once nothing is under way at whom it leaves; that has its time.
pub(super) fn end(tools: &Tools, turn: Turn, to: Winner) -> Vec<News> {
    let end = match to {
        Winner::Baseline => EndTo::Baseline,
        Winner::Candidate => EndTo::Candidate,
    };
    drain(tools, |arm| match to {
        Winner::Baseline => arm != SplitArm::Baseline,
        Winner::Candidate => arm != SplitArm::Candidate,
    });
    match persist(tools, Some(turn), |gate| gate.end(end)) {
        None => Vec::new(),
        Some(Ok(())) => vec![News::Ended(to)],
        Some(Err(GateError::Nothing(_))) => gone(tools, turn, to),
        Some(Err(error)) => {
            let effect = Effect::EndSplit { to };
            vec![Event::Failed { effect, why: error.to_string() }.into()]
        }
    }
}

/// What the gateway says to a change of the split, which is asked for again for some seconds while
/// another change stands in its way: a successor takes over, most likely. That it has rolled back
/// is final.
fn persist<T>(
    tools: &Tools,
    turn: Option<Turn>,
    ask: impl Fn(&Gate) -> Result<T, GateError>,
) -> Option<Result<T, GateError>> {
    let ask = |gate: &Gate| match ask(gate) {
        Err(GateError::Conflict(why)) if gate.split().is_ok_and(|split| split.rolled_back) => {
            Err(GateError::Refused(why))
        }
        said => said,
    };
    for _ in 1..CONFLICTS_MAX {
        match tools.insist(turn, ask) {
            Some(Err(GateError::Conflict(_))) => std::thread::sleep(CONFLICT_WAIT),
            said => return said,
        }
    }
    tools.insist(turn, ask)
}

/// There is no split of ours to end: it was ended, by us before or by somebody else, and only
/// where requests go now says in whose favour.
fn gone(tools: &Tools, turn: Turn, to: Winner) -> Vec<News> {
    let leads_to = tools.insist(Some(turn), |gate| {
        gate.leads_to()?.ok_or_else(|| GateError::Refused("there is no such route".to_owned()))
    });
    match leads_to {
        None => Vec::new(),
        Some(Ok(targets)) => vec![News::Gone(targets)],
        Some(Err(error)) => {
            let effect = Effect::EndSplit { to };
            vec![Event::Failed { effect, why: error.to_string() }.into()]
        }
    }
}

/// Waits until nothing is under way at these arms; that has its time.
pub(super) fn drain(tools: &Tools, leaves: impl Fn(SplitArm) -> bool) {
    let until = Instant::now() + Duration::from_millis(tools.plan.spec.instances.drain_ms);
    while Instant::now() < until && !tools.is_ended() {
        // A split that is not there has nothing under way.
        let Ok(split) = tools.gate.split() else { return };
        let left = split.arms.iter().filter(|arm| leaves(arm.arm));
        if !tools.gate.is_own(&split) || left.map(|arm| arm.in_flight).sum::<u64>() == 0 {
            return;
        }
        std::thread::sleep(DRAIN_LOOK);
    }
}

/// Sends an arm's requests to where its instances are now.
pub(super) fn aim(tools: &Tools, role: Role, targets: &[TargetSetup]) -> Vec<News> {
    let arm = match role {
        Role::Candidate => SplitArm::Candidate,
        Role::Control => SplitArm::Control,
    };
    match persist(tools, None, |gate| gate.aim(arm, targets.to_vec())) {
        Some(Err(error)) => {
            let sentence = format!("an instance has moved, and the gateway is not told: {error}");
            vec![News::Happened(Box::new(Happened::Warning { sentence }))]
        }
        Some(Ok(())) | None => Vec::new(),
    }
}

/// Mirrors this part of requests to the candidate, and to a control if there is one: then their
/// answers are compared.
pub(super) fn mirror(
    tools: &Tools,
    turn: Turn,
    percent: f64,
    candidate: &[TargetSetup],
    control: &[TargetSetup],
) -> Vec<News> {
    let Some(candidate) = candidate.first() else {
        let why = "there is no instance that copies could go to".to_owned();
        return vec![Event::MirrorsFailed { why }.into()];
    };
    let control = control.first();
    let mut all = vec![StartMirror {
        to: candidate.to.clone(),
        percent: percent.to_string(),
        route: Some(tools.plan.spec.route.clone()),
        role: control.is_some().then_some(MirrorRole::Candidate),
        ..StartMirror::default()
    }];
    // It gets what the candidate does.
    all.extend(control.map(|control| StartMirror {
        to: control.to.clone(),
        percent: "100".to_owned(),
        role: Some(MirrorRole::Baseline),
        ..StartMirror::default()
    }));
    for start in all {
        let name = mirror_name(tools, start.role);
        match tools.insist(Some(turn), |gate| gate.mirror(&name, &start)) {
            None => return Vec::new(),
            Some(Ok(())) => {}
            Some(Err(error)) => {
                return vec![Event::MirrorsFailed { why: error.to_string() }.into()];
            }
        }
    }
    vec![Event::MirrorsSet { percent }.into()]
}

/// Mirrors nothing more.
pub(super) fn stop_mirrors(tools: &Tools, turn: Turn) -> Vec<News> {
    for role in [Some(MirrorRole::Baseline), Some(MirrorRole::Candidate)] {
        let name = mirror_name(tools, role);
        match tools.insist(Some(turn), |gate| gate.stop_mirror(&name)) {
            None => return Vec::new(),
            Some(Ok(())) => {}
            Some(Err(error)) => {
                return vec![Event::MirrorsFailed { why: error.to_string() }.into()];
            }
        }
    }
    vec![Event::MirrorsSet { percent: 0.0 }.into()]
}

fn mirror_name(tools: &Tools, role: Option<MirrorRole>) -> String {
    mirror_of(&tools.plan.spec.service, role)
}

/// The name of a mirror of a service's rollout.
pub(super) fn mirror_of(service: &str, role: Option<MirrorRole>) -> String {
    let role = match role {
        Some(MirrorRole::Baseline) => "baseline",
        Some(MirrorRole::Candidate) | None => "candidate",
    };
    format!("rollout-{service}-{role}")
}
