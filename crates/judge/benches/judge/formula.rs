//! The formulas of the method as they are published, each metric alone, with all of `alpha` and
//! nothing in reserve: what a judge of many metrics can come close to.

use fastrand::Rng;
use umbra_judge::arm::{Arm, Weight};
use umbra_judge::ratio::Ratio;

use crate::chance::{gap, normal};
use crate::traffic::Change;

const LIMIT: f64 = 100.0;

/// The candidate's requests until its errors are found at 1 %.
pub(crate) fn errors(
    rng: &mut Rng,
    rate: f64,
    times: f64,
    weight: f64,
    requests: u64,
) -> Option<u64> {
    let mut judge = Ratio::new(1.0)?;
    let bad = rate * (1.0 + weight * (times - 1.0));
    let of_candidate = weight * times / (1.0 + weight * (times - 1.0));
    let mut all = 0;
    while all < requests {
        all += gap(rng, bad);
        let arm = if rng.f64() < of_candidate { Arm::Candidate } else { Arm::Baseline };
        if judge.event(Weight::new(weight)?, arm) >= LIMIT.ln() {
            return Some((all as f64 * weight) as u64);
        }
    }
    None
}

const RANKS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
const TAILS: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
const TIMES: [f64; 4] = [1.5, 2.0, 4.0, 8.0];

/// The candidate's requests until its latency is found at 1 %, where the baseline is known.
pub(crate) fn latency(
    rng: &mut Rng,
    sigma: f64,
    change: Change,
    weight: f64,
    requests: u64,
) -> Option<u64> {
    let tails = TAILS.len() * TIMES.len();
    let mut ranks = RANKS.map(|_| 0.5 / RANKS.len() as f64);
    let mut beyond = TAILS.map(|_| TIMES.map(|_| 0.5 / tails as f64));
    let mut of_candidate = 0;
    for _ in 0..requests {
        let candidate = rng.f64() < weight;
        let mut latency = sigma * normal(rng);
        if candidate {
            of_candidate += 1;
            let slow = rng.f64() < change.slow;
            latency += change.latency.ln() + if slow { 10_f64.ln() } else { 0.0 };
        }
        let rank = 0.5 * libm::erfc(-latency / sigma / std::f64::consts::SQRT_2);
        let play =
            |guess: f64| (if candidate { guess } else { 1.0 }) / (1.0 + weight * (guess - 1.0));
        for (capital, part) in ranks.iter_mut().zip(RANKS) {
            *capital *= play(part * (part * rank).exp() / part.exp_m1());
        }
        for (capitals, tail) in beyond.iter_mut().zip(TAILS) {
            for (capital, times) in capitals.iter_mut().zip(TIMES) {
                let guess = if rank > tail { times } else { 1.0 };
                *capital *= play(guess / (1.0 + (times - 1.0) * (1.0 - tail)));
            }
        }
        let all = ranks.iter().sum::<f64>() + beyond.iter().flatten().sum::<f64>();
        if all >= LIMIT {
            return Some(of_candidate);
        }
    }
    None
}
