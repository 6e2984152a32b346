//! Answers of two shadows, compared field by field as the gateway does.

use fastrand::Rng;
use umbra_judge::family::{Shares, log_threshold};
use umbra_judge::paired::Paired;

/// Questions there can be at most, as the gateway has it.
const FIELDS_MAX: usize = 2_000;

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
