//! What production's clients felt, phase by phase, and whether it moved.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::load::{Sample, percentile};
use super::table::micros;

/// What a phase is judged by: percentiles of so much time each.
const WINDOW: Duration = Duration::from_millis(500);
/// Latency has moved where the middle window of a phase is so many times the worst window in
/// which nobody mirrors, before and after, and slower than this at all: less says nothing on a
/// machine that does other work.
const TIMES: u32 = 2;
const FELT: Duration = Duration::from_millis(20);

const NAMES: [&str; 4] =
    ["nobody mirrors", "mirrored to a shadow", "the shadow is dead", "nobody mirrors again"];

/// Requests before mirroring, while the shadow answers, from its death on, and after mirroring.
pub(super) struct Phases([Vec<Sample>; 4]);

impl Phases {
    /// By when the requests were due.
    pub(super) fn split(samples: &[Sample], starts: [Instant; 4]) -> Self {
        Self(std::array::from_fn(|phase| {
            let end = starts.get(phase + 1);
            let due = |sample: &&Sample| {
                sample.due >= starts[phase] && end.is_none_or(|end| sample.due < *end)
            };
            samples.iter().filter(due).copied().collect()
        }))
    }

    /// For a person.
    pub(super) fn table(&self) -> String {
        let mut out = format!(
            "  {:<24}{:>10}{:>8}{:>12}{:>12}{:>12}\n",
            "production", "requests", "lost", "p50", "p99", "most"
        );
        for (name, samples) in NAMES.iter().zip(&self.0) {
            let at = |percent| shown(percentile(samples, percent));
            out.push_str(&format!(
                "  {name:<24}{:>10}{:>8}{:>12}{:>12}{:>12}\n",
                samples.len(),
                lost(samples),
                at(50),
                at(99),
                at(100)
            ));
        }
        out
    }
}

/// A line about it; why it is not as it must be.
pub(super) fn felt(phases: &Phases, gateway: &Value) -> Result<String, String> {
    let Phases(all) = phases;
    let lost: usize = all.iter().map(|phase| lost(phase)).sum();
    if lost > 0 || gateway["failed"] != 0 {
        return Err(format!("production lost {lost} requests"));
    }
    for (name, phase) in NAMES.iter().zip(all) {
        if phase.is_empty() {
            return Err(format!("no request came while {name}"));
        }
        if let Some(percent) = [50, 99].into_iter().find(|percent| moved(all, phase, *percent)) {
            return Err(format!("production's p{percent} moved: {name}"));
        }
    }
    let p99: Vec<String> = all.iter().map(|phase| shown(percentile(phase, 99))).collect();
    let requests: usize = all.iter().map(Vec::len).sum();
    Ok(format!(
        "production's p99, alone / mirrored / its shadow dead / alone: {}; none of {requests} \
         requests lost",
        p99.join(" / ")
    ))
}

fn lost(samples: &[Sample]) -> usize {
    samples.iter().filter(|sample| !sample.good).count()
}

fn moved([before, .., after]: &[Vec<Sample>; 4], phase: &[Sample], percent: usize) -> bool {
    let alone = [before, after].map(|alone| windows(alone, percent));
    let noise = alone.iter().flatten().max().copied().unwrap_or_default();
    let phase = windows(phase, percent);
    let middle = phase.get(phase.len() / 2).copied().unwrap_or_default();
    middle > FELT.max(noise * TIMES)
}

/// A percentile of each window, the least first.
fn windows(samples: &[Sample], percent: usize) -> Vec<Duration> {
    let Some(first) = samples.first() else { return Vec::new() };
    let window = |sample: &Sample| (sample.due - first.due).as_millis() / WINDOW.as_millis();
    let windows = samples.chunk_by(|one, next| window(one) == window(next));
    let mut all: Vec<Duration> = windows.map(|window| percentile(window, percent)).collect();
    all.sort_unstable();
    all
}

fn shown(took: Duration) -> String {
    micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Four seconds for each phase, a request each millisecond that takes so many.
    fn phases(took_ms: [u64; 4]) -> Phases {
        let start = Instant::now();
        let sample = |at: u64| Sample {
            due: start + Duration::from_millis(at),
            took: Duration::from_millis(took_ms[at as usize / 4_000]),
            good: true,
        };
        let samples: Vec<Sample> = (0..16_000).map(sample).collect();
        let starts = [0, 4_000, 8_000, 12_000].map(|at| start + Duration::from_millis(at));
        Phases::split(&samples, starts)
    }

    #[test]
    fn what_moves_beyond_its_noise_is_felt() {
        #[track_caller]
        fn check(took_ms: [u64; 4], good: bool) {
            let felt = felt(&phases(took_ms), &json!({"failed": 0}));
            assert_eq!(felt.is_ok(), good, "{took_ms:?} {felt:?}");
        }
        check([1, 1, 1, 1], true);
        check([1, 19, 19, 1], true);
        check([40, 70, 40, 1], true);
        check([1, 40, 70, 40], true);
        check([1, 1, 21, 1], false);
        check([40, 90, 40, 40], false);
    }

    #[test]
    fn one_lost_request_is_too_many() {
        let mut phases = phases([1; 4]);
        phases.0[2][7].good = false;
        assert!(felt(&phases, &json!({"failed": 0})).is_err());
        assert!(phases.table().contains("4000       1"), "{}", phases.table());
    }

    #[test]
    fn nothing_looked_at_is_nothing_shown() {
        let start = Instant::now();
        assert!(felt(&Phases::split(&[], [start; 4]), &json!({"failed": 0})).is_err());
    }
}
