//! What a rollout's judge is to keep, and what it is to look for.

use serde::{Deserialize, Serialize};

/// See each; [`Settings::default`] is what a rollout has where nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The probability with which a candidate that is not worse is ever called worse: over the
    /// whole rollout, all metrics and all looks together.
    pub alpha: f64,
    /// The probability with which one that is as bad as is to be refuted is ever called proved.
    pub beta: f64,
    /// How many times as often the candidate may fail.
    pub tolerated_ratio: f64,
    /// In how many more of its requests the candidate has to fail to be called worse for errors;
    /// a part of 1.
    pub excess_min: f64,
    /// Of how many units its errors have to be.
    pub sessions_min: u32,
    /// What a proof refutes: that it fails this many times as often.
    pub worse_ratio: f64,
    /// By how much slower the candidate may be; a part of 1.
    pub slower_tolerated: f64,
    /// What a proof refutes: that it is slower by this much.
    pub slower_refuted: f64,
    /// What is judged.
    pub metrics: Metrics,
    /// Whether a session stays with its arm, and so is the unit.
    pub sticky: bool,
    /// What the baseline arm is.
    pub control: Control,
}

/// What the candidate is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// How often it fails.
    Errors,
    /// How long an answer takes to begin.
    Latency,
    /// Where its answers differ from production's more than a baseline's do.
    Differences,
    /// Whether it gets the part of units it is meant to get.
    Weight,
}

impl Metric {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Errors, Self::Latency, Self::Differences, Self::Weight];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Differences => "differences",
            Self::Weight => "weight",
        }
    }

    /// Its part of the error where all are judged. A difference and a broken split are found by
    /// evidence that grows with every request: a small part costs them little.
    fn part(self) -> f64 {
        match self {
            Self::Errors => 0.5,
            Self::Latency => 0.44,
            Self::Differences | Self::Weight => 0.03,
        }
    }
}

/// Which of them are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// [`Metric::Errors`].
    pub errors: bool,
    /// [`Metric::Latency`].
    pub latency: bool,
    /// [`Metric::Differences`].
    pub differences: bool,
    /// [`Metric::Weight`].
    pub weight: bool,
}

impl Metrics {
    /// None.
    pub const NONE: Self =
        Self { errors: false, latency: false, differences: false, weight: false };

    /// Whether this one is judged.
    pub fn has(self, metric: Metric) -> bool {
        match metric {
            Metric::Errors => self.errors,
            Metric::Latency => self.latency,
            Metric::Differences => self.differences,
            Metric::Weight => self.weight,
        }
    }

    /// Its share of the error, 0 where it is not judged. Shares are 1 together.
    pub fn share(self, metric: Metric) -> f64 {
        let part = |metric: Metric| if self.has(metric) { metric.part() } else { 0.0 };
        let whole: f64 = Metric::ALL.into_iter().map(part).sum();
        if whole > 0.0 { part(metric) / whole } else { 0.0 }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { errors: true, latency: true, differences: true, weight: true }
    }
}

/// What the baseline arm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// All that does not go to the candidate.
    #[default]
    Production,
    /// As many units as the candidate gets, at a fresh instance of what is in production; the
    /// rest is not judged.
    Fresh,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            beta: 0.05,
            tolerated_ratio: 1.0,
            excess_min: 0.001,
            sessions_min: 2,
            worse_ratio: 2.0,
            slower_tolerated: 0.0,
            slower_refuted: 0.1,
            metrics: Metrics::default(),
            sticky: false,
            control: Control::Production,
        }
    }
}

/// Why a rollout cannot be judged so.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A number that makes no sense.
    #[error("judge with {name} {value}, which is not {expected}")]
    Number {
        /// Its field.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Too many units.
    #[error("judge with sessions_min {0}, of which there are at most {SESSIONS_MIN_MOST}")]
    Sessions(u32),
    /// Nothing is judged.
    #[error("judge without a metric: at least one has to be on")]
    NoMetric,
}

/// Units with errors are told apart up to so many.
const SESSIONS_MIN_MOST: u32 = 1_000;

impl Settings {
    /// The first thing that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        let within = |name, value: f64, sense: bool, expected| match sense {
            true => Ok(()),
            false => Err(SettingsError::Number { name, value, expected }),
        };
        let level = "between 0.000000001 and 0.5";
        let ratio = "from 0.1 to 100";
        within("alpha", self.alpha, (1e-9..=0.5).contains(&self.alpha), level)?;
        within("beta", self.beta, (1e-9..=0.5).contains(&self.beta), level)?;
        let tolerated = self.tolerated_ratio;
        within("tolerated_ratio", tolerated, (0.1..=100.0).contains(&tolerated), ratio)?;
        let worse = self.worse_ratio;
        let expected = "more than what is tolerated, and at most 1000";
        within("worse_ratio", worse, worse > tolerated && worse <= 1_000.0, expected)?;
        let part = "a part of 1, below 1";
        within("excess_min", self.excess_min, (0.0..1.0).contains(&self.excess_min), part)?;
        let slower = self.slower_tolerated;
        within("slower_tolerated", slower, (0.0..=10.0).contains(&slower), "from 0 to 10")?;
        let refuted = self.slower_refuted;
        let expected = "more than what is tolerated, and at most 100";
        within("slower_refuted", refuted, refuted > slower && refuted <= 100.0, expected)?;
        if self.sessions_min > SESSIONS_MIN_MOST {
            return Err(SettingsError::Sessions(self.sessions_min));
        }
        let any = Metric::ALL.into_iter().any(|metric| self.metrics.has(metric));
        if any { Ok(()) } else { Err(SettingsError::NoMetric) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut Settings), said: &str) {
            let mut settings = Settings::default();
            change(&mut settings);
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(Settings::default().check(), Ok(()));
        check(|is| is.alpha = 0.0, "alpha 0");
        check(|is| is.alpha = f64::NAN, "alpha NaN");
        check(|is| is.beta = 0.6, "beta 0.6");
        check(|is| is.tolerated_ratio = 0.0, "tolerated_ratio 0");
        check(|is| is.worse_ratio = 1.0, "worse_ratio 1");
        check(|is| is.excess_min = 1.0, "excess_min 1");
        check(|is| is.slower_tolerated = -0.1, "slower_tolerated -0.1");
        check(|is| is.slower_refuted = f64::INFINITY, "slower_refuted inf");
        check(|is| is.sessions_min = 1_001, "sessions_min 1001");
        check(|is| is.metrics = Metrics::NONE, "without a metric");
    }

    #[test]
    fn shares_are_the_whole() {
        for bits in 1..16_u8 {
            let on = |place: u8| bits & 1 << place != 0;
            let metrics =
                Metrics { errors: on(0), latency: on(1), differences: on(2), weight: on(3) };
            let whole: f64 = Metric::ALL.into_iter().map(|metric| metrics.share(metric)).sum();
            assert!((whole - 1.0).abs() < 1e-12, "{metrics:?}");
        }
        assert_eq!(Metrics { errors: true, ..Metrics::NONE }.share(Metric::Errors), 1.0);
    }

    #[test]
    fn they_are_read_as_they_are_written() {
        let written = serde_json::to_string(&Settings::default()).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&written).unwrap(), Settings::default());
        let some: Settings = serde_json::from_str(r#"{"metrics":{"latency":false}}"#).unwrap();
        assert!(some.metrics.errors && !some.metrics.latency);
        assert!(serde_json::from_str::<Settings>(r#"{"alhpa":0.1}"#).is_err());
    }
}
