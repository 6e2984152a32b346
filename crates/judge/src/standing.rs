//! How a rollout stands, to be shown.

use serde::{Deserialize, Serialize};

use crate::settings::Metric;

/// Everything a screen shows of a judge. What is decided is decided by [`crate::trial::Trial`]:
/// ranges say how large what was found may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Natural logarithm of the e-value of "the candidate is worse".
    pub log_e: f64,
    /// The most it ever was.
    pub log_e_peak: f64,
    /// What it has to reach.
    pub log_limit: f64,
    /// Whether the candidate is worse, and by which metric.
    pub worse: Option<Metric>,
    /// Whether it is proved not to be.
    pub proved: bool,
    /// By metric, the strongest first; those that are judged.
    pub metrics: Vec<MetricStanding>,
    /// How many times as often the candidate fails; `None` before the first error.
    pub error_ratio: Option<Range>,
    /// How many times as long its answers take, at the median and at the 99th percentile; empty
    /// while there is too little to say.
    pub slower: Vec<Slower>,
    /// About how many more units of the candidate a decision needs at the rates seen; `None`
    /// where nobody can say, 0 where there is one.
    pub units_needed: Option<u64>,
    /// Units that counted: the baseline's, the candidate's.
    pub units: [u64; 2],
    /// Those of them that failed.
    pub errors: [u64; 2],
    /// The same by declared weight, in order of time; those at which anything counted.
    pub stages: Vec<Stage>,
    /// Outcomes that said nothing, by cause in words; only causes there were.
    pub left_out: Vec<(String, u64)>,
}

/// What counted of those that were assigned while one weight was in force.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The candidate's part, from 0 to 1.
    pub weight: f64,
    /// Units: the baseline's, the candidate's.
    pub units: [u64; 2],
    /// Those of them that failed.
    pub errors: [u64; 2],
}

/// What is known by one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricStanding {
    /// Which.
    pub metric: Metric,
    /// Its share of the error.
    pub share: f64,
    /// Natural logarithm of its own e-value; with the share's added it is in the whole.
    pub log_e: f64,
    /// What it rests on, in words.
    pub evidence: String,
}

/// A number and where it is, with 95 % confidence at all times at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// As seen; `None` where nothing was.
    pub seen: Option<f64>,
    /// Not below.
    pub least: f64,
    /// Not above; `None` where nothing says so.
    pub most: Option<f64>,
}

/// How many times as long the candidate's answers take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slower {
    /// At which part of them, from 0 to 1.
    pub quantile: f64,
    /// So many times.
    pub times: Range,
}
