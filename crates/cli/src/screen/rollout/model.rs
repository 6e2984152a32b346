//! A rollout as its events so far tell it.

use umbra_api::rollout::{
    ArmStatus, Happened, InstanceStatus, RolloutEvent, RolloutStatus, StepProgress,
};

/// What the screens show.
#[derive(Debug, Clone)]
pub struct Model {
    /// How it stands.
    pub status: RolloutStatus,
    /// The last thing that people should know.
    pub warning: Option<String>,
    /// Why the daemon cannot be heard just now.
    pub away: Option<String>,
}

impl Model {
    /// One that begins with how it stood when it was asked for.
    pub fn new(status: RolloutStatus) -> Self {
        Self { status, warning: None, away: None }
    }

    /// One more event.
    pub fn on(&mut self, event: &RolloutEvent) {
        let status = &mut self.status;
        match &event.what {
            Happened::Standing { status: now } => *status = (**now).clone(),
            Happened::Phase { phase, reason } => {
                (status.phase, status.reason) = (*phase, reason.clone());
                if phase.is_over() {
                    status.ended_at_ms = Some(event.at_ms);
                }
            }
            Happened::Step { step, .. } => begin_step(status, *step, event.at_ms),
            Happened::Weight { to_percent, .. } => status.weight_percent = *to_percent,
            Happened::Instance { arm, instance, .. } => {
                if let Some(arm) = arm_of(&mut status.arms, arm) {
                    set_instance(&mut arm.instances, instance);
                }
            }
            Happened::Analysis { analysis } => {
                match status.analyses.iter_mut().find(|known| known.name == analysis.name) {
                    Some(known) => *known = analysis.clone(),
                    None => status.analyses.push(analysis.clone()),
                }
            }
            Happened::Warning { sentence } => self.warning = Some(sentence.clone()),
            Happened::Hook { .. } => {}
        }
    }
}

fn begin_step(status: &mut RolloutStatus, step: usize, at_ms: i64) {
    for (place, known) in status.steps.iter_mut().enumerate() {
        if place < step && known.progress == StepProgress::Current {
            known.progress = StepProgress::Done;
        } else if place < step && known.progress == StepProgress::Ahead {
            known.progress = StepProgress::Skipped;
        } else if place == step {
            known.progress = StepProgress::Current;
            known.began_at_ms = Some(at_ms);
        }
    }
}

/// The instances of a control are not shown beside the arms.
fn arm_of<'a>(arms: &'a mut [ArmStatus; 2], name: &str) -> Option<&'a mut ArmStatus> {
    let [baseline, candidate] = arms;
    match name {
        "baseline" => Some(baseline),
        "candidate" => Some(candidate),
        _ => None,
    }
}

fn set_instance(instances: &mut Vec<InstanceStatus>, now: &InstanceStatus) {
    let same = |known: &&mut InstanceStatus| known.to == now.to && known.name == now.name;
    match instances.iter_mut().find(same) {
        Some(known) => *known = now.clone(),
        None => instances.push(now.clone()),
    }
}
