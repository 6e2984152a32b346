//! Is the candidate bad more often than it may be?
//!
//! Only bad outcomes count: one that is of the candidate, which has weight `w`, multiplies the
//! capital of the bet on the ratio `rho_k` by
//!
//! ```text
//! (rho_k/rho0)^a (1 + w (rho0 - 1)) / (1 + w (rho_k - 1))     a = 1: the candidate's, 0: the baseline's
//! ```
//!
//! with `rho0` the ratio that is tolerated. Where the candidate's bad outcomes are `rho` times as
//! likely as the baseline's, and `rho <= rho0`, its expectation is at most 1: the bet loses. The
//! capital is the mean over 24 ratios from 1.25 to 200; a bet on a ratio that is tolerated is not
//! made, its part stays as it is. This is the likelihood ratio test of a multinomial conditional on
//! the number of bad outcomes (Lindon & Malek, NeurIPS 2022, arXiv 2011.03567) with a mixture over
//! a grid, and bets on the assignment only (Podkopaev & Ramdas, NeurIPS 2023).

use crate::arm::{Arm, Tally, Weight};
use crate::logs::log_mean_exp;

/// How many ratios are bet on.
pub const BETS: usize = 24;

/// The ratios that are bet on, growing by the same factor from 1.25 to 200.
pub fn ratios() -> [f64; BETS] {
    std::array::from_fn(|k| 1.25 * libm::pow(160.0, k as f64 / (BETS - 1) as f64))
}

/// The e-process of one question: its state is the tally, an event costs 24 additions.
#[derive(Debug, Clone)]
pub struct Ratio {
    tally: Tally,
    bets: Bets,
    peak: f64,
}

impl Ratio {
    /// With the ratio that is tolerated: 1 where the candidate may not be worse at all. `None`
    /// where it is no positive number.
    pub fn new(tolerated: f64) -> Option<Self> {
        let bets = Bets::on(tolerated, ratios())?;
        Some(Self { tally: Tally::default(), bets, peak: 0.0 })
    }

    /// A bad outcome of `arm`, whose unit was assigned when the candidate had this weight.
    /// Returns the logarithm of the e-value.
    pub fn event(&mut self, weight: Weight, arm: Arm) -> f64 {
        let place = self.tally.add(weight, arm);
        self.bets.know(place, weight);
        let now = self.log_e();
        self.peak = self.peak.max(now);
        now
    }

    /// The natural logarithm of the e-value as it is.
    pub fn log_e(&self) -> f64 {
        self.bets.log_e(&self.tally)
    }

    /// The most it ever was, 0 at the beginning. What reached a threshold once has reached it.
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// The anytime-valid p-value.
    pub fn p_value(&self) -> f64 {
        (-self.peak).exp().min(1.0)
    }

    /// What it rests on.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// The logarithm of the e-value of these outcomes against "at most `tolerated` times as often";
/// `None` where that is no positive number.
pub fn log_e(tally: &Tally, tolerated: f64) -> Option<f64> {
    log_e_on(tally, tolerated, ratios())
}

/// The same with bets on other ratios.
pub(crate) fn log_e_on(tally: &Tally, tolerated: f64, ratios: [f64; BETS]) -> Option<f64> {
    let mut bets = Bets::on(tolerated, ratios)?;
    for (place, row) in tally.rows().iter().enumerate() {
        bets.know(place, row.weight);
    }
    Some(bets.log_e(tally))
}

/// What each bet gains by an outcome of the candidate, and loses by any, in logarithms.
#[derive(Debug, Clone)]
struct Bets {
    tolerated: f64,
    ratios: [f64; BETS],
    gains: [f64; BETS],
    /// By the tally's rows.
    costs: Vec<[f64; BETS]>,
}

impl Bets {
    fn on(tolerated: f64, ratios: [f64; BETS]) -> Option<Self> {
        let known = tolerated > 0.0 && tolerated.is_finite();
        // Never below 0, and growing with the outcome's badness: else the bound would not hold
        // for all smaller ratios.
        let gains = ratios.map(|ratio| (ratio / tolerated).ln().max(0.0));
        known.then_some(Self { tolerated, ratios, gains, costs: Vec::new() })
    }

    fn know(&mut self, place: usize, weight: Weight) {
        if place < self.costs.len() {
            return;
        }
        let log = |ratio: f64| (weight.get() * (ratio - 1.0)).ln_1p();
        let tolerated = self.tolerated;
        self.costs.push(self.ratios.map(|ratio| (log(ratio) - log(tolerated)).max(0.0)));
    }

    fn log_e(&self, tally: &Tally) -> f64 {
        let mut logs = self.gains.map(|gain| gain * tally.candidate() as f64);
        for (row, costs) in tally.rows().iter().zip(&self.costs) {
            for (log, cost) in logs.iter_mut().zip(costs) {
                *log -= cost * row.all() as f64;
            }
        }
        log_mean_exp(&logs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weight(probability: f64) -> Weight {
        Weight::new(probability).unwrap()
    }

    fn tally(rows: &[(f64, u64, u64)]) -> Tally {
        let mut tally = Tally::default();
        for &(probability, candidate, baseline) in rows {
            for (arm, count) in [(Arm::Candidate, candidate), (Arm::Baseline, baseline)] {
                for _ in 0..count {
                    tally.add(weight(probability), arm);
                }
            }
        }
        tally
    }

    fn e(rows: &[(f64, u64, u64)]) -> f64 {
        log_e(&tally(rows), 1.0).unwrap().exp()
    }

    /// Computed elsewhere by the same formula.
    #[test]
    fn the_e_value_is_the_known_one() {
        #[track_caller]
        fn check(candidate: u64, all: u64, weight: f64, known: f64) {
            let is = e(&[(weight, candidate, all - candidate)]);
            assert!((is - known).abs() < 1e-6 * known.max(1.0), "{is} is not {known}");
        }
        check(2, 2, 0.05, 122.541475);
        check(3, 3, 0.05, 1811.482579);
        check(5, 8, 0.1, 246.180637);
        check(10, 30, 0.1, 77.488782);
        check(0, 10, 0.1, 0.097957);
        check(15, 20, 0.5, 3.347461);
    }

    #[test]
    fn so_many_errors_in_a_row_are_enough() {
        #[track_caller]
        fn check(probability: f64, errors: u64) {
            assert!(e(&[(probability, errors, 0)]) >= 100.0, "{errors} at {probability}");
            assert!(e(&[(probability, errors - 1, 0)]) < 100.0, "{} at {probability}", errors - 1);
        }
        check(0.05, 2);
        check(0.1, 3);
        check(0.5, 8);
    }

    #[test]
    fn no_outcome_no_evidence() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Ratio::new(bad).is_none(), "{bad}");
        }
        let fresh = Ratio::new(1.1).unwrap();
        assert!(fresh.log_e().abs() < 1e-12 && fresh.p_value() == 1.0);
    }

    const WEIGHTS: [f64; 4] = [0.01, 0.1, 0.5, 0.9];

    fn rows() -> impl Strategy<Value = Vec<(f64, u64, u64)>> {
        let row = (prop::sample::select(&WEIGHTS[..]), 0_u64..40, 0_u64..40);
        prop::collection::vec(row, 0..5)
    }

    proptest! {
        /// An outcome moved from the baseline to the candidate never lessens the evidence.
        #[test]
        fn it_grows_with_badness(mut rows in rows(), tolerated in 0.5_f64..3.0) {
            let before = log_e(&tally(&rows), tolerated).unwrap();
            if let Some((_, candidate, baseline)) = rows.iter_mut().find(|row| row.2 > 0) {
                (*candidate, *baseline) = (*candidate + 1, *baseline - 1);
            }
            prop_assert!(log_e(&tally(&rows), tolerated).unwrap() >= before - 1e-9);
        }

        /// One more outcome is worth nothing on average where the candidate is as bad as it may
        /// be, and less where it is better.
        #[test]
        fn it_gains_nothing_by_chance(rows in rows(), probability in 0.001_f64..0.999,
            tolerated in prop::sample::select(vec![1.0, 1.1, 2.0]), better in 0.1_f64..=1.0) {
            let now = log_e(&tally(&rows), tolerated).unwrap();
            let after = |arm| {
                let mut tally = tally(&rows);
                tally.add(weight(probability), arm);
                (log_e(&tally, tolerated).unwrap() - now).exp()
            };
            let mean = |ratio: f64| {
                let of_candidate = probability * ratio / (1.0 + probability * (ratio - 1.0));
                of_candidate * after(Arm::Candidate) + (1.0 - of_candidate) * after(Arm::Baseline)
            };
            prop_assert!(mean(tolerated) <= 1.0 + 1e-9, "{}", mean(tolerated));
            prop_assert!(mean(tolerated * better) <= 1.0 + 1e-9);
            if tolerated <= 1.1 {
                prop_assert!((mean(tolerated) - 1.0).abs() < 1e-9);
            }
        }

        /// As it goes on it says what its tally says, whatever the order; its peak never sinks.
        #[test]
        fn order_does_not_matter(events in prop::collection::vec((0_usize..4, any::<bool>()), 0..200)) {
            let run = |events: &[(usize, bool)]| {
                let mut ratio = Ratio::new(1.0).unwrap();
                for &(place, candidate) in events {
                    let arm = if candidate { Arm::Candidate } else { Arm::Baseline };
                    let (before, now) = (ratio.peak(), ratio.event(weight(WEIGHTS[place]), arm));
                    assert!(ratio.peak() >= before.max(now));
                }
                ratio
            };
            let (there, back) = (run(&events), run(&events.iter().rev().copied().collect::<Vec<_>>()));
            prop_assert!((there.log_e() - back.log_e()).abs() < 1e-6);
            prop_assert!((there.log_e() - log_e(there.tally(), 1.0).unwrap()).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&there.p_value()));
        }

        /// It is a mean of bets: between the least and the most of them.
        #[test]
        fn it_is_a_mixture(rows in rows()) {
            let tally = tally(&rows);
            let of = |ratio: f64| {
                let gain = tally.candidate() as f64 * ratio.ln();
                let cost = |row: &crate::arm::Row| row.all() as f64 * (row.weight.get() * (ratio - 1.0)).ln_1p();
                gain - tally.rows().iter().map(cost).sum::<f64>()
            };
            let bets = ratios().map(of);
            let mean = bets.iter().map(|log| log.exp()).sum::<f64>() / BETS as f64;
            let is = log_e(&tally, 1.0).unwrap();
            prop_assert!((is - mean.ln()).abs() < 1e-6 || !mean.ln().is_finite());
        }
    }
}
