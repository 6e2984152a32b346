//! What the judge says, as it is told on the wire.

use umbra_api::rollout::{JudgedStatus, MetricStatus, Range, StageStatus};
use umbra_judge::standing::{self, Stage, Standing};

/// The judge's standing as the wire has it.
pub fn judged(standing: Standing) -> JudgedStatus {
    let slower = |slower: standing::Slower| (quantile(slower.quantile), range(slower.times));
    JudgedStatus {
        log_e: standing.log_e,
        log_e_peak: standing.log_e_peak,
        log_limit: standing.log_limit,
        metrics: standing.metrics.into_iter().map(metric).collect(),
        error_ratio: standing.error_ratio.map(range),
        slower: standing.slower.into_iter().map(slower).collect(),
        worse_by: standing.worse.map(|metric| metric.name().to_owned()),
        proved: standing.proved,
        requests_needed: standing.units_needed,
        units: standing.units,
        errors: standing.errors,
        stages: standing.stages.into_iter().map(stage).collect(),
        left_out: standing.left_out,
    }
}

fn range(range: standing::Range) -> Range {
    Range { seen: range.seen, least: range.least, most: range.most }
}

fn metric(metric: standing::MetricStanding) -> MetricStatus {
    MetricStatus {
        metric: metric.metric.name().to_owned(),
        share: metric.share,
        log_e: metric.log_e,
        evidence: metric.evidence,
    }
}

fn stage(stage: Stage) -> StageStatus {
    let Stage { weight, units, errors } = stage;
    StageStatus { weight_percent: weight * 100.0, units, errors }
}

/// `0.99` is `p99`.
fn quantile(part: f64) -> String {
    format!("p{}", (part * 1e4).round() / 1e2)
}
