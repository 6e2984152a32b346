//! Does the candidate fail more often than it may? The bets of [`crate::ratio`], as a rollout has
//! them: with a reserve, and at whatever weights.

use crate::arm::{Arm, Weight};
use crate::capital::Capital;
use crate::ratio::{BETS, ratios};

/// The e-process of "it fails more often than is tolerated".
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    tolerated: f64,
    more: [f64; BETS],
    capital: Capital<BETS>,
}

impl Errors {
    /// With the ratio that is tolerated, a positive number.
    pub fn new(tolerated: f64) -> Self {
        // A bet on what is tolerated is not made. None ever pays for the baseline's errors: else
        // the bound would not hold for all candidates that are better.
        let more = ratios().map(|ratio| (ratio / tolerated - 1.0).max(0.0));
        Self { tolerated, more, capital: Capital::even() }
    }

    /// An error of `arm`, whose unit had this probability to be the candidate's.
    pub fn event(&mut self, weight: Weight, arm: Arm) {
        self.capital.play(weight.of_bad(self.tolerated), arm, &self.more);
    }

    /// What is in reserve is bet too, in part: something changed.
    pub fn renew(&mut self) {
        self.capital.renew();
    }

    /// The natural logarithm of the e-value.
    pub fn log_e(&self) -> f64 {
        self.capital.log_e()
    }

    /// The most it ever was.
    pub fn log_peak(&self) -> f64 {
        self.capital.log_peak()
    }

    /// Whether it ever was that much.
    pub fn reached(&self, e: f64) -> bool {
        self.capital.reached(e)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arm::Tally;
    use crate::capital::RESERVE;
    use crate::ratio::log_e;

    const WEIGHTS: [f64; 4] = [0.01, 0.1, 0.5, 0.9];

    proptest! {
        /// It is the mixture in closed form, but for the reserve, whatever the order.
        #[test]
        fn it_is_the_ratio_s_e_process(tolerated in prop::sample::select(vec![1.0, 1.1, 2.0]),
            events in prop::collection::vec((0_usize..4, any::<bool>()), 0..120)) {
            let (mut errors, mut tally) = (Errors::new(tolerated), Tally::default());
            for (place, candidate) in events {
                let weight = Weight::new(WEIGHTS[place]).unwrap();
                let arm = if candidate { Arm::Candidate } else { Arm::Baseline };
                errors.event(weight, arm);
                tally.add(weight, arm);
            }
            let known = RESERVE + (1.0 - RESERVE) * log_e(&tally, tolerated).unwrap().exp();
            prop_assert!((errors.log_e() - known.ln()).abs() < 1e-6);
            prop_assert!(errors.log_peak() >= errors.log_e());
        }

        /// One more error gains nothing on average where the candidate fails as often as it may,
        /// and loses where it fails less.
        #[test]
        fn it_gains_nothing_by_chance(weight in 0.001_f64..0.999, better in 0.1_f64..=1.0,
            tolerated in prop::sample::select(vec![0.5, 1.0, 1.1, 2.0]),
            events in prop::collection::vec((0_usize..4, any::<bool>()), 0..40)) {
            let arm = |candidate| if candidate { Arm::Candidate } else { Arm::Baseline };
            let mut errors = Errors::new(tolerated);
            for (place, candidate) in events {
                errors.event(Weight::new(WEIGHTS[place]).unwrap(), arm(candidate));
            }
            let weight = Weight::new(weight).unwrap();
            let after = |candidate| {
                let mut errors = errors.clone();
                errors.event(weight, arm(candidate));
                errors.log_e().exp()
            };
            let now = errors.log_e().exp();
            let of_candidate = weight.of_bad(tolerated * better).get();
            let mean = of_candidate * after(true) + (1.0 - of_candidate) * after(false);
            prop_assert!(mean <= now * (1.0 + 1e-9), "{mean} {now}");
        }
    }
}
