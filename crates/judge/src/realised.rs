//! Does the candidate get the part of units that it is meant to get?
//!
//! Where it does not the split is broken, or one of the arms loses units before anything is known
//! of them, and no other evidence means what it says. The bets are on units as such: that the
//! candidate has `r` times as many as it should, for ratios on both sides of 1.
//!
//! Only units that are over are known, and of an arm that is slower a few more are still under way:
//! at the beginning of a stage that is all there is. So it is looked at by blocks, and the part has
//! to be off by some percent as well.

use crate::arm::{Arm, Weight};
use crate::logs::log_mean_exp;
use crate::strata::{Strata, place};

const RATIOS: [f64; 8] = [0.125, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0, 8.0];

/// Units of a block; what is left of one when a weight is declared is one as well.
const BLOCK: u64 = 8_192;

/// By how much the candidate's or the baseline's part has to be off; a part of the smaller.
const OFF_MIN: f64 = 0.2;

/// The e-process of "the split is not the one that is meant".
#[derive(Debug, Clone, Default)]
pub(crate) struct Realised {
    logs: [f64; RATIOS.len()],
    log_e: f64,
    log_peak: f64,
    /// By stratum, baseline and candidate: of the block that is not yet full.
    block: Vec<[u64; 2]>,
    in_block: u64,
    /// Units of whole blocks, and those of the candidate that were expected and that there were.
    units: u64,
    expected: f64,
    candidate: u64,
}

impl Realised {
    /// One more. Says whether a block is full.
    pub(crate) fn unit(&mut self, stratum: usize, arm: Arm, strata: &Strata) -> bool {
        if self.block.len() <= stratum {
            self.block.resize(stratum + 1, [0; 2]);
        }
        self.block[stratum][place(arm)] += 1;
        self.in_block += 1;
        let full = self.in_block >= BLOCK;
        if full {
            self.close(strata);
        }
        full
    }

    /// The block ends here.
    pub(crate) fn close(&mut self, strata: &Strata) {
        for (stratum, units) in std::mem::take(&mut self.block).into_iter().enumerate() {
            if units != [0; 2] {
                self.count(strata.at(stratum).weight, units);
            }
        }
        self.in_block = 0;
        self.log_e = log_mean_exp(&self.logs);
        self.log_peak = self.log_peak.max(self.log_e);
    }

    fn count(&mut self, weight: Weight, [baseline, candidate]: [u64; 2]) {
        let all = (baseline + candidate) as f64;
        for (log, ratio) in self.logs.iter_mut().zip(RATIOS) {
            let cost = libm::log1p(weight.get() * (ratio - 1.0));
            *log += candidate as f64 * libm::log(ratio) - all * cost;
        }
        self.units += baseline + candidate;
        self.candidate += candidate;
        self.expected += all * weight.get();
    }

    pub(crate) fn log_e(&self) -> f64 {
        self.log_e
    }

    pub(crate) fn log_peak(&self) -> f64 {
        self.log_peak
    }

    /// Whether it is off by enough to matter.
    pub(crate) fn is_off(&self) -> bool {
        let smaller = self.expected.min(self.units as f64 - self.expected);
        (self.candidate as f64 - self.expected).abs() >= OFF_MIN * smaller
    }

    pub(crate) fn evidence(&self) -> String {
        if self.units == 0 {
            return "nothing is judged yet: no block of units is whole".to_owned();
        }
        let percent = |units: f64| 100.0 * units / self.units as f64;
        let (is, meant) = (percent(self.candidate as f64), percent(self.expected));
        format!("{is:.2} % of {} units went to the candidate, {meant:.2} % were to", self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(weight: f64, realised: f64, units: u64) -> Realised {
        let (mut strata, mut is) = (Strata::default(), Realised::default());
        let stratum = strata.find(Weight::new(weight).unwrap()).unwrap();
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..units {
            let arm = if rng.f64() < realised { Arm::Candidate } else { Arm::Baseline };
            is.unit(stratum, arm, &strata);
        }
        is.close(&strata);
        is
    }

    #[test]
    fn a_broken_split_is_found() {
        #[track_caller]
        fn check(weight: f64, realised: f64, found: bool) {
            let is = after(weight, realised, 20_000);
            let limit = (1.0_f64 / (0.01 * 0.05)).ln();
            assert_eq!(is.log_peak() >= limit && is.is_off(), found, "{is:?}");
        }
        check(0.05, 0.0, true);
        check(0.05, 0.03, true);
        check(0.05, 0.1, true);
        check(0.5, 0.4, true);
        check(0.95, 1.0, true);
        check(0.05, 0.05, false);
        check(0.5, 0.5, false);
        // Plain, but of no use to anyone.
        check(0.5, 0.47, false);
    }

    #[test]
    fn what_it_rests_on_is_told() {
        assert_eq!(
            after(0.5, 1.0, 0).evidence(),
            "nothing is judged yet: no block of units is whole"
        );
        let told = after(0.25, 1.0, 100).evidence();
        assert_eq!(told, "100.00 % of 100 units went to the candidate, 25.00 % were to");
    }

    /// What the bets gain and lose is nothing on average.
    #[test]
    fn it_gains_nothing_by_chance() {
        for weight in [0.01, 0.3, 0.9] {
            for ratio in RATIOS {
                let norm = 1.0 + weight * (ratio - 1.0);
                let mean = weight * ratio / norm + (1.0 - weight) / norm;
                assert!((mean - 1.0_f64).abs() < 1e-12);
            }
        }
    }
}
