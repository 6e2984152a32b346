//! How long a rollout takes to be judged again.

use std::time::Instant;

use fastrand::Rng;
use umbra_judge::arm::Arm;
use umbra_judge::journal::replay::replay;
use umbra_judge::journal::write::Writer;
use umbra_judge::outcome::{Kind, Outcome, Record};
use umbra_judge::settings::Settings;
use umbra_judge::trial::Trial;

use crate::ours::LADDER;

const OUTCOMES: u64 = 10_000_000;

/// Judges a journal of many outcomes again, from memory.
pub(crate) fn measure() {
    for (units, sticky) in [("requests", false), ("sessions", true)] {
        let bytes = journal(OUTCOMES, sticky);
        let began = Instant::now();
        let replayed = replay(&bytes).expect("a journal");
        let took = began.elapsed();
        assert_eq!((replayed.different, replayed.end.broken), (0, None));
        println!(
            "{OUTCOMES} outcomes by {units}, {} MB, judged again in {:.2} s, {:.0} ns each; {} decisions the same",
            bytes.len() >> 20,
            took.as_secs_f64(),
            took.as_secs_f64() * 1e9 / OUTCOMES as f64,
            replayed.decisions
        );
    }
}

/// Of a rollout of a candidate that changes nothing, in batches of some hundred, with a decision
/// in each.
fn journal(outcomes: u64, sticky: bool) -> Vec<u8> {
    let settings = Settings { sticky, ..Settings::default() };
    let (mut bytes, mut batch) = (Vec::new(), Vec::new());
    let mut writer = Writer::begin(&settings, &mut bytes);
    let mut trial = Trial::new(settings).expect("settings");
    let weights = [&[0.0][..], &LADDER].concat();
    let mut rng = Rng::with_seed(15);
    for n in 0..outcomes {
        let stage = (n * weights.len() as u64 / outcomes) as usize;
        if n == (outcomes * stage as u64).div_ceil(weights.len() as u64) {
            batch.push(Record::Stage { weight: weights[stage] });
        }
        // Sessions come and go, some 20,000 of them at the same time, with 20 requests each.
        let unit = n / 20 + rng.u64(0..20_000);
        // A session's place, as good as drawn.
        let place = if sticky { unit.wrapping_mul(0x9e37_79b9_7f4a_7c15) } else { rng.u64(..) };
        let candidate = place as f64 / u64::MAX as f64;
        let arm = if candidate < weights[stage] { Arm::Candidate } else { Arm::Baseline };
        let latency_us = (20_000.0 * (rng.f64() + rng.f64() + rng.f64()).exp()) as u32;
        let (failed, hung, kind) = (rng.f64() < 0.01, 0, Kind::Ended);
        let stage = stage as u16;
        batch.push(Record::Outcome(Outcome { unit, arm, stage, latency_us, failed, hung, kind }));
        if batch.len() >= 400 {
            batch.iter().for_each(|record| trial.on(record));
            batch.push(Record::Decision(trial.decision()));
            writer.batch(&batch, &mut bytes);
            batch.clear();
        }
    }
    bytes
}
