//! By how much one sample is higher than another: the Mann-Whitney test and its interval.
//!
//! Where the first sample is moved down by `mu`, its rank sum `W` less what it is on average is
//!
//! ```text
//! z(mu) = (W - nm/2 - sign/2) / sqrt(nm/12 ((n + m + 1) - sum(t^3 - t) / ((n + m)(n + m - 1))))
//! ```
//!
//! standard normal if they are alike then: `sign` is that of the difference (continuity), `t` the
//! sizes of ties. The estimate is where `z` crosses 0 (Hodges & Lehmann 1963), the ends of the
//! interval where it crosses the normal's quantiles, as in R's `wilcox.test`.

use super::root::root;

/// The 99th percentile of the standard normal distribution: an interval of 98 %, as Kayenta has it.
const Z99: f64 = 2.326_347_874_040_841;

/// Kayenta's tolerance of a root: with it the ends are Kayenta's own to the last digit, also where
/// so many points are tied that the last digits decide.
const TOLERANCE: f64 = 1e-4;

/// The tolerance in parts of the range there is, for metrics that are hardly larger than that.
const TOLERANCE_PART: f64 = 1e-3;

/// By how much the first is higher.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// At least, with confidence 99 %.
    pub least: f64,
    /// Most likely.
    pub estimate: f64,
    /// At most, with confidence 99 %.
    pub most: f64,
}

/// By how much the first of two sorted samples of finite numbers is higher; `None` where a sample
/// is empty or both are tied as a whole.
pub fn shift(first: &[f64], second: &[f64]) -> Option<Shift> {
    shift_at(first, second, Z99)
}

fn shift_at(first: &[f64], second: &[f64], quantile: f64) -> Option<Shift> {
    let ends = [first.first()? - second.last()?, first.last()? - second.first()?];
    let [Some(at_least), Some(at_most)] = ends.map(|mu| z(first, second, mu)) else { return None };
    let tolerance = TOLERANCE.min(TOLERANCE_PART * (ends[1] - ends[0]));
    let crosses = |level: f64| match (at_least <= level, at_most >= level) {
        (true, _) => ends[0],
        (false, true) => ends[1],
        // Within the ends all cannot be tied, since at the ends it is not.
        (false, false) => root(|mu| z(first, second, mu).unwrap_or(level) - level, ends, tolerance),
    };
    Some(Shift { least: crosses(quantile), estimate: crosses(0.0), most: crosses(-quantile) })
}

/// How often a point of the first is above one of the second, a tie as half.
pub fn above(first: &[f64], second: &[f64]) -> f64 {
    let pairs = first.len() as f64 * second.len() as f64;
    ranks(first, second, 0.0).above / pairs
}

/// `None` where the whole is tied.
fn z(first: &[f64], second: &[f64], mu: f64) -> Option<f64> {
    let Ranks { above, ties } = ranks(first, second, mu);
    let (n, m) = (first.len() as f64, second.len() as f64);
    let (pairs, all) = (n * m, n + m);
    let off = above - pairs / 2.0;
    let sign = if off == 0.0 { 0.0 } else { off.signum() };
    let variance = pairs / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    (variance > 0.0).then(|| (off - sign / 2.0) / variance.sqrt())
}

struct Ranks {
    /// Pairs in which the first's is above, a tie as half: the rank sum less its least.
    above: f64,
    /// The sum of `t^3 - t` over ties.
    ties: f64,
}

/// Of the first moved down by `mu`, among the second.
fn ranks(first: &[f64], second: &[f64], mu: f64) -> Ranks {
    let (mut i, mut j) = (0, 0);
    let mut ranks = Ranks { above: 0.0, ties: 0.0 };
    loop {
        let heads = first.get(i).map(|value| value - mu).into_iter().chain(second.get(j).copied());
        let Some(value) = heads.reduce(f64::min) else { return ranks };
        let of_first = first[i..].iter().take_while(|other| **other - mu == value).count();
        let of_second = second[j..].iter().take_while(|other| **other == value).count();
        let tied = (of_first + of_second) as f64;
        if tied == 0.0 {
            // No number equals NaN, which finite samples do not lead to.
            return ranks;
        }
        ranks.above += of_first as f64 * (j as f64 + of_second as f64 / 2.0);
        ranks.ties += tied.powi(3) - tied;
        (i, j) = (i + of_first, j + of_second);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn over(places: std::ops::RangeInclusive<u32>, value: fn(u32) -> u32) -> Vec<f64> {
        sorted(places.map(|place| f64::from(value(place))))
    }

    /// Known values are of a program that looks at every pair's difference; at a jump to more than
    /// the tolerance, on a level to anywhere on it.
    #[track_caller]
    fn check(first: &[f64], second: &[f64], known: [std::ops::RangeInclusive<f64>; 3]) {
        let Shift { least, estimate, most } = shift(first, second).unwrap();
        let range = first[first.len() - 1] - second[0];
        let near = TOLERANCE.min(TOLERANCE_PART * range);
        for (is, known) in [least, estimate, most].into_iter().zip(known) {
            let held = (known.start() - near..=known.end() + near).contains(&is);
            assert!(held, "{is} is not in {known:?}");
        }
    }

    #[test]
    fn known_intervals() {
        let (tens, ones) = ([10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]);
        check(&tens, &ones, [6.0..=6.0, 19.0..=26.0, 39.0..=39.0]);
        // Where Brent's method stops on a level.
        assert!((shift(&tens, &ones).unwrap().estimate - 22.5).abs() < 1e-9);
        check(
            &over(1..=30, |i| i.pow(3) % 61),
            &over(1..=40, |i| i * i % 61),
            [-16.0..=-16.0, -5.0..=-5.0, 7.0..=7.0],
        );
        let (high, low) = (over(1..=40, |i| 100 + i * 7 % 13), over(1..=40, |i| 90 + i * 5 % 11));
        check(&high, &low, [9.0..=9.0, 11.0..=11.0, 13.0..=13.0]);
        // Kayenta's tolerance is more than all of this metric.
        let millionth = |values: &[f64]| values.iter().map(|v| v * 1e-6).collect::<Vec<_>>();
        let small = [9e-6..=9e-6, 11e-6..=11e-6, 13e-6..=13e-6];
        check(&millionth(&high), &millionth(&low), small);
        let rates = |counts: &[u32]| sorted(counts.iter().map(|&count| f64::from(count) / 60.0));
        check(
            &rates(&[0, 1, 2, 0, 1, 3, 0, 2, 1, 1]),
            &rates(&[0, 0, 1, 0, 0, 0, 1, 0, 0, 1]),
            [0.0..=0.0, 1.0 / 60.0..=1.0 / 60.0, 2.0 / 60.0..=2.0 / 60.0],
        );
    }

    #[test]
    fn known_statistics() {
        #[track_caller]
        fn check(first: &[f64], second: &[f64], known: f64, known_above: f64) {
            let is = z(first, second, 0.0).unwrap();
            assert!((is - known).abs() < 1e-12, "{is}");
            assert!((above(first, second) - known_above).abs() < 1e-12);
        }
        let (high, low) = (over(1..=40, |i| 100 + i * 7 % 13), over(1..=40, |i| 90 + i * 5 % 11));
        check(&high, &low, 7.643_793_698_541_101, 0.996_25);
        check(
            &over(1..=30, |i| i.pow(3) % 61),
            &over(1..=40, |i| i * i % 61),
            -0.961_798_112_429_317_7,
            0.432_083_333_333_333_3,
        );
        let ties = |one: f64, other: f64, counts: [usize; 2]| {
            sorted([vec![one; counts[0]], vec![other; counts[1]]].concat().into_iter())
        };
        check(
            &ties(1.0, 2.0, [8, 4]),
            &ties(1.0, 0.0, [10, 3]),
            2.586_452_944_206_79,
            0.743_589_743_589_743_5,
        );
    }

    #[test]
    fn what_says_nothing() {
        assert_eq!(shift(&[], &[1.0]), None);
        assert_eq!(shift(&[1.0], &[]), None);
        assert_eq!(shift(&[1.0], &[2.0]), None);
        assert_eq!(shift(&[1.0; 5], &[1.0; 3]), None);
    }

    proptest! {
        /// The interval holds the estimate, moves with the first sample, and turns round when the
        /// samples are exchanged.
        #[test]
        fn it_moves_with_the_samples(first in prop::collection::vec(-50_i32..50, 2..40),
            second in prop::collection::vec(-50_i32..50, 2..40), by in -100_i32..100) {
            let of = |values: &[i32], by| sorted(values.iter().map(|&v| f64::from(v + by)));
            let (a, b) = (of(&first, 0), of(&second, 0));
            if let Some(Shift { least, estimate, most }) = shift(&a, &b) {
                prop_assert!(least <= estimate + 1e-3 && estimate <= most + 1e-3);
                let moved = shift(&of(&first, by), &b).unwrap();
                prop_assert!((moved.least - least - f64::from(by)).abs() < 1e-3);
                prop_assert!((moved.most - most - f64::from(by)).abs() < 1e-3);
                let turned = shift(&b, &a).unwrap();
                prop_assert!((turned.least + most).abs() < 1e-3);
                prop_assert!((turned.most + least).abs() < 1e-3);
            }
        }

        /// Whatever finite numbers: an end that is a number.
        #[test]
        fn it_comes_to_an_end(first in prop::collection::vec(-1e150_f64..1e150, 1..20),
            second in prop::collection::vec(prop::num::f64::NORMAL, 1..20)) {
            let second = second.into_iter().filter(|value| value.abs() < 1e150);
            let (first, second) = (sorted(first.into_iter()), sorted(second));
            if let Some(Shift { least, estimate, most }) = shift(&first, &second) {
                prop_assert!(least.is_finite() && estimate.is_finite() && most.is_finite());
            }
        }
    }
}
