//! Requests that share a fate: sessions that stay with their arm, and clients that try again.

use fastrand::Rng;
use umbra_judge::arm::Arm;
use umbra_judge::settings::Settings;

use crate::ours::{ERRORS, Ours, settings};
use crate::traffic::{Answer, Route};

/// Sessions that are under way at a time.
const OPEN: usize = 40;
/// Requests of each.
const REQUESTS: u32 = 20;
/// Of which so many fail in a bad one, whichever arm it is with.
const FAILED: u32 = 10;
/// The part of sessions that is bad.
const BAD: f64 = 0.02;

struct Session {
    number: u64,
    /// The candidate's where this is below the weight.
    place: f64,
    bad: bool,
    asked: u32,
}

/// A harmless candidate and so many sessions over these weights: is it called worse? Either each
/// session counts, or each request for itself.
pub(crate) fn sticky(
    rng: &mut Rng,
    alpha: f64,
    by_session: bool,
    weights: &[f64],
    sessions: u64,
) -> bool {
    let settings = Settings { sticky: by_session, ..settings(alpha, ERRORS) };
    let mut ours = Ours::new(rng, settings, Route::calm(BAD, 0.5));
    let mut begun = 0;
    let mut begin = |rng: &mut Rng| {
        begun += 1;
        Session { number: begun, place: rng.f64(), bad: rng.f64() < BAD, asked: 0 }
    };
    let mut open: Vec<Session> = (0..OPEN).map(|_| begin(rng)).collect();
    let each = sessions * u64::from(REQUESTS) / weights.len() as u64;
    for weight in weights {
        ours.stage(*weight);
        for _ in 0..each {
            let session = &mut open[rng.usize(..OPEN)];
            session.asked += 1;
            let arm = if session.place < *weight { Arm::Candidate } else { Arm::Baseline };
            let failed = session.bad && session.asked <= FAILED;
            let answer = Answer { failed, latency_us: 100_000 };
            match by_session {
                true => ours.of_unit(session.number, arm, answer),
                false => ours.request(arm, answer),
            }
            if ours.trial.is_worse() {
                return true;
            }
            if session.asked == REQUESTS {
                *session = begin(rng);
            }
        }
    }
    false
}

/// A harmless candidate and clients that try again up to three times what failed, half of which
/// fails again; each try is assigned anew: is it called worse?
pub(crate) fn retries(rng: &mut Rng, alpha: f64, weights: &[f64], requests: u64) -> bool {
    let mut ours = Ours::new(rng, settings(alpha, ERRORS), Route::calm(BAD, 0.5));
    for weight in weights {
        ours.stage(*weight);
        for _ in 0..requests / weights.len() as u64 {
            let mut failed = rng.f64() < BAD;
            for _ in 0..=3 {
                let arm = ours.arm(rng);
                ours.request(arm, Answer { failed, latency_us: 100_000 });
                if !failed {
                    break;
                }
                failed = rng.bool();
            }
            if ours.trial.is_worse() {
                return true;
            }
        }
    }
    false
}
