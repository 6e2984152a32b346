//! What came of requests, and what happens then.

use std::sync::Arc;
use std::time::Duration;

use umbra_gateway::control::StartMirror;
use umbra_gateway::mirror::Role;
use umbra_gateway::split::wire::{EndTo, OnWorse, SplitArm, StartSplit};
use umbra_judge::journal::replay::replay;

use crate::place::{DIFFERENCES, ERRORS, Place, arm};
use crate::server::{Does, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_rolled_back_and_the_journal_says_why() {
    let bad = Server::new(|n| Does::Answers(if n % 2 == 0 { 500 } else { 200 })).await;
    let place = Arc::new(Place::new(Server::well().await, bad).await);
    place.start(0.1, ERRORS).await;
    let status = place.ask_until_rolled_back(5_000).await;
    let worse = status.worse.clone().expect("why");
    assert!(worse.log_e >= 100_f64.ln() && worse.took_us < 5_000_000, "{worse:?}");
    assert!(worse.words.starts_with("errors"), "{worse:?}");
    assert_eq!(status.weight, 0.0);
    let asked = place.candidate.asked();
    let came = place.ask_many(300, 8).await;
    assert_eq!((came.whole, place.candidate.asked()), (300, asked), "nobody gets there any more");
    let refused = place.tell(|splits| splits.weigh("web", 0.1)).await.expect_err("rolled back");
    assert!(refused.message.contains("rolled back"), "{refused:?}");
    let refused = place.tell(|splits| splits.end("web", EndTo::Candidate)).await.map(drop);
    assert!(refused.is_err());

    place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
    let journal = std::fs::read(place.journal()).expect("a journal");
    let replayed = replay(&journal).expect("a journal");
    assert!(replayed.trial.is_worse() && replayed.end.broken.is_none());
    assert_eq!((replayed.decisions, replayed.different), (1, 0));
    // What was under way then may have said more.
    assert!(replayed.trial.log_peak() >= worse.log_e);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(place.journal()).expect("a journal").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

/// The end is asked for while the judge has not heard yet what makes the candidate worse: whoever
/// loses that race, a candidate that is worse by its own journal is never what all requests go to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_judged_while_a_split_ends_counts() {
    let bad = Server::new(|_| Does::Answers(500)).await;
    let place = Arc::new(Place::new(Server::well().await, bad).await);
    let mut refused = 0;
    for round in 0..40_u64 {
        place.start(0.5, ERRORS).await;
        place.ask_many(10 + round, 8).await;
        let ended = place.tell(|splits| splits.end("web", EndTo::Candidate)).await;
        match &ended {
            Ok(status) => assert!(!status.rolled_back, "{round}: {status:#?}"),
            Err(_) => {
                refused += 1;
                place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
            }
        }
        let replayed = replay(&std::fs::read(place.journal()).expect("one")).expect("a journal");
        assert!(ended.is_err() || !replayed.trial.is_worse(), "{round}");
        std::fs::remove_file(place.journal()).expect("removed");
        if ended.is_ok() {
            place.tell(|splits| splits.release("web")).await.expect("released");
        }
    }
    assert!(refused > 0, "it is worse in none of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_be_told_only() {
    let place =
        Arc::new(Place::new(Server::well().await, Server::new(|_| Does::Answers(503)).await).await);
    let start = StartSplit { on_worse: OnWorse::Tell, ..place.start_of(0.2, ERRORS) };
    place.tell(move |splits| splits.start("web", start)).await.expect("a split");
    place.ask_many(400, 8).await;
    let status = place.until(|status| status.worse.is_some()).await;
    assert!(!status.rolled_back && status.weight == 0.2);
    let asked = place.candidate.asked();
    place.ask_many(200, 8).await;
    assert!(place.candidate.asked() > asked);
    place.tell(|splits| splits.weigh("web", 0.3)).await.expect("a weight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_break_off_and_bad_calls_are_failures() {
    for does in [Does::Breaks, Does::Calls("14")] {
        let place =
            Arc::new(Place::new(Server::well().await, Server::new(move |_| does).await).await);
        place.start(0.2, ERRORS).await;
        let status = place.ask_until_rolled_back(2_000).await;
        let candidate = arm(&status, SplitArm::Candidate);
        assert!(candidate.errors > 0 && candidate.errors <= candidate.requests, "{does:?}");
    }
    let fine = Server::new(|_| Does::Calls("5")).await;
    let place = Arc::new(Place::new(Server::well().await, fine).await);
    place.start(0.2, ERRORS).await;
    place.ask_many(500, 8).await;
    let status = place.until(|status| status.arms.iter().all(|arm| arm.in_flight == 0)).await;
    assert_eq!(arm(&status, SplitArm::Candidate).errors, 0, "NOT_FOUND is an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_is_no_failure() {
    let hung = Server::new(|_| Does::Hangs).await;
    let place = Arc::new(Place::new(Server::well().await, hung).await);
    place.start(0.5, ERRORS).await;
    for _ in 0..40 {
        // Half of them hang, and their clients go.
        let _ = tokio::time::timeout(Duration::from_millis(20), place.ask(None)).await;
    }
    let status = place.until(|status| status.arms.iter().all(|arm| arm.in_flight == 0)).await;
    let candidate = arm(&status, SplitArm::Candidate);
    assert!(candidate.requests > 0 && candidate.errors == 0, "{candidate:?}");
    let status = place.until(|status| arm(status, SplitArm::Candidate).latency.is_some()).await;
    let age = arm(&status, SplitArm::Candidate).latency.expect("ages").p50_us;
    assert!(age >= 15_000, "{age}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shadows_answer_counts_before_anybody_is_assigned() {
    let says = |text| Server::new(move |_| Does::Says(text));
    let place = Arc::new(Place::new(says("a b").await, says("a c").await).await);
    place.start(0.0, DIFFERENCES).await;
    let baseline = says("a b").await;
    for (name, to, role) in [
        ("rollout-web-baseline", baseline.at, Role::Baseline),
        ("rollout-web-candidate", place.candidate.at, Role::Candidate),
    ] {
        let mirror = StartMirror {
            to: to.to_string(),
            percent: "100".to_owned(),
            route: (role == Role::Candidate).then(|| "web".to_owned()),
            role: Some(role),
            ..StartMirror::default()
        };
        place.gateway.control.start(name, mirror).expect("a mirror");
    }
    let came = place.ask_many(100, 4).await;
    assert_eq!(came.whole, 100, "{came:?}");
    let status = place.until(|status| status.rolled_back).await;
    assert!(status.worse.as_ref().is_some_and(|one| one.words.starts_with("differences")));
    assert_eq!(arm(&status, SplitArm::Candidate).requests, 0, "nobody was exposed");
    place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
    let replayed = replay(&std::fs::read(place.journal()).expect("one")).expect("a journal");
    assert!(replayed.trial.is_worse() && replayed.different == 0);
}
