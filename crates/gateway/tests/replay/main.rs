//! What a replay sends, when, and what it says of it: against servers that take their time.

mod server;

use std::sync::Arc;
use std::time::Duration;

use server::Server;
use umbra_gateway::capture::file::{Tally, Writer};
use umbra_gateway::capture::{Answered, Asked, Exchange, Kept, Source};
use umbra_gateway::replay::{Plan, Progress, Report, Rewrite, run};
use umbra_state::Verdict;

const TIMEOUT: Duration = Duration::from_secs(5);

fn get(session: u64, at_ms: u64, target: &str) -> Exchange {
    let request = Asked {
        method: "GET".into(),
        target: target.into(),
        headers: vec![("Host".into(), "a".into())],
        body: Kept::default(),
    };
    let answer = Answered { status: 200, after_us: 1, headers: Vec::new(), body: Kept::default() };
    Exchange { began_us: 1_000_000 + at_ms * 1000, session, request, answer: Some(answer) }
}

fn plan(server: &Server) -> Plan {
    Plan {
        to: server.at,
        speed: 1.0,
        ordered: true,
        rewrite: Rewrite::default(),
        limit: None,
        duration: None,
        in_flight_max: 100,
        timeout: TIMEOUT,
        thresholds: Vec::new(),
    }
}

fn captured(all: &[Exchange], pack: bool) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), pack).expect("memory");
    all.iter().for_each(|one| writer.put(one).expect("it fits"));
    writer.finish(Tally::default()).expect("memory")
}

fn replay_of(capture: &[u8], plan: &Plan) -> Report {
    let mut source = Source::new(capture, None).expect("a capture");
    run(&mut source, plan, &Arc::new(Progress::default())).expect("a replay")
}

/// Of all of them: what is read is sent, or told.
fn replay(all: &[Exchange], plan: &Plan) -> Report {
    let report = replay_of(&captured(all, false), plan);
    let skipped: u64 = report.skipped.values().sum();
    assert_eq!(report.sent + report.dropped + skipped, report.read, "{report:?}");
    report
}

#[test]
fn a_session_waits_for_its_answers_and_others_do_not() {
    let all = [get(1, 0, "/slow"), get(1, 20, "/after"), get(2, 10, "/other"), get(2, 30, "/more")];
    let server = Server::start();
    let report = replay(&all, &plan(&server));
    let asked = server.asked();
    assert_eq!(asked.last().map(String::as_str), Some("/after"), "{asked:?}");
    assert!(
        asked.iter().position(|one| one == "/other") < asked.iter().position(|one| one == "/more")
    );
    assert_eq!((report.sent, report.answered, report.waited.count), (4, 4, 1));
    // 300 ms, less the 20 by which it comes later.
    assert!((200_000..5_000_000).contains(&report.waited.max_us), "{:?}", report.waited);
    assert_eq!((report.statuses.compared, report.statuses.differing), (4, 0));

    let server = Server::start();
    let report = replay(&all, &Plan { ordered: false, ..plan(&server) });
    assert_eq!((report.sent, report.waited.count), (4, 0));
}

#[test]
fn a_stall_is_in_the_latency_of_what_waited_for_it() {
    let all: Vec<Exchange> = ["/slow", "/a", "/b", "/c", "/d"]
        .iter()
        .enumerate()
        .map(|(index, target)| get(1, index as u64, target))
        .collect();
    let server = Server::start();
    let report = replay(&all, &plan(&server));
    assert!(report.corrected.p50_us >= 250_000, "{:?}", report.corrected);
    assert!(report.raw.p50_us < report.corrected.p50_us, "{:?}", report.raw);
}

#[test]
fn spacing_is_kept_and_scaled_and_the_order_is_that_of_the_clients() {
    // As a capture has them: in the order in which they were over.
    let all = [get(1, 400, "/c"), get(2, 0, "/a"), get(3, 200, "/b")];
    for (speed, ms) in [(1.0, 400), (4.0, 100)] {
        let server = Server::start();
        let report = replay(&all, &Plan { speed, ..plan(&server) });
        assert_eq!(server.asked(), ["/a", "/b", "/c"]);
        let elapsed = report.elapsed_us / 1000;
        assert!((ms..ms + 2_000).contains(&elapsed), "{elapsed} ms at {speed}");
    }
    let server = Server::start();
    let plan = Plan { limit: Some(2), duration: Some(Duration::from_millis(100)), ..plan(&server) };
    let report = replay_of(&captured(&all[..2], true), &plan);
    assert_eq!((report.sent, server.asked()), (1, vec!["/a".to_owned()]));
}

#[test]
fn what_finds_no_room_is_dropped_and_what_fails_is_told() {
    let all: Vec<Exchange> = (0..10).map(|n| get(n, 0, "/slow")).collect();
    let server = Server::start();
    let report = replay(&all, &Plan { in_flight_max: 3, ..plan(&server) });
    assert_eq!((report.sent, report.dropped), (3, 7), "{report:?}");
    assert_eq!(report.verdict, Verdict::Fail, "dropped requests are errors");

    let server = Server::start();
    let hasty = Plan { timeout: Duration::from_millis(50), ..plan(&server) };
    let report = replay(&[get(1, 0, "/slow"), get(2, 0, "/error"), get(3, 0, "/break")], &hasty);
    let told: Vec<&String> = report.errors.keys().collect();
    for part in ["GET /slow: no answer within", "GET /error: status 500", "GET /break: no HTTP"] {
        assert!(told.iter().any(|one| one.contains(part)), "{part}: {told:?}");
    }
    assert_eq!(report.statuses.pairs.get("200 -> 500"), Some(&1));
    assert_eq!(report.verdict, Verdict::Fail);
}

#[test]
fn a_damaged_capture_is_sent_so_far_and_is_no_pass() {
    let mut bytes = captured(&[get(1, 0, "/a"), get(1, 1, "/b")], false);
    let at = bytes.len() - 80;
    bytes[at] ^= 1;
    let server = Server::start();
    let report = replay_of(&bytes, &plan(&server));
    assert_eq!((server.asked(), report.sent), (vec!["/a".to_owned()], 1));
    assert!(report.broken.as_deref().is_some_and(|why| why.contains("record 2")), "{report:?}");
    assert_eq!(report.verdict, Verdict::Inconclusive);
}
