//! Kayenta's judge where nothing differs, and where something does.

use fastrand::Rng;

use crate::chance::{Autoregressive, successes};
use crate::rivals::{End, Kayenta};

/// One metric of 60 points whose neighbours hang together by `phi`, nothing differs: is it found
/// to differ?
pub(crate) fn one_metric(rng: &mut Rng, phi: f64) -> bool {
    healthy(rng, phi, Kayenta::new(1, 0, 60))
}

/// Eight metrics, a window that grows to an hour and is judged every five minutes: does it fail?
pub(crate) fn an_hour(rng: &mut Rng, phi: f64, critical: usize) -> bool {
    healthy(rng, phi, Kayenta::new(8, critical, 5))
}

fn healthy(rng: &mut Rng, phi: f64, mut judge: Kayenta) -> bool {
    let mut arms: Vec<[Autoregressive; 2]> = (0..judge.metrics())
        .map(|_| [Autoregressive::new(rng, phi), Autoregressive::new(rng, phi)])
        .collect();
    loop {
        let mut next = |one: &mut Autoregressive| 100.0 + 10.0 * one.next(rng);
        let points: Vec<[f64; 2]> =
            arms.iter_mut().map(|[one, other]| [next(one), next(other)]).collect();
        if let Some(end) = judge.points(points.into_iter()) {
            return end == End::RolledBack;
        }
    }
}

/// One metric, the rate of errors in each of 60 minutes of 60 requests of each arm: is the
/// candidate's found to be higher?
pub(crate) fn finds_errors(rng: &mut Rng, rates: [f64; 2]) -> bool {
    let mut judge = Kayenta::new(1, 0, 60);
    loop {
        let point = rates.map(|rate| successes(rng, 60, rate) as f64 / 60.0);
        if let Some(end) = judge.points([point].into_iter()) {
            return end == End::RolledBack;
        }
    }
}
