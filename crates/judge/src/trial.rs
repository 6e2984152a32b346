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

use crate::arm::{Arm, Weight};
use crate::errors::Errors;
use crate::outcome::{Decision, Outcome, Record};
use crate::settings::{Metric, Settings, SettingsError};
use crate::standing::{MetricStanding, Standing};
use crate::strata::Strata;
use crate::units::{Admitted, LeftOut, Units};

/// Weights that can be declared in one rollout. Nothing is known of units of later ones.
pub const STAGES_MAX: usize = 1_024;

/// Units after which capital in reserve is bet, besides at each stage; ten times as many each time.
const RENEW_FIRST: u64 = 10_000;

/// The judge of one rollout.
#[derive(Debug, Clone)]
pub struct Trial {
    settings: Settings,
    stages: Vec<f64>,
    units: Units,
    strata: Strata,
    renew_at: u64,
    errors: Errors,
    differences: Differences,
    /// Candidate units that failed, told apart until there are enough.
    failed: Vec<u64>,
    worse: Option<Metric>,
    left_out: [u64; LeftOut::ALL.len()],
}

/// The comparison of answers, as it was last told.
#[derive(Debug, Clone, Copy)]
struct Differences {
    log_e: f64,
    log_peak: f64,
}

impl Trial {
    /// Before anything is known.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            settings,
            stages: Vec::new(),
            units: Units::new(settings.sticky, settings.control),
            strata: Strata::default(),
            renew_at: RENEW_FIRST,
            errors: Errors::new(settings.tolerated_ratio),
            differences: Differences { log_e: 0.0, log_peak: 0.0 },
            failed: Vec::new(),
            worse: None,
            left_out: [0; LeftOut::ALL.len()],
        })
    }

    /// What it judges, and how.
    pub fn settings(&self) -> &Settings {
        &self.settings
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

    /// Whether the candidate is worse. Once it is it stays so.
    pub fn is_worse(&self) -> bool {
        self.worse.is_some()
    }

    /// By which metric it was first found to be.
    pub fn worse_by(&self) -> Option<Metric> {
        self.worse
    }

    /// Whether it is proved not to be.
    pub fn proved(&self) -> bool {
        false
    }

    /// Ages, in microseconds, at which a request of this arm that is still under way is to be
    /// told of as hung; none while there is nothing to compare with.
    pub fn hang_thresholds_us(&self, _arm: Arm) -> &[u32] {
        &[]
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

    /// How it stands, to be shown.
    pub fn standing(&self) -> Standing {
        let mut metrics: Vec<MetricStanding> = Metric::ALL
            .into_iter()
            .filter(|metric| self.settings.metrics.has(*metric))
            .map(|metric| MetricStanding {
                metric,
                share: self.settings.metrics.share(metric),
                log_e: self.log_e_of(metric),
                evidence: String::new(),
            })
            .collect();
        metrics.sort_by(|a, b| b.log_e.total_cmp(&a.log_e));
        let left_out = LeftOut::ALL.into_iter().zip(self.left_out).filter(|(_, count)| *count > 0);
        Standing {
            log_e: self.log_e(),
            log_e_peak: self.log_peak(),
            log_limit: self.log_limit(),
            worse: self.worse,
            proved: self.proved(),
            metrics,
            error_ratio: None,
            slower: Vec::new(),
            units_needed: None,
            units: self.strata.units(),
            errors: self.strata.errors(),
            left_out: left_out.map(|(cause, count)| (cause.words().to_owned(), count)).collect(),
        }
    }

    fn stage(&mut self, weight: f64) {
        if self.stages.len() >= STAGES_MAX {
            return;
        }
        self.stages.push(weight);
        if Weight::new(weight).is_some() && self.strata.units() != [0; 2] {
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
        let Some(stratum) = admitted.stratum else { return };
        if admitted.first {
            self.strata.unit(stratum, outcome.arm);
        }
        if admitted.error {
            self.error(outcome, stratum);
        }
        if self.strata.units().iter().sum::<u64>() >= self.renew_at {
            self.renew_at *= 10;
            self.renew();
        }
    }

    fn error(&mut self, outcome: &Outcome, stratum: usize) {
        self.strata.error(stratum, outcome.arm);
        let enough = self.failed.len() >= self.settings.sessions_min as usize;
        if outcome.arm == Arm::Candidate && !enough && !self.failed.contains(&outcome.unit) {
            self.failed.push(outcome.unit);
        }
        self.errors.event(self.strata.at(stratum).weight, outcome.arm);
        self.look(Metric::Errors);
    }

    fn renew(&mut self) {
        self.errors.renew();
    }

    fn look(&mut self, metric: Metric) {
        if self.worse.is_none()
            && self.log_peak_of(metric) + self.log_share(metric) >= self.log_limit()
            && self.matters(metric)
        {
            self.worse = Some(metric);
        }
    }

    /// Whether it would matter in practice if it were true.
    fn matters(&self, metric: Metric) -> bool {
        match metric {
            Metric::Errors => {
                self.failed.len() >= self.settings.sessions_min as usize
                    && self.strata.excess() >= self.settings.excess_min
            }
            Metric::Latency | Metric::Differences | Metric::Weight => true,
        }
    }

    fn strongest(&self, of: impl Fn(&Self, Metric) -> f64) -> f64 {
        let on = Metric::ALL.into_iter().filter(|metric| self.settings.metrics.has(*metric));
        on.map(|metric| of(self, metric) + self.log_share(metric)).fold(f64::NEG_INFINITY, f64::max)
    }

    fn log_share(&self, metric: Metric) -> f64 {
        libm::log(self.settings.metrics.share(metric))
    }

    fn log_e_of(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Errors => self.errors.log_e(),
            Metric::Differences => self.differences.log_e,
            Metric::Latency | Metric::Weight => 0.0,
        }
    }

    fn log_peak_of(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Errors => self.errors.log_peak(),
            Metric::Differences => self.differences.log_peak,
            Metric::Latency | Metric::Weight => 0.0,
        }
    }
}
