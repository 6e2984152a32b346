//! Is the candidate bad more often, where each request is answered by both arms?
//!
//! A pair in which both are bad, or neither, says nothing. Of a *discordant* pair the candidate is
//! the bad one with probability 1/2 where it changes nothing, whatever the request: the two could
//! be exchanged. So this is [`crate::ratio`] at the weight 1/2 over discordant pairs, a sequential
//! form of McNemar's test.

use crate::arm::{Arm, Weight};
use crate::ratio::Ratio;

/// The e-process of one question about pairs.
#[derive(Debug, Clone)]
pub struct Paired(Ratio);

impl Default for Paired {
    fn default() -> Self {
        Self::new()
    }
}

impl Paired {
    /// Against "the candidate is bad no more often".
    pub fn new() -> Self {
        match Ratio::new(1.0) {
            Some(ratio) => Self(ratio),
            None => unreachable!("1 is a positive number"),
        }
    }

    /// One pair: whether each arm's answer is bad.
    pub fn pair(&mut self, candidate: bool, baseline: bool) {
        match (candidate, baseline) {
            (true, false) => self.0.event(Weight::HALF, Arm::Candidate),
            (false, true) => self.0.event(Weight::HALF, Arm::Baseline),
            (true, true) | (false, false) => return,
        };
    }

    /// Its e-process, over discordant pairs.
    pub fn ratio(&self) -> &Ratio {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_discordant_pairs_count() {
        let mut paired = Paired::new();
        for (candidate, baseline, times) in
            [(true, true, 500), (false, false, 500), (false, true, 5), (true, false, 15)]
        {
            (0..times).for_each(|_| paired.pair(candidate, baseline));
        }
        assert!((paired.ratio().log_e().exp() - 3.347461).abs() < 1e-6);
        assert_eq!(paired.ratio().tally().candidate(), 15);
    }
}
