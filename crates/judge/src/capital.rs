//! Bets that are made at the same moments, and what has become of their capital.
//!
//! A bet `k` has for each outcome a guess `r_k`: how many times as typical the outcome is of a
//! candidate that is worse. Once it is known which arm an outcome is of, which had the probability
//! `w` to be the candidate, the capital of each bet is multiplied by
//!
//! ```text
//! r_k^a / (1 + w (r_k - 1))     a = 1: the candidate's, 0: the baseline's
//! ```
//!
//! whose expectation is 1 where arm and outcome do not depend on each other. Where `r_k` never
//! falls as outcomes get worse it is at most 1 for every candidate whose outcomes are no worse.
//!
//! A part of the capital is kept in *reserve* and put on all bets anew from time to time: else
//! bets that were wrong for a million requests of a healthy stage would have to win back what they
//! lost before a candidate that goes bad in the next is found out. Moving capital between bets
//! changes nothing of what is expected of it.
//!
//! Capital is multiplied, not added up in logarithms: a multiplication takes a nanosecond, and the
//! same outcomes give the same bits on every machine.

use crate::arm::{Arm, Weight};

/// The part of the capital that is kept at the beginning, and the part of what is left that is
/// put on the bets each time.
pub(crate) const RESERVE: f64 = 0.05;
const MOVED: f64 = 0.5;

/// Above this everything is made smaller by the same factor, and the powers of two are counted.
const LARGE: f64 = f64::from_bits((1023 + 600) << 52);
const SMALLER: f64 = f64::from_bits((1023 - 600) << 52);
const POWERS: u32 = 600;
/// What is less than this is nothing: arithmetic with still less is slow.
const NOTHING: f64 = 1e-290;

/// The capital of `N` bets, which began as 1 together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Capital<const N: usize> {
    bets: [f64; N],
    prior: [f64; N],
    reserve: f64,
    total: f64,
    peak: f64,
    powers: u32,
}

impl<const N: usize> Capital<N> {
    /// On all of them alike.
    pub(crate) fn even() -> Self {
        Self::new([1.0 / N as f64; N])
    }

    /// With these parts, which are 1 together.
    pub(crate) fn new(prior: [f64; N]) -> Self {
        let bets = prior.map(|part| part * (1.0 - RESERVE));
        Self { bets, prior, reserve: RESERVE, total: 1.0, peak: 1.0, powers: 0 }
    }

    /// Half of what is in reserve goes on the bets.
    pub(crate) fn renew(&mut self) {
        let moved = self.reserve * MOVED;
        self.reserve -= moved;
        for (bet, part) in self.bets.iter_mut().zip(self.prior) {
            *bet += moved * part;
        }
        self.settle();
    }

    /// An outcome of `arm`, which had this probability to be the candidate's, for which the
    /// guesses are `1 + more`.
    pub(crate) fn play(&mut self, weight: Weight, arm: Arm, more: &[f64; N]) {
        let weight = weight.get();
        let candidate = f64::from(u8::from(arm == Arm::Candidate));
        self.multiply(more.map(|more| (1.0 + candidate * more) / (1.0 + weight * more)));
    }

    /// An outcome by which each bet becomes so many times what it was.
    pub(crate) fn multiply(&mut self, times: [f64; N]) {
        for (bet, times) in self.bets.iter_mut().zip(times) {
            let after = *bet * times;
            *bet = if after < NOTHING { 0.0 } else { after };
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.total = self.reserve + sum(&self.bets);
        if self.total > LARGE {
            self.bets.iter_mut().for_each(|bet| *bet *= SMALLER);
            for part in [&mut self.reserve, &mut self.total, &mut self.peak] {
                *part *= SMALLER;
            }
            self.powers += POWERS;
        }
        self.peak = self.peak.max(self.total);
    }

    /// The natural logarithm of the capital, which is the e-value.
    pub(crate) fn log_e(&self) -> f64 {
        self.log(self.total)
    }

    /// Of the most it ever was.
    pub(crate) fn log_peak(&self) -> f64 {
        self.log(self.peak)
    }

    /// Whether it ever was so many times what it was at first.
    pub(crate) fn reached(&self, times: f64) -> bool {
        self.powers > 0 || self.peak >= times
    }

    fn log(&self, capital: f64) -> f64 {
        libm::log(capital) + f64::from(self.powers) * std::f64::consts::LN_2
    }
}

/// In an order in which four additions go on at the same time; always the same one.
fn sum<const N: usize>(bets: &[f64; N]) -> f64 {
    let (fours, rest) = bets.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for four in fours {
        for (sum, bet) in sums.iter_mut().zip(four) {
            *sum += bet;
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ratio::{BETS, ratios};

    /// Beside the reserve it is what [`crate::ratio`] has in closed form.
    #[test]
    fn it_is_the_known_capital() {
        #[track_caller]
        fn check(candidate: u64, all: u64, weight: f64, known: f64) {
            let mut capital = Capital::<BETS>::even();
            let more = ratios().map(|ratio| ratio - 1.0);
            for n in 0..all {
                let arm = if n < candidate { Arm::Candidate } else { Arm::Baseline };
                capital.play(Weight::new(weight).unwrap(), arm, &more);
            }
            let is = capital.log_e().exp();
            let known = RESERVE + (1.0 - RESERVE) * known;
            assert!((is - known).abs() < 1e-6 * known.max(1.0), "{is} is not {known}");
        }
        check(0, 0, 0.5, 1.0);
        check(2, 2, 0.05, 122.541475);
        check(3, 3, 0.05, 1811.482579);
        check(5, 8, 0.1, 246.180637);
        check(10, 30, 0.1, 77.488782);
        check(0, 10, 0.1, 0.097957);
        check(15, 20, 0.5, 3.347461);
    }

    #[test]
    fn no_number_is_too_large_or_too_small() {
        let mut capital = Capital::<1>::even();
        for _ in 0..10_000 {
            capital.play(Weight::HALF, Arm::Candidate, &[7.0]);
        }
        let known = 10_000.0 * (8.0_f64 / 4.5).ln() + (1.0 - RESERVE).ln();
        assert!((capital.log_e() - known).abs() < 1e-6, "{}", capital.log_e());
        assert!(capital.reached(1e9) && capital.log_peak() >= capital.log_e());
        let mut capital = Capital::<1>::even();
        for _ in 0..10_000 {
            capital.play(Weight::HALF, Arm::Baseline, &[7.0]);
        }
        assert!((capital.log_e() - RESERVE.ln()).abs() < 1e-9, "{}", capital.log_e());
    }

    /// What a million healthy requests lost is not what a bad candidate has to win back.
    #[test]
    fn a_bad_candidate_is_found_after_a_long_healthy_time() {
        let more = ratios().map(|ratio| ratio - 1.0);
        let weight = Weight::new(0.1).unwrap();
        let mut capital = Capital::<BETS>::even();
        for n in 0..1_000_000 {
            let arm = if n % 10 == 0 { Arm::Candidate } else { Arm::Baseline };
            capital.play(weight, arm, &more);
        }
        capital.renew();
        let errors = (1..50).find(|_| {
            capital.play(weight, Arm::Candidate, &more);
            capital.reached(100.0)
        });
        assert_eq!(errors, Some(5));
    }

    proptest! {
        /// Nothing is gained on average where arm and outcome do not depend on each other, and
        /// nothing by putting capital on other bets.
        #[test]
        fn it_gains_nothing_by_chance(guesses in prop::array::uniform4(0.0_f64..50.0),
            weight in 0.001_f64..0.999, played in prop::collection::vec(any::<bool>(), 0..60)) {
            let more = guesses.map(|guess| guess - 1.0);
            let weight = Weight::new(weight).unwrap();
            let arm = |candidate| if candidate { Arm::Candidate } else { Arm::Baseline };
            let mut capital = Capital::<4>::even();
            for candidate in played {
                capital.play(weight, arm(candidate), &more);
            }
            let e = |capital: &Capital<4>| capital.log_e().exp();
            let after = |candidate| {
                let mut capital = capital.clone();
                capital.play(weight, arm(candidate), &more);
                e(&capital)
            };
            let mean = weight.get() * after(true) + (1.0 - weight.get()) * after(false);
            prop_assert!((mean / e(&capital) - 1.0).abs() < 1e-9);
            let mut renewed = capital.clone();
            renewed.renew();
            prop_assert!((e(&renewed) / e(&capital) - 1.0).abs() < 1e-12);
            prop_assert!(renewed.log_peak() >= capital.log_peak());
        }
    }
}
