//! What a load run measured, and how it compares to thresholds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use umbra_state::{Evidence, Verdict};

use super::threshold::{Quantity, Threshold};
use crate::report::Metric;

/// Latencies are kept in microseconds, with three digits, up to an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// No percentile is judged from fewer answers than this.
const SAMPLES_MIN: u64 = 10;

/// What a load run measured, the warm-up not included.
#[derive(Debug)]
pub struct Stats {
    latencies: Histogram<u64>,
    /// Users who were not started because too many were busy.
    pub dropped: u64,
    /// Requests that were not answered well, by reason.
    pub failures: BTreeMap<String, u64>,
    good: u64,
    /// From the first counted arrival to the last counted answer.
    pub elapsed: Duration,
    /// How late the most delayed user was started: what this machine adds to a latency.
    pub lag_max: Duration,
    /// Whether the test's time was over before its load was.
    pub cut_short: bool,
}

/// How many different reasons are told apart; the rest are counted together.
const REASONS_MAX: usize = 20;

impl Stats {
    /// Nothing so far; `None` only if the bounds of what is kept were wrong.
    pub fn new() -> Option<Self> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).ok()?;
        Some(Self {
            latencies,
            dropped: 0,
            failures: BTreeMap::new(),
            good: 0,
            elapsed: Duration::ZERO,
            lag_max: Duration::ZERO,
            cut_short: false,
        })
    }

    /// An answer, good or bad, `latency` after it was meant to be asked for.
    pub fn answered(&mut self, latency: Duration, failure: Option<String>) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(us.max(1));
        match failure {
            None => self.good += 1,
            Some(reason) => self.failed(reason),
        }
    }

    /// A request without an answer whose latency would mean anything.
    pub fn failed(&mut self, reason: String) {
        let known = self.failures.len() < REASONS_MAX || self.failures.contains_key(&reason);
        let reason = if known { reason } else { "other reasons".to_owned() };
        *self.failures.entry(reason).or_default() += 1;
    }

    fn failure_count(&self) -> u64 {
        self.failures.values().sum::<u64>()
    }

    /// Everything that was meant to happen.
    fn attempts(&self) -> u64 {
        self.good + self.failure_count() + self.dropped
    }

    fn errors_percent(&self) -> f64 {
        (self.failure_count() + self.dropped) as f64 * 100.0 / self.attempts().max(1) as f64
    }

    /// Good answers per second.
    pub fn rate(&self) -> f64 {
        match self.elapsed.is_zero() {
            true => 0.0,
            false => self.good as f64 / self.elapsed.as_secs_f64(),
        }
    }

    /// `None` where too little was seen to say.
    fn value(&self, quantity: Quantity) -> Option<f64> {
        let ms = |us: u64| us as f64 / 1e3;
        let samples = self.latencies.len();
        match quantity {
            Quantity::Errors => (self.attempts() > 0).then(|| self.errors_percent()),
            Quantity::Rate => (self.attempts() > 0).then(|| self.rate()),
            _ if samples == 0 => None,
            Quantity::Percentile(percent) => (samples >= samples_needed(percent))
                .then(|| ms(self.latencies.value_at_quantile(percent / 100.0))),
            Quantity::Avg => Some(self.latencies.mean() / 1e3),
            Quantity::Min => Some(ms(self.latencies.min())),
            Quantity::Max => Some(ms(self.latencies.max())),
        }
    }

    /// What a threshold says about this run.
    pub fn judge(&self, threshold: &Threshold) -> Evidence {
        let quantity = threshold.quantity;
        let (verdict, seen) = match self.value(quantity) {
            None => {
                let need = match quantity {
                    Quantity::Percentile(percent) => samples_needed(percent),
                    _ => 1,
                };
                let seen =
                    format!("{} answers, which is too few: it takes {need}", self.latencies.len());
                (Verdict::Inconclusive, seen)
            }
            Some(value) => {
                let holds = threshold.comparison.holds(value, threshold.bound);
                let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
                (verdict, format!("{} {}{}", rounded(value), quantity.unit(), self.why(quantity)))
            }
        };
        let expected = Some(threshold.to_string());
        Evidence { subject: quantity.to_string(), seen, expected, verdict }
    }

    /// What errors were, in a few words.
    fn why(&self, quantity: Quantity) -> String {
        if quantity != Quantity::Errors || self.errors_percent() == 0.0 {
            return String::new();
        }
        let mut parts: Vec<(u64, String)> =
            self.failures.iter().map(|(reason, count)| (*count, reason.clone())).collect();
        parts.push((self.dropped, "users dropped because too many were busy".to_owned()));
        parts.retain(|(count, _)| *count > 0);
        parts.sort_by_key(|part| std::cmp::Reverse(part.0));
        let shown: Vec<_> =
            parts.iter().take(3).map(|(count, reason)| format!("{count} x {reason}")).collect();
        format!(" of {} ({})", self.attempts(), shown.join(", "))
    }

    /// All figures there are.
    pub fn metrics(&self) -> Vec<Metric> {
        let latency =
            |name: &str, quantity| self.value(quantity).map(|value| Metric::new(name, value, "ms"));
        let latencies = [
            latency("p50", Quantity::Percentile(50.0)),
            latency("p90", Quantity::Percentile(90.0)),
            latency("p99", Quantity::Percentile(99.0)),
            latency("p99.9", Quantity::Percentile(99.9)),
            latency("max", Quantity::Max),
        ];
        let mut metrics: Vec<_> = latencies.into_iter().flatten().collect();
        metrics.push(Metric::new("rps", self.rate(), "1/s"));
        metrics.push(Metric::new("errors", self.errors_percent(), "%"));
        metrics.push(Metric::new("requests", (self.good + self.failure_count()) as f64, "count"));
        metrics.push(Metric::new("dropped", self.dropped as f64, "count"));
        metrics.push(Metric::new("lag_max", self.lag_max.as_secs_f64() * 1e3, "ms"));
        metrics
    }

    /// The metrics as lines for a person.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for metric in self.metrics() {
            // Writing to a string cannot fail.
            let _ =
                writeln!(text, "{:<10}{:>12} {}", metric.name, rounded(metric.value), metric.unit);
        }
        for (reason, count) in &self.failures {
            let _ = writeln!(text, "{count} x {reason}");
        }
        text
    }
}

/// So many that at least one is expected beyond the percentile.
fn samples_needed(percent: f64) -> u64 {
    // The small subtraction keeps 100 / (100 - 99.9) from becoming 1001 by rounding.
    ((100.0 / (100.0 - percent) - 1e-6).ceil() as u64).max(SAMPLES_MIN)
}

fn rounded(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 3 };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(latencies_ms: impl IntoIterator<Item = u64>) -> Stats {
        let mut stats = Stats::new().expect("bounds");
        for ms in latencies_ms {
            stats.answered(Duration::from_millis(ms), None);
        }
        stats.elapsed = Duration::from_secs(1);
        stats
    }

    #[track_caller]
    fn check(stats: &Stats, threshold: &str, verdict: Verdict) {
        let evidence = stats.judge(&threshold.parse().expect(threshold));
        assert_eq!(evidence.verdict, verdict, "{evidence:?}");
    }

    #[test]
    fn percentiles_are_judged() {
        let stats = stats(1..=1000);
        check(&stats, "p(50)<501ms", Verdict::Pass);
        check(&stats, "p(50)<499ms", Verdict::Fail);
        check(&stats, "p(99)<=991ms", Verdict::Pass);
        check(&stats, "p(99)<980ms", Verdict::Fail);
        check(&stats, "p(99.9)<1001ms", Verdict::Pass);
        check(&stats, "max<900ms", Verdict::Fail);
        check(&stats, "rate>999", Verdict::Pass);
        check(&stats, "errors<0.1%", Verdict::Pass);
    }

    #[test]
    fn too_few_answers_are_never_a_pass() {
        check(&stats([]), "p(50)<1s", Verdict::Inconclusive);
        check(&stats([]), "errors<1%", Verdict::Inconclusive);
        check(&stats([]), "rate>1", Verdict::Inconclusive);
        check(&stats([]), "max<1s", Verdict::Inconclusive);
        check(&stats(1..=9), "p(50)<1s", Verdict::Inconclusive);
        check(&stats(1..=10), "p(50)<1s", Verdict::Pass);
        check(&stats(1..=99), "p(99)<1s", Verdict::Inconclusive);
        check(&stats(1..=100), "p(99)<1s", Verdict::Pass);
        check(&stats(1..=999), "p(99.9)<2s", Verdict::Inconclusive);
        check(&stats(1..=1000), "p(99.9)<2s", Verdict::Pass);
    }

    #[test]
    fn dropped_users_are_errors_and_reasons_are_told() {
        let mut stats = stats([1; 97]);
        stats.dropped = 2;
        stats.failed("status 502".into());
        let evidence = stats.judge(&"errors<1%".parse().expect("threshold"));
        assert_eq!(evidence.verdict, Verdict::Fail);
        assert_eq!(
            evidence.seen,
            "3 % of 100 (2 x users dropped because too many were busy, 1 x status 502)"
        );
    }

    #[test]
    fn reasons_are_bounded() {
        let mut stats = stats([]);
        for number in 0..1000 {
            stats.failed(format!("reason {number}"));
        }
        assert!(stats.failures.len() <= REASONS_MAX + 1);
        assert_eq!(stats.failures.values().sum::<u64>(), 1000);
    }
}
