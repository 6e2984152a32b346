//! How many measurements of which outcome make an analysis good or bad: Argo's counting rules.
//!
//! ```text
//!  each measurement ─┬─ failed > failureLimit ─────────────────> Failed
//!                    ├─ neither > inconclusiveLimit ───────────> Inconclusive
//!                    ├─ errors in a row > consecutiveErrorLimit > Error
//!                    ├─ successes in a row = its limit ────────> Successful
//!                    ├─ as many as count, errors left out ─────> Successful, or Inconclusive
//!                    └─ else ──────────────────────────────────> it goes on, until it is ended
//! ```
//!
//! Argo calls a run that was ended before its first measurement successful, and one whose
//! measurements were all tolerated failures, too. Here one without a single good measurement is
//! inconclusive at best.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::{AnalysisCounts, AnalysisStatus};

use crate::controller::{Measurement, Outcome};
use crate::spec::Analysis;

/// After an error of an analysis that has no interval it is tried again this late, as in Argo.
const RETRY_MS: u64 = 10_000;

/// What was measured so far, and what that makes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    counts: AnalysisCounts,
    errors_in_a_row: u32,
    successes_in_a_row: u32,
    last: Option<Outcome>,
    verdict: Option<Outcome>,
    value: Option<String>,
    message: String,
}

impl Tally {
    /// What the analysis is; `None` as long as more is to be measured.
    pub fn verdict(&self) -> Option<Outcome> {
        self.verdict
    }

    /// What that means for the rollout: what only runs dry means nothing bad.
    pub fn counts_as(&self, rules: &Analysis) -> Option<Outcome> {
        self.verdict.map(|verdict| if rules.dry_run { Outcome::Successful } else { verdict })
    }

    /// Measurements by what came of them.
    pub fn counts(&self) -> AnalysisCounts {
        self.counts
    }

    /// Why it is so, in a sentence without a full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long to wait before the next measurement: since the beginning before the first, else
    /// since the last.
    pub fn pause_ms(&self, rules: &Analysis) -> u64 {
        match self.last {
            None => rules.initial_delay_ms,
            Some(_) => rules.interval_ms.unwrap_or(RETRY_MS),
        }
    }

    /// Counts a measurement. Once it is decided, more change nothing.
    pub fn add(&mut self, rules: &Analysis, measurement: &Measurement) {
        if self.verdict.is_some() {
            return;
        }
        self.count(measurement);
        if let Some((verdict, why)) = self.assess(rules) {
            (self.verdict, self.message) = (Some(verdict), why);
        }
    }

    /// Nothing more is measured: what was decides.
    pub fn end(&mut self, rules: &Analysis) {
        if self.verdict.is_none() {
            let (verdict, why) = self.at_the_end(rules);
            (self.verdict, self.message) = (Some(verdict), why);
        }
    }

    /// As the wire has it.
    pub fn status(&self, rules: &Analysis) -> AnalysisStatus {
        let message = match (self.last, rules.dry_run) {
            (None, _) if self.verdict.is_none() => "nothing was measured yet".to_owned(),
            (_, true) => format!("{} (a dry run, which counts for nothing)", self.message),
            (_, false) => self.message.clone(),
        };
        AnalysisStatus {
            name: rules.name.clone(),
            phase: self.verdict.map_or("running", word).to_owned(),
            value: self.value.clone(),
            counts: self.counts,
            message,
        }
    }

    fn count(&mut self, measurement: &Measurement) {
        let counts = &mut self.counts;
        let count = match measurement.outcome {
            Outcome::Successful => &mut counts.successful,
            Outcome::Failed => &mut counts.failed,
            Outcome::Inconclusive => &mut counts.inconclusive,
            Outcome::Error => &mut counts.error,
        };
        *count = count.saturating_add(1);
        let in_a_row = |row: u32, counts: bool| if counts { row.saturating_add(1) } else { 0 };
        let error = measurement.outcome == Outcome::Error;
        self.errors_in_a_row = in_a_row(self.errors_in_a_row, error);
        // Where nobody could look, nothing is known to have gone wrong.
        if !error {
            let good = measurement.outcome == Outcome::Successful;
            self.successes_in_a_row = in_a_row(self.successes_in_a_row, good);
        }
        self.last = Some(measurement.outcome);
        self.value.clone_from(&measurement.value);
        self.message.clone_from(&measurement.message);
    }

    /// Whether it is over, and why.
    fn assess(&self, rules: &Analysis) -> Option<(Outcome, String)> {
        let AnalysisCounts { successful, failed, inconclusive, .. } = self.counts;
        let errors = self.errors_in_a_row;
        let (limit, neither) = (rules.failure_limit, rules.inconclusive_limit);
        if let Some(limit) = limit.filter(|limit| failed > *limit) {
            let why = format!("{} failed, {limit} may: {}", measurements(failed), self.message);
            return Some((Outcome::Failed, why));
        }
        if inconclusive > neither {
            let of = measurements(inconclusive);
            let why = format!("of {of} nobody can say, {neither} may be so: {}", self.message);
            return Some((Outcome::Inconclusive, why));
        }
        if errors > rules.consecutive_error_limit {
            let of = measurements(errors);
            let why = format!("{of} in a row could not be made: {}", self.message);
            return Some((Outcome::Error, why));
        }
        if let Some(enough) = rules.consecutive_success_limit
            && self.successes_in_a_row >= enough
        {
            let why = format!("{} in a row are good", measurements(enough));
            return Some((Outcome::Successful, why));
        }
        // What nobody could look at is not one of those that were to be made.
        let made = u64::from(successful) + u64::from(failed) + u64::from(inconclusive);
        let wanted = rules.count.or(rules.interval_ms.is_none().then_some(1));
        wanted.filter(|wanted| made >= u64::from(*wanted)).map(|_| self.at_the_end(rules))
    }

    /// What those measurements say that were not too bad for it to go on.
    fn at_the_end(&self, rules: &Analysis) -> (Outcome, String) {
        let AnalysisCounts { successful, failed, inconclusive, error } = self.counts;
        if self.last.is_none() {
            let why = "it ended before anything was measured".to_owned();
            return (Outcome::Inconclusive, why);
        }
        let made = successful.saturating_add(failed).saturating_add(inconclusive);
        let of = measurements(made.saturating_add(error));
        if let Some(enough) = rules.consecutive_success_limit {
            let why = format!("{of} were made and no {enough} in a row are good");
            return (Outcome::Inconclusive, why);
        }
        if successful == 0 {
            return (Outcome::Inconclusive, format!("none of {of} is good: {}", self.message));
        }
        if rules.last_decides() && self.last != Some(Outcome::Successful) {
            return (Outcome::Inconclusive, format!("the last one is not good: {}", self.message));
        }
        (Outcome::Successful, format!("{successful} of {of} are good"))
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Successful => "successful",
        Outcome::Failed => "failed",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Error => "error",
    }
}

fn measurements(count: u32) -> String {
    match count {
        1 => "1 measurement".to_owned(),
        count => format!("{count} measurements"),
    }
}

#[cfg(test)]
mod tests;
