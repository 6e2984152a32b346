//! How often a harmless candidate is rolled back.

use umbra_judge::settings::{Metrics, Settings};

use crate::ours::{LADDER, LATENCY, Ours, errors, rollout, settings};
use crate::runs::part;
use crate::sessions::{retries, sticky};
use crate::table::{head, percent, row};
use crate::traffic::{Change, Route};

/// Everything a harmless rollout is asked with.
pub(crate) fn tables() {
    head(
        "Harmless candidates that are rolled back, looked at after every outcome",
        &["", "runs", "at most", "known", "here"],
    );
    of_errors();
    of_latency();
    of_all();
    of_sessions();
    whole_rollouts();
}

fn line(what: &str, runs: usize, alpha: f64, known: &str, here: f64) {
    row(&[what.to_owned(), runs.to_string(), percent(alpha), known.to_owned(), percent(here)]);
}

fn of_errors() {
    const RUNS: usize = 4_000;
    let known = [
        [("2.5 %", "0.30-0.37 %"), ("2.3-3.0 %", "0.45-0.57 %")],
        [("4.6-5.0 %", "0.67-0.83 %"), ("3.0-3.2 %", "0.50-0.55 %")],
    ];
    let weights: [(&str, &[f64]); 4] =
        [("1 %", &[0.01]), ("10 %", &[0.1]), ("50 %", &[0.5]), ("the ladder", &LADDER)];
    for ((name, weights), known) in weights.into_iter().zip(known.concat()) {
        for (alpha, known) in [(0.05, known.0), (0.01, known.1)] {
            let wrong = |rng: &mut _| errors(rng, alpha, weights, 2_000, 1.0).is_some();
            let what = format!("errors at {name}, 2,000 of them");
            line(&what, RUNS, alpha, known, part(11, RUNS, wrong));
        }
    }
}

fn of_latency() {
    const RUNS: usize = 1_500;
    let route = Route::calm(0.0, 0.5);
    for (name, weights, known) in [
        ("10 %", &[0.1][..], ["4.2 %", "0.8 %"]),
        ("the ladder", &LADDER, ["3.3 %", "1.3 (0.57) %"]),
    ] {
        for (alpha, known) in [0.05, 0.01].into_iter().zip(known) {
            let ours = Ours::new(&mut fastrand::Rng::with_seed(5), settings(alpha, LATENCY), route);
            let wrong =
                |rng: &mut _| rollout(rng, &ours, (route, Change::NONE), weights, 60_000).is_some();
            let what = format!("latency at {name}, 60,000 requests");
            line(&what, RUNS, alpha, known, part(12, RUNS, wrong));
        }
    }
}

/// What production was before a rollout in bad weather is not what it is in it.
fn worlds(requests: u64) -> [(&'static str, Route, Route); 2] {
    let (calm, before) = (Route::calm(0.01, 0.5), Route::calm(0.01, 0.8));
    [
        ("calm", calm, calm),
        ("bad weather, another baseline", before, Route { unrest: Some(requests), ..calm }),
    ]
}

/// Errors and latency together, as a rollout has them.
pub(crate) const BOTH: Metrics = Metrics { errors: true, latency: true, ..Metrics::NONE };

fn of_all() {
    const RUNS: usize = 500;
    const REQUESTS: u64 = 60_000;
    for ((name, before, route), known) in
        worlds(REQUESTS).into_iter().zip([["3.0 %", "0.6 %"], ["2.6 %", "0.4 %"]])
    {
        for (alpha, known) in [0.05, 0.01].into_iter().zip(known) {
            let ours = Ours::new(&mut fastrand::Rng::with_seed(6), settings(alpha, BOTH), before);
            let wrong = |rng: &mut _| {
                rollout(rng, &ours, (route, Change::NONE), &LADDER, REQUESTS).is_some()
            };
            let what = format!("errors and latency on the ladder, {name}");
            line(&what, RUNS, alpha, known, part(13, RUNS, wrong));
        }
    }
}

fn of_sessions() {
    const RUNS: usize = 2_000;
    for (name, weights) in [("10 %", &[0.1][..]), ("the ladder", &LADDER)] {
        for (how, by_session, known) in
            [("each request for itself", false, "51-71 %"), ("by session", true, "0.3-0.7 %")]
        {
            let wrong = |rng: &mut _| sticky(rng, 0.01, by_session, weights, 10_000);
            let what = format!("sticky sessions at {name}, ten errors in a bad one, {how}");
            line(&what, RUNS, 0.01, known, part(14, RUNS, wrong));
        }
    }
    let wrong = |rng: &mut _| retries(rng, 0.01, &LADDER, 100_000);
    line("clients that try again, on the ladder", RUNS, 0.01, "", part(15, RUNS, wrong));
}

/// A rollout as it is by default, in either world.
fn whole_rollouts() {
    const RUNS: usize = 5_000;
    const REQUESTS: u64 = 20_000;
    for (name, before, route) in worlds(REQUESTS) {
        let ours = Ours::new(&mut fastrand::Rng::with_seed(7), Settings::default(), before);
        let wrong =
            |rng: &mut _| rollout(rng, &ours, (route, Change::NONE), &LADDER, REQUESTS).is_some();
        let what = format!("a whole rollout with every metric, {name}");
        line(&what, RUNS, 0.01, "1 %", part(16, RUNS, wrong));
    }
}
