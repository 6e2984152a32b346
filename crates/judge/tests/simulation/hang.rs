//! A candidate that takes requests and never answers.

use fastrand::Rng;
use umbra_judge::arm::Arm;
use umbra_judge::outcome::{Kind, Outcome};

use crate::ours::Ours;
use crate::traffic::{Change, Route, Traffic};

/// A hundred requests begin every second.
const EVERY_US: u64 = 10_000;

/// When it was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// How many of its requests had been under way for longer than 99.9 % of production's take.
    pub(crate) requests: u64,
    /// How long after the first of them began.
    pub(crate) after_ms: u64,
    /// What 99.9 % of production's take no longer than.
    pub(crate) p999_ms: u64,
}

/// What is still to be told, and when.
struct Due {
    at_us: u64,
    outcome: Outcome,
}

/// A candidate that hangs from its first request on at this weight.
pub(crate) fn hang(rng: &mut Rng, ours: &Ours, route: Route, weight: f64) -> Option<Found> {
    let mut ours = ours.clone();
    let mut traffic = Traffic::new(rng, route, Change::NONE);
    ours.stage(weight);
    let thresholds = ours.trial.hang_thresholds_us(Arm::Candidate).to_vec();
    let p999_us = u64::from(*thresholds.last()?);
    let (mut due, mut began): (Vec<Due>, Vec<u64>) = (Vec::new(), Vec::new());
    for place in 0..100_000 {
        let now = place * EVERY_US;
        due.sort_by_key(|one| one.at_us);
        let ready = due.partition_point(|one| one.at_us <= now);
        for Due { at_us, outcome } in due.drain(..ready).collect::<Vec<_>>() {
            ours.outcome(outcome);
            if ours.trial.is_worse() {
                let passed = |began: &&u64| **began + p999_us <= at_us;
                let requests = began.iter().filter(passed).count() as u64;
                let after_ms = (at_us - began[0]) / 1_000;
                return Some(Found { requests, after_ms, p999_ms: p999_us / 1_000 });
            }
        }
        let arm = ours.arm(rng);
        let answer = traffic.answer(rng, arm);
        let hangs = arm == Arm::Candidate;
        let latency_us = if hangs { u32::MAX } else { answer.latency_us };
        let failed = answer.failed;
        let told =
            Outcome { unit: place, arm, stage: 0, latency_us, failed, hung: 0, kind: Kind::Ended };
        if hangs {
            began.push(now);
        }
        due.extend(tells(&thresholds, &told, now));
    }
    None
}

/// Everything a gateway tells of one request.
fn tells(thresholds: &[u32], whole: &Outcome, began: u64) -> Vec<Due> {
    let passed = thresholds.iter().filter(|threshold| **threshold < whole.latency_us);
    let mut tells: Vec<Due> = (0..)
        .zip(passed)
        .map(|(hung, &latency_us)| Due {
            at_us: began + u64::from(latency_us),
            outcome: Outcome { latency_us, failed: false, hung, kind: Kind::Hung, ..*whole },
        })
        .collect();
    let hung = tells.len() as u8;
    let at_us = began + u64::from(whole.latency_us);
    tells.push(Due { at_us, outcome: Outcome { hung, ..*whole } });
    tells
}
