//! Both arms side by side, and how far the evidence is from its limit.

use umbra_api::rollout::{ArmStatus, JudgedStatus, MetricStatus, Quantiles, RolloutStatus};

use super::words;
use crate::screen::{safe, units};

/// Characters of a bar.
const BAR: usize = 20;

/// Requests, errors and quantiles of both arms, in columns.
pub fn arms(status: &RolloutStatus) -> Vec<String> {
    let head = ["", "requests", "errors", "", "under way", "p50", "p99", "p99.9"];
    let [baseline, candidate] = &status.arms;
    let rows = [head.map(str::to_owned), row("baseline", baseline), row("candidate", candidate)];
    let mut lines = columns(&rows);
    if status.topped_up > 0 {
        let sent = units::count(status.topped_up);
        lines
            .push(format!("{sent} of these requests are the rollout's own, as there were too few"));
    }
    lines
}

fn row(name: &str, arm: &ArmStatus) -> [String; 8] {
    let [p50, p99, p999] = match arm.latency {
        Some(Quantiles { p50_us, p99_us, p999_us, .. }) => {
            [p50_us, p99_us, p999_us].map(units::micros)
        }
        None => std::array::from_fn(|_| "-".to_owned()),
    };
    [
        name.to_owned(),
        units::count(arm.requests),
        units::count(arm.errors),
        words::part(arm.errors, arm.requests),
        units::count(arm.in_flight),
        p50,
        p99,
        p999,
    ]
}

/// Rows whose first column begins at the left and whose others end at the right.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// How much more often the candidate fails and how much slower it is.
pub fn ratios(judged: &JudgedStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(ratio) = &judged.error_ratio {
        let seen = ratio.seen.map(|seen| format!("{} times as often", words::times(seen)));
        let seen = seen.unwrap_or_else(|| "not to be compared yet".to_owned());
        lines.push(format!("errors   {seen}{}", words::range(ratio)));
    }
    for (which, ratio) in &judged.slower {
        let seen = ratio.seen.map_or("unknown".to_owned(), words::times);
        lines.push(format!("{:<7}  {seen} times as long{}", safe(which), words::range(ratio)));
    }
    lines
}

/// A bar for each metric's evidence, which counts by its share of the error; full is where the
/// candidate is taken away.
pub fn bars(judged: &JudgedStatus) -> Vec<String> {
    let limit = judged.log_limit;
    let mut lines = vec![format!(
        "evidence that the candidate is worse; at {} it is taken away",
        words::e_value(limit)
    )];
    for metric in &judged.metrics {
        let shown = measure(contribution(metric), limit);
        let evidence = safe(&metric.evidence);
        let line = format!("  {:<11}  {shown:<32}  {evidence}", safe(&metric.metric));
        lines.push(line.trim_end().to_owned());
    }
    if judged.metrics.is_empty() || judged.log_e_peak > judged.log_e {
        lines.push(format!("  {:<11}  {}", "the most", measure(judged.log_e_peak, limit)));
    }
    lines
}

/// What a metric's e-value counts for with its share, as a logarithm.
pub(super) fn contribution(metric: &MetricStatus) -> f64 {
    metric.log_e + metric.share.ln()
}

/// A bar on a logarithmic scale from 1, which is no evidence, to the limit; and the number.
fn measure(log: f64, limit: f64) -> String {
    let part = if limit > 0.0 && log > 0.0 { (log / limit).min(1.0) } else { 0.0 };
    // Full is only what reached the limit.
    let full = if log >= limit { BAR } else { ((part * BAR as f64) as usize).min(BAR - 1) };
    format!("[{}{}]  {:>8}", "#".repeat(full), "-".repeat(BAR - full), words::e_value(log))
}

/// How far it is to a decision, in words.
pub fn needed(judged: &JudgedStatus) -> String {
    if let Some(by) = &judged.worse_by {
        return format!("decided: the candidate is worse ({})", safe(by));
    }
    if judged.proved {
        return "proved: the candidate is not worse than is tolerated".to_owned();
    }
    match judged.requests_needed {
        Some(count) => {
            format!("about {} more requests of the candidate until a decision", units::count(count))
        }
        None => "too little was seen to say how many more requests a decision needs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::rollout::stories;

    #[test]
    fn requests_of_our_own_are_told_apart() {
        let few = RolloutStatus { topped_up: 1_200, ..stories::running() };
        let told = arms(&few);
        let [before @ .., last] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(last, "1,200 of these requests are the rollout's own, as there were too few");
        assert_eq!(before, arms(&stories::running()));
    }

    #[test]
    fn a_bar_is_full_at_the_limit_only() {
        let limit = f64::ln(100.0);
        for (value, full) in
            [(0.0, 0), (0.2, 0), (1.0, 0), (10.0, 10), (99.9, 19), (100.0, 20), (1e9, 20)]
        {
            let shown = measure(f64::ln(value), limit);
            assert_eq!(shown.matches('#').count(), full, "{value}: {shown}");
            assert_eq!(shown.find(']'), Some(BAR + 1), "{value}: {shown}");
        }
        assert!(measure(f64::NAN, limit).contains("unknown"));
    }
}
