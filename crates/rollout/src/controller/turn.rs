//! What all phases know, and one turn of the machine.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::{AnalysisStatus, Happened};

use super::clock::Clock;
use super::effect::{Alert, Effect, Role};
use super::split::Split;
use crate::spec::{Control, Spec, Step};

/// What all phases know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) spec: Spec,
    pub(super) clock: Clock,
    pub(super) split: Split,
    /// When each step began.
    pub(super) steps: Vec<Option<i64>>,
    /// Of the last call or measurement.
    pub(super) number: u32,
    /// Whose instances may run.
    pub(super) started: Vec<Role>,
    /// How measurements ended.
    pub(super) analyses: Vec<AnalysisStatus>,
    /// Requests of our own.
    pub(super) topped_up: u64,
    pub(super) began_at_ms: i64,
    pub(super) ended_at_ms: Option<i64>,
}

/// One turn: an event is heard, and what follows is done.
pub(super) struct Turn<'t> {
    pub(super) facts: &'t mut Facts,
    pub(super) now_ms: i64,
    /// How much time counts.
    pub(super) passed_ms: u64,
    pub(super) effects: Vec<Effect>,
}

impl Facts {
    pub(super) fn new(spec: Spec, now_ms: i64) -> Self {
        let steps = vec![None; spec.steps.len()];
        Self {
            spec,
            clock: Clock::default(),
            split: Split::default(),
            steps,
            number: 0,
            started: Vec::new(),
            analyses: Vec::new(),
            topped_up: 0,
            began_at_ms: now_ms,
            ended_at_ms: None,
        }
    }

    /// Whose instances there must be.
    pub(super) fn roles(&self) -> Vec<Role> {
        let mirrored = self.spec.steps.iter().any(|step| matches!(step, Step::SetMirror(_)));
        let control =
            self.spec.control == Control::Fresh || (mirrored && self.spec.judge.differences);
        if control { vec![Role::Candidate, Role::Control] } else { vec![Role::Candidate] }
    }

    /// So many of them.
    pub(super) fn count(&self, role: Role) -> u32 {
        match role {
            Role::Candidate => self.spec.instances.count,
            Role::Control => 1,
        }
    }

    /// Keeps how a measurement stands; one of a name.
    pub(super) fn keep(&mut self, status: AnalysisStatus) {
        match self.analyses.iter_mut().find(|kept| kept.name == status.name) {
            Some(kept) => *kept = status,
            None => self.analyses.push(status),
        }
    }
}

impl Turn<'_> {
    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn record(&mut self, happened: Happened) {
        self.emit(Effect::Record(happened));
    }

    /// Writes down what should be known, and changes nothing.
    pub(super) fn warn(&mut self, sentence: impl Into<String>) {
        self.record(Happened::Warning { sentence: sentence.into() });
    }

    /// The same, and tells people.
    pub(super) fn alert(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        self.warn(sentence.clone());
        self.emit(Effect::Alert(Alert::Warning { sentence }));
    }

    pub(super) fn number(&mut self) -> u32 {
        self.facts.number = self.facts.number.wrapping_add(1);
        self.facts.number
    }
}
