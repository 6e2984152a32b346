//! A build as its events so far tell it: a fold that every screen shares.

use umbra_api::build::{BuildEvent, BuildPhase, Event, Failure, Figures, TestResult};
use umbra_state::diff::DeltaCounts;
use umbra_state::{Exit, StateId, Verdict};

/// A build as its events so far tell it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// Its number.
    pub build: Option<u64>,
    /// The image's name.
    pub name: String,
    /// How many tests the recipe has.
    pub tests: usize,
    /// The base: where it came from and its state.
    pub base: Option<(String, StateId)>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Shadows in its pool.
    pub shadows: Vec<String>,
    /// Results, with the step they came after.
    pub results: Vec<(usize, TestResult)>,
    /// Tests that run now: step, name, shadow.
    pub running: Vec<(usize, String, String)>,
    /// The question it waits on.
    pub asked: Option<Failure>,
    /// What halted it.
    pub halted: Option<Failure>,
    /// The image it sealed.
    pub sealed: Option<(String, StateId)>,
    /// Exports that were written.
    pub exports: Vec<(String, String)>,
    /// Its end.
    pub ended: Option<Ended>,
    /// The last line that a step printed.
    pub last_output: String,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// In which phase.
    pub phase: BuildPhase,
    /// With which verdict.
    pub verdict: Verdict,
    /// Why, where that is no plain success.
    pub reason: Option<String>,
    /// What was measured.
    pub figures: Figures,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub phase: StepPhase,
    /// How long it ran.
    pub took_us: Option<u64>,
    /// When it began, in microseconds of the build.
    pub began_us: u64,
    /// From its end to its delta being on the first shadow.
    pub applied_us: Option<u64>,
    /// Its delta.
    pub delta: Option<DeltaCounts>,
    /// The state after it.
    pub state: Option<StateId>,
    /// Verdicts of its tests.
    pub verdicts: Vec<Verdict>,
    /// Tests whose verdict was kept.
    pub kept: usize,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepPhase {
    /// Not begun.
    #[default]
    Waiting,
    /// Taken from the cache.
    Cached,
    /// Running.
    Running,
    /// Ended well.
    Ran,
    /// Ended badly.
    Failed,
    /// Thrown away because a step before it failed.
    Discarded,
}

impl Model {
    /// Takes the next event.
    pub fn on(&mut self, event: &BuildEvent) {
        let at_us = event.at_us;
        match &event.event {
            Event::Started { build, name, steps, tests } => {
                self.build = Some(*build);
                self.name.clone_from(name);
                self.tests = tests.len();
                let step = |name: &String| Step { name: name.clone(), ..Step::default() };
                self.steps = steps.iter().map(step).collect();
            }
            Event::BaseReady { state, source, .. } => self.base = Some((source.clone(), *state)),
            Event::Pool { shadows, .. } => self.shadows.clone_from(shadows),
            Event::StepCached { step, state, delta } => {
                self.change(*step, |it| {
                    it.phase = StepPhase::Cached;
                    (it.state, it.delta) = (Some(*state), Some(*delta));
                });
            }
            Event::StepStarted { step, .. } => {
                self.last_output.clear();
                self.change(*step, |it| {
                    *it = Step { name: std::mem::take(&mut it.name), ..Step::default() };
                    (it.phase, it.began_us) = (StepPhase::Running, at_us);
                });
            }
            Event::StepOutput { text, .. } => {
                if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
                    self.last_output = line.to_owned();
                }
            }
            Event::StepEnded { step, exit, took_us } => {
                self.change(*step, |it| {
                    it.phase = if exit.success() { StepPhase::Ran } else { StepPhase::Failed };
                    it.took_us = Some(*took_us);
                });
            }
            Event::DeltaApplied { step, took_us, .. } => {
                self.change(*step, |it| {
                    it.applied_us.get_or_insert(*took_us);
                });
            }
            Event::StepIngested { step, state, delta, .. } => {
                self.change(*step, |it| (it.state, it.delta) = (Some(*state), Some(*delta)));
            }
            Event::TestStarted { step, test, shadow, .. } => {
                self.running.push((*step, test.clone(), shadow.clone()));
            }
            Event::TestKept { step, verdict, .. } => {
                self.change(*step, |it| {
                    it.kept += 1;
                    it.verdicts.push(*verdict);
                });
            }
            Event::TestEnded { step, result } => {
                self.running.retain(|(at, name, _)| (at, name) != (step, &result.name));
                self.change(*step, |it| it.verdicts.push(result.verdict));
                self.results.push((*step, result.clone()));
            }
            Event::Asked { failure } => self.asked = Some(failure.clone()),
            Event::Answered { .. } => self.asked = None,
            Event::Halted { failure } => self.halt(failure),
            Event::Sealed { image, state } => self.sealed = Some((image.clone(), *state)),
            Event::Exported { format, path, .. } => {
                self.exports.push((format.clone(), path.clone()));
            }
            Event::Warning { .. } => {}
            Event::Ended { phase, verdict, reason, figures } => {
                self.asked = None;
                self.running.clear();
                self.ended = Some(Ended {
                    phase: *phase,
                    verdict: *verdict,
                    reason: reason.clone(),
                    figures: figures.clone(),
                });
            }
        }
    }

    /// A step's name, or its position where the recipe's steps are not known.
    pub fn step_name(&self, step: usize) -> String {
        self.steps.get(step).map_or_else(|| step.to_string(), |it| it.name.clone())
    }

    fn change(&mut self, step: usize, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.steps.get_mut(step) {
            change(step);
        }
    }

    fn halt(&mut self, failure: &Failure) {
        self.asked = None;
        self.running.clear();
        for step in self.steps.iter_mut().filter(|it| failure.discarded.contains(&it.name)) {
            step.phase = StepPhase::Discarded;
        }
        self.halted = Some(failure.clone());
    }
}

impl Step {
    /// All its verdicts combined; `None` where it has none.
    pub fn verdict(&self) -> Option<Verdict> {
        self.verdicts.iter().copied().max()
    }
}

impl StepPhase {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Cached => "cached",
            Self::Running => "running",
            Self::Ran => "ran",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }
}

/// How a program ended, where that was not well.
pub fn bad_exit(exit: Exit) -> Option<String> {
    (!exit.success()).then(|| exit.to_string())
}
