//! What a build's events say about the build: a pure fold.

use umbra_api::build::{BuildInfo, BuildPhase, Event};
use umbra_state::{Cause, StateId, Verdict};

use crate::db::writer::{MetricRow, SealedImage, StepState};

/// A build as its events so far tell it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Projection {
    /// What lists show.
    pub info: BuildInfo,
    steps: Vec<String>,
    states: Vec<Option<StateId>>,
    verdict: Option<Verdict>,
}

/// What one event adds besides changing the build.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Effects {
    /// A state that a step led to.
    pub step: Option<StepState>,
    /// Numbers a test measured.
    pub metrics: Vec<MetricRow>,
    /// An image that was sealed.
    pub sealed: Option<SealedImage>,
    /// A shadow that was kept as it failed, and the state it shows.
    pub kept_shadow: Option<(String, StateId)>,
}

impl Projection {
    /// A build of which nothing is known but that it was asked for.
    pub(super) fn new(info: BuildInfo) -> Self {
        Self { info, steps: Vec::new(), states: Vec::new(), verdict: None }
    }

    /// Takes the next event; `now_ms` is when it was received.
    pub(super) fn on(&mut self, event: &Event, now_ms: i64) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Started { name, steps, .. } => {
                self.info.name.clone_from(name);
                self.steps.clone_from(steps);
                self.states = vec![None; steps.len()];
            }
            Event::BaseReady { state, .. } => self.info.state = Some(*state),
            Event::StepCached { step, state, .. } | Event::StepIngested { step, state, .. } => {
                effects.step = Some(self.reached(*step, *state));
            }
            Event::TestEnded { step, result } => {
                self.judge(result.verdict);
                let step = self.step_name(*step);
                effects.metrics = result
                    .metrics
                    .iter()
                    .map(|metric| MetricRow {
                        step: step.clone(),
                        test: result.name.clone(),
                        name: metric.name.clone(),
                        value: metric.value,
                        unit: metric.unit.clone(),
                    })
                    .collect();
            }
            Event::TestKept { verdict, .. } => self.judge(*verdict),
            Event::Asked { failure } => {
                self.info.phase = BuildPhase::Asking;
                effects.kept_shadow = failure.shadow.clone().map(|name| (name, failure.after));
            }
            Event::Answered { .. } => self.info.phase = BuildPhase::Running,
            Event::Halted { failure } => {
                effects.kept_shadow = failure.shadow.clone().map(|name| (name, failure.after));
            }
            Event::Sealed { image, state } => {
                self.info.state = Some(*state);
                effects.sealed = Some(self.seal(image, *state));
            }
            Event::Ended { phase, verdict, reason, .. } => {
                self.info.phase = *phase;
                self.info.verdict = *verdict;
                self.info.reason.clone_from(reason);
                self.info.ended_at_ms = Some(now_ms);
            }
            Event::Pool { .. }
            | Event::StepStarted { .. }
            | Event::StepOutput { .. }
            | Event::StepEnded { .. }
            | Event::DeltaApplied { .. }
            | Event::TestStarted { .. }
            | Event::Exported { .. }
            | Event::Warning { .. } => {}
        }
        effects
    }

    fn judge(&mut self, verdict: Verdict) {
        let worst = Verdict::combine(self.verdict.into_iter().chain([verdict]));
        self.verdict = Some(worst);
        self.info.verdict = worst;
    }

    fn reached(&mut self, step: usize, state: StateId) -> StepState {
        self.info.state = Some(state);
        if let Some(slot) = self.states.get_mut(step) {
            *slot = Some(state);
        }
        StepState { step, name: self.step_name(step), state }
    }

    fn step_name(&self, step: usize) -> String {
        self.steps.get(step).cloned().unwrap_or_else(|| step.to_string())
    }

    fn seal(&self, image: &str, state: StateId) -> SealedImage {
        let build = self.info.id;
        let steps = self.steps.iter().zip(&self.states).filter_map(|(step, state)| {
            state.map(|state| (state, Cause::BuildStep { build, step: step.clone() }))
        });
        let entries = steps.chain([(state, Cause::Seal { build })]).collect();
        SealedImage { name: image.to_owned(), state, entries }
    }
}

#[cfg(test)]
mod tests {
    use umbra_api::build::Figures;
    use umbra_state::Digest;
    use umbra_state::diff::DeltaCounts;

    use super::*;

    fn state(number: u8) -> StateId {
        StateId(Digest::new([number; 32]))
    }

    fn begun() -> Projection {
        let mut projection = Projection::new(BuildInfo {
            id: 7,
            name: "umbra".into(),
            recipe: "/srv/umbra.yaml".into(),
            phase: BuildPhase::Running,
            verdict: Verdict::Inconclusive,
            state: None,
            started_at_ms: 5,
            ended_at_ms: None,
            reason: None,
        });
        let (steps, tests) = (vec!["a".to_owned(), "b".to_owned()], Vec::new());
        projection.on(&Event::Started { build: 7, name: "web".into(), steps, tests }, 6);
        projection
    }

    #[test]
    fn steps_lead_to_states_and_a_seal_tells_all_of_them() {
        let mut build = begun();
        let delta = DeltaCounts::default();
        let first = build.on(&Event::StepCached { step: 0, state: state(1), delta }, 7);
        let reached = StepState { step: 0, name: "a".into(), state: state(1) };
        assert_eq!(first.step, Some(reached));
        build.on(&Event::StepIngested { step: 1, state: state(2), delta, took_us: 1 }, 8);
        let sealed = build.on(&Event::Sealed { image: "web".into(), state: state(2) }, 9).sealed;
        let causes: Vec<Cause> =
            sealed.expect("sealed").entries.into_iter().map(|(_, cause)| cause).collect();
        let step = |step: &str| Cause::BuildStep { build: 7, step: step.into() };
        assert_eq!(causes, [step("a"), step("b"), Cause::Seal { build: 7 }]);
    }

    #[test]
    fn verdicts_combine_and_the_end_decides() {
        let mut build = begun();
        assert_eq!(build.info.verdict, Verdict::Inconclusive);
        let kept =
            |verdict| Event::TestKept { step: 0, test: "t".into(), verdict, reason: String::new() };
        build.on(&kept(Verdict::Pass), 7);
        assert_eq!(build.info.verdict, Verdict::Pass);
        build.on(&kept(Verdict::Fail), 7);
        build.on(&kept(Verdict::Pass), 7);
        assert_eq!(build.info.verdict, Verdict::Fail);
        let ended = Event::Ended {
            phase: BuildPhase::Halted,
            verdict: Verdict::Fail,
            reason: Some("t failed".into()),
            figures: Figures::default(),
        };
        build.on(&ended, 11);
        assert_eq!((build.info.phase, build.info.ended_at_ms), (BuildPhase::Halted, Some(11)));
    }
}
