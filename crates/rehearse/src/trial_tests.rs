//! The decisions of a trial, on a stage that is a function.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use umbra_drift::reading::Reading;
use umbra_state::Verdict::{self, Fail, Inconclusive, Pass};

use crate::edit::{Changes, Edit};
use crate::error::RehearsalError;
use crate::report::{Level, Part, Report, Risk};
use crate::stage::{Check, Sight, Stage};
use crate::subject::Bounds;
use crate::trial::{Trial, seen, untried};
use crate::what::{Combination, What};

type Oracle = Box<dyn FnMut(&Changes<'_>, &Check) -> Option<Verdict>>;

struct Scripted {
    checks: Vec<Check>,
    oracle: Oracle,
    found: BTreeMap<Vec<u8>, Reading>,
    refused: Vec<&'static str>,
    looks: usize,
}

impl Stage for Scripted {
    fn checks(&self) -> Vec<Check> {
        self.checks.clone()
    }

    fn found(&self, edit: &Edit) -> Option<&Reading> {
        self.found.get(&edit.path.0)
    }

    fn look(&mut self, changes: &Changes<'_>, checks: &[Check]) -> Result<Sight, RehearsalError> {
        self.looks += 1;
        let mut sight = Sight::default();
        for check in checks {
            let part = match check {
                Check::Validator { .. } => Part::Validator,
                Check::Startup => Part::Startup,
                Check::Units => Part::Units,
                Check::Test(_) => Part::Test,
            };
            if let Some(verdict) = (self.oracle)(changes, check) {
                let name = format!("{check:?}");
                sight.seen.push((check.clone(), {
                    let mut s = seen(name, part);
                    s.verdict = verdict;
                    s
                }));
            }
        }
        let refused = self.refused.iter().filter(|path| changes.contains_key(path.as_bytes()));
        sight.untried = refused.map(|path| untried(path.as_bytes(), "no".to_owned())).collect();
        Ok(sight)
    }
}

fn stage(oracle: impl FnMut(&Changes<'_>, &Check) -> Option<Verdict> + 'static) -> Scripted {
    Scripted {
        checks: vec![Check::Startup, Check::Test(0)],
        oracle: Box::new(oracle),
        found: BTreeMap::new(),
        refused: Vec::new(),
        looks: 0,
    }
}

fn edits(paths: &[&str]) -> Vec<Edit> {
    paths.iter().map(|path| Edit::new(*path, Reading::text("bad"))).collect()
}

fn run_with(stage: &mut Scripted, what: &What, good: &[Edit], bounds: Bounds) -> Report {
    let level = Level::Sandbox;
    let trial = Trial { what, good, bounds, level, began: Instant::now() };
    trial.run(stage).expect("a report")
}

fn run(stage: &mut Scripted, what: &What) -> Report {
    run_with(stage, what, &[], Bounds::default())
}

fn is_bad(changes: &Changes<'_>, path: &str) -> bool {
    changes.get(path.as_bytes()).is_some_and(|reading| reading.bytes() == Some(b"bad"))
}

/// The test fails with this path.
fn fails_with(path: &'static str) -> Scripted {
    stage(move |changes, check| {
        let fails = *check == Check::Test(0) && is_bad(changes, path);
        Some(if fails { Fail } else { Pass })
    })
}

#[track_caller]
fn check(report: &Report, verdict: Verdict, risk: Risk, why: Option<&str>) {
    assert_eq!((report.verdict, report.risk, report.why.as_deref()), (verdict, risk, why));
}

#[test]
fn harmless_changes_pass() {
    let mut stage = fails_with("/other");
    let report = run(&mut stage, &What::Drift(edits(&["/a", "/b"])));
    check(&report, Pass, Risk::NoneFound, None);
    assert_eq!((report.runs.len(), stage.looks), (2, 2));
    assert_eq!(report.summary()[0], "pass: the drift breaks nothing that was tried");
    assert!(report.higher.is_some());
}

#[test]
fn the_path_that_breaks_a_test_is_named() {
    let mut stage = fails_with("/b");
    let report = run(&mut stage, &What::Drift(edits(&["/a", "/b", "/c", "/d"])));
    check(&report, Fail, Risk::Breaks, None);
    let failure = &report.failures[0];
    assert_eq!((failure.check.as_str(), failure.part), ("Test(0)", Part::Test));
    assert_eq!((failure.changes.len(), failure.minimal, failure.of), (1, true, 4));
    assert_eq!(failure.changes[0].path.0, b"/b");
    assert_eq!(failure.probes as usize + 2, stage.looks);
    assert_eq!(report.summary()[2], "because of /b (of 4 changed paths)");
}

#[test]
fn the_key_that_breaks_a_test_is_named() {
    let mut stage = stage(|changes, check| {
        let text = changes.get(&b"/etc/default/app"[..]).and_then(|reading| reading.bytes());
        let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
        let fails = *check == Check::Test(0) && text.contains("PORT=0");
        Some(if fails { Fail } else { Pass })
    });
    let path = b"/etc/default/app".to_vec();
    stage.found.insert(path.clone(), Reading::text("USER=app\nPORT=80\nLEVEL=1\n"));
    let drift = vec![
        Edit::new("/etc/motd", Reading::text("hello")),
        Edit::new(path, Reading::text("USER=root\nPORT=0\nLEVEL=2\n")),
    ];
    let report = run(&mut stage, &What::Drift(drift));
    let changes = &report.failures[0].changes;
    assert_eq!((changes.len(), changes[0].keys.len()), (1, 1), "{changes:?}");
    assert_eq!(changes[0].keys[0].key, "PORT");
    let words = "because of /etc/default/app: PORT from 80 to 0 (of 2 changed paths)";
    assert_eq!(report.summary()[2], words);
}

#[test]
fn nothing_is_said_where_the_baseline_does_not_start() {
    let mut stage = stage(|_, check| Some(if *check == Check::Startup { Fail } else { Pass }));
    let report = run(&mut stage, &What::Drift(edits(&["/a"])));
    let why = "Startup does not pass without any change either";
    check(&report, Inconclusive, Risk::Unknown, Some(why));
    assert_eq!((report.runs.len(), stage.looks), (1, 1));
}

#[test]
fn a_test_that_fails_anyway_counts_no_more_but_others_do() {
    let test = |broken: &'static str| {
        let mut stage = stage(move |changes, check| match check {
            Check::Test(0) => Some(Fail),
            Check::Test(1) if is_bad(changes, broken) => Some(Fail),
            _ => Some(Pass),
        });
        stage.checks.push(Check::Test(1));
        stage
    };
    let why = Some("Test(0) does not pass without any change either");
    let what = What::Drift(edits(&["/a"]));
    check(&run(&mut test("/b"), &what), Inconclusive, Risk::Unknown, why);
    let report = run(&mut test("/a"), &what);
    check(&report, Fail, Risk::Breaks, why);
    assert_eq!(report.failures[0].check, "Test(1)");
}

#[test]
fn no_evidence_is_no_pass() {
    let what = What::Drift(edits(&["/a"]));
    let mut none = stage(|_, _| Some(Pass));
    none.checks.clear();
    let why = "no validator, service or test looks at this machine";
    check(&run(&mut none, &what), Inconclusive, Risk::Unknown, Some(why));
    let mut blind = stage(|changes, check| match check {
        Check::Test(_) if !changes.is_empty() => Some(Inconclusive),
        _ => Some(Pass),
    });
    let why = "nobody could look at Test(0) with the drift";
    check(&run(&mut blind, &what), Inconclusive, Risk::Unknown, Some(why));
    let mut refused = stage(|_, _| Some(Pass));
    refused.refused = vec!["/a"];
    let report = run(&mut refused, &what);
    check(&report, Inconclusive, Risk::Unknown, Some("1 change could not be tried"));
    assert_eq!(report.untried.len(), 1);
}

#[test]
fn what_fails_once_and_not_again_is_not_believed() {
    let mut looks = 0;
    let mut stage = stage(move |changes, check| {
        looks += usize::from(*check == Check::Test(0) && !changes.is_empty());
        Some(if looks == 1 && !changes.is_empty() { Fail } else { Pass })
    });
    stage.checks = vec![Check::Test(0)];
    let report = run(&mut stage, &What::Drift(edits(&["/a"])));
    let why = "Test(0) failed once with the drift, and then passed";
    check(&report, Inconclusive, Risk::Unknown, Some(why));
    assert!(report.failures.is_empty());
}

#[test]
fn another_test_that_fails_again_is_believed() {
    let mut looks = 0;
    let mut stage = stage(move |changes, check| {
        looks += usize::from(*check == Check::Test(0) && !changes.is_empty());
        let fails = match check {
            Check::Test(0) => looks == 1 && !changes.is_empty(),
            Check::Test(_) => is_bad(changes, "/b"),
            _ => false,
        };
        Some(if fails { Fail } else { Pass })
    });
    stage.checks = vec![Check::Test(0), Check::Test(1)];
    let report = run(&mut stage, &What::Drift(edits(&["/a", "/b"])));
    assert_eq!((report.verdict, report.failures.len()), (Fail, 1));
    assert_eq!(report.failures[0].check, "Test(1)");
}

#[test]
fn a_rollback_is_tried_from_the_drift_and_in_both_orders() {
    let back = || vec![Edit::new("/a", Reading::text("good")), Edit::new("/b", Reading::Absent)];
    let fails = || {
        stage(|changes, check| {
            let removed = changes.get(&b"/b"[..]) == Some(&&Reading::Absent);
            let fails = *check == Check::Test(0) && (is_bad(changes, "/a") || removed);
            Some(if fails { Fail } else { Pass })
        })
    };
    let report = run(&mut fails(), &What::Both { drift: edits(&["/a"]), back: back() });
    let verdicts: Vec<_> = report.runs.iter().map(|run| (run.combination, run.verdict)).collect();
    assert_eq!(
        verdicts,
        [
            (Combination::Baseline, Pass),
            (Combination::Drift, Fail),
            (Combination::RollbackFromDrift, Fail),
            (Combination::RollbackFirst, Fail),
        ]
    );
    // It fails before the rollback too, so that nobody sees the rollback's part in it.
    assert_eq!(report.failures[0].changes[0].path.0, b"/a");
    let without = "it fails without these changes too, by those made before";
    assert_eq!(report.failures[1].why.as_deref(), Some(without));
    let report = run(&mut fails(), &What::Rollback { drift: edits(&["/c"]), back: back() });
    assert_eq!(report.runs.len(), 2);
    assert_eq!(report.failures[0].changes[0].path.0, b"/b");
}

#[test]
fn what_makes_the_machine_good_comes_before_everything() {
    let good = vec![Edit::new("/a", Reading::text("good"))];
    let mut stage = stage(|changes, check| {
        let good = changes.get(&b"/a"[..]).and_then(|reading| reading.bytes()) == Some(b"good");
        Some(if *check == Check::Test(0) && !good { Fail } else { Pass })
    });
    let what = What::Drift(edits(&["/a"]));
    let report = run_with(&mut stage, &what, &good, Bounds::default());
    check(&report, Fail, Risk::Breaks, None);
    assert_eq!(report.runs[0].verdict, Pass);
}

#[test]
fn the_bounds_hold() {
    let what = What::Drift(edits(&["/a", "/b", "/c", "/d", "/e", "/f"]));
    let bounds = Bounds { probes_max: 3, ..Bounds::default() };
    let report = run_with(&mut fails_with("/e"), &what, &[], bounds);
    let failure = &report.failures[0];
    assert_eq!((failure.probes, failure.minimal), (3, false));
    assert!(failure.changes.iter().any(|changed| changed.path.0 == b"/e"));
    let bounds = Bounds { time_max: Duration::ZERO, ..Bounds::default() };
    let report = run_with(&mut fails_with("/e"), &what, &[], bounds);
    let why = "there was no time left to try it with the drift";
    check(&report, Inconclusive, Risk::Unknown, Some(why));
}

#[test]
fn validators_alone_are_a_lower_level() {
    let mut stage = stage(|_, _| Some(Pass));
    stage.checks = vec![Check::Validator { which: 0, path: b"/a".to_vec() }];
    let report = run(&mut stage, &What::Drift(edits(&["/a"])));
    assert_eq!(report.level, Level::Validators);
}

#[test]
fn a_report_round_trips() {
    let report = run(&mut fails_with("/b"), &What::Drift(edits(&["/a", "/b"])));
    let json = serde_json::to_string(&report).expect("serialisable");
    assert_eq!(serde_json::from_str::<Report>(&json).expect("readable"), report);
}
