//! One rollout, judged from its first request to its last.
//!
//! Each metric has its own e-process and a share of `alpha`; the candidate is *worse* once any of
//! them reaches `1/(alpha share)`. Shares are 1 together, so that the probability of ever calling
//! a candidate worse that is not is at most `alpha`, over all metrics, stages and looks, and
//! however the metrics depend on each other. A sum of e-values by share would reach `1/alpha` a
//! little sooner, but keeps that promise only where all become known in the same order: a hang is
//! known before the same request's failure is.
//!
//! Nothing is begun anew when the weight changes.

mod show;

use crate::arm::{Arm, Weight};
use crate::errors::Errors;
use crate::latency::{FROZEN_AT_LEAST, Latency, Took};
use crate::outcome::{Decision, Kind, Outcome, Record};
use crate::proof::Proof;
use crate::realised::Realised;
use crate::settings::{Metric, Settings, SettingsError};
use crate::standing::Stage;
use crate::strata::{Strata, place};
use crate::units::{Admitted, LeftOut, Units};

/// Weights that can be declared in one rollout. Nothing is known of units of later ones.
pub const STAGES_MAX: usize = 1_024;

/// Units after which capital in reserve is bet, besides at each stage; ten times as many each time.
const RENEW_FIRST: u64 = 10_000;

/// The judge of one rollout.
#[derive(Debug, Clone)]
pub struct Trial {
    settings: Settings,
    /// By metric: what its e-value has to reach.
    limits: [f64; Metric::ALL.len()],
    /// Declared weights.
    stages: Vec<f64>,
    /// What counted at each.
    by_stage: Vec<Stage>,
    units: Units,
    strata: Strata,
    counted: u64,
    renew_at: u64,
    errors: Errors,
    /// Candidate units that failed, told apart until there are enough.
    failed: Vec<u64>,
    latency: Latency,
    differences: Differences,
    realised: Realised,
    proof: Proof,
    worse: Option<Metric>,
    left_out: [u64; LeftOut::ALL.len()],
}

/// The comparison of answers, as it was last told.
#[derive(Debug, Clone, Copy, Default)]
struct Differences {
    log_e: f64,
    log_peak: f64,
}

impl Trial {
    /// Before anything is known.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let limit = |metric| 1.0 / (settings.alpha * settings.metrics.share(metric));
        Ok(Self {
            settings,
            limits: Metric::ALL.map(limit),
            stages: Vec::new(),
            by_stage: Vec::new(),
            units: Units::new(settings.sticky, settings.control),
            strata: Strata::default(),
            counted: 0,
            renew_at: RENEW_FIRST,
            errors: Errors::new(settings.tolerated_ratio),
            failed: Vec::new(),
            latency: Latency::new(&settings),
            differences: Differences::default(),
            realised: Realised::default(),
            proof: Proof::new(&settings),
            worse: None,
            left_out: [0; LeftOut::ALL.len()],
        })
    }

    /// One more.
    pub fn on(&mut self, record: &Record) {
        match *record {
            Record::Stage { weight } => self.stage(weight),
            Record::Outcome(ref outcome) => self.outcome(outcome),
            Record::Differences { log_e } => {
                let log_peak = self.differences.log_peak.max(log_e);
                self.differences = Differences { log_e, log_peak };
                self.look(Metric::Differences);
            }
            Record::Decision(_) => {}
        }
    }

    /// What it judges, and how.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the candidate is worse. Once it is it stays so.
    pub fn is_worse(&self) -> bool {
        self.worse.is_some()
    }

    /// By which metric it was first found to be.
    pub fn worse_by(&self) -> Option<Metric> {
        self.worse
    }

    /// Whether the candidate is proved not to be bad: neither [`Settings::worse_ratio`] times as
    /// often failing nor slower by [`Settings::slower_refuted`], each at the level
    /// [`Settings::beta`], which then holds for both together. Stays so unless it is found worse.
    pub fn proved(&self) -> bool {
        let limit = -libm::log(self.settings.beta);
        let mut asked = self.proofs().peekable();
        let any = asked.peek().is_some();
        any && !self.is_worse() && asked.all(|(_, log_peak)| log_peak >= limit)
    }

    /// Ages, in microseconds, at which a request of this arm that is still under way is to be
    /// told of as hung, from the least; none while there is nothing to compare with, or nobody
    /// asks for latencies. Once there are any they stay as they are.
    pub fn hang_thresholds_us(&self, arm: Arm) -> &[u32] {
        self.latency.hang_thresholds_us(arm)
    }

    /// The natural logarithm of the e-value: the largest of all metrics', each by its share.
    pub fn log_e(&self) -> f64 {
        self.strongest(Self::log_e_of)
    }

    /// The most it ever was.
    pub fn log_peak(&self) -> f64 {
        self.strongest(Self::log_peak_of)
    }

    /// What it has to reach.
    pub fn log_limit(&self) -> f64 {
        -libm::log(self.settings.alpha)
    }

    /// How it stands, to be recorded when somebody acts on it.
    pub fn decision(&self) -> Decision {
        Decision { log_e: self.log_e(), worse: self.is_worse(), proved: self.proved() }
    }

    fn stage(&mut self, weight: f64) {
        if self.stages.len() >= STAGES_MAX {
            return;
        }
        self.stages.push(weight);
        self.by_stage.push(Stage { weight, units: [0; 2], errors: [0; 2] });
        self.realised.close(&self.strata);
        self.look(Metric::Weight);
        if weight > 0.0 {
            self.freeze();
        }
        if self.counted > 0 && Weight::new(weight).is_some() {
            self.renew();
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match self.units.admit(outcome, &self.stages, &mut self.strata) {
            Ok(admitted) => self.admitted(outcome, admitted),
            Err(cause) => self.left_out[cause as usize] += 1,
        }
    }

    fn admitted(&mut self, outcome: &Outcome, admitted: Admitted) {
        let gathers = self.settings.metrics.latency && !self.latency.baseline().1;
        if gathers && admitted.first && outcome.arm == Arm::Baseline {
            self.latency.gather(outcome.latency_us);
            if self.stages.iter().any(|weight| *weight > 0.0) {
                self.freeze();
            }
        }
        let Some(stratum) = admitted.stratum else { return };
        if admitted.first {
            self.unit(outcome, stratum);
        }
        if admitted.error {
            self.error(outcome, stratum);
        }
        // What is compared with itself says nothing.
        if !gathers && admitted.thresholds != 0 {
            let took = match outcome.kind {
                Kind::Ended => Took::Us(outcome.latency_us),
                Kind::Hung => Took::Longer,
            };
            let weight = self.strata.at(stratum).weight;
            self.latency.play(weight, outcome.arm, admitted.thresholds, took);
            self.look(Metric::Latency);
        }
    }

    fn unit(&mut self, outcome: &Outcome, stratum: usize) {
        self.counted += 1;
        self.strata.unit(stratum, outcome.arm);
        if let Some(stage) = self.by_stage.get_mut(usize::from(outcome.stage)) {
            stage.units[place(outcome.arm)] += 1;
        }
        self.latency.saw(outcome.arm, outcome.latency_us);
        if outcome.arm == Arm::Candidate {
            self.proof.unit(outcome.failed);
        }
        if self.realised.unit(stratum, outcome.arm, &self.strata) {
            self.look(Metric::Weight);
        }
        if self.counted >= self.renew_at {
            self.renew_at *= 10;
            self.renew();
        }
    }

    fn error(&mut self, outcome: &Outcome, stratum: usize) {
        self.strata.error(stratum, outcome.arm);
        if let Some(stage) = self.by_stage.get_mut(usize::from(outcome.stage)) {
            stage.errors[place(outcome.arm)] += 1;
        }
        let enough = self.failed.len() >= self.settings.sessions_min as usize;
        if outcome.arm == Arm::Candidate && !enough && !self.failed.contains(&outcome.unit) {
            self.failed.push(outcome.unit);
        }
        let weight = self.strata.at(stratum).weight;
        self.errors.event(weight, outcome.arm);
        self.proof.event(weight, outcome.arm);
        self.look(Metric::Errors);
    }

    /// With what there is once units go to the candidate.
    fn freeze(&mut self) {
        self.latency.freeze_at(FROZEN_AT_LEAST);
    }

    /// Capital in reserve is bet, in part: at a new stage, and after many more units.
    fn renew(&mut self) {
        self.errors.renew();
        self.latency.renew();
    }

    /// Whether this metric has just found the candidate worse.
    fn look(&mut self, metric: Metric) {
        if self.worse.is_some() || !self.settings.metrics.has(metric) {
            return;
        }
        let limit = self.limits[metric as usize];
        let reached = match metric {
            Metric::Errors => self.errors.reached(limit) && self.errors_matter(),
            Metric::Latency => self.latency.reached(limit),
            Metric::Differences => self.differences.log_peak >= libm::log(limit),
            Metric::Weight => {
                self.realised.log_peak() >= libm::log(limit) && self.realised.is_off()
            }
        };
        self.worse = reached.then_some(metric);
    }

    /// Whether there are enough of the candidate's errors, from enough units, to matter to anyone.
    fn errors_matter(&self) -> bool {
        self.failed.len() >= self.settings.sessions_min as usize
            && self.strata.excess() >= self.settings.excess_min
    }

    fn strongest(&self, of: impl Fn(&Self, Metric) -> f64) -> f64 {
        let on = Metric::ALL.into_iter().filter(|metric| self.settings.metrics.has(*metric));
        let by_share = |metric| of(self, metric) + self.log_share(metric);
        on.map(by_share).fold(f64::NEG_INFINITY, f64::max)
    }

    fn log_share(&self, metric: Metric) -> f64 {
        libm::log(self.settings.metrics.share(metric))
    }

    fn log_e_of(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Errors => self.errors.log_e(),
            Metric::Latency => self.latency.log_e(),
            Metric::Differences => self.differences.log_e,
            Metric::Weight => self.realised.log_e(),
        }
    }

    fn log_peak_of(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Errors => self.errors.log_peak(),
            Metric::Latency => self.latency.log_peak(),
            Metric::Differences => self.differences.log_peak,
            Metric::Weight => self.realised.log_peak(),
        }
    }

    /// Logarithms of the e-values that a proof needs, and the most they ever were.
    fn proofs(&self) -> impl Iterator<Item = (f64, f64)> {
        let metrics = self.settings.metrics;
        let errors = metrics.errors.then(|| (self.proof.log_e(), self.proof.log_peak()));
        let latency = metrics.latency.then(|| self.latency.log_proof());
        errors.into_iter().chain(latency)
    }
}

#[cfg(test)]
mod tests;
