//! The check against real servers on loopback.

use super::*;
use crate::pattern::Pattern;
use crate::target::DirTarget;
use crate::test_server::{Answer, Asked, LOOPBACK, Server, answer};
use umbra_state::Verdict;

struct Rig {
    dir: tempfile::TempDir,
    target: DirTarget,
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().expect("tempdir");
    let target = DirTarget::new(dir.path()).expect("target").with_address(LOOPBACK);
    Rig { dir, target }
}

fn get(server: &Server, path: &str) -> HttpCheck {
    let tls = Tls::Verify { ca_file: None };
    HttpCheck {
        endpoint: Endpoint { scheme: Scheme::Http, port: server.address.port(), tls },
        request: HttpRequest::get(path),
        redirects_max: 0,
        expect: HttpExpect::default(),
    }
}

fn run(check: &HttpCheck, target: &DirTarget) -> Result<Outcome, ProbeError> {
    look(check, target, Instant::now() + Duration::from_secs(10))
}

fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    outcome.evidence.iter().map(|seen| seen.verdict).collect()
}

fn site(asked: Asked) -> Answer {
    match asked.path.as_str() {
        "/" => {
            let mut page = answer(200, "<h1>Welcome</h1>");
            page.headers_mut().insert("x-a", "one".parse().expect("value"));
            page.headers_mut().append("x-a", "two".parse().expect("value"));
            page
        }
        "/json" => answer(200, r#"{"status":{"items":[1,"zwei"]}}"#),
        "/echo" => answer(
            200,
            [asked.method.as_bytes(), b" ", &asked.host.into_bytes(), b" ", &asked.body].concat(),
        ),
        "/big" => answer(200, vec![b'x'; 5000]),
        "/moved" => {
            let mut moved = answer(302, "");
            moved.headers_mut().insert("location", "/echo".parse().expect("value"));
            moved
        }
        "/loop" => {
            let mut moved = answer(302, "");
            moved.headers_mut().insert("location", "/loop".parse().expect("value"));
            moved
        }
        _ => answer(502, "bad\x1b[2Jgateway"),
    }
}

#[test]
fn status_headers_and_body_are_judged() {
    let (server, rig) = (Server::start(site), rig());
    let mut check = get(&server, "/");
    check.expect.headers = vec![
        ("X-A".into(), TextMatch::Exact("two".into())),
        ("x-b".into(), TextMatch::Contains("".into())),
    ];
    check.expect.body = vec![
        TextMatch::Contains("Welcome".into()),
        TextMatch::Matches(Pattern::new("^<h2>").expect("pattern")),
    ];
    check.expect.latency_max = Some(Duration::from_secs(10));
    let outcome = run(&check, &rig.target).expect("looked");
    use Verdict::{Fail, Pass};
    assert_eq!(verdicts(&outcome), [Pass, Pass, Fail, Pass, Fail, Pass]);
    assert_eq!(outcome.evidence[2].seen, "not there");
    assert_eq!(outcome.metrics[0].name, "latency");
}

#[test]
fn a_bad_status_is_a_failure_and_its_body_is_shown_escaped() {
    let (server, rig) = (Server::start(site), rig());
    let outcome = run(&get(&server, "/nowhere"), &rig.target).expect("looked");
    assert_eq!(verdicts(&outcome), [Verdict::Fail]);
    assert_eq!(outcome.evidence[0].seen, "status 502");
    assert_eq!(outcome.output, "bad\\u{1b}[2Jgateway");
    let mut expected = get(&server, "/nowhere");
    expected.expect.status = vec![404, 502];
    assert_eq!(verdicts(&run(&expected, &rig.target).expect("looked")), [Verdict::Pass]);
}

#[test]
fn json_values_are_compared() {
    let (server, rig) = (Server::start(site), rig());
    let mut check = get(&server, "/json");
    let expect = |path: &str, equals| JsonExpect { path: path.parse().expect(path), equals };
    check.expect.json =
        vec![expect("$.status.items[1]", "zwei".into()), expect("$.status.items[0]", 2.into())];
    let outcome = run(&check, &rig.target).expect("looked");
    assert_eq!(verdicts(&outcome), [Verdict::Pass, Verdict::Pass, Verdict::Fail]);
    check.request.path = "/".into();
    let outcome = run(&check, &rig.target).expect("looked");
    assert_eq!(outcome.evidence.last().map(|seen| seen.verdict), Some(Verdict::Fail));
}

#[test]
fn method_host_and_body_arrive() {
    let (server, rig) = (Server::start(site), rig());
    let mut check = get(&server, "/echo");
    check.request.method = "PUT".into();
    check.request.host = Some("www.example.org".into());
    check.request.body = b"payload".to_vec();
    let port = server.address.port();
    check.expect.body = vec![TextMatch::Exact(format!("PUT www.example.org:{port} payload"))];
    assert_eq!(
        verdicts(&run(&check, &rig.target).expect("looked")),
        [Verdict::Pass, Verdict::Pass]
    );
}

#[test]
fn bodies_are_bounded() {
    let (server, rig) = (Server::start(site), rig());
    let mut check = get(&server, "/big");
    check.expect.body_bytes_max = 1000;
    check.expect.body = vec![TextMatch::Contains("y".into())];
    let outcome = run(&check, &rig.target).expect("looked");
    assert!(
        outcome.evidence[1].seen.starts_with("1000 bytes, of which only the beginning was read")
    );
}

#[test]
fn redirects_are_followed_as_far_as_allowed() {
    let (server, rig) = (Server::start(site), rig());
    let mut check = get(&server, "/moved");
    check.expect.status = vec![302];
    assert_eq!(verdicts(&run(&check, &rig.target).expect("looked")), [Verdict::Pass]);
    check.redirects_max = 3;
    check.expect.status = vec![200];
    assert_eq!(verdicts(&run(&check, &rig.target).expect("looked")), [Verdict::Pass]);
    check.request.path = "/loop".into();
    assert_eq!(verdicts(&run(&check, &rig.target).expect("looked")), [Verdict::Fail]);
}

#[test]
fn refused_and_silent_are_failures_while_no_address_is_an_error() {
    let rig = rig();
    let silent = std::net::TcpListener::bind((LOOPBACK, 0)).expect("bind");
    let server = Server::start(site);
    let mut check = get(&server, "/");
    drop(server);
    let outcome = run(&check, &rig.target).expect("looked");
    assert!(outcome.evidence[0].seen.starts_with("no connection"), "{:?}", outcome.evidence);
    check.endpoint.port = silent.local_addr().expect("address").port();
    let soon = Instant::now() + Duration::from_millis(30);
    let outcome = look(&check, &rig.target, soon).expect("looked");
    assert!(outcome.evidence[0].seen.starts_with("no answer within"), "{:?}", outcome.evidence);
    let bare = DirTarget::new(rig.dir.path()).expect("target");
    assert!(matches!(run(&check, &bare), Err(ProbeError::NoAddress)));
}

#[test]
fn certificates_are_judged_by_the_shadows_own_roots() {
    let rig = rig();
    let (server, pem) = Server::start_tls("shop.example", site);
    let mut check = get(&server, "/");
    check.endpoint.scheme = Scheme::Https;
    check.request.host = Some("shop.example".into());
    assert!(
        matches!(run(&check, &rig.target), Err(ProbeError::Malformed { .. })),
        "no roots at all"
    );
    std::fs::write(rig.dir.path().join("ca.pem"), pem).expect("write");
    check.endpoint.tls = Tls::Verify { ca_file: Some("/ca.pem".into()) };
    assert_eq!(verdicts(&run(&check, &rig.target).expect("looked")), [Verdict::Pass]);
    check.request.host = Some("other.example".into());
    let outcome = run(&check, &rig.target).expect("looked");
    assert!(outcome.evidence[0].seen.starts_with("no TLS connection"), "{:?}", outcome.evidence);
    check.endpoint.tls = Tls::Insecure;
    assert_eq!(verdicts(&run(&check, &rig.target).expect("looked")), [Verdict::Pass]);
}

#[test]
fn requests_that_cannot_be_sent_are_told_before() {
    let bad = [
        HttpRequest { method: "GE T".into(), ..HttpRequest::get("/") },
        HttpRequest { headers: vec![("a\nb".into(), "c".into())], ..HttpRequest::get("/") },
        HttpRequest::get("no-slash"),
    ];
    for request in bad {
        assert!(request.validate().is_err(), "{request:?}");
    }
    assert!(HttpRequest::get("/a?b=c").validate().is_ok());
}
