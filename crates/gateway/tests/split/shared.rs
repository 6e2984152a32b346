//! Who gets what.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use umbra_api::error::ErrorCode;
use umbra_gateway::split::splits::Which;
use umbra_gateway::split::wire::{
    AssignTargets, EndTo, LeftOutCause, SetTargets, SplitArm, SplitLeftOut, SplitStatus, StartSplit,
};
use umbra_judge::settings::Metrics;
use umbra_judge::standing::Standing;

use crate::place::{ERRORS, Place, arm, to};
use crate::server::{Does, Server};
use crate::support::{all_to, listen};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_arm_gets_its_part() {
    let place = Arc::new(Place::new(Server::well().await, Server::well().await).await);
    place.start(0.2, ERRORS).await;
    let came = place.ask_many(4_000, 8).await;
    assert_eq!(came.whole, 4_000, "{came:?}");
    let candidate = place.candidate.asked();
    // Six standard deviations.
    assert!((648..=952).contains(&candidate), "{candidate}");
    assert_eq!(place.baseline.asked() + candidate, 4_000);
    let seen = |arms: &[u64]| arms.iter().sum::<u64>() == 4_000;
    let status =
        place.until(|status| status.standing.as_ref().is_some_and(|one| seen(&one.units))).await;
    let [baseline, counted] =
        [SplitArm::Baseline, SplitArm::Candidate].map(|one| arm(&status, one));
    assert_eq!((baseline.requests, counted.requests), (4_000 - candidate, candidate));
    assert_eq!((counted.errors, counted.in_flight), (0, 0));
    let latency = counted.latency.expect("answers");
    assert!(latency.p50_us > 0 && latency.p50_us <= latency.p999_us);
    assert!(status.left_out.is_empty() && status.worse.is_none(), "{status:?}");

    place.tell(|splits| splits.weigh("web", 0.0)).await.expect("a weight");
    place.ask_many(200, 8).await;
    assert_eq!(place.candidate.asked(), candidate);
    place.tell(|splits| splits.weigh("web", 1.0)).await.expect("a weight");
    let baseline = place.baseline.asked();
    place.ask_many(200, 8).await;
    assert_eq!(place.baseline.asked(), baseline);
}

#[tokio::test]
async fn sessions_stay_until_the_weight_rises_and_never_go_back() {
    let place = Place::sticky(Server::well().await, Server::well().await).await;
    let users: Vec<String> = (0..60).map(|n| format!("user {n}")).collect();
    place.start(0.0, ERRORS).await;
    let candidate = place.candidate.at.to_string();
    let mut moved = HashMap::new();
    for weight in [0.0, 0.05, 0.25, 0.5, 1.0] {
        place.tell(move |splits| splits.weigh("web", weight)).await.expect("a weight");
        for user in users.iter().chain(&users) {
            let (_, answer) = place.ask(Some(user)).await;
            let is_candidates = answer.expect("an answer") == candidate;
            let was = moved.insert(user, is_candidates).unwrap_or(false);
            assert!(is_candidates || !was, "{user} went back at {weight}");
        }
    }
    assert!(moved.values().all(|moved| *moved));
    // Each session counts once in a stage, and no more once it is the candidate's.
    let status = place.until(|status| arm(status, SplitArm::Baseline).in_flight == 0).await;
    let units: u64 = status.standing.expect("a judge").units.iter().sum();
    assert!((60..=180).contains(&units), "{units}");
}

#[tokio::test]
async fn where_a_candidate_cannot_be_reached_the_baseline_serves_and_the_candidate_is_blamed() {
    let (gone, listener) = listen().await;
    drop(listener);
    let place = Place::new(Server::well().await, Server::well().await).await;
    let mut start = place.start_of(0.5, ERRORS);
    start.candidate = vec![all_to(gone).routes[0].targets[0].clone()];
    place.tell(move |splits| splits.start("web", start)).await.expect("a split");
    let mut rolled_back = false;
    for _ in 0..400 {
        assert_eq!(place.ask(None).await.0, 200, "clients are served");
        rolled_back = place.status().await.rolled_back;
        if rolled_back {
            break;
        }
    }
    assert!(rolled_back);
    let blamed = |status: &SplitStatus| {
        let candidate = arm(status, SplitArm::Candidate);
        candidate.errors == candidate.requests
    };
    let status = place.until(blamed).await;
    let [baseline, candidate] =
        [SplitArm::Baseline, SplitArm::Candidate].map(|one| arm(&status, one));
    assert_eq!(baseline.errors, 0);
    assert_eq!(place.baseline.asked(), candidate.requests + baseline.requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_gets_as_much_as_the_candidate() {
    let place = Arc::new(Place::new(Server::well().await, Server::well().await).await);
    let control = Server::well().await;
    let start = StartSplit { control: vec![to(&control)], ..place.start_of(0.2, ERRORS) };
    place.tell(move |splits| splits.start("web", start)).await.expect("a split");
    place.ask_many(3_000, 8).await;
    for server in [&place.candidate, &control] {
        // Six standard deviations.
        assert!((468..=732).contains(&server.asked()), "{}", server.asked());
    }
    let compared = control.asked() + place.candidate.asked();
    let rest = [SplitLeftOut { cause: LeftOutCause::NotCompared, count: 3_000 - compared }];
    let units = |one: &Standing| one.units.iter().sum::<u64>() == compared;
    let all = |status: &SplitStatus| status.standing.as_ref().is_some_and(units);
    place.until(|status| status.left_out == rest && all(status)).await;
    let refused = place.tell(|splits| splits.weigh("web", 0.6)).await.expect_err("too much");
    assert!(refused.message.contains("from 0 to 0.5"), "{refused:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let place = Place::new(Server::well().await, Server::well().await).await;
    let check = async |change: &dyn Fn(&mut StartSplit), code, said: &str| {
        let mut start = place.start_of(0.1, ERRORS);
        change(&mut start);
        let refused = place.tell(move |splits| splits.start("web", start)).await.expect_err(said);
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(format!("{refused:?}").contains(said), "{refused:?}");
        assert!(!place.journal().exists(), "nothing is left");
    };
    use ErrorCode::{BadRequest, Conflict, Environment, NotFound};
    check(&|start| start.weight = 1.1, BadRequest, "a weight is from 0 to 1").await;
    check(&|start| start.weight = f64::NAN, BadRequest, "a weight is from 0 to 1").await;
    check(&|start| start.candidate.clear(), BadRequest, "one of a weight above 0").await;
    check(&|start| start.candidate[0].to = "x".to_owned(), BadRequest, "target").await;
    check(&|start| start.journal = "x".into(), BadRequest, "from / on").await;
    check(&|start| start.journal = "/nowhere/x".into(), Environment, "begin the journal").await;
    check(&|start| start.settings.metrics = Metrics::NONE, BadRequest, "without a metric").await;
    std::fs::write(place.journal(), "mine").expect("a file");
    let start = place.start_of(0.1, ERRORS);
    let refused = place.tell(move |splits| splits.start("web", start)).await.expect_err("a file");
    assert_eq!(refused.code, Environment, "{refused:?}");
    assert_eq!(std::fs::read(place.journal()).expect("the file"), b"mine");
    std::fs::remove_file(place.journal()).expect("removed");
    let start = place.start_of(0.1, ERRORS);
    let refused =
        place.tell(move |splits| splits.start("shop", start)).await.expect_err("no route");
    assert_eq!(refused.code, NotFound);
    for nobody in [
        place.tell(|splits| splits.weigh("web", 0.5)).await.map(drop),
        place.tell(|splits| splits.end("web", EndTo::Baseline)).await.map(drop),
        place.tell(|splits| splits.release("web")).await,
    ] {
        assert_eq!(nobody.expect_err("there is no split").code, NotFound);
    }

    place.start(0.1, ERRORS).await;
    let mut second = place.start_of(0.1, ERRORS);
    second.journal = place.dir.path().join("other.journal");
    let refused =
        place.tell(move |splits| splits.start("web", second)).await.expect_err("a second");
    assert!(refused.code == Conflict && refused.message.contains("rollout 7"), "{refused:?}");
    let assign = AssignTargets { targets: vec![to(&place.candidate)], rollout: 8 };
    let refused = place.tell(|splits| splits.assign("web", assign)).await.expect_err("split");
    assert_eq!(refused.code, Conflict);
    let aim = SetTargets { arm: SplitArm::Control, targets: vec![to(&place.candidate)] };
    let refused = place.tell(|splits| splits.aim("web", aim)).await.expect_err("no control");
    assert_eq!(refused.code, BadRequest);
}

/// A rollout that is refused a route must not end what the one before it has there.
#[tokio::test]
async fn whoever_names_its_rollout_changes_no_others_split() {
    let place = Place::new(Server::well().await, Server::well().await).await;
    let before = place.start(0.1, ERRORS).await;
    let of = |rollout| Which { route: "web", rollout: Some(rollout) };
    let aim = SetTargets { arm: SplitArm::Candidate, targets: vec![to(&place.baseline)] };
    for nobodys in [
        place.tell(move |splits| splits.weigh(of(8), 0.5)).await.map(drop),
        place.tell(move |splits| splits.aim(of(8), aim)).await.map(drop),
        place.tell(move |splits| splits.end(of(8), EndTo::Candidate)).await.map(drop),
    ] {
        let refused = nobodys.expect_err("it is another's");
        assert_eq!(refused.code, ErrorCode::NotFound);
        assert!(refused.message.contains("rollout 7's"), "{refused:?}");
    }
    assert_eq!(place.status().await.version, before.version);
    place.tell(move |splits| splits.weigh(of(7), 0.5)).await.expect("its own");
    place.tell(move |splits| splits.end(of(7), EndTo::Baseline)).await.expect("its own");
}

#[tokio::test]
async fn arms_are_aimed_elsewhere_and_a_split_ends_to_one_of_them() {
    let place = Place::new(Server::well().await, Server::well().await).await;
    let before = place.start(1.0, ERRORS).await;
    let second = Server::well().await;
    let aim = SetTargets { arm: SplitArm::Candidate, targets: vec![to(&second)] };
    let aimed = place.tell(move |splits| splits.aim("web", aim)).await.expect("targets");
    assert!(aimed.version > before.version);
    assert_eq!(place.ask(None).await.1, Some(second.at.to_string().into()));
    let ended = place.tell(|splits| splits.end("web", EndTo::Candidate)).await.expect("an end");
    assert_eq!(arm(&ended, SplitArm::Candidate).requests, 1);
    assert_eq!(place.ask(None).await.1, Some(second.at.to_string().into()));

    // The file of routes does not change it, until it is given back.
    let routes = || place.gateway.control.proxy.routes().setup().clone();
    let status = place.gateway.control.route(routes()).expect("routes");
    let managed = status[0].managed.clone().expect("somebody manages it");
    assert!(managed.assigned && managed.weight.is_none() && managed.rollout == 7);
    assert_eq!(place.ask(None).await.1, Some(second.at.to_string().into()));
    let mut without = routes();
    without.routes[0].name = "other".to_owned();
    let refused = place.gateway.control.route(without).expect_err("it is managed");
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("rollout 7"), "{refused:?}");
    place.tell(|splits| splits.release("web")).await.expect("a release");
    assert_eq!(place.ask(None).await.1, Some(place.baseline.at.to_string().into()));
    assert!(std::fs::read_dir(place.dir.path().join("splits")).unwrap().next().is_none());
}

#[tokio::test]
async fn a_route_without_targets_waits_for_some() {
    let place = Place::new(Server::well().await, Server::well().await).await;
    let mut empty = place.gateway.control.proxy.routes().setup().clone();
    empty.routes[0].targets.clear();
    place.gateway.control.route(empty).expect("routes");
    assert_eq!(place.ask(None).await.0, 503);
    let start = place.start_of(0.5, ERRORS);
    let refused =
        place.tell(move |splits| splits.start("web", start)).await.expect_err("no target");
    assert!(refused.message.contains("no target"), "{refused:?}");
    let assign = AssignTargets { targets: vec![to(&place.candidate)], rollout: 3 };
    place.tell(|splits| splits.assign("web", assign)).await.expect("targets");
    assert_eq!(place.ask(None).await.0, 200);
    let refused = place.tell(|splits| splits.release("web")).await.expect_err("there is none");
    assert!(refused.message.contains("no target"), "{refused:?}");
    assert_eq!(place.ask(None).await.0, 200);
    place.tell(|splits| splits.release_to_nothing("web")).await.expect("asked for");
    assert_eq!(place.ask(None).await.0, 503);
}

#[tokio::test]
async fn whoever_waits_is_told_of_a_change() {
    let place = Place::new(Server::well().await, Server::new(|_| Does::Answers(200)).await).await;
    let begun = place.start(0.1, ERRORS).await;
    let split = place.tell(|splits| splits.split("web")).await.expect("a split");
    let changed = tokio::spawn(split.changed_from(begun.version));
    place.tell(|splits| splits.weigh("web", 0.1)).await.expect("the same");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!changed.is_finished(), "the same weight is no change");
    let weighed = place.tell(|splits| splits.weigh("web", 0.2)).await.expect("a weight");
    tokio::time::timeout(crate::place::TIME_MAX, changed)
        .await
        .expect("it is told")
        .expect("no panic");
    assert!(weighed.version > begun.version && weighed.weight == 0.2);
}
