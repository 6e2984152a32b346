//! The rules of others: alone, as their rates are known, and beside ours on the same requests.

use std::{fs, path::Path};

use fastrand::Rng;
use umbra_judge::settings::Settings;

use crate::beside::{Ends, ROUTE, RULES, beside};
use crate::classic::{an_hour, finds_errors, one_metric};
use crate::ours::Ours;
use crate::plot::{Row, plot};
use crate::rivals::{Argo, End, Flagger, Peeked, Rule, ends};
use crate::runs::{Found, part, runs};
use crate::table::{count, head, percent, row};
use crate::traffic::Change;

/// Each alone.
pub(crate) fn tables() {
    kayenta();
    conditions();
}

fn line(what: &str, known: &str, here: f64) {
    row(&[what.to_owned(), known.to_owned(), percent(here)]);
}

fn kayenta() {
    head("Kayenta's judge, nothing differs", &["", "known", "here"]);
    for (phi, known) in [(0.0, "0.0 %"), (0.5, "2.9 %"), (0.8, "14.8 %"), (0.9, "24.2 %")] {
        let here = part(31, 4_000, |rng| one_metric(rng, phi));
        line(&format!("one metric, 60 points, AR(1) {phi}"), known, here);
    }
    for (critical, known) in [(0, ["0 %", "1.3 %", "30.7 %"]), (2, ["0.3 %", "20.3 %", "51.0 %"])] {
        for (phi, known) in [0.0, 0.5, 0.8].into_iter().zip(known) {
            let here = part(32, 2_000, |rng| an_hour(rng, phi, critical));
            let what = format!("8 metrics, {critical} critical, 12 looks in an hour, AR(1) {phi}");
            line(&what, known, here);
        }
    }
    head(
        "Kayenta's judge after an hour of 60 requests a minute and arm",
        &["errors", "known", "here"],
    );
    for (rates, known) in [([0.01, 0.02], "23 %"), ([0.01, 0.03], "86 %"), ([0.001, 0.005], "74 %")]
    {
        let here = part(33, 4_000, |rng| finds_errors(rng, rates));
        line(&format!("{} to {}", percent(rates[0]), percent(rates[1])), known, here);
    }
}

/// The part of candidates that are rolled back.
fn rolled_back<R: Rule>(rule: impl Fn() -> R + Sync, requests: [u64; 2], rates: [f64; 2]) -> f64 {
    part(34, 20_000, |rng| ends(rng, rule(), requests, rates) == End::RolledBack)
}

fn conditions() {
    head("Conditions of others on a harmless candidate: rolled back", &["", "known", "here"]);
    for (threshold, known) in [(2, ["28 %", "74 %", "22 %"]), (5, ["0.8 %", "18 %", "0.4 %"])] {
        for (requests, known) in [20, 50, 200].into_iter().zip(known) {
            let flagger = || Flagger::new(0.99, threshold);
            let here = rolled_back(flagger, [0, requests], [0.0, 0.005]);
            let what = format!(
                "Flagger, min 99 %, threshold {threshold}, 0.5 % errors, {requests} requests a check"
            );
            line(&what, known, here);
        }
    }
    for (requests, known) in [(5, "63 %"), (20, "29 %"), (50, "24 %")] {
        let here = rolled_back(|| Argo::new(0.95), [0, requests], [0.0, 0.01]);
        line(
            &format!(
                "Argo, >= 95 %, failureLimit 0, 20 checks, 1 % errors, {requests} requests a check"
            ),
            known,
            here,
        );
    }
    for (rate, requests) in [(0.01, [450, 50]), (0.001, [900, 100]), (0.01, [250, 250])] {
        let here = part(35, 4_000, |rng| {
            ends(rng, Peeked::new(200), requests, [rate; 2]) == End::RolledBack
        });
        let what = format!(
            "test at 1 %, peeked at 200 times, {} errors, {} + {} requests a look",
            percent(rate),
            requests[0],
            requests[1]
        );
        line(&what, "9-18 %", here);
    }
    head("Conditions of others on a candidate with 3 % errors: promoted", &["", "known", "here"]);
    for (requests, threshold, known) in [(5, 5, "96 %"), (20, 10, "65 %")] {
        let flagger = || Flagger::new(0.99, threshold);
        let here = 1.0 - rolled_back(flagger, [0, requests], [0.0, 0.03]);
        line(
            &format!("Flagger, min 99 %, threshold {threshold}, {requests} requests a check"),
            known,
            here,
        );
    }
}

/// Bad candidates that rules are asked to find; the first two are drawn.
const BAD: [(&str, Change); 4] = [
    ("5 times the errors", Change { errors: 5.0, ..Change::NONE }),
    ("1 % of requests 10 times as slow", Change { slow: 0.01, ..Change::NONE }),
    ("3 times the errors", Change { errors: 3.0, ..Change::NONE }),
    ("all 20 % slower", Change { latency: 1.2, ..Change::NONE }),
];

/// All of them on the same requests, as a table and as a picture in the documentation.
pub(crate) fn side_by_side() {
    const HARMLESS: usize = 1_000;
    const RUNS: usize = 300;
    let ours = Ours::new(&mut Rng::with_seed(41), Settings::default(), ROUTE);
    let harmless = [false, true]
        .map(|unrest| runs(42, HARMLESS, |rng| beside(rng, &ours, unrest, Change::NONE)));
    let found = BAD.map(|(_, change)| runs(43, RUNS, |rng| beside(rng, &ours, false, change)));
    let mut columns = vec!["rule", "harmless, calm", "harmless, bad weather"];
    columns.extend(BAD.map(|(what, _)| what));
    head(
        "Side by side: candidates rolled back; of bad ones the median of the candidate's requests",
        &columns,
    );
    let of = |rule: usize, ends: &[Ends]| {
        Found::of(&ends.iter().map(|end| end[rule]).collect::<Vec<_>>())
    };
    let rows: Vec<Row> = (0..RULES.len())
        .map(|rule| {
            let found = [0, 1, 2, 3].map(|bad| of(rule, &found[bad]));
            let wrong = [0, 1].map(|weather| of(rule, &harmless[weather]).part);
            told(RULES[rule], wrong, &found);
            let drawn = [found[0], found[1]].map(|found| (found.part, found.median));
            Row { rule: RULES[rule].to_owned(), wrong, found: drawn }
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/judge.svg");
    fs::write(path, plot(&rows, [BAD[0].0, BAD[1].0])).expect("docs/judge.svg");
}

fn told(rule: &str, wrong: [f64; 2], found: &[Found]) {
    let found = found.iter().map(|found| match found.median {
        u64::MAX => format!("finds {}", percent(found.part)),
        median => format!("{} (finds {})", count(median), percent(found.part)),
    });
    let cells = [rule.to_owned()].into_iter().chain(wrong.map(percent)).chain(found);
    row(&cells.collect::<Vec<_>>());
}
