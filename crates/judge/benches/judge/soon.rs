//! How many of its requests a bad candidate gets before it is found out, at 1 %.

use fastrand::Rng;
use umbra_judge::settings::Settings;

use crate::formula;
use crate::hang::hang;
use crate::ours::{ERRORS, LATENCY, Ours, rollout, settings, until_proved};
use crate::runs::{Found, runs};
use crate::table::{count, head, row};
use crate::traffic::{Change, Route};

const RUNS: usize = 300;

/// Errors, latency, hangs.
pub(crate) fn tables() {
    of_hangs();
    of_latency();
    of_errors();
    of_proofs();
}

/// A cell: the median, how far it is from what is known, and the 90th percentile.
fn told(found: Found, known: u64) -> String {
    let Found { part, median, p90 } = found;
    match (median, p90) {
        (u64::MAX, _) => format!("finds {:.0} %", 100.0 * part),
        (median, _) if known == 0 => count(median),
        (median, p90) => {
            let off = 100.0 * (median as f64 / known as f64 - 1.0);
            let p90 = if p90 == u64::MAX { "-".to_owned() } else { count(p90) };
            format!("{} ({p90}) {off:+.0} %", count(median))
        }
    }
}

fn known(requests: u64) -> String {
    if requests == 0 { "-".to_owned() } else { count(requests) }
}

/// Percent of requests that fail, how many times as often the candidate, and what is known for
/// weights of 1, 5, 10 and 50 %.
const ERRORS_KNOWN: [(f64, f64, [u64; 4]); 10] = [
    (1.0, 2.0, [0, 1_646, 1_856, 3_460]),
    (1.0, 3.0, [496, 492, 449, 881]),
    (1.0, 5.0, [138, 156, 157, 304]),
    (1.0, 10.0, [40, 39, 40, 110]),
    (0.1, 2.0, [17_166, 16_491, 16_036, 36_027]),
    (0.1, 5.0, [1_403, 1_520, 1_624, 2_912]),
    (0.1, 10.0, [345, 348, 498, 1_034]),
    (0.05, 10.0, [889, 824, 886, 2_010]),
    (0.05, 50.0, [77, 84, 108, 348]),
    (1.0, 50.0, [4, 4, 5, 16]),
];

/// A cell of these is known to take so many requests that they are not made again and again.
const TOO_MANY: u64 = 1_000_000;

fn of_errors() {
    let alone = Ours::new(&mut Rng::with_seed(8), settings(0.01, ERRORS), Route::calm(0.01, 0.5));
    let every = Ours::new(&mut Rng::with_seed(8), Settings::default(), Route::calm(0.01, 0.5));
    let columns =
        ["errors", "times", "weight", "known", "the formula", "errors alone", "every metric on"];
    head("Errors: the candidate's requests until it is found, median (p90)", &columns);
    for (rate, times, requests) in ERRORS_KNOWN {
        for (weight, requests) in [0.01, 0.05, 0.1, 0.5].into_iter().zip(requests) {
            let most = (20.0 * requests as f64 / weight) as u64;
            if requests == 0 || most / 20 > TOO_MANY {
                continue;
            }
            let route = Route::calm(rate / 100.0, 0.5);
            let found = |runs_made: usize, run: &(dyn Fn(&mut Rng) -> Option<u64> + Sync)| {
                told(Found::of(&runs(21, runs_made, run)), requests)
            };
            let of = |ours: &Ours, rng: &mut Rng| {
                rollout(rng, ours, (route, Change::errors(times)), &[weight], most)
            };
            let formula = |rng: &mut Rng| formula::errors(rng, rate / 100.0, times, weight, most);
            // Where requests are many latencies are not simulated too.
            let with_every = match weight {
                0.05 => found(RUNS, &|rng| of(&every, rng)),
                _ => String::new(),
            };
            row(&[
                format!("{rate} %"),
                times.to_string(),
                format!("{} %", 100.0 * weight),
                known(requests),
                found(10 * RUNS, &formula),
                found(RUNS, &|rng| of(&alone, rng)),
                with_every,
            ]);
        }
    }
}

/// What changes, and what is known for sigma 0.5 and 1 at 10 %.
fn latency_known() -> [(&'static str, Change, [u64; 2]); 8] {
    [
        ("all 5 % slower", Change::latency(1.05), [1_304, 6_798]),
        ("all 10 % slower", Change::latency(1.1), [412, 1_270]),
        ("all 20 % slower", Change::latency(1.2), [80, 270]),
        ("all 50 % slower", Change::latency(1.5), [22, 80]),
        ("all twice as slow", Change::latency(2.0), [0, 26]),
        ("1 % of requests 10 times", Change::slow(0.01), [743, 5_037]),
        ("2 % of requests 10 times", Change::slow(0.02), [307, 0]),
        ("5 % of requests 10 times", Change::slow(0.05), [99, 375]),
    ]
}

fn of_latency() {
    let columns = ["change", "sigma", "known", "the formula", "latency alone", "every metric on"];
    head("Latency at 10 %: the candidate's requests until it is found, median (p90)", &columns);
    for (what, change, requests) in latency_known() {
        for (sigma, requests) in [0.5, 1.0].into_iter().zip(requests) {
            let route = Route::calm(0.01, sigma);
            let most = 200_000.max(requests * 200);
            let of = |settings: Settings| {
                let ours = Ours::new(&mut Rng::with_seed(9), settings, route);
                let run = |rng: &mut Rng| rollout(rng, &ours, (route, change), &[0.1], most);
                told(Found::of(&runs(22, RUNS, run)), requests)
            };
            let formula = |rng: &mut Rng| formula::latency(rng, sigma, change, 0.1, most);
            row(&[
                what.to_owned(),
                sigma.to_string(),
                known(requests),
                told(Found::of(&runs(22, RUNS, formula)), requests),
                of(settings(0.01, LATENCY)),
                of(Settings::default()),
            ]);
        }
    }
}

fn of_hangs() {
    head(
        "A candidate that never answers, 100 requests a second, every metric on",
        &["weight", "its requests older than p99.9, median (p90)", "after, median", "p99.9"],
    );
    for weight in [0.01, 0.05, 0.1, 0.5] {
        let route = Route::calm(0.01, 0.5);
        let ours = Ours::new(&mut Rng::with_seed(10), Settings::default(), route);
        let found = runs(23, RUNS, |rng| hang(rng, &ours, route, weight));
        let of = |what: fn(crate::hang::Found) -> u64| {
            Found::of(&found.iter().map(|one| one.map(what)).collect::<Vec<_>>())
        };
        let (requests, after) = (of(|one| one.requests), of(|one| one.after_ms));
        row(&[
            format!("{} %", 100.0 * weight),
            format!("{} ({})", requests.median, requests.p90),
            format!("{} ms", after.median),
            format!("{} ms", of(|one| one.p999_ms).median),
        ]);
    }
}

/// The other side: requests of both arms until a harmless candidate is proved not to fail so many
/// times as often, at 5 %.
fn of_proofs() {
    let columns = ["errors", "weight", "refuted", "known", "errors alone"];
    head("A harmless candidate is proved: requests of both arms, median (p90)", &columns);
    for (times, known) in [(2.0, [4_332, 10_003, 46_771]), (3.0, [1_980, 2_879, 18_288])] {
        for ((rate, weight), requests) in
            [(0.01, 0.5), (0.01, 0.1), (0.001, 0.5)].into_iter().zip(known)
        {
            let settings = Settings { worse_ratio: times, ..settings(0.01, ERRORS) };
            let route = Route::calm(rate, 0.5);
            let ours = Ours::new(&mut Rng::with_seed(11), settings, route);
            let run = |rng: &mut Rng| until_proved(rng, &ours, route, weight, 20 * requests);
            row(&[
                format!("{} %", 100.0 * rate),
                format!("{} %", 100.0 * weight),
                format!("{times} times"),
                count(requests),
                told(Found::of(&runs(24, RUNS, run)), requests),
            ]);
        }
    }
}
