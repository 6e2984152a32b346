//! What a journal says, whoever wrote it.

use umbra_judge::arm::Arm;
use umbra_judge::outcome::{Kind, Record};
use umbra_judge::trial::Trial;

use crate::split::Split;
use crate::split::counts::Tally;
use crate::split::wire::SplitArm;

/// What a journal says.
pub(super) struct Read {
    has_control: bool,
    pub(super) trial: Option<Trial>,
    pub(super) stages: Vec<f64>,
    pub(super) differences: f64,
    pub(super) tallies: [Tally; 3],
}

impl Read {
    pub(super) fn new(split: &Split) -> Self {
        // It was made of these before.
        let trial = Trial::new(split.start.settings).ok();
        let has_control = split.has_control;
        let (stages, tallies) = (Vec::new(), Default::default());
        Self { has_control, trial, stages, differences: 0.0, tallies }
    }

    pub(super) fn on(&mut self, record: &Record) {
        if let Some(trial) = &mut self.trial {
            trial.on(record);
        }
        match record {
            Record::Stage { weight } => self.stages.push(*weight),
            Record::Differences { log_e } => self.differences = *log_e,
            Record::Outcome(outcome) if outcome.kind == Kind::Ended => {
                let arm = match (outcome.arm, self.has_control) {
                    (Arm::Candidate, _) => SplitArm::Candidate,
                    (Arm::Baseline, true) => SplitArm::Control,
                    (Arm::Baseline, false) => SplitArm::Baseline,
                };
                let tally = &mut self.tallies[arm as usize];
                tally.earlier += 1;
                tally.ended(outcome.failed, outcome.latency_us);
            }
            Record::Outcome(_) | Record::Decision(_) => {}
        }
    }
}
