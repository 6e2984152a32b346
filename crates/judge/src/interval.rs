//! How many times as often the candidate is bad, as a range to show.
//!
//! The range holds the true ratio at all times at once with probability `1 - alpha`, so that a
//! screen may show it anew after every outcome. It is what the tests of [`crate::ratio`] do not
//! refuse: the lower end is the least ratio that is tolerated by a test at `alpha/2`, the upper end
//! the same with the arms exchanged. Decisions are made by the test, not by this.

use crate::arm::Tally;
use crate::ratio::{BETS, log_e_on};

/// Ratios beyond these are 0 or infinite to an interval.
const LEAST: f64 = 1e-6;
const MOST: f64 = 1e6;
/// Halvings: the ends are known to one part in a million.
const HALVINGS: usize = 45;

/// A range of ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Not less often than this many times.
    pub least: f64,
    /// Nor more often than this many times; infinite where nothing says so.
    pub most: f64,
}

/// The confidence sequence at the level `1 - alpha` after these outcomes.
pub fn interval(tally: &Tally, alpha: f64) -> Interval {
    let least = lower(tally, alpha / 2.0);
    Interval { least, most: 1.0 / lower(&tally.exchanged(), alpha / 2.0) }
}

/// The least ratio that is not refused. Each bet is on a multiple of the ratio that is asked about;
/// since the logarithm of the likelihood is concave in that of the ratio its gain never grows with
/// that, and what is refused is all below one number.
fn lower(tally: &Tally, alpha: f64) -> f64 {
    let refused = |ratio: f64| {
        let bets = multiples().map(|multiple| multiple * ratio);
        log_e_on(tally, ratio, bets).is_some_and(|log_e| log_e >= -alpha.ln())
    };
    if !refused(LEAST) {
        return 0.0;
    }
    let (mut below, mut above) = (LEAST.ln(), MOST.ln());
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(below, above);
        *(if refused(middle.exp()) { &mut below } else { &mut above }) = middle;
    }
    below.exp()
}

/// From 1.05 to 200: small ones for ends that come close when much was seen.
fn multiples() -> [f64; BETS] {
    std::array::from_fn(|k| 1.05 * (200.0_f64 / 1.05).powf(k as f64 / (BETS - 1) as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arm::{Arm, Weight};

    fn tally(weight: Weight, candidate: u64, baseline: u64) -> Tally {
        let mut tally = Tally::default();
        for (arm, count) in [(Arm::Candidate, candidate), (Arm::Baseline, baseline)] {
            for _ in 0..count {
                tally.add(weight, arm);
            }
        }
        tally
    }

    #[test]
    fn nothing_seen_says_nothing() {
        let Interval { least, most } = interval(&Tally::default(), 0.05);
        assert!(least == 0.0 && most.is_infinite());
    }

    #[test]
    fn it_closes_in_on_the_ratio() {
        let narrow = interval(&tally(Weight::HALF, 3_000, 1_000), 0.05);
        let wide = interval(&tally(Weight::HALF, 30, 10), 0.05);
        assert!(wide.least < narrow.least && narrow.most < wide.most, "{wide:?} {narrow:?}");
        assert!(narrow.least > 2.4 && narrow.least < 3.0, "{narrow:?}");
        assert!(narrow.most > 3.0 && narrow.most < 3.7, "{narrow:?}");
    }

    proptest! {
        /// What it does not hold the test refuses, the most likely ratio is in it, and exchanged
        /// arms have the inverse range.
        #[test]
        fn it_is_what_the_test_does_not_refuse(candidate in 0_u64..80, baseline in 0_u64..80,
            weight in prop::sample::select(vec![0.05, 0.5, 0.8]), part in 0.05_f64..0.95) {
            let weight = Weight::new(weight).unwrap();
            let tally = tally(weight, candidate, baseline);
            let Interval { least, most } = interval(&tally, 0.05);
            prop_assert!(least <= most);
            if candidate > 0 && baseline > 0 {
                let odds = candidate as f64 / baseline as f64;
                let likely = odds * (1.0 - weight.get()) / weight.get();
                prop_assert!(least <= likely && (likely <= most), "{least} {likely} {most}");
            }
            let refused = |ratio: f64| {
                let bets = multiples().map(|multiple| multiple * ratio);
                log_e_on(&tally, ratio, bets).unwrap() >= (2.0_f64 / 0.05).ln()
            };
            if least > 0.0 {
                prop_assert!(refused(least * part) && !refused(least * 1.001));
            }
            let other = interval(&tally.exchanged(), 0.05);
            prop_assert!((other.least * most - 1.0).abs() < 1e-6 || most.is_infinite());
        }
    }
}
