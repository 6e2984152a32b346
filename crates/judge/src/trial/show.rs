//! How a rollout stands, out of what its judge knows.

use super::Trial;
use crate::arm::Arm;
use crate::interval::{Interval, interval};
use crate::settings::Metric;
use crate::standing::{MetricStanding, Range, Standing};
use crate::strata::place;
use crate::units::LeftOut;

/// Ranges hold with this probability of being wrong.
const RANGE_ALPHA: f64 = 0.05;

/// Of less evidence nobody can say how it goes on.
const EVIDENCE_LEAST: f64 = 0.5;

/// What it costs, about, not to know beforehand how many times as often the candidate fails.
const SPREAD: f64 = 2.0;

impl Trial {
    /// How it stands, to be shown. Takes some hundred microseconds.
    pub fn standing(&self) -> Standing {
        let left_out = LeftOut::ALL.into_iter().zip(self.left_out).filter(|(_, count)| *count > 0);
        Standing {
            log_e: self.log_e(),
            log_e_peak: self.log_peak(),
            log_limit: self.log_limit(),
            worse: self.worse,
            proved: self.proved(),
            metrics: self.metrics(),
            error_ratio: self.error_ratio(),
            slower: self.latency.slower(),
            units_needed: self.units_needed(),
            units: self.strata.units(),
            errors: self.strata.errors(),
            stages: self.by_stage.iter().filter(|one| one.units != [0; 2]).copied().collect(),
            left_out: left_out.map(|(cause, count)| (cause.words().to_owned(), count)).collect(),
        }
    }

    fn metrics(&self) -> Vec<MetricStanding> {
        let on = Metric::ALL.into_iter().filter(|metric| self.settings.metrics.has(*metric));
        let standing = |metric| MetricStanding {
            metric,
            share: self.settings.metrics.share(metric),
            log_e: self.log_e_of(metric),
            evidence: self.evidence(metric),
        };
        let mut metrics: Vec<MetricStanding> = on.map(standing).collect();
        let by_share = |one: &MetricStanding| one.log_e + one.share.ln();
        metrics.sort_by(|a, b| by_share(b).total_cmp(&by_share(a)));
        metrics
    }

    fn evidence(&self, metric: Metric) -> String {
        match metric {
            Metric::Errors => self.evidence_of_errors(),
            Metric::Latency => self.latency.evidence(),
            Metric::Differences => "the comparison of answers, over all fields".to_owned(),
            Metric::Weight => self.realised.evidence(),
        }
    }

    fn evidence_of_errors(&self) -> String {
        let [of_baseline, of_candidate] = self.strata.units();
        let [baseline, candidate] = self.strata.errors();
        let seen = format!(
            "{candidate} of {of_candidate} failed, {baseline} of {of_baseline} of the baseline's"
        );
        let reached = self.errors.reached(self.limits[Metric::Errors as usize]);
        match reached && !self.errors_matter() {
            true => format!("{seen}; too few to matter"),
            false => seen,
        }
    }

    /// How many times as often the candidate fails. Rates of both arms would say something else
    /// where the weight changed while the rates did.
    fn error_ratio(&self) -> Option<Range> {
        let tally = self.strata.tally();
        if tally.candidate() + tally.baseline() == 0 {
            return None;
        }
        let Interval { least, most } = interval(&tally, RANGE_ALPHA);
        let expected = self.strata.expected();
        let seen = (expected > 0.0).then(|| tally.candidate() as f64 / expected);
        Some(Range { seen, least, most: most.is_finite().then_some(most) })
    }

    /// If evidence grows as it did so far: until the candidate is found worse or proved not to be,
    /// whichever is sooner.
    fn units_needed(&self) -> Option<u64> {
        if self.is_worse() || self.proved() {
            return Some(0);
        }
        let on = Metric::ALL.into_iter().filter(|metric| self.settings.metrics.has(*metric));
        let worse = on.filter_map(|metric| {
            let limit = self.log_limit() - self.log_share(metric);
            match metric {
                // What is likely grows evenly; the e-value follows it at a distance.
                Metric::Errors => {
                    let likelihood = self.strata.likelihood(self.settings.tolerated_ratio);
                    self.needed(likelihood, limit + SPREAD)
                }
                Metric::Latency | Metric::Differences | Metric::Weight => {
                    self.needed(self.log_e_of(metric), limit)
                }
            }
        });
        let limit = -libm::log(self.settings.beta);
        let part = |(log_e, log_peak): (f64, f64)| match log_peak >= limit {
            true => Some(0),
            false => self.needed(log_e, limit),
        };
        let proof: Option<Vec<u64>> = self.proofs().map(part).collect();
        let proof = proof.and_then(|parts| parts.into_iter().max());
        worse.chain(proof).min()
    }

    /// Candidate units until this much evidence is as much as that, at the same rate.
    fn needed(&self, is: f64, limit: f64) -> Option<u64> {
        let units = self.strata.units()[place(Arm::Candidate)] as f64;
        let missing = units * (limit - is) / is;
        (is >= EVIDENCE_LEAST).then(|| missing.max(1.0).ceil() as u64)
    }
}
