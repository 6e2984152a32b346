//! Measurements beside the judge, counted as Argo counts them.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::{AnalysisCounts, AnalysisStatus, Happened};

use super::effect::Effect;
use super::event::{Event, Measurement, Outcome};
use super::turn::Turn;
use crate::spec::{Analysis, OnFailure, Provider};

/// After one that could not be made, where there is no interval.
const AGAIN_MS: u64 = 10_000;
/// An answer that is this late beyond the provider's own time will not come.
const LATE_MS: u64 = 60_000;

/// One analysis, as long as it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    of: Analysis,
    counts: AnalysisCounts,
    /// That could not be made, in a row.
    errors: u32,
    /// Since the last one was begun, or since the beginning.
    waited_ms: u64,
    /// The one under way.
    number: Option<u32>,
    /// It is to be made again, under the same number.
    lost: bool,
    value: Option<String>,
    message: String,
    verdict: Option<Outcome>,
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
        Self {
            of: of.clone(),
            counts: AnalysisCounts::default(),
            errors: 0,
            waited_ms: 0,
            number: None,
            lost: false,
            value: None,
            message: String::new(),
            verdict: None,
        }
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
            _ => {}
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        self.waited_ms = self.waited_ms.saturating_add(turn.passed_ms);
        if self.number.is_some() && self.waited_ms > self.timeout_ms().saturating_add(LATE_MS) {
            let message = "there is no answer".to_owned();
            let late = Measurement { outcome: Outcome::Error, value: None, message };
            self.is_measured(&late, turn);
        }
    }

    fn timeout_ms(&self) -> u64 {
        match &self.of.provider {
            Provider::Prometheus(of) => of.timeout_ms,
            Provider::Kayenta(of) => of.timeout_ms,
        }
    }

    /// Has the next one made, if it is time.
    pub(super) fn measure(&mut self, turn: &mut Turn<'_>) {
        let number = match self.number {
            Some(number) if std::mem::take(&mut self.lost) => number,
            None if self.is_due() => turn.number(),
            _ => return,
        };
        (self.number, self.waited_ms) = (Some(number), 0);
        turn.emit(Effect::Measure { analysis: self.of.name.clone(), number });
    }

    fn is_due(&self) -> bool {
        let first = self.made() == 0 && self.counts.error == 0;
        let after = match first {
            true => self.of.initial_delay_ms,
            false => self.of.interval_ms.unwrap_or(AGAIN_MS),
        };
        self.verdict.is_none() && self.waited_ms >= after
    }

    fn is_measured(&mut self, measurement: &Measurement, turn: &mut Turn<'_>) {
        (self.number, self.lost) = (None, false);
        let counts = &mut self.counts;
        let count = match measurement.outcome {
            Outcome::Successful => &mut counts.successful,
            Outcome::Failed => &mut counts.failed,
            Outcome::Inconclusive => &mut counts.inconclusive,
            Outcome::Error => &mut counts.error,
        };
        *count = count.saturating_add(1);
        self.errors = match measurement.outcome {
            Outcome::Error => self.errors.saturating_add(1),
            _ => 0,
        };
        self.value.clone_from(&measurement.value);
        self.message.clone_from(&measurement.message);
        self.verdict = self.assess();
        turn.record(Happened::Analysis { analysis: self.status() });
    }

    /// Where no measurement was good nobody can say, whatever the limits allow.
    fn assess(&self) -> Option<Outcome> {
        let (of, counts) = (&self.of, &self.counts);
        let enough = match (of.count, of.interval_ms) {
            (Some(count), _) => self.made() >= count,
            (None, None) => self.made() >= 1,
            (None, Some(_)) => false,
        };
        match () {
            () if counts.failed > of.failure_limit => Some(Outcome::Failed),
            () if counts.inconclusive > of.inconclusive_limit => Some(Outcome::Inconclusive),
            () if self.errors > of.consecutive_error_limit => Some(Outcome::Error),
            () if enough && counts.successful == 0 => Some(Outcome::Inconclusive),
            () if enough => Some(Outcome::Successful),
            () => None,
        }
    }

    /// Measurements that say something.
    fn made(&self) -> u32 {
        let AnalysisCounts { successful, failed, inconclusive, .. } = self.counts;
        successful.saturating_add(failed).saturating_add(inconclusive)
    }

    /// Whether no more are made.
    pub(super) fn is_over(&self) -> bool {
        self.verdict.is_some()
    }

    /// Whether it speaks for the candidate, or is not asked to.
    pub(super) fn has_evidence(&self) -> bool {
        self.of.dry_run || self.counts.successful > 0
    }

    /// What it says of its rollout, if it does.
    pub(super) fn said(&self) -> Option<Said> {
        let Self { of, message, .. } = self;
        if of.dry_run {
            return None;
        }
        match self.verdict? {
            Outcome::Successful => None,
            Outcome::Failed => {
                let why = format!("analysis {} failed: {message}", of.name);
                Some(match of.on_failure {
                    OnFailure::Rollback => Said::Failed(why),
                    OnFailure::Pause => Said::Unclear(why),
                })
            }
            Outcome::Inconclusive => {
                Some(Said::Unclear(format!("analysis {} is inconclusive: {message}", of.name)))
            }
            Outcome::Error => {
                Some(Said::Error(format!("analysis {} cannot be made: {message}", of.name)))
            }
        }
    }

    /// Begins anew where it ended without success.
    pub(super) fn begin_anew(&mut self) {
        if self.said().is_some() {
            *self = Self::new(&self.of);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.of.name
    }

    /// As people see it.
    pub(super) fn status(&self) -> AnalysisStatus {
        let phase = match self.verdict {
            None => "running",
            Some(Outcome::Successful) => "successful",
            Some(Outcome::Failed) => "failed",
            Some(Outcome::Inconclusive) => "inconclusive",
            Some(Outcome::Error) => "error",
        };
        AnalysisStatus {
            name: self.of.name.clone(),
            phase: phase.to_owned(),
            value: self.value.clone(),
            counts: self.counts,
            message: self.message.clone(),
        }
    }
}
