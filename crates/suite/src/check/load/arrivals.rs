//! When users arrive and what they do, drawn from a seed.

use std::time::Duration;

use super::{Arrival, Journey};

/// A small generator (SplitMix64): any seed is good, and equal seeds give equal runs.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 (never reached) to 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// One user: when to arrive, and which journey to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arriving {
    pub(super) at: Duration,
    pub(super) journey: usize,
}

/// All users from 0 to `until`, in order of arrival; made one at a time.
#[derive(Debug)]
pub(super) struct Arrivals {
    random: Random,
    arrival: Arrival,
    rate: f64,
    until: Duration,
    weights: Vec<u64>,
    count: u64,
    last_s: f64,
}

impl Arrivals {
    pub(super) fn new(
        seed: u64,
        arrival: Arrival,
        rate: f64,
        until: Duration,
        scenario: &[Journey],
    ) -> Self {
        let weights = scenario.iter().map(|journey| u64::from(journey.weight)).collect();
        let random = Random::new(seed);
        Self { random, arrival, rate, until, weights, count: 0, last_s: 0.0 }
    }

    fn journey(&mut self) -> usize {
        let mut rest = self.random.below(self.weights.iter().sum());
        self.weights
            .iter()
            .position(|&weight| match rest.checked_sub(weight) {
                Some(less) => {
                    rest = less;
                    false
                }
                None => true,
            })
            .unwrap_or(0)
    }
}

impl Iterator for Arrivals {
    type Item = Arriving;

    fn next(&mut self) -> Option<Arriving> {
        let at_s = match self.arrival {
            Arrival::Constant => self.count as f64 / self.rate,
            Arrival::Poisson => self.last_s - self.random.unit().ln() / self.rate,
        };
        if at_s >= self.until.as_secs_f64() {
            return None;
        }
        (self.count, self.last_s) = (self.count + 1, at_s);
        Some(Arriving { at: Duration::from_secs_f64(at_s), journey: self.journey() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journeys(weights: &[u32]) -> Vec<Journey> {
        let journey = |&weight| Journey { name: String::new(), weight, steps: Vec::new() };
        weights.iter().map(journey).collect()
    }

    fn arrivals(arrival: Arrival, rate: f64, seconds: u64) -> Vec<Arriving> {
        let until = Duration::from_secs(seconds);
        Arrivals::new(7, arrival, rate, until, &journeys(&[1, 3])).collect()
    }

    #[test]
    fn constant_arrivals_are_equally_spaced() {
        let all = arrivals(Arrival::Constant, 100.0, 2);
        assert_eq!(all.len(), 200);
        assert_eq!(all[1].at, Duration::from_millis(10));
        assert_eq!(all[199].at, Duration::from_millis(1990));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let all = arrivals(Arrival::Poisson, 100.0, 100);
        // 10,000 expected; five standard deviations are 500.
        assert!((9_500..10_500).contains(&all.len()), "{}", all.len());
        assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let gaps = all.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64());
        let long = gaps.filter(|&gap| gap > 0.02).count() as f64 / all.len() as f64;
        // A gap beyond two means has probability exp(-2) = 0.135.
        assert!((0.115..0.155).contains(&long), "{long}");
    }

    #[test]
    fn journeys_are_chosen_by_weight_and_seeds_repeat() {
        let all = arrivals(Arrival::Constant, 1000.0, 10);
        let second = all.iter().filter(|arriving| arriving.journey == 1).count();
        // 7,500 expected of 10,000; five standard deviations are 217.
        assert!((7_283..7_717).contains(&second), "{second}");
        assert_eq!(all, arrivals(Arrival::Constant, 1000.0, 10));
    }
}
