//! The judge of Kayenta (NetflixACAJudge-v1.0) over users' own metrics.
//!
//! Every metric is a series of points of each arm, most often one a minute. Whether the
//! candidate's are higher or lower is asked of the Mann-Whitney test ([`shift`]), whether by so
//! much that it matters of the effect's size ([`metric`]); the metrics of a group make its score,
//! the groups by their weights the score of all ([`score`]).
//!
//! The test takes each point for independent of the one before it and is asked again as the window
//! grows: with points that hang together, as those of a live system do, it calls a third to a half
//! of harmless candidates bad (`docs/judge.md`). So this is for those who have such a
//! configuration already, and whoever asks it pauses rather than rolls back.
//!
//! It decides as Kayenta does, except that it never draws by chance and never passes by accident:
//!
//! | | Kayenta | here |
//! |---|---|---|
//! | both arms constant | adds normal noise, drawn anew | adds the normal quantiles, always the same |
//! | ends of the interval | to 0.0001, whatever the metric's scale | to a thousandth of the range where that is less |
//! | a metric that cannot be judged | counts nowhere, though it were critical | counts like one without data |

use serde::{Deserialize, Serialize};

pub mod config;
pub mod metric;
mod root;
pub mod score;
pub mod series;
pub mod shift;

pub use config::{Config, Thresholds};
pub use metric::{Classification, Judged};
pub use score::{Grade, GroupScore};

use crate::classic::series::Series;

/// What the judge says of a candidate, with the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// From 0 to 100.
    pub score: f64,
    /// The score against its thresholds.
    pub classification: Grade,
    /// Why, in words.
    pub reason: String,
    /// By group, in the order of their names.
    pub groups: Vec<GroupScore>,
    /// By metric, in the order of the configuration.
    pub metrics: Vec<Judged>,
}

/// Judges a candidate by these series, one for each metric by its name. A metric without a series
/// has no data.
pub fn judge<'a>(
    config: &Config,
    thresholds: Thresholds,
    series: impl Fn(&str) -> Option<Series<'a>>,
) -> Judgement {
    let judged = |metric| metric::judge(metric, series(&metric.name).unwrap_or_default());
    let metrics: Vec<Judged> = config.metrics.iter().map(judged).collect();
    let score::Score { score, reason, groups } =
        score::score(&metrics, &config.classifier.group_weights);
    let (classification, reason) = thresholds.grade(score, reason);
    Judgement { score, classification, reason, groups, metrics }
}
