//! By how much more often the candidate is bad at most: what a pass rests on.
//!
//! That nothing was found says little by itself; this says how much could have been missed. The
//! null is turned round: "of all pairs the candidate alone is bad in at least `delta` more than
//! the baseline alone". With `x` = 1 where the candidate alone is bad, -1 where the baseline alone
//! is, 0 otherwise, a bet `lambda` multiplies capital by `1 - lambda (x - delta)`, whose expectation
//! is at most 1 under that null; the mean over a grid of `lambda` is an e-process (Waudby-Smith &
//! Ramdas, JRSS B 2024, arXiv 2010.09686). What is refused at the level `alpha` was not so.

use crate::logs::log_mean_exp;

/// Parts of the capital that are bet: large ones are quick where nothing differs, small ones last
/// where much differs by chance.
const PARTS: [f64; 8] = [0.9, 0.5, 0.25, 0.12, 0.06, 0.03, 0.015, 0.0075];
const HALVINGS: usize = 40;

/// Pairs of one question, by what was bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pairs {
    /// All of them.
    pub all: u64,
    /// The candidate alone is bad.
    pub candidate: u64,
    /// The baseline alone is bad.
    pub baseline: u64,
}

/// The logarithm of the e-value against "the candidate alone is bad in `excess` more of all pairs,
/// or in still more". An excess is a part of 1.
pub fn log_e(pairs: &Pairs, excess: f64) -> f64 {
    let neither = pairs.all.saturating_sub(pairs.candidate + pairs.baseline);
    let counts = [(1.0, pairs.candidate), (-1.0, pairs.baseline), (0.0, neither)];
    log_mean_exp(&PARTS.map(|part| {
        let log = |&(x, count): &(f64, u64)| (-part * (x - excess)).ln_1p() * count as f64;
        counts.iter().map(log).sum()
    }))
}

/// The excess that is not reached, with confidence `1 - alpha` at all times at once; 1 where that
/// cannot be said of any.
pub fn at_most(pairs: &Pairs, alpha: f64) -> f64 {
    let refused = |excess: f64| log_e(pairs, excess) >= -alpha.ln();
    if !refused(1.0) {
        return 1.0;
    }
    // The e-value grows with the excess that is asked about.
    let (mut below, mut above) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(below, above);
        *(if refused(middle) { &mut above } else { &mut below }) = middle;
    }
    above
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(all: u64, candidate: u64, baseline: u64, between: std::ops::Range<f64>) {
        let is = at_most(&Pairs { all, candidate, baseline }, 0.05);
        assert!(between.contains(&is), "{is} is not in {between:?}");
    }

    #[test]
    fn what_could_have_been_missed() {
        check(0, 0, 0, 1.0..1.1);
        check(100, 0, 0, 0.04..0.07);
        // About five for one percent, a little more than the three of a single look at the end.
        check(600, 0, 0, 0.005..0.01);
        check(10_000, 0, 0, 0.0004..0.0007);
        check(10_000, 500, 500, 0.005..0.013);
        check(10_000, 200, 100, 0.012..0.02);
        check(1_000, 1_000, 0, 0.99..1.1);
    }

    proptest! {
        /// More pairs without a difference never loosen it, a bad candidate never tightens it.
        #[test]
        fn it_follows_what_is_seen(all in 1_u64..5_000, candidate in 0_u64..50, baseline in 0_u64..50) {
            let all = all + candidate + baseline;
            let pairs = Pairs { all, candidate, baseline };
            let is = at_most(&pairs, 0.05);
            prop_assert!((0.0..=1.0).contains(&is));
            let quiet = Pairs { all: all + 100, ..pairs };
            prop_assert!(at_most(&quiet, 0.05) <= is + 1e-9);
            let bad = Pairs { all: all + 1, candidate: candidate + 1, ..pairs };
            prop_assert!(at_most(&bad, 0.05) >= is - 1e-9);
            // What was seen is not refused.
            let seen = (candidate as f64 - baseline as f64) / all as f64;
            prop_assert!(is >= seen);
        }

        /// On average a bet gains nothing where there is such an excess.
        #[test]
        fn it_gains_nothing_by_chance(excess in 0.001_f64..0.5, noise in 0.0_f64..0.4) {
            let mean = |part: f64| {
                let gain = |x: f64| 1.0 - part * (x - excess);
                let (candidate, baseline) = (noise / 2.0 + excess, noise / 2.0);
                candidate * gain(1.0) + baseline * gain(-1.0)
                    + (1.0 - candidate - baseline) * gain(0.0)
            };
            for part in PARTS {
                prop_assert!((mean(part) - 1.0).abs() < 1e-9);
            }
        }
    }
}
