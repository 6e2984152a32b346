//! Worlds in which the truth is known: how often the judge is wrong, and how soon it is right.

use fastrand::Rng;
use umbra_judge::arm::{Arm, Weight};
use umbra_judge::family::{Shares, log_threshold};
use umbra_judge::paired::Paired;
use umbra_judge::ratio::Ratio;

/// Questions there can be at most, as the gateway has it.
const FIELDS_MAX: usize = 2_000;

/// Weights of a rollout, one after another.
pub(crate) const LADDER: [f64; 5] = [0.01, 0.05, 0.1, 0.25, 0.5];

/// Errors of a rollout whose candidate is `ratio` times as bad: how many of the candidate's it
/// took until it was found out, of at most `events` of both, looked at after each.
pub(crate) fn rollout(
    rng: &mut Rng,
    weights: &[f64],
    events: u64,
    ratio: f64,
    alpha: f64,
) -> Option<u64> {
    let mut judge = Ratio::new(1.0).expect("a ratio");
    for n in 0..events {
        let weight = weights[(n * weights.len() as u64 / events) as usize];
        let of_candidate = weight * ratio / (1.0 + weight * (ratio - 1.0));
        let arm = if rng.f64() < of_candidate { Arm::Candidate } else { Arm::Baseline };
        let log_e = judge.event(Weight::new(weight).expect("a weight"), arm);
        if log_e >= -alpha.ln() {
            return Some(judge.tally().candidate());
        }
    }
    None
}

/// Answers whose fields differ from production's by chance in both shadows, and one of which may
/// differ in the candidate.
pub(crate) struct Answers {
    /// How often each field differs by chance.
    pub(crate) noise: Vec<f64>,
    /// How often the first differs in the candidate's, besides.
    pub(crate) real: f64,
    /// Whether chance comes in bursts that all fields and both shadows share.
    pub(crate) bursts: bool,
}

/// What was flagged first, and after how many pairs.
pub(crate) struct Flagged {
    pub(crate) field: usize,
    pub(crate) after: u64,
}

impl Answers {
    /// Compares as the gateway does: shares as fields begin to differ, a look after every pair.
    pub(crate) fn compare(&self, rng: &mut Rng, pairs_max: u64, alpha: f64) -> Option<Flagged> {
        let mut shares = Shares::new(FIELDS_MAX);
        let mut fields: Vec<Option<(Paired, f64)>> = vec![None; self.noise.len()];
        let mut burst = false;
        for after in 1..=pairs_max {
            if self.bursts && rng.f64() < 0.02 {
                burst = !burst;
            }
            let pairs: Vec<(bool, bool)> = (self.noise.iter().enumerate())
                .map(|(place, noise)| {
                    let noise = if burst { noise.mul_add(0.5, 0.5) } else { *noise };
                    let real = place == 0 && rng.f64() < self.real;
                    (rng.f64() < noise || real, rng.f64() < noise)
                })
                .collect();
            let new = |(place, pair): &(usize, &(bool, bool))| {
                fields[*place].is_none() && (pair.0 || pair.1)
            };
            let batch: Vec<usize> =
                pairs.iter().enumerate().filter(new).map(|(place, _)| place).collect();
            if !batch.is_empty() {
                let share = shares.batch(batch.len());
                batch.iter().for_each(|&place| fields[place] = Some((Paired::new(), share)));
            }
            for (place, (field, pair)) in fields.iter_mut().zip(&pairs).enumerate() {
                let Some((paired, share)) = field else { continue };
                paired.pair(pair.0, pair.1);
                if paired.ratio().peak() >= log_threshold(*share, alpha) {
                    return Some(Flagged { field: place, after });
                }
            }
        }
        None
    }
}

/// The part of runs in which something was found, and the median of when.
pub(crate) fn found<T: Ord + Copy>(runs: &[Option<T>]) -> (f64, Option<T>) {
    let mut when: Vec<T> = runs.iter().copied().flatten().collect();
    when.sort_unstable();
    (when.len() as f64 / runs.len() as f64, when.get(when.len() / 2).copied())
}
