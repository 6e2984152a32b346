//! How often the judge is wrong and how soon it is right, in many more runs than the tests make.

mod replay;
#[path = "../../tests/simulation/world.rs"]
mod world;

use std::time::Instant;

use fastrand::Rng;
use umbra_judge::arm::{Arm, Weight};
use umbra_judge::ratio::Ratio;
use world::{Answers, LADDER, found, rollout};

const RUNS: usize = 4_000;

fn main() {
    replay::measure();
    false_alarms_of_rollouts();
    errors_until_found();
    false_alarms_of_comparisons();
    pairs_until_found();
    cost();
}

fn false_alarms_of_rollouts() {
    println!("called bad though nothing changed, 2,000 errors, a look after each, {RUNS} runs");
    for alpha in [0.05, 0.01] {
        for weights in [&[0.01][..], &[0.1], &[0.5], &LADDER] {
            let mut rng = Rng::with_seed(11);
            let runs = (0..RUNS).map(|_| rollout(&mut rng, weights, 2_000, 1.0, alpha));
            let (wrong, _) = found(&runs.collect::<Vec<_>>());
            println!(
                "  at most {:>3.0} %: {:>5.2} %  weights {weights:?}",
                100.0 * alpha,
                100.0 * wrong
            );
        }
    }
}

fn errors_until_found() {
    println!("errors of the candidate until it is found out at 1 %, median, {RUNS} runs");
    for ratio in [2.0, 3.0, 5.0, 10.0, 50.0] {
        let middles = [0.01, 0.05, 0.1, 0.5].map(|weight| {
            let mut rng = Rng::with_seed(12);
            let runs = (0..RUNS).map(|_| rollout(&mut rng, &[weight], 20_000, ratio, 0.01));
            found(&runs.collect::<Vec<_>>()).1.unwrap_or_default()
        });
        println!("  {ratio:>2} times as bad: {middles:?} at weights 0.01, 0.05, 0.1, 0.5");
    }
}

fn false_alarms_of_comparisons() {
    println!(
        "any of 20 fields flagged though only noise differs, 5,000 pairs, at most 5 %, 1,000 runs"
    );
    for (name, noise) in [
        ("1 and 5 %", [0.01, 0.05].repeat(10)),
        ("0.1 to 100 %", [0.001, 0.05, 0.3, 1.0].repeat(5)),
    ] {
        for bursts in [false, true] {
            let answers = Answers { noise: noise.clone(), real: 0.0, bursts };
            let mut rng = Rng::with_seed(13);
            let wrong =
                (0..1_000).filter(|_| answers.compare(&mut rng, 5_000, 0.05).is_some()).count();
            println!("  {:>5.2} %  noise {name}, bursts: {bursts}", wrong as f64 / 10.0);
        }
    }
}

fn pairs_until_found() {
    println!("pairs until a field of 20 is flagged at 5 % over all, median (p90), 300 runs");
    for (own_noise, real) in [(0.0, 0.01), (0.0, 0.001), (0.05, 0.05), (0.3, 0.1)] {
        let mut noise = [0.01, 0.05].repeat(10);
        noise[0] = own_noise;
        let answers = Answers { noise, real, bursts: false };
        let mut rng = Rng::with_seed(14);
        let mut after: Vec<u64> = (0..300)
            .filter_map(|_| answers.compare(&mut rng, 60_000, 0.05))
            .filter(|flagged| flagged.field == 0)
            .map(|flagged| flagged.after)
            .collect();
        after.sort_unstable();
        let at = |part: usize| after.get(after.len() * part / 10).copied().unwrap_or_default();
        println!(
            "  {:>5} ({})  differs in {} %, noise {} %, found {} of 300",
            at(5),
            at(9),
            100.0 * real,
            100.0 * own_noise,
            after.len()
        );
    }
}

fn cost() {
    let mut judge = Ratio::new(1.0).expect("a ratio");
    let events = 2_000_000_u32;
    let began = Instant::now();
    for n in 0..events {
        let arm = if n % 2 == 0 { Arm::Candidate } else { Arm::Baseline };
        std::hint::black_box(judge.event(Weight::HALF, arm));
    }
    println!("one event: {} ns", (began.elapsed() / events).as_nanos());
}
