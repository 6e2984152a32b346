//! Load against real servers on loopback.

use super::*;
use crate::check::http::{Scheme, Tls};
use crate::target::DirTarget;
use crate::test_server::{LOOPBACK, Server, answer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

fn target() -> (tempfile::TempDir, DirTarget) {
    let dir = tempfile::tempdir().expect("tempdir");
    let target = DirTarget::new(dir.path()).expect("target").with_address(LOOPBACK);
    (dir, target)
}

fn load(port: u16, rate: f64, millis: u64, thresholds: &[&str]) -> LoadCheck {
    let endpoint = Endpoint { scheme: Scheme::Http, port, tls: Tls::Insecure };
    let mut check = LoadCheck::get(endpoint, "/", rate, Duration::from_millis(millis));
    check.thresholds = thresholds.iter().map(|text| text.parse().expect(text)).collect();
    check
}

fn run(check: &LoadCheck) -> Result<Outcome, ProbeError> {
    let (_dir, target) = target();
    look(check, &target, &Context::default(), Instant::now() + Duration::from_secs(30))
}

fn metric(outcome: &Outcome, name: &str) -> f64 {
    outcome.metrics.iter().find(|metric| metric.name == name).expect(name).value
}

fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    outcome.evidence.iter().map(|seen| seen.verdict).collect()
}

#[test]
fn users_are_served_and_connections_reused() {
    let server = Server::start(|_| answer(200, "ok"));
    let check = load(server.address.port(), 200.0, 1000, &["p(50)<1s", "errors<0.1%", "rate>50"]);
    let outcome = run(&check).expect("looked");
    assert_eq!(verdicts(&outcome), [Verdict::Pass; 3], "{:?}", outcome.evidence);
    assert_eq!(metric(&outcome, "requests"), 200.0);
    assert!(server.connections() < 100, "{} connections", server.connections());
    assert!(outcome.output.contains("p99"), "{}", outcome.output);
}

#[test]
fn a_stall_is_seen_by_everyone_who_should_have_been_served_meanwhile() {
    // One request in the middle holds the whole server for 300 ms. At 100 users a second
    // about 30 arrive meanwhile; a closed loop would measure one slow request.
    let count = AtomicU64::new(0);
    let gate = Mutex::new(());
    let server = Server::start(move |_| {
        let _held = gate.lock().expect("gate");
        if count.fetch_add(1, Ordering::SeqCst) == 50 {
            std::thread::sleep(Duration::from_millis(300));
        }
        answer(200, "ok")
    });
    let outcome = run(&load(server.address.port(), 100.0, 1500, &["max<1s"])).expect("looked");
    assert_eq!(metric(&outcome, "requests"), 150.0, "{}", outcome.output);
    assert!(metric(&outcome, "p90") > 50.0, "{}", outcome.output);
    assert!(metric(&outcome, "max") >= 299.0, "{}", outcome.output);
}

#[test]
fn bad_answers_fail_even_without_a_threshold_about_errors() {
    let server = Server::start(|_| answer(503, "busy"));
    let outcome = run(&load(server.address.port(), 100.0, 300, &["p(50)<1s"])).expect("looked");
    assert_eq!(verdicts(&outcome), [Verdict::Pass, Verdict::Fail]);
    assert!(outcome.evidence[1].seen.contains("30 x GET /: status 503"), "{:?}", outcome.evidence);
}

#[test]
fn a_server_that_is_down_fails_and_percentiles_say_nothing() {
    let port = Server::start(|_| answer(200, "")).address.port();
    let outcome = run(&load(port, 100.0, 200, &["p(50)<1s"])).expect("looked");
    assert_eq!(verdicts(&outcome), [Verdict::Inconclusive, Verdict::Fail]);
    assert!(outcome.evidence[1].seen.contains("no connection"), "{:?}", outcome.evidence);
}

#[test]
fn users_beyond_the_bound_are_dropped_and_counted() {
    let silent = std::net::TcpListener::bind((LOOPBACK, 0)).expect("bind");
    let mut check = load(silent.local_addr().expect("address").port(), 100.0, 300, &[]);
    check.in_flight_max = 5;
    check.request_timeout = Duration::from_secs(1);
    let outcome = run(&check).expect("looked");
    assert_eq!(metric(&outcome, "dropped"), 25.0, "{}", outcome.output);
    assert_eq!(metric(&outcome, "requests"), 5.0);
    assert_eq!(metric(&outcome, "errors"), 100.0);
    assert_eq!(verdicts(&outcome), [Verdict::Fail]);
}

#[test]
fn journeys_and_warm_up() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let server = Server::start(move |asked| {
        log.lock().expect("log").push(asked.path);
        answer(200, "ok")
    });
    let mut check = load(server.address.port(), 50.0, 400, &[]);
    check.arrival = Arrival::Poisson;
    check.warm_up = Duration::from_millis(400);
    let buy = LoadStep {
        think: Duration::from_millis(5),
        ..LoadStep::new(HttpRequest { method: "POST".into(), ..HttpRequest::get("/buy") })
    };
    let steps = vec![LoadStep::new(HttpRequest::get("/")), buy];
    check.scenario = vec![Journey { name: "buyer".into(), weight: 1, steps }];
    let outcome = run(&check).expect("looked");
    let seen = seen.lock().expect("log");
    let (browse, buy) = (
        seen.iter().filter(|path| *path == "/").count(),
        seen.iter().filter(|path| *path == "/buy").count(),
    );
    assert_eq!(browse, buy);
    let counted = metric(&outcome, "requests");
    assert!(counted > 0.0 && counted < seen.len() as f64, "{counted} of {}", seen.len());
}

#[test]
fn what_one_answer_holds_goes_into_later_requests() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let server = Server::start(move |asked| {
        log.lock().expect("log").push(asked.path.clone());
        answer(200, if asked.path == "/new" { r#"{"data": {"id": "a/7"}}"# } else { "ok" })
    });
    let mut check = load(server.address.port(), 50.0, 200, &[]);
    let from = Place::Json("data.id".parse().expect("a path"));
    let new = LoadStep {
        extract: vec![Extract { name: "id".into(), from }],
        ..LoadStep::new(HttpRequest::get("/new"))
    };
    let steps = vec![new, LoadStep::new(HttpRequest::get("/things/${id}?full"))];
    check.scenario = vec![Journey { name: "buyer".into(), weight: 1, steps }];
    let outcome = run(&check).expect("looked");
    assert_eq!(verdicts(&outcome), [Verdict::Pass], "{:?}", outcome.evidence);
    let count = |path: &str| seen.lock().expect("log").iter().filter(|one| *one == path).count();
    assert_eq!((count("/new"), count("/things/a%2F7?full")), (10, 10));

    check.scenario[0].steps[0].extract[0].from = Place::Header("x-id".into());
    let outcome = run(&check).expect("looked");
    assert_eq!(verdicts(&outcome), [Verdict::Fail]);
    let said = &outcome.evidence[0].seen;
    assert!(said.contains("GET /new: nothing to take as id at x-id"), "{said}");
}

#[test]
fn cancelling_and_the_time_limit_end_it() {
    let server = Server::start(|_| answer(200, "ok"));
    let check = load(server.address.port(), 100.0, 60_000, &["p(50)<1s"]);
    let (_dir, target) = target();
    let cancel = AtomicBool::new(true);
    let context = Context { cancel: Some(&cancel), ..Context::default() };
    let deadline = Instant::now() + Duration::from_secs(30);
    let cancelled = look(&check, &target, &context, deadline);
    assert!(matches!(cancelled, Err(ProbeError::Cancelled)), "{cancelled:?}");
    let soon = Instant::now() + Duration::from_millis(300);
    let outcome = look(&check, &target, &Context::default(), soon).expect("looked");
    assert_eq!(outcome.evidence.last().map(|seen| seen.subject.as_str()), Some("time limit"));
    assert_eq!(outcome.evidence.last().map(|seen| seen.verdict), Some(Verdict::Fail));
}

#[test]
fn without_users_nothing_is_known() {
    let server = Server::start(|_| answer(200, "ok"));
    let mut check = load(server.address.port(), 0.5, 100, &["p(50)<1s"]);
    check.arrival = Arrival::Poisson;
    let outcome = run(&check).expect("looked");
    assert!(outcome.evidence.iter().all(|seen| seen.verdict == Verdict::Inconclusive));
    check.rate = f64::NAN;
    assert!(matches!(run(&check), Err(ProbeError::Malformed { .. })));
}
