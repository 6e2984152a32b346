//! Measurements beside the judge: when the next one is made, and what they say of the rollout.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::{AnalysisStatus, Happened};

use super::effect::Effect;
use super::event::{Event, Measurement, Outcome};
use super::turn::Turn;
use crate::analysis::Tally;
use crate::spec::{Analysis, OnFailure};

/// An answer that is this late beyond the provider's own time will not come.
const LATE_MS: u64 = 60_000;

/// One analysis, as long as it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    of: Analysis,
    tally: Tally,
    /// Since the last one was begun, or since the beginning.
    waited_ms: u64,
    /// The one under way.
    number: Option<u32>,
    /// It is to be made again, under the same number.
    lost: bool,
}

/// What an analysis says of its rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It failed: everything to the baseline.
    Failed(String),
    /// It failed, or nobody can say: it waits for a person.
    Unclear(String),
    /// It cannot be made.
    Error(String),
}

impl Run {
    pub(super) fn new(of: &Analysis) -> Self {
        let (of, tally) = (of.clone(), Tally::default());
        Self { of, tally, waited_ms: 0, number: None, lost: false }
    }

    /// Takes note of answers, of time, of a restart.
    pub(super) fn hear(&mut self, event: &Event, turn: &mut Turn<'_>) {
        match event {
            Event::Tick => self.tick(turn),
            Event::Resumed => self.lost = self.number.is_some(),
            Event::Measured { analysis, number, measurement }
                if *analysis == self.of.name && self.number == Some(*number) =>
            {
                self.is_measured(measurement, turn);
            }
            Event::Failed { effect: Effect::Measure { number, .. }, why }
                if self.number == Some(*number) =>
            {
                self.cannot_be_measured(why, turn);
            }
            _ => {}
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        self.waited_ms = self.waited_ms.saturating_add(turn.passed_ms);
        let late_ms = self.of.timeout_ms().saturating_add(LATE_MS);
        if self.number.is_some() && self.waited_ms > late_ms {
            self.cannot_be_measured("there is no answer", turn);
        }
    }

    fn cannot_be_measured(&mut self, why: &str, turn: &mut Turn<'_>) {
        let message = why.to_owned();
        self.is_measured(&Measurement { outcome: Outcome::Error, value: None, message }, turn);
    }

    fn is_measured(&mut self, measurement: &Measurement, turn: &mut Turn<'_>) {
        (self.number, self.lost) = (None, false);
        self.tally.add(&self.of, measurement);
        turn.record(Happened::Analysis { analysis: self.status() });
    }

    /// Has the next one made, if it is time.
    pub(super) fn measure(&mut self, turn: &mut Turn<'_>) {
        let due = !self.is_over() && self.waited_ms >= self.tally.pause_ms(&self.of);
        let number = match self.number {
            Some(number) if std::mem::take(&mut self.lost) => number,
            None if due => turn.number(),
            _ => return,
        };
        (self.number, self.waited_ms) = (Some(number), 0);
        turn.emit(Effect::Measure { analysis: self.of.name.clone(), number });
    }

    /// Whether no more are made.
    pub(super) fn is_over(&self) -> bool {
        self.tally.verdict().is_some()
    }

    /// Whether it speaks for the candidate, or is not asked to.
    pub(super) fn has_evidence(&self) -> bool {
        self.of.dry_run || self.tally.counts().successful > 0
    }

    /// What it says of its rollout, if it does.
    pub(super) fn said(&self) -> Option<Said> {
        let (name, message) = (&self.of.name, self.tally.message());
        match self.tally.counts_as(&self.of)? {
            Outcome::Successful => None,
            Outcome::Failed => {
                let why = format!("analysis {name} failed: {message}");
                Some(match self.of.on_failure {
                    OnFailure::Rollback => Said::Failed(why),
                    OnFailure::Pause => Said::Unclear(why),
                })
            }
            Outcome::Inconclusive => {
                Some(Said::Unclear(format!("analysis {name} is inconclusive: {message}")))
            }
            Outcome::Error => {
                Some(Said::Error(format!("analysis {name} cannot be made: {message}")))
            }
        }
    }

    /// Begins anew where it ended without success.
    pub(super) fn begin_anew(&mut self) {
        if self.said().is_some() {
            *self = Self::new(&self.of);
        }
    }

    /// Nothing more is measured: what was decides.
    pub(super) fn end(&mut self) {
        self.tally.end(&self.of);
    }

    pub(super) fn name(&self) -> &str {
        &self.of.name
    }

    /// As people see it.
    pub(super) fn status(&self) -> AnalysisStatus {
        self.tally.status(&self.of)
    }
}
