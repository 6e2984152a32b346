//! That the candidate does not fail much more often: the opposite null, which a promotion refutes.
//!
//! *Bad* is: at least so many times as often as the baseline, and in at least so many of its units.
//! Either is refuted by its own e-process, with a share of `beta`. The first one is the test of
//! [`crate::ratio`] the other way round: it needs errors, of the baseline at least. Where nothing
//! ever fails the second one needs only units. It is not asked where units are sessions, whose
//! errors are known later than they are counted.

use crate::arm::{Arm, Weight};
use crate::capital::Capital;
use crate::settings::Settings;

/// What is bet on: that it fails as often as it may, half as often, and something between that and
/// what is to be refuted.
const PARTS: [f64; 3] = [0.7, 0.1, 0.2];

/// The first null's share of `beta`; the whole where the second one is not asked.
const RATIO_SHARE: f64 = 0.75;

/// Rates that are bet on, as parts of the one that is to be refuted.
const RATES: [f64; 3] = [0.0, 0.1, 0.5];

/// The e-process of "it is bad".
#[derive(Debug, Clone)]
pub struct Proof {
    refuted: f64,
    more: [f64; PARTS.len()],
    ratio: Capital<{ PARTS.len() }>,
    rate: Option<Rate>,
}

/// Against "at least this part of all units fails".
#[derive(Debug, Clone)]
struct Rate {
    well: [f64; RATES.len()],
    failed: [f64; RATES.len()],
    capital: Capital<{ RATES.len() }>,
}

impl Proof {
    /// By the parts of `settings` that say what is bad.
    pub fn new(settings: &Settings) -> Self {
        let refuted = settings.worse_ratio;
        let fine = settings.tolerated_ratio.min(1.0);
        let between = (fine * refuted).sqrt();
        let more = [fine, fine / 2.0, between].map(|ratio| ratio / refuted - 1.0);
        let asked = !settings.sticky && settings.excess_min > 0.0;
        let rate = asked.then(|| Rate::new(settings.excess_min));
        Self { refuted, more, ratio: Capital::new(PARTS), rate }
    }

    /// An error, whose unit had this probability to be the candidate's.
    pub fn event(&mut self, weight: Weight, arm: Arm) {
        self.ratio.play(weight.of_bad(self.refuted), arm, &self.more);
    }

    /// A unit of the candidate is over.
    pub fn unit(&mut self, failed: bool) {
        if let Some(Rate { well, failed: bad, capital }) = &mut self.rate {
            capital.multiply(if failed { *bad } else { *well });
        }
    }

    /// The natural logarithm of the e-value: the stronger null's, by its share.
    pub fn log_e(&self) -> f64 {
        self.stronger(self.ratio.log_e(), |rate| rate.capital.log_e())
    }

    /// The most it ever was.
    pub fn log_peak(&self) -> f64 {
        self.stronger(self.ratio.log_peak(), |rate| rate.capital.log_peak())
    }

    fn stronger(&self, ratio: f64, of: impl Fn(&Rate) -> f64) -> f64 {
        self.rate.as_ref().map_or(ratio, |rate| {
            let rate = of(rate) + libm::log(1.0 - RATIO_SHARE);
            rate.max(ratio + libm::log(RATIO_SHARE))
        })
    }
}

impl Rate {
    fn new(refuted: f64) -> Self {
        Self {
            well: RATES.map(|part| (1.0 - part * refuted) / (1.0 - refuted)),
            failed: RATES,
            capital: Capital::even(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proof(settings: Settings) -> Proof {
        Proof::new(&settings)
    }

    #[test]
    fn where_nothing_fails_units_prove_it() {
        let mut proof = proof(Settings::default());
        let limit = 20_f64.ln();
        let units = (1..20_000).find(|_| {
            proof.unit(false);
            proof.log_peak() >= limit
        });
        // About log(20)/0.001, and what shares cost.
        assert!(units.is_some_and(|units| (3_000..5_500).contains(&units)), "{units:?}");
        proof.unit(true);
        assert!(proof.log_e() < limit && proof.log_peak() >= limit);
    }

    #[test]
    fn sessions_prove_nothing_by_their_number() {
        let mut proof = proof(Settings { sticky: true, ..Settings::default() });
        (0..10_000).for_each(|_| proof.unit(false));
        assert!(proof.log_peak() <= 0.0);
    }

    #[test]
    fn errors_prove_that_it_fails_no_more() {
        let mut proof = proof(Settings { excess_min: 0.0, ..Settings::default() });
        let errors = (1..1_000).find(|n| {
            let arm = if n % 2 == 0 { Arm::Candidate } else { Arm::Baseline };
            proof.event(Weight::HALF, arm);
            proof.log_peak() >= 20_f64.ln()
        });
        assert!(errors.is_some_and(|errors| (40..80).contains(&errors)), "{errors:?}");
    }

    proptest! {
        /// Where it is as bad as is to be refuted, or worse, nothing is gained on average.
        #[test]
        fn it_gains_nothing_by_chance(weight in 0.001_f64..0.999, worse in 1.0_f64..20.0,
            refuted in 1.1_f64..5.0, events in prop::collection::vec(any::<bool>(), 0..40)) {
            let arm = |candidate| if candidate { Arm::Candidate } else { Arm::Baseline };
            let settings = Settings { worse_ratio: refuted, excess_min: 0.01, ..Settings::default() };
            let mut proof = proof(settings);
            events.iter().for_each(|candidate| proof.event(Weight::HALF, arm(*candidate)));
            let weight = Weight::new(weight).unwrap();
            let e = |proof: &Proof| proof.ratio.log_e().exp();
            let after = |candidate| {
                let mut proof = proof.clone();
                proof.event(weight, arm(candidate));
                e(&proof)
            };
            let of_candidate = weight.of_bad(refuted * worse).get();
            let mean = of_candidate * after(true) + (1.0 - of_candidate) * after(false);
            prop_assert!(mean <= e(&proof) * (1.0 + 1e-9));
            let rate = Rate::new(0.01);
            let failing = 0.01 * worse.min(50.0);
            for (well, failed) in rate.well.iter().zip(rate.failed) {
                prop_assert!(failing * failed + (1.0 - failing) * well <= 1.0 + 1e-9);
            }
        }
    }
}
