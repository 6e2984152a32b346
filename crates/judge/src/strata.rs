//! Units and their errors by the probability with which each was given to the candidate.

use crate::arm::{Arm, Row, Tally, Weight};

/// Probabilities that are told apart: a rollout has a handful, and each pair of them one more
/// where sessions stay. What would be one too many is left out.
const STRATA_MAX: usize = 256;

/// Units that had the same probability.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stratum {
    pub(crate) weight: Weight,
    /// Baseline, candidate.
    pub(crate) units: [u64; 2],
    pub(crate) errors: [u64; 2],
}

/// All of them, in the order in which they came up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Strata(Vec<Stratum>);

/// Its place among two.
pub(crate) fn place(arm: Arm) -> usize {
    usize::from(arm == Arm::Candidate)
}

impl Strata {
    /// The place of this one, unless it is one too many.
    pub(crate) fn find(&mut self, weight: Weight) -> Option<usize> {
        let known = self.0.iter().position(|stratum| stratum.weight == weight);
        if known.is_none() && self.0.len() < STRATA_MAX {
            self.0.push(Stratum { weight, units: [0; 2], errors: [0; 2] });
            return Some(self.0.len() - 1);
        }
        known
    }

    pub(crate) fn at(&self, place: usize) -> &Stratum {
        &self.0[place]
    }

    pub(crate) fn unit(&mut self, stratum: usize, arm: Arm) {
        self.0[stratum].units[place(arm)] += 1;
    }

    pub(crate) fn error(&mut self, stratum: usize, arm: Arm) {
        self.0[stratum].errors[place(arm)] += 1;
    }

    /// Baseline, candidate.
    pub(crate) fn units(&self) -> [u64; 2] {
        self.sum(|stratum| stratum.units)
    }

    /// Baseline, candidate.
    pub(crate) fn errors(&self) -> [u64; 2] {
        self.sum(|stratum| stratum.errors)
    }

    fn sum(&self, of: impl Fn(&Stratum) -> [u64; 2]) -> [u64; 2] {
        self.0.iter().map(of).fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]])
    }

    /// Errors that the candidate would have if it failed as often as the baseline at the same
    /// probabilities. Where there was no baseline none are expected.
    pub(crate) fn expected(&self) -> f64 {
        let expected = |stratum: &Stratum| {
            let [units, of_candidate] = stratum.units.map(|count| count as f64);
            let errors = stratum.errors[0] as f64;
            if units > 0.0 { of_candidate * errors / units } else { 0.0 }
        };
        self.0.iter().map(expected).sum()
    }

    /// In how many more of its units the candidate fails than that; a part of 1.
    pub(crate) fn excess(&self) -> f64 {
        let units = self.units()[1].max(1) as f64;
        (self.errors()[1] as f64 - self.expected()) / units
    }

    /// By how much more likely these errors are if the candidate fails as many times as often as
    /// was seen than if it does so `tolerated` times: the logarithm, 0 where it does so less.
    pub(crate) fn likelihood(&self, tolerated: f64) -> f64 {
        let (seen, expected) = (self.errors()[1] as f64, self.expected());
        // With none of the baseline's nobody knows how much more often; half a one is fair.
        let ratio = seen / expected.max(0.5);
        if ratio <= tolerated {
            return 0.0;
        }
        let log = |stratum: &Stratum| {
            let [baseline, candidate] = stratum.errors.map(|count| count as f64);
            let cost = |ratio: f64| (stratum.weight.get() * (ratio - 1.0)).ln_1p();
            candidate * (ratio / tolerated).ln()
                - (baseline + candidate) * (cost(ratio) - cost(tolerated))
        };
        self.0.iter().map(log).sum::<f64>().max(0.0)
    }

    /// The errors, as [`crate::interval`] takes them.
    pub(crate) fn tally(&self) -> Tally {
        let row = |stratum: &Stratum| {
            let [baseline, candidate] = stratum.errors;
            Row { weight: stratum.weight, candidate, baseline }
        };
        self.0.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_another_stage_is_not_an_excess() {
        let mut strata = Strata::default();
        let mut add = |weight: f64, units: [u64; 2], errors: [u64; 2]| {
            let stratum = strata.find(Weight::new(weight).unwrap()).unwrap();
            for (arm, place) in [(Arm::Baseline, 0), (Arm::Candidate, 1)] {
                (0..units[place]).for_each(|_| strata.unit(stratum, arm));
                (0..errors[place]).for_each(|_| strata.error(stratum, arm));
            }
            strata.excess()
        };
        assert!((add(0.1, [900, 100], [9, 3]) - 0.02).abs() < 1e-12);
        // Everything fails for a while, half of it the candidate's.
        let excess = add(0.5, [100, 100], [100, 100]);
        assert!((excess - 0.01).abs() < 1e-12, "{excess}");
        assert_eq!(strata.units(), [1_000, 200]);
        assert_eq!(strata.tally().candidate(), 103);
    }

    #[test]
    fn there_are_not_too_many() {
        let mut strata = Strata::default();
        let weight = |n: usize| Weight::new((n + 1) as f64 / 1_000.0).unwrap();
        assert!((0..STRATA_MAX).all(|n| strata.find(weight(n)) == Some(n)));
        assert_eq!(strata.find(weight(STRATA_MAX)), None);
        assert_eq!(strata.find(weight(7)), Some(7));
    }
}
