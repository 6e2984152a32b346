//! `umbra capture` and `umbra replay` as they are typed: what curl asks a gateway is kept,
//! converted and asked again.

#![allow(clippy::unwrap_used)]

#[path = "../support/gateway.rs"]
mod support;
mod target;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use support::{Gateway, good, server, umbra};
use target::{Asked, Target};

fn json(state: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    serde_json::from_str(&good(&umbra(state, &arguments))).unwrap()
}

/// What a replay showed. On a busy machine its schedule may not have been kept, which is never a
/// pass; everything else is as it should be.
#[track_caller]
fn report(state: &Path, arguments: &[&str]) -> Value {
    let output = umbra(state, &[&["--json", "replay"], arguments].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let on_time = report["lag"]["p99_us"].as_u64().unwrap() <= 1000;
    let (verdict, code) = if on_time { ("pass", 0) } else { ("inconclusive", 4) };
    assert_eq!(
        (&report["verdict"], output.status.code()),
        (&verdict.into(), Some(code)),
        "{report}"
    );
    report
}

/// Asks a few things of which some are secret, all on one connection.
fn ask(gateway: &Gateway) {
    let url = |path: &str| format!("http://{}{path}", gateway.at);
    let output = std::process::Command::new("curl")
        .args(["-sS", "-H", "Authorization: Bearer s3cret", "-b", "sid=s3cret; theme=dark"])
        .args([&url("/one?key=s3cret&page=1"), "--next", "-sS"])
        .args(["-H", "Authorization: Bearer s3cret", "-H", "Content-Type: application/json"])
        .args(["-d", r#"{"user":{"password":"s3cret","name":"ann"}}"#, &url("/two")])
        .args(["--next", "-sS", "-d", "not json, s3cret", &url("/three")])
        .output()
        .expect("curl: apt-get install curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const START: [&str; 8] = [
    "capture",
    "start",
    "--answers",
    "--redact-query",
    "key",
    "--redact-json",
    "user.password",
    "--pack",
];

#[test]
fn what_is_asked_is_kept_redacted_and_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let path = |name: &str| state.join(name).display().to_string();
    let gateway = Gateway::start(state, server("production"), &[]);
    let file = path("one.capture");
    let start = || umbra(state, &[&START[..], &[&file]].concat());
    assert!(good(&start()).starts_with("100 % of the requests are captured to "));
    assert_eq!(start().status.code(), Some(2), "one of this name is in force");
    ask(&gateway);
    let status = json(state, &["capture", "status"]);
    assert_eq!((&status[0]["seen"], &status[0]["over"]), (&3.into(), &Value::Null));
    let stopped = json(state, &["capture", "stop"]);
    let counted = &stopped["counted"];
    assert_eq!((&counted["eligible"], &counted["captured"]), (&3.into(), &3.into()));
    // The body that is not JSON, and three answers.
    assert_eq!(counted["bodies_dropped"], 4);
    assert_eq!(umbra(state, &["capture", "stop"]).status.code(), Some(2));
    assert_eq!(start().status.code(), Some(2), "the file is there");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    for name in ["one.har", "one.gor", "plain.capture"] {
        good(&umbra(state, &["capture", "convert", &file, &path(name)]));
        let text = fs::read(state.join(name)).unwrap();
        assert!(!contains(&text, "s3cret") && contains(&text, "redacted-"), "{name}");
        let shown = json(state, &["capture", "show", &path(name)]);
        let targets: Vec<&str> = shown["first"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["target"].as_str().unwrap())
            .collect();
        assert!(targets[0].starts_with("/one?key=redacted-"), "{targets:?}");
        assert_eq!(targets[1..], ["/two", "/three"]);
        assert_eq!(shown["answered"], 3, "{name}");
        replayed(state, &path(name), name != "one.gor");
    }
    replayed(state, &file, true);
}

fn contains(text: &[u8], what: &str) -> bool {
    text.windows(what.len()).any(|window| window == what.as_bytes())
}

/// What was captured comes again, in order if there are sessions.
#[track_caller]
fn replayed(state: &Path, file: &str, in_order: bool) {
    let target = Target::start();
    let marker = json(state, &["capture", "show", file])["first"][0]["target"].as_str().unwrap()
        ["/one?key=".len()..]
        .trim_end_matches("&page=1")
        .to_owned();
    let rewrite = format!("{marker}=token");
    let report = report(
        state,
        &[
            file,
            "--to",
            &target.at,
            "--speed",
            "10",
            "--allow-writes",
            "--host",
            "new.example",
            "--set-header",
            "X-Extra: 1",
            "--rewrite-token",
            &rewrite,
            "--threshold",
            "errors<=0%",
        ],
    );
    // The third has no body any more.
    assert_eq!((&report["read"], &report["sent"]), (&3.into(), &2.into()), "{report}");
    assert_eq!(report["skipped"], serde_json::json!({"cut": 1}));
    assert_eq!(report["statuses"]["compared"], 2);
    assert_eq!(report["errors"], serde_json::json!({}));
    let mut asked = target.asked();
    if !in_order {
        asked.sort_by_key(|one| one.line.clone());
    }
    let [one, two] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(one.line, "GET /one?key=token&page=1 HTTP/1.1");
    assert_eq!(two.line, "POST /two HTTP/1.1");
    for Asked { headers, .. } in &asked {
        let has = |line: &str| headers.iter().any(|one| one.eq_ignore_ascii_case(line));
        assert!(has("host: new.example") && has("x-extra: 1"), "{headers:?}");
        assert!(headers.iter().any(|one| one.contains("Bearer ")), "{headers:?}");
        assert!(
            !headers.iter().any(|one| one.contains("s3cret") || one.starts_with("x-forwarded"))
        );
    }
    let cookie = one.headers.iter().find(|line| line.starts_with("cookie: sid=")).unwrap();
    // Equal secrets have equal markers, and stand for the same token then.
    assert!(cookie.starts_with("cookie: sid=token; theme=redacted-"), "{cookie}");
    let body: Value = serde_json::from_slice(&two.body).unwrap();
    assert_eq!(body["user"]["name"], "ann");
    assert_eq!(body["user"]["password"], "token");
}

#[test]
fn writes_are_not_sent_and_what_fails_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let gor = state.join("one.gor");
    let request = |method: &str, at: u64, body: &str| {
        let length = body.len();
        format!(
            "1 {at} {} 0\n{method} /a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}\n🐵🙈🙉\n",
            at * 1_000_000
        )
    };
    fs::write(&gor, request("GET", 1, "") + &request("DELETE", 2, "") + &request("POST", 3, "x"))
        .unwrap();
    let gor = gor.display().to_string();
    let target = Target::start();
    let report = report(state, &[&gor, "--to", &target.at]);
    assert_eq!((&report["sent"], &report["skipped"]["write"]), (&1.into(), &2.into()));
    assert_eq!(target.asked().len(), 1);

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed = umbra(state, &["replay", &gor, "--to", &closed.to_string()]);
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("no connection"));
    let none = umbra(state, &["replay", &gor, "--to", &target.at, "--methods", "PUT"]);
    assert_eq!(none.status.code(), Some(4), "nothing was sent");

    for bad in [
        &["replay", &gor, "--to", "nowhere"][..],
        &["replay", &gor, "--to", &target.at, "--speed", "0"],
        &["replay", &gor, "--to", &target.at, "--threshold", "p99<1s"],
        &["replay", &gor, "--to", &target.at, "--set-header", "Content-Length: 1"],
        &["capture", "show", "/dev/null"],
        &["capture", "show", &gor, "--format", "har"],
    ] {
        let refused = umbra(state, bad);
        assert_eq!(refused.status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn a_gateway_that_goes_down_ends_its_captures_and_one_that_dies_leaves_what_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    for (signal, whole) in
        [(rustix::process::Signal::TERM, true), (rustix::process::Signal::KILL, false)]
    {
        let mut gateway = Gateway::start(state, server("production"), &[]);
        let file = state.join(format!("{whole}.capture"));
        let file = file.display().to_string();
        good(&umbra(state, &["capture", "start", &file]));
        assert_eq!(gateway.ask(&[]), "production");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while json(state, &["capture", "status"])[0]["counted"]["captured"] != 1 {
            assert!(std::time::Instant::now() < until);
        }
        let pid = i32::try_from(gateway.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.unwrap(), signal).unwrap();
        gateway.process.wait().unwrap();
        let shown = json(state, &["capture", "show", &file]);
        assert_eq!(shown["exchanges"], 1, "{shown}");
        assert_eq!(shown["cut"].is_null(), whole, "{shown}");
        if !whole {
            fs::remove_file(state.join("gateway.sock")).unwrap();
        }
    }
}

#[test]
fn users_are_learned_from_a_capture_and_simulated() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let path = |name: &str| state.join(name).display().to_string();
    let entry = |at: u32, connection: u32, method: &str, url: &str, answer: &str| {
        serde_json::json!({
            "startedDateTime": format!("2026-01-02T03:04:{at:02}Z"), "connection": connection.to_string(),
            "request": {"method": method, "url": format!("http://a{url}"), "headers": []},
            "response": {"status": 200, "headers": [], "content": {"text": answer}},
            "timings": {"send": 0, "wait": 1},
        })
    };
    let user = |n: u32| {
        let id = format!("order-{n}{n}{n}");
        let order = format!(r#"{{"id":"{id}"}}"#);
        [entry(n, n, "GET", "/new", &order), entry(n, n, "GET", &format!("/orders/{id}"), "")]
    };
    let entries: Vec<Value> = (1..=3).flat_map(user).collect();
    let har = serde_json::json!({"log": {"version": "1.2", "entries": entries}});
    fs::write(state.join("a.har"), har.to_string()).unwrap();
    let learned = json(state, &["capture", "learn", &path("a.har"), "-o", &path("a.yaml")]);
    assert_eq!((&learned["sessions"], &learned["used"]), (&3.into(), &3.into()), "{learned}");
    assert_eq!(learned["journeys"].as_array().unwrap().len(), 1);
    let again = umbra(state, &["capture", "learn", &path("a.har"), "-o", &path("a.yaml")]);
    assert_eq!(again.status.code(), Some(2), "the file is there");

    let target = Target::answering(r#"{"id":"fresh/7"}"#);
    let scenario = path("a.yaml");
    let run = ["replay", &scenario, "--to", &target.at, "--rate", "50", "--duration", "0.4"];
    assert_eq!(umbra(state, &run[..6]).status.code(), Some(2), "without a duration");
    let report = json(state, &run);
    assert_eq!(report["verdict"], "pass", "{report}");
    let asked = target.asked();
    let count = |line: &str| asked.iter().filter(|one| one.line == line).count();
    let (new, orders) = (count("GET /new HTTP/1.1"), count("GET /orders/fresh%2F7 HTTP/1.1"));
    assert!(new > 0 && new == orders && new + orders == asked.len(), "{asked:?}");
}
