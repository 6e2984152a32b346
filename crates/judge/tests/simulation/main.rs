//! The judge, and the rules of others, in worlds where the truth is known, in a short form that is
//! the same every time; `cargo xtask bench judge` has the long one.

mod beside;
mod chance;
mod classic;
mod fields;
mod hang;
mod ours;
mod rivals;
mod runs;
mod sessions;
mod traffic;

use std::ops::RangeInclusive;

use fastrand::Rng;
use umbra_judge::settings::{Metrics, Settings};

use beside::{ROUTE, RULES, beside};
use fields::Answers;
use ours::{ERRORS, LADDER, LATENCY, Ours, errors, rollout, settings};
use rivals::{Argo, End, Flagger, Rule, ends};
use runs::{Found, part, runs};
use traffic::{Change, Route};

const ALPHA: f64 = 0.05;

/// Where no more than `alpha` are wrong so many of `runs` are hardly ever exceeded.
#[track_caller]
fn at_most(wrong: f64, alpha: f64, runs: usize) {
    let spread = (alpha * (1.0 - alpha) / runs as f64).sqrt();
    assert!(wrong <= alpha + 2.0 * spread, "{wrong} of {runs} runs at {alpha}");
}

#[test]
fn errors_by_chance_are_seldom_called_worse() {
    #[track_caller]
    fn check(weights: &[f64]) {
        for alpha in [ALPHA, 0.01] {
            let wrong = |rng: &mut Rng| errors(rng, alpha, weights, 400, 1.0).is_some();
            at_most(part(1, 2_000, wrong), alpha, 2_000);
        }
    }
    for weights in [&[0.01][..], &[0.1], &[0.5], &LADDER] {
        check(weights);
    }
}

#[test]
fn a_harmless_rollout_is_seldom_called_worse() {
    #[track_caller]
    fn check(metrics: Metrics, before: Route, route: Route) {
        let ours = Ours::new(&mut Rng::with_seed(2), settings(ALPHA, metrics), before);
        let wrong =
            |rng: &mut Rng| rollout(rng, &ours, (route, Change::NONE), &LADDER, 10_000).is_some();
        at_most(part(3, 200, wrong), ALPHA, 200);
    }
    let (calm, hard) = (Route::calm(0.01, 0.5), Route { unrest: Some(10_000), ..ROUTE });
    check(LATENCY, calm, calm);
    check(Metrics::default(), calm, calm);
    // Days, outages, a load that hangs together, and a baseline of something else.
    check(Metrics::default(), Route::calm(0.01, 0.8), hard);
    check(Metrics { differences: false, ..Metrics::default() }, calm, hard);
}

#[test]
fn what_shares_a_fate_counts_once() {
    let wrong =
        |by_session| part(4, 200, |rng| sessions::sticky(rng, 0.01, by_session, &LADDER, 3_000));
    at_most(wrong(true), 0.01, 200);
    assert!(wrong(false) > 0.2, "requests of a session would each be taken for themselves");
    let retried = part(5, 200, |rng| sessions::retries(rng, 0.01, &LADDER, 20_000));
    at_most(retried, 0.01, 200);
}

/// Within a quarter of what is known, which is itself a median of some dozen runs.
#[track_caller]
fn soon(settings: Settings, change: Change, route: Route, weight: f64, known: u64) {
    let ours = Ours::new(&mut Rng::with_seed(6), settings, route);
    let most = (8.0 * known as f64 / weight) as u64;
    let after = |rng: &mut Rng| rollout(rng, &ours, (route, change), &[weight], most);
    let Found { part, median, .. } = Found::of(&runs(7, 150, after));
    let near = known * 3 / 4..=known * 5 / 4;
    assert!(part > 0.9 && near.contains(&median), "{median} in {part}, known {known}");
}

#[test]
fn a_candidate_that_fails_is_found_soon() {
    let check = |errors, times, known| {
        let route = Route::calm(errors, 0.5);
        soon(settings(0.01, ERRORS), Change::errors(times), route, 0.05, known);
    };
    check(0.01, 2.0, 1_646);
    check(0.01, 5.0, 156);
    check(0.001, 10.0, 348);
}

#[test]
fn a_candidate_that_is_slow_is_found_soon() {
    let check = |change, known| {
        soon(settings(0.01, LATENCY), change, Route::calm(0.01, 0.5), 0.1, known);
    };
    check(Change::latency(1.1), 412);
    check(Change::slow(0.01), 743);
}

#[test]
fn a_candidate_that_hangs_is_found_at_once() {
    let route = Route::calm(0.01, 0.5);
    let ours = Ours::new(&mut Rng::with_seed(8), Settings::default(), route);
    let found = runs(9, 40, |rng| hang::hang(rng, &ours, route, 0.05));
    let mut requests: Vec<u64> = found.iter().flatten().map(|found| found.requests).collect();
    assert_eq!(requests.len(), 40);
    requests.sort_unstable();
    assert!(requests[20] <= 4, "{requests:?} requests had passed the last threshold");
}

#[test]
fn a_harmless_candidate_is_proved_in_time() {
    let route = Route::calm(0.01, 0.5);
    let ours = Ours::new(&mut Rng::with_seed(17), settings(0.01, ERRORS), route);
    let run = |rng: &mut Rng| ours::until_proved(rng, &ours, route, 0.5, 100_000);
    let Found { part, median, .. } = Found::of(&runs(18, 100, run));
    assert!(part > 0.95 && (2_500..=6_500).contains(&median), "{median} in {part}, known 4,332");
}

fn flags(answers: &Answers, count: usize, pairs: u64) -> Vec<Option<fields::Flagged>> {
    runs(10, count, |rng| answers.compare(rng, pairs, ALPHA))
}

#[test]
fn noise_is_seldom_flagged_in_any_field() {
    for bursts in [false, true] {
        let noise = [0.01, 0.05, 0.3, 1.0].repeat(5);
        let flags = flags(&Answers { noise, real: 0.0, bursts }, 200, 1_500);
        at_most(flags.iter().flatten().count() as f64 / 200.0, ALPHA, 200);
    }
}

#[test]
fn a_difference_is_found_after_so_many_pairs() {
    #[track_caller]
    fn check(own_noise: f64, real: f64, known: u64) {
        let mut noise = [0.01, 0.05].repeat(10);
        noise[0] = own_noise;
        let flags = flags(&Answers { noise, real, bursts: false }, 60, 20_000);
        let after: Vec<_> = flags.iter().map(|one| one.as_ref().map(|one| one.after)).collect();
        let Found { part, median, .. } = Found::of(&after);
        assert!(part > 0.95, "{part}");
        let right = flags.iter().flatten().filter(|one| one.field == 0).count();
        assert!(right as f64 >= 0.95 * flags.len() as f64, "{right}");
        let near = known * 2 / 3..=known * 3 / 2;
        assert!(near.contains(&median), "{median}, known {known}");
    }
    check(0.0, 0.01, 1_000);
    check(0.05, 0.05, 867);
    check(0.3, 0.1, 1_539);
}

#[track_caller]
fn known(here: f64, known: RangeInclusive<f64>) {
    assert!(known.contains(&here), "{here} is not in {known:?}");
}

#[test]
fn kayenta_s_judge_takes_what_hangs_together_for_a_difference() {
    let one = |phi| part(11, 400, |rng| classic::one_metric(rng, phi));
    known(one(0.0), 0.0..=0.01);
    known(one(0.5), 0.01..=0.06);
    known(one(0.8), 0.1..=0.2);
    known(one(0.9), 0.18..=0.3);
    let hour = |critical| part(12, 100, |rng| classic::an_hour(rng, 0.8, critical));
    known(hour(0), 0.2..=0.5);
    known(hour(2), 0.4..=0.8);
    known(part(13, 400, |rng| classic::finds_errors(rng, [0.01, 0.02])), 0.17..=0.31);
}

#[test]
fn conditions_on_few_requests_fail_by_chance() {
    fn rolled_back<R: Rule>(rule: impl Fn() -> R + Sync, requests: u64, errors: f64) -> f64 {
        part(14, 4_000, |rng| ends(rng, rule(), [0, requests], [0.0, errors]) == End::RolledBack)
    }
    known(rolled_back(|| Flagger::new(0.99, 2), 50, 0.005), 0.71..=0.77);
    known(rolled_back(|| Flagger::new(0.99, 5), 50, 0.005), 0.16..=0.2);
    known(rolled_back(|| Argo::new(0.95), 5, 0.01), 0.6..=0.66);
    // And what is bad is promoted.
    known(rolled_back(|| Flagger::new(0.99, 5), 5, 0.03), 0.02..=0.06);
}

#[test]
fn side_by_side_only_one_is_right_both_times() {
    let ours = Ours::new(&mut Rng::with_seed(15), Settings::default(), ROUTE);
    let part = |unrest, change| {
        let ends = runs(16, 20, |rng| beside(rng, &ours, unrest, change));
        let of = |rule: usize| ends.iter().filter(|end| end[rule].is_some()).count() as f64 / 20.0;
        std::array::from_fn::<f64, { RULES.len() }, _>(of)
    };
    let last = RULES.len() - 1;
    assert!(part(true, Change::NONE)[last] <= 0.05);
    assert!(part(false, Change::errors(5.0))[last] >= 0.95);
    assert!(part(true, Change::NONE)[..last].iter().any(|wrong| *wrong > 0.5));
}
