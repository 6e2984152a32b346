//! Three servers compared from end to end: what differs by chance, and what really does.

#[path = "../support/controlled.rs"]
mod controlled;
mod place;
#[path = "../harm/shadow.rs"]
mod shadow;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use place::{Place, Server, role};
use shadow::{FAULTS, shadow};
use umbra_gateway::compare::report::{CompareReport, Standing};
use umbra_gateway::control::StartMirror;
use umbra_gateway::mirror::Role;
use umbra_state::Verdict;

fn flagged(report: &CompareReport) -> Vec<&str> {
    let flagged = report.fields.iter().filter(|field| field.standing == Standing::Flagged);
    flagged.map(|field| field.path.as_str()).collect()
}

/// Every request that was to be compared was, or is counted under why it was not.
#[track_caller]
fn check_counts(report: &CompareReport, chosen: u64) {
    let out: u64 = report.left_out.iter().map(|one| one.count).sum();
    assert_eq!((report.chosen, report.under_way), (chosen, 0), "{report:?}");
    assert_eq!(report.compared + out, chosen, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_field_that_really_differs_is_flagged_and_no_other() {
    let place = Place::new().await;
    place.candidate(&Server { price_changes: true, ..Server::default() }.start().await);
    place.baseline(&Server::default().start().await);
    place.ask_many(600).await;
    let report = place.report().await;
    check_counts(&report, 600);
    assert_eq!(flagged(&report), ["body.items[].price"], "{report:#?}");
    assert_eq!(report.verdict, Verdict::Fail);
    let price = &report.fields[0];
    // Every 20th, of what was not left out.
    assert!((20..=30).contains(&price.candidate) && price.baseline == Some(0), "{price:?}");
    let sample = &price.samples[0];
    assert_eq!(sample.production.as_deref(), Some("10"));
    assert_eq!((sample.candidate.as_deref(), sample.place.as_str()), (Some("11"), "[1]"));
    let token = report.fields.iter().find(|field| field.path == "body.token");
    assert_eq!(
        token.map(|field| (field.candidate, field.baseline)),
        Some((report.compared, Some(report.compared)))
    );
    let page = serde_json::to_string(&report).unwrap();
    assert!(!page.contains("s3cret"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_changes_nothing_passes_through_the_noise() {
    let place = Place::new().await;
    place.candidate(&Server::default().start().await);
    place.baseline(&Server::default().start().await);
    let mut asked = 0;
    let report = loop {
        place.ask_many(500).await;
        asked += 500;
        let report = place.report().await;
        check_counts(&report, asked);
        assert!(flagged(&report).is_empty(), "{report:#?}");
        if report.verdict == Verdict::Pass {
            break report;
        }
        assert!(asked < 10_000, "{report:#?}");
    };
    assert!(report.excess_percent_most.is_some_and(|most| most <= 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_baseline_nobody_judges() {
    let place = Place::new().await;
    place.candidate(&Server { price_changes: true, ..Server::default() }.start().await);
    place.ask_many(200).await;
    let report = place.report().await;
    check_counts(&report, 200);
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert!(report.hint.as_ref().is_some_and(|hint| hint.contains("--role baseline")));
    let price = report.fields.iter().find(|field| field.path == "body.items[].price");
    let price = price.expect("it differs");
    assert!((1..=10).contains(&price.candidate), "{price:?}");
    assert_eq!(price.standing, Standing::Unjudged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_does_not_answer_differs_in_that_and_harms_nobody() {
    for fault in FAULTS {
        let place = Place::new().await;
        place.candidate(&shadow(fault).await);
        place.baseline(&Server::default().start().await);
        place.ask_many(300).await;
        let report = place.report().await;
        check_counts(&report, 300);
        assert_eq!(flagged(&report), ["answer"], "{fault:?} {report:#?}");
        let status = place.control().status();
        assert_eq!(status.failed, 0, "{fault:?}");
        // Where one has no room the other does not get the request either.
        let mirrored: Vec<u64> = status.mirrors.iter().map(|one| one.counted.mirrored).collect();
        assert_eq!(mirrored[0], mirrored[1], "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_shadows_get_the_same_requests() {
    let (old, new) = (Arc::default(), Arc::default());
    let heard =
        |by: &Arc<Mutex<Vec<String>>>| Server { heard: Arc::clone(by), ..Server::default() };
    let place = Place::new().await;
    place.baseline(&heard(&old).start().await);
    place.ask_many(50).await;
    let start = StartMirror {
        percent: "30".to_owned(),
        ..role(Role::Candidate, &heard(&new).start().await)
    };
    place.control().start("new", start).expect("a mirror");
    place.ask_many(200).await;
    let report = place.report().await;
    check_counts(&report, 60);
    let sorted = |heard: &Mutex<Vec<String>>| {
        let mut heard = heard.lock().unwrap().clone();
        heard.sort();
        heard
    };
    assert_eq!(sorted(&old), sorted(&new));
    assert_eq!(sorted(&old).len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_is_of_two_shadows_from_start_to_stop() {
    let place = Place::new().await;
    let control = place.control();
    let to = Server::default().start().await;
    assert!(control.compared().await.is_err_and(|error| error.hint.is_some()));
    place.candidate(&to);
    assert!(place.report().await.baseline.is_none());
    place.ask_many(20).await;
    place.baseline(&to);
    // Another began.
    check_counts(&place.report().await, 0);
    place.ask_many(20).await;
    check_counts(&place.report().await, 20);

    for (name, wanted) in [
        ("newer", role(Role::Candidate, &to)),
        ("old", StartMirror { percent: "5".to_owned(), ..role(Role::Baseline, &to) }),
        ("old", StartMirror { sessions: Some("address".to_owned()), ..role(Role::Baseline, &to) }),
        ("old", StartMirror { route: Some("all".to_owned()), ..role(Role::Baseline, &to) }),
        ("old", StartMirror { slower_percent: Some(7), ..role(Role::Baseline, &to) }),
        ("new", StartMirror { slower_percent: Some(0), ..role(Role::Candidate, &to) }),
        ("new", StartMirror { masks: vec!["x".repeat(65)], ..role(Role::Candidate, &to) }),
    ] {
        assert!(control.start(name, wanted.clone()).is_err(), "{wanted:?}");
    }

    control.stop("old").expect("it is there");
    place.ask_many(20).await;
    let report = place.report().await;
    check_counts(&report, 20);
    assert_eq!(report.ended.as_deref(), Some("the baseline was stopped"));
    control.stop("new").expect("it is there");
    assert_eq!(place.report().await.ended.as_deref(), Some("the baseline was stopped"));
    let page = control.proxy.metrics().exposed(&control.proxy.routes(), &control.proxy.mirrors());
    assert!(page.lines().any(|line| line == "umbra_compare_compared_total 20"), "{page}");
}
