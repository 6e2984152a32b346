//! From metrics to the scores of their groups, and to one of all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metric::{Classification, Judged, short};

/// Where so many per cent of the metrics have no data all fails.
const NODATA_MOST: f64 = 50.0;

/// A score against its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grade {
    /// The candidate passes.
    Pass,
    /// It neither passes nor fails.
    Marginal,
    /// It fails.
    Fail,
}

/// The score of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupScore {
    /// Its name.
    pub name: String,
    /// How many per cent of its metrics that have data pass; 0 where none has.
    pub score: f64,
    /// Its part of the score of all, per cent.
    pub weight: f64,
    /// Whether none of its metrics has data: then it weighs as if all passed.
    pub no_data: bool,
    /// Its metrics, muted ones left out.
    pub metrics: usize,
}

pub(super) struct Score {
    pub(super) score: f64,
    pub(super) reason: String,
    pub(super) groups: Vec<GroupScore>,
}

/// The score of all metrics that are not muted.
pub(super) fn score(metrics: &[Judged], weights: &BTreeMap<String, f64>) -> Score {
    let counted: Vec<&Judged> = metrics.iter().filter(|metric| !metric.muted).collect();
    let groups = groups(&counted, weights);
    let failed = |reason| Score { score: 0.0, reason, groups: groups.clone() };
    if let Some(metric) = counted.iter().find(|metric| fails_all(metric)) {
        let Judged { name, classification, reason, .. } = metric;
        return failed(format!("score 0: critical metric {name} is {classification:?}, {reason}"));
    }
    let without = counted.iter().filter(|metric| !has_data(metric.classification)).count();
    let all = counted.len();
    if all == 0 || without as f64 / all as f64 * 100.0 >= NODATA_MOST {
        return failed(format!("score 0: {without} of {all} metrics have no data"));
    }
    let part =
        |group: &GroupScore| group.weight / 100.0 * if group.no_data { 100.0 } else { group.score };
    let sum: f64 = groups.iter().map(part).sum();
    let score = (sum * 100.0).round() / 100.0;
    Score { score, reason: format!("score {}: {}", short(score), told(&counted)), groups }
}

fn fails_all(metric: &Judged) -> bool {
    metric.critical && metric.classification != Classification::Pass
}

fn has_data(classification: Classification) -> bool {
    !matches!(classification, Classification::Nodata | Classification::Error)
}

/// How many pass, and what the others are.
fn told(counted: &[&Judged]) -> String {
    let passed = |metric: &&&Judged| metric.classification == Classification::Pass;
    let others = counted.iter().filter(|metric| !passed(metric));
    let others: Vec<String> =
        others.map(|metric| format!(", {} is {:?}", metric.name, metric.classification)).collect();
    let passed = counted.iter().filter(passed).count();
    format!("{passed} of {} metrics pass{}", counted.len(), others.concat())
}

fn groups(counted: &[&Judged], weights: &BTreeMap<String, f64>) -> Vec<GroupScore> {
    let mut found: BTreeMap<&str, Vec<Classification>> = BTreeMap::new();
    for metric in counted {
        for group in &metric.groups {
            found.entry(group).or_default().push(metric.classification);
        }
    }
    let unnamed = found.keys().filter(|name| !weights.contains_key(**name)).count();
    let left = 100.0 - weights.values().sum::<f64>();
    let weight = |name: &str| weights.get(name).copied().unwrap_or(left / unnamed as f64);
    (found.into_iter())
        .map(|(name, metrics)| {
            let known = metrics.iter().filter(|one| has_data(**one)).count();
            let passed = metrics.iter().filter(|one| **one == Classification::Pass).count();
            GroupScore {
                name: name.to_owned(),
                score: if known == 0 { 0.0 } else { passed as f64 / known as f64 * 100.0 },
                weight: weight(name),
                no_data: known == 0,
                metrics: metrics.len(),
            }
        })
        .collect()
}
