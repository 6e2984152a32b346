//! Where quantiles are, at all times at once: ranges to show.
//!
//! The part of outcomes that are below any value is known to
//!
//! ```text
//! 0.85 sqrt((log(1 + log(t/m)) + C) / t)     for all t >= m at once
//! ```
//!
//! after `t` outcomes that are independent and alike (Howard & Ramdas, Bernoulli 2022, theorem 2,
//! arXiv 1906.09712), and so every quantile lies between two that were seen. Nothing is decided by
//! this: outcomes of a service are neither.

use std::sync::LazyLock;

use super::buckets::Histogram;
use crate::standing::{Range, Slower};

/// Outcomes of an arm before anything is said.
const FIRST: f64 = 100.0;
const A: f64 = 0.85;
/// Both arms together.
const ALPHA: f64 = 0.05;

static C: LazyLock<f64> = LazyLock::new(|| optimal_c(ALPHA / 2.0));

/// How many times as long the candidate's take; `None` where there are too few of either.
pub(crate) fn slower(baseline: &Histogram, candidate: &Histogram, quantile: f64) -> Option<Slower> {
    let [before, now] = [baseline, candidate].map(|one| Quantile::new(one, quantile));
    let (before, now) = (before?, now?);
    let over = |above: f64, below: f64| above / below.max(1.0);
    let times = Range {
        seen: Some(over(now.seen, before.seen)),
        least: before.most.map_or(0.0, |most| over(now.least, most)),
        most: now.most.filter(|_| before.least > 0.0).map(|most| over(most, before.least)),
    };
    Some(Slower { quantile, times })
}

/// A quantile in microseconds, and where it is.
struct Quantile {
    seen: f64,
    least: f64,
    most: Option<f64>,
}

impl Quantile {
    fn new(histogram: &Histogram, quantile: f64) -> Option<Self> {
        let band = band(histogram.all() as f64, *C)?;
        let at = |part: f64| histogram.quantile_us(part).map(f64::from);
        let below = quantile - band;
        Some(Self {
            seen: at(quantile)?,
            least: if below > 0.0 { at(below).unwrap_or(0.0) } else { 0.0 },
            most: at(quantile + band),
        })
    }
}

fn band(outcomes: f64, c: f64) -> Option<f64> {
    let wide = || A * (((outcomes / FIRST).ln().ln_1p() + c) / outcomes).sqrt();
    (outcomes >= FIRST).then(wide)
}

/// The least `C` for which the error is at most `alpha`.
fn optimal_c(alpha: f64) -> f64 {
    let (mut below, mut above) = (1.0, 100.0);
    for _ in 0..60 {
        let middle = f64::midpoint(below, above);
        *(if error(middle) > alpha { &mut below } else { &mut above }) = middle;
    }
    above
}

/// The theorem's bound of the error, at the best of the numbers it leaves open.
fn error(c: f64) -> f64 {
    let at = |eta: f64| {
        let root = A - (2.0 * (eta - 1.0) / c).sqrt();
        let square = 2.0 / eta * root * root;
        if root <= 0.0 || square <= 1.0 {
            return f64::INFINITY;
        }
        4.0 * (-square * c).exp() * (1.0 + 1.0 / ((square - 1.0) * eta.ln()))
    };
    // Infinite at both ends, with one valley between.
    let most = c * A * A / 2.0;
    let steps = 20_000;
    (1..steps)
        .map(|n| at(1.0 + most * f64::from(n) / f64::from(steps)))
        .fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `confseq` has them.
    #[test]
    fn bounds_are_the_known_ones() {
        let near = |is: f64, known: f64, by: f64| assert!((is - known).abs() < by, "{is} {known}");
        near(optimal_c(0.05), 8.1227, 1e-4);
        near(optimal_c(0.01), 9.2835, 1e-4);
        near(band(1_000.0, optimal_c(0.05)).unwrap(), 0.082_047_69, 1e-5);
        assert_eq!(band(99.0, 8.0), None);
    }

    #[test]
    fn a_range_closes_in_on_what_is() {
        let arm = |times: u32, outcomes: u32| {
            let mut histogram = Histogram::default();
            (0..outcomes).for_each(|n| histogram.add((1_000 + n % 1_000) * times));
            histogram
        };
        assert_eq!(slower(&arm(1, 99), &arm(3, 5_000), 0.5), None);
        let median = slower(&arm(1, 50_000), &arm(3, 50_000), 0.5).unwrap().times;
        assert!(median.seen.is_some_and(|seen| (seen - 3.0).abs() < 0.05), "{median:?}");
        assert!((2.9..3.0).contains(&median.least), "{median:?}");
        assert!(median.most.is_some_and(|most| (3.0..3.1).contains(&most)), "{median:?}");
        // Too few for the end of the tail.
        let tail = slower(&arm(1, 500), &arm(3, 500), 0.99).unwrap().times;
        assert_eq!(tail.most, None);
        assert!(tail.least == 0.0 && tail.seen.is_some());
    }
}
