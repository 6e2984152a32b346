//! Routes, weights, sessions, health.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use umbra_gateway::proxy::Proxy;
use umbra_gateway::routes::setup::{EjectSetup, HealthSetup, StickySetup, TargetSetup};
use umbra_gateway::routes::{RouteSetup, Routes, RoutesSetup};
use umbra_gateway::upstream::Trust;

use crate::ask::get;
use crate::server::Server;
use crate::support::{all_to, gateway, listen};

pub(crate) fn route(name: &str, targets: &[(SocketAddr, f64)]) -> RouteSetup {
    let (first, _) = targets[0];
    let setup = all_to(first);
    let target = |(at, weight): &(SocketAddr, f64)| TargetSetup {
        to: at.to_string(),
        weight: *weight,
        send_proxy: None,
    };
    let targets = targets.iter().map(target).collect();
    RouteSetup { name: name.to_owned(), targets, ..setup.routes[0].clone() }
}

pub(crate) fn setup(routes: Vec<RouteSetup>) -> RoutesSetup {
    RoutesSetup { routes, secret: None }
}

async fn begin(routes: Vec<RouteSetup>) -> (SocketAddr, Arc<Proxy>) {
    let (at, front) = gateway(setup(routes)).await;
    (at, front.proxy())
}

fn change(proxy: &Proxy, routes: Vec<RouteSetup>) {
    let change = |before: &Routes| before.changed(setup(routes), &Trust::default());
    proxy.change_routes(change).expect("routes");
}

/// Who answers so many requests.
async fn who(at: SocketAddr, requests: usize) -> HashMap<String, usize> {
    let mut answered = HashMap::new();
    for _ in 0..requests {
        let answer = get(at, "/", &[]).await;
        let name = answer.text.split(' ').next().unwrap_or_default().to_owned();
        *answered.entry(name).or_default() += 1;
    }
    answered
}

#[tokio::test]
async fn the_first_route_that_matches_is_taken() {
    let (one, two) = (Server::new("one", None).await, Server::new("two", None).await);
    let api = RouteSetup { path: Some("/api".to_owned()), ..route("api", &[(two.at, 1.0)]) };
    let shop = RouteSetup { hosts: vec!["shop".to_owned()], ..route("shop", &[(one.at, 1.0)]) };
    let (at, _) = begin(vec![api, shop]).await;
    assert!(get(at, "/api/x", &[("host", "shop")]).await.text.starts_with("two"));
    assert!(get(at, "/", &[("host", "shop")]).await.text.starts_with("one"));
    let nobody = get(at, "/", &[("host", "other")]).await;
    assert_eq!((nobody.status.as_u16(), nobody.text.as_str()), (404, "nothing is served there\n"));
}

#[tokio::test]
async fn a_session_stays_until_weights_say_otherwise_and_never_goes_back() {
    let (old, new) = (Server::new("old", None).await, Server::new("new", None).await);
    let at_weight = |weight| {
        let targets = [(old.at, 100.0 - weight), (new.at, weight)];
        let sticky = Some(StickySetup::Cookie("seat".to_owned()));
        vec![RouteSetup { sticky, ..route("all", &targets) }]
    };
    let (at, proxy) = begin(at_weight(0.0)).await;
    let mut sessions = Vec::new();
    for _ in 0..40 {
        let first = get(at, "/", &[]).await;
        let cookie = first.cookie.expect("a new session is told of");
        sessions.push(cookie.split(';').next().expect("a pair").to_owned());
        assert!(first.text.starts_with("old"));
    }
    let mut moved = vec![false; sessions.len()];
    for weight in [5.0, 25.0, 50.0, 100.0] {
        change(&proxy, at_weight(weight));
        for (session, moved) in sessions.iter().zip(&mut moved) {
            let answer = get(at, "/", &[("cookie", session)]).await;
            assert_eq!(answer.cookie, None);
            let is_new = answer.text.starts_with("new");
            assert!(is_new || !*moved, "{session} went back at {weight}");
            *moved = is_new;
        }
    }
    assert!(moved.iter().all(|moved| *moved));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_change_under_load_and_no_request_sees_half_of_them() {
    let (one, two) = (Server::new("one", None).await, Server::new("two", None).await);
    // In each of both, host a and host b go to the same server.
    let to = |at| {
        let of =
            |host: &str| RouteSetup { hosts: vec![host.to_owned()], ..route(host, &[(at, 1.0)]) };
        vec![of("a"), of("b")]
    };
    let (at, proxy) = begin(to(one.at)).await;
    let over = Arc::new(AtomicBool::new(false));
    let clients = ["a", "b"].map(|host| {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let answer = get(at, "/", &[("host", host)]).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        })
    });
    for round in 0..50 {
        let now = if round % 2 == 0 { two.at } else { one.at };
        change(&proxy, to(now));
        for host in ["a", "b"] {
            let expected = if round % 2 == 0 { "two" } else { "one" };
            assert!(get(at, "/", &[("host", host)]).await.text.starts_with(expected));
        }
    }
    over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("every request is answered");
    }
}

#[tokio::test]
async fn one_that_cannot_be_reached_is_passed_over() {
    let server = Server::new("there", None).await;
    let (gone, listener) = listen().await;
    drop(listener);
    let (at, _) = begin(vec![route("all", &[(gone, 1.0), (server.at, 1.0)])]).await;
    assert_eq!(who(at, 20).await, HashMap::from([("there".to_owned(), 20)]));
}

#[tokio::test]
async fn one_that_fails_again_and_again_is_left_out() {
    let (good, bad) = (Server::new("good", None).await, Server::new("bad", None).await);
    bad.answers_with(500);
    let eject = Some(EjectSetup { failures: 3, for_ms: 60_000 });
    let targets = [(bad.at, 1.0), (good.at, 1.0)];
    let (at, _) = begin(vec![RouteSetup { eject, ..route("all", &targets) }]).await;
    let answered = who(at, 60).await;
    assert_eq!(answered.get("bad"), Some(&3), "{answered:?}");
}

#[tokio::test]
async fn one_that_is_unwell_is_not_asked_until_it_is_well() {
    let (steady, other) = (Server::new("steady", None).await, Server::new("other", None).await);
    let health =
        HealthSetup { path: "/up".to_owned(), every_ms: 10, timeout_ms: 1_000, rise: 2, fall: 2 };
    let targets = [(steady.at, 1.0), (other.at, 1.0)];
    let (at, proxy) =
        begin(vec![RouteSetup { health: Some(health), ..route("all", &targets) }]).await;
    for (status, well) in [(503, false), (200, true)] {
        other.answers_with(status);
        let until = Instant::now() + Duration::from_secs(10);
        while proxy.routes().all()[0].targets()[1].0.standing().0 != well {
            assert!(Instant::now() < until, "its health does not become {well}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(who(at, 30).await.contains_key("other"), well);
    }
    // Where nobody is well, production goes on all the same.
    steady.answers_with(503);
    other.answers_with(503);
    let until = Instant::now() + Duration::from_secs(10);
    while proxy.routes().all()[0].targets().iter().any(|(one, _)| one.standing().0) {
        assert!(Instant::now() < until, "they stay well");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(get(at, "/", &[]).await.text.contains("HTTP/1.1"));
}
