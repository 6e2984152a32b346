//! The judge in worlds where the truth is known, in a short form that is the same every time;
//! `cargo xtask bench judge` has the long one.

mod world;

use fastrand::Rng;
use world::{Answers, LADDER, found, rollout};

const ALPHA: f64 = 0.05;

#[test]
fn a_rollout_that_changes_nothing_is_seldom_called_bad() {
    #[track_caller]
    fn check(weights: &[f64], alpha: f64) {
        let mut rng = Rng::with_seed(1);
        let runs: Vec<_> =
            (0..2_000).map(|_| rollout(&mut rng, weights, 400, 1.0, alpha)).collect();
        let (wrong, _) = found(&runs);
        assert!(wrong <= alpha, "{wrong} at {weights:?}");
    }
    for weights in [&[0.01][..], &[0.1], &[0.5], &LADDER] {
        check(weights, ALPHA);
        check(weights, 0.01);
    }
}

#[test]
fn a_bad_rollout_is_found_after_so_many_errors() {
    #[track_caller]
    fn check(ratio: f64, between: std::ops::RangeInclusive<u64>) {
        let mut rng = Rng::with_seed(2);
        let runs: Vec<_> =
            (0..200).map(|_| rollout(&mut rng, &[0.1], 4_000, ratio, 0.01)).collect();
        let (part, middle) = found(&runs);
        assert!(part > 0.9, "{ratio}: {part}");
        assert!(middle.is_some_and(|errors| between.contains(&errors)), "{ratio}: {middle:?}");
    }
    // About 33, 14, 7 to 8 and 4, whatever the rate of errors.
    check(2.0, 24..=46);
    check(3.0, 10..=19);
    check(5.0, 6..=10);
    check(10.0, 3..=5);
}

fn flags(answers: &Answers, runs: usize, pairs: u64) -> Vec<Option<world::Flagged>> {
    let mut rng = Rng::with_seed(3);
    (0..runs).map(|_| answers.compare(&mut rng, pairs, ALPHA)).collect()
}

#[test]
fn noise_is_seldom_flagged_in_any_field() {
    #[track_caller]
    fn check(bursts: bool) {
        let noise = [0.01, 0.05, 0.3, 1.0].repeat(5);
        let flags = flags(&Answers { noise, real: 0.0, bursts }, 200, 1_500);
        let wrong = flags.iter().flatten().count() as f64 / flags.len() as f64;
        assert!(wrong <= ALPHA, "{wrong}");
    }
    check(false);
    check(true);
}

#[test]
fn a_difference_is_found_after_so_many_pairs() {
    #[track_caller]
    fn check(own_noise: f64, real: f64, known: u64) {
        let mut noise = [0.01, 0.05].repeat(10);
        noise[0] = own_noise;
        let flags = flags(&Answers { noise, real, bursts: false }, 60, 20_000);
        let after: Vec<_> = flags.iter().map(|one| one.as_ref().map(|one| one.after)).collect();
        let (part, middle) = found(&after);
        assert!(part > 0.95, "{part}");
        let right = flags.iter().flatten().filter(|one| one.field == 0).count();
        assert!(right as f64 >= 0.95 * flags.len() as f64, "{right}");
        let near = known * 2 / 3..=known * 3 / 2;
        assert!(middle.is_some_and(|after| near.contains(&after)), "{middle:?}, known {known}");
    }
    check(0.0, 0.01, 1_000);
    check(0.05, 0.05, 867);
    check(0.3, 0.1, 1_539);
}
