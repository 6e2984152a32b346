//! What another gateway goes on with.

use std::sync::Arc;

use umbra_gateway::proxy::{Proxy, Rules};
use umbra_gateway::routes::Routes;
use umbra_gateway::routes::setup::{RoutesSetup, StickySetup};
use umbra_gateway::split::splits::Place as Splits;
use umbra_gateway::split::wire::{EndTo, SplitArm};
use umbra_gateway::upstream::Trust;
use umbra_judge::journal::replay::replay;

use crate::place::{ERRORS, Place, arm, to};
use crate::server::{Does, Server};

/// The splits of a gateway that begins where this one's are kept.
async fn successor(place: &Place) -> Splits {
    successor_with(place, place.gateway.control.proxy.routes().setup().clone()).await
}

/// The same, with other routes.
async fn successor_with(place: &Place, setup: RoutesSetup) -> Splits {
    let trust = Trust::default();
    let proxy = Arc::new(Proxy::new(Routes::new(setup, &trust).expect("routes"), Rules::default()));
    proxy.splits().keep_beside(&place.dir.path().join("gateway.sock"));
    let splits = Splits { proxy, trust };
    let resumed = splits.clone();
    tokio::task::spawn_blocking(move || resumed.resume()).await.expect("no panic");
    splits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_goes_on_where_it_was_left() {
    let place = Arc::new(Place::new(Server::well().await, Server::well().await).await);
    place.start(0.2, ERRORS).await;
    place.tell(|splits| splits.weigh("web", 0.4)).await.expect("a weight");
    place.ask_many(1_000, 8).await;
    let all = |status: &umbra_gateway::split::wire::SplitStatus| {
        status.standing.as_ref().is_some_and(|one| one.units.iter().sum::<u64>() == 1_000)
    };
    let before = place.until(all).await;
    place.leave().await;
    let refused = place.tell(|splits| splits.weigh("web", 0.5)).await.expect_err("left");
    assert!(refused.message.contains("successor"), "{refused:?}");

    let splits = successor(&place).await;
    let split = splits.split("web").expect("a split");
    let until = std::time::Instant::now() + crate::place::TIME_MAX;
    let after = loop {
        let status = splits.status(&split).expect("a split");
        if status.standing.is_some() {
            break status;
        }
        assert!(std::time::Instant::now() < until, "{status:?}");
        tokio::task::yield_now().await;
    };
    assert_eq!((after.weight, after.rollout), (0.4, 7));
    assert!(after.version > before.version);
    let (before, after) = (before.standing.expect("one"), after.standing.expect("one"));
    assert_eq!(before.log_e.to_bits(), after.log_e.to_bits());
    assert_eq!(before.units, after.units);
    let status = splits.status(&split).expect("a split");
    let requests: u64 = status.arms.iter().map(|arm| arm.requests).sum();
    assert_eq!((requests, status.journal.problem), (1_000, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_comes_to_nothing_changes_nothing() {
    let bad = Server::new(|_| Does::Answers(500)).await;
    let place = Arc::new(Place::new(Server::well().await, bad).await);
    place.start(0.1, ERRORS).await;
    place.leave().await;
    // What comes meanwhile is judged later.
    place.ask_many(400, 8).await;
    assert!(!place.status().await.rolled_back);
    place.stay().await;
    let status = place.until(|status| status.rolled_back).await;
    assert!(status.journal.problem.is_none(), "{status:?}");
    place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
    let replayed = replay(&std::fs::read(place.journal()).expect("one")).expect("a journal");
    assert!(replayed.trial.is_worse() && replayed.different == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rolled_back_stays_so_and_a_torn_journal_is_read() {
    let bad = Server::new(|_| Does::Answers(500)).await;
    let place = Arc::new(Place::new(Server::well().await, bad).await);
    place.start(0.1, ERRORS).await;
    place.ask_until_rolled_back(5_000).await;
    place.leave().await;
    let mut journal = std::fs::read(place.journal()).expect("a journal");
    journal.extend([3, 0, 0, 0, 7]);
    std::fs::write(place.journal(), &journal).expect("written");

    let splits = successor(&place).await;
    let split = splits.split("web").expect("a split");
    let status = splits.status(&split).expect("a split");
    assert!(status.rolled_back && status.weight == 0.0 && status.worse.is_some());
    let until = std::time::Instant::now() + crate::place::TIME_MAX;
    while splits.status(&split).expect("a split").standing.is_none() {
        assert!(std::time::Instant::now() < until);
        tokio::task::yield_now().await;
    }
    let length = std::fs::metadata(place.journal()).expect("a journal").len();
    assert_eq!(length, journal.len() as u64 - 5);
    assert!(splits.weigh("web", 0.1).is_err());
    let status = splits.status(&split).expect("a split");
    assert!(arm(&status, SplitArm::Candidate).errors > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_journal_production_goes_on_all_the_same() {
    let place = Arc::new(Place::new(Server::well().await, Server::well().await).await);
    place.start(0.3, ERRORS).await;
    place.leave().await;
    std::fs::remove_file(place.journal()).expect("removed");
    let splits = successor(&place).await;
    let split = splits.split("web").expect("a split");
    let until = std::time::Instant::now() + crate::place::TIME_MAX;
    while splits.status(&split).expect("a split").journal.problem.is_none() {
        assert!(std::time::Instant::now() < until);
        tokio::task::yield_now().await;
    }
    assert_eq!(splits.status(&split).expect("a split").weight, 0.3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_that_cannot_be_gone_on_with_leaves_what_was_in_production() {
    let place = Place::new(Server::well().await, Server::well().await).await;
    place.start(1.0, ERRORS).await;
    place.tell(|splits| splits.end("web", EndTo::Candidate)).await.expect("an end");
    let second = Server::well().await;
    let mut start = place.start_of(0.5, ERRORS);
    (start.candidate, start.journal) = (vec![to(&second)], place.dir.path().join("second"));
    place.tell(move |splits| splits.start("web", start)).await.expect("a split");
    place.leave().await;

    let plain = place.gateway.control.proxy.routes().setup().clone();
    let mut sticky = plain.clone();
    sticky.routes[0].sticky = Some(StickySetup::Header("x-user".to_owned()));
    // Nor does it come back once the file is as it was.
    for setup in [sticky, plain] {
        let splits = successor_with(&place, setup).await;
        assert!(splits.split("web").is_err());
        let routes = splits.proxy.routes();
        let targets: Vec<String> = routes.all()[0]
            .targets()
            .iter()
            .map(|(one, _)| one.upstream().target().to_string())
            .collect();
        assert_eq!(targets, [place.candidate.at.to_string()], "not the file's");
    }
}
