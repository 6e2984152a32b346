//! What a Kayenta canary configuration says about judging, under its own names.
//!
//! A whole configuration can be read into [`Config`]: what is about fetching (`query`, `templates`,
//! `scopeName`) is passed over, in `analysisConfigurations.canary` only what is known is taken.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::score::Grade;

/// Metrics, and what their groups weigh.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Config {
    /// What is compared.
    pub metrics: Vec<Metric>,
    /// What counts how much.
    #[serde(default)]
    pub classifier: Classifier,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Its name, which its series has too.
    pub name: String,
    /// Groups whose scores it counts in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How it is judged.
    #[serde(default)]
    pub analysis_configurations: Analyses,
}

/// How a metric is judged, by who judges it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Analyses {
    /// By this judge.
    #[serde(default)]
    pub canary: Analysis,
}

/// How a metric is judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Analysis {
    /// Which difference is bad.
    pub direction: Direction,
    /// What a missing point is.
    pub nan_strategy: NanStrategy,
    /// Whether all fails with it.
    pub critical: bool,
    /// Whether it fails where it has no data.
    pub must_have_data: bool,
    /// Whether it is judged and not counted.
    pub muted: bool,
    /// How large a difference must be to matter.
    pub effect_size: EffectSize,
    /// What becomes of points far from the others.
    pub outliers: Outliers,
}

/// Which difference is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The candidate's being higher.
    Increase,
    /// The candidate's being lower.
    Decrease,
    /// Both.
    #[default]
    Either,
}

/// What a missing point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NanStrategy {
    /// Nothing.
    #[default]
    Remove,
    /// Zero.
    Replace,
}

/// How large a difference must be to matter, in its measure.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct EffectSize {
    /// In what it is measured.
    pub measure: Measure,
    /// From here on more is high.
    pub allowed_increase: Option<f64>,
    /// From here down less is low.
    pub allowed_decrease: Option<f64>,
    /// From here on a critical metric that is high fails all.
    pub critical_increase: Option<f64>,
    /// From here down a critical metric that is low fails all.
    pub critical_decrease: Option<f64>,
}

/// In what an effect is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Measure {
    /// The candidate's mean by the baseline's.
    #[default]
    #[serde(rename = "meanRatio")]
    MeanRatio,
    /// The probability that a point of the candidate is above one of the baseline, "common
    /// language effect size".
    #[serde(rename = "cles")]
    Cles,
}

impl Measure {
    /// What it is where nothing differs, which all limits are unless they are set.
    pub fn neutral(self) -> f64 {
        match self {
            Self::MeanRatio => 1.0,
            Self::Cles => 0.5,
        }
    }
}

/// What becomes of points far from the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Outliers {
    /// Whether they are left out.
    pub strategy: OutlierStrategy,
    /// So many times the distance between the quartiles is far.
    pub outlier_factor: f64,
}

impl Default for Outliers {
    fn default() -> Self {
        Self { strategy: OutlierStrategy::Keep, outlier_factor: 3.0 }
    }
}

/// Whether outliers are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutlierStrategy {
    /// They are.
    Remove,
    /// They are not.
    #[default]
    Keep,
}

/// What counts how much.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Classifier {
    /// Per cent by group. Groups that are not named share what is left in equal parts.
    pub group_weights: BTreeMap<String, f64>,
}

/// From which score on a candidate passes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Passes from here on.
    pub pass: f64,
    /// Not bad enough to fail from here on.
    pub marginal: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { pass: 95.0, marginal: 75.0 }
    }
}

impl Thresholds {
    /// What a score is, and why, in words.
    pub(super) fn grade(self, score: f64, reason: String) -> (Grade, String) {
        let Self { pass, marginal } = self;
        if score >= pass {
            (Grade::Pass, format!("{reason}; {pass} are needed"))
        } else if score >= marginal {
            (Grade::Marginal, format!("{reason}; {pass} would pass, less than {marginal} fail"))
        } else {
            (Grade::Fail, format!("{reason}; less than {marginal} fail"))
        }
    }
}

/// Why a configuration judges something else than what it seems to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Nothing to judge.
    #[error("no metric counts: there must be one that is not muted")]
    NoMetric,
    /// One name, two metrics.
    #[error("metric {0:?} is there twice")]
    Twice(String),
    /// It counts nowhere.
    #[error("metric {0:?} is in no group and so counts nowhere")]
    NoGroup(String),
    /// A limit that is no number above 0.
    #[error("{field} of metric {metric:?} is {value}, not a number above 0")]
    Limit {
        /// Whose.
        metric: String,
        /// Which.
        field: &'static str,
        /// What it is.
        value: f64,
    },
    /// A weight is no per cent.
    #[error("the weight {weight} of group {group:?} is not between 0 and 100")]
    Weight {
        /// Whose.
        group: String,
        /// What it is.
        weight: f64,
    },
    /// It weighs and is empty, so that no candidate can reach 100.
    #[error("group {0:?} has a weight and no metric that counts")]
    Empty(String),
    /// Weights do not add up.
    #[error("the weights of the groups make {0} in all, not 100")]
    Sum(f64),
    /// Thresholds the wrong way round.
    #[error("marginal is {marginal} and pass {pass}: not 0 <= marginal <= pass <= 100")]
    Thresholds {
        /// What it is.
        pass: f64,
        /// What it is.
        marginal: f64,
    },
}

impl Config {
    /// All that is wrong with it. Kayenta takes any of this and passes or fails by it.
    pub fn problems(&self, thresholds: Thresholds) -> Vec<Problem> {
        let mut problems = self.of_metrics();
        problems.extend(self.of_weights());
        let Thresholds { pass, marginal } = thresholds;
        if !(0.0 <= marginal && marginal <= pass && pass <= 100.0) {
            problems.push(Problem::Thresholds { pass, marginal });
        }
        problems
    }

    fn counted(&self) -> impl Iterator<Item = &Metric> {
        self.metrics.iter().filter(|metric| !metric.analysis_configurations.canary.muted)
    }

    fn of_metrics(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.counted().next().is_none() {
            problems.push(Problem::NoMetric);
        }
        let mut names = BTreeSet::new();
        for metric in &self.metrics {
            if !names.insert(&metric.name) {
                problems.push(Problem::Twice(metric.name.clone()));
            }
            if metric.groups.is_empty() && !metric.analysis_configurations.canary.muted {
                problems.push(Problem::NoGroup(metric.name.clone()));
            }
            problems.extend(of_limits(metric));
        }
        problems
    }

    fn of_weights(&self) -> Vec<Problem> {
        let weights = &self.classifier.group_weights;
        if weights.is_empty() {
            return Vec::new();
        }
        let groups: BTreeSet<&String> = self.counted().flat_map(|metric| &metric.groups).collect();
        let mut problems = Vec::new();
        for (group, &weight) in weights {
            if !(0.0..=100.0).contains(&weight) {
                problems.push(Problem::Weight { group: group.clone(), weight });
            } else if weight > 0.0 && !groups.contains(group) {
                problems.push(Problem::Empty(group.clone()));
            }
        }
        let sum: f64 = weights.values().sum();
        let all_named = groups.iter().all(|group| weights.contains_key(*group));
        let adds_up = (sum - 100.0).abs() < 1e-6 || (sum < 100.0 && !all_named);
        if problems.is_empty() && !(adds_up && (all_named || sum < 100.0 - 1e-6)) {
            problems.push(Problem::Sum(sum));
        }
        problems
    }
}

fn of_limits(metric: &Metric) -> impl Iterator<Item = Problem> {
    let Analysis { effect_size: effect, outliers, .. } = &metric.analysis_configurations.canary;
    let limits = [
        ("outlierFactor", Some(outliers.outlier_factor)),
        ("allowedIncrease", effect.allowed_increase),
        ("allowedDecrease", effect.allowed_decrease),
        ("criticalIncrease", effect.critical_increase),
        ("criticalDecrease", effect.critical_decrease),
    ];
    let bad = |value: f64| !(value.is_finite() && value > 0.0);
    limits.into_iter().filter_map(move |(field, value)| {
        let value = value.filter(|&value| bad(value))?;
        Some(Problem::Limit { metric: metric.name.clone(), field, value })
    })
}
