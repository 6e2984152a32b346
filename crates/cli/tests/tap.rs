//! `umbra tap` as it is typed, with curl for a client, in a network of its own.

#![allow(clippy::unwrap_used)]

#[path = "../../gateway/tests/tap/place.rs"]
#[allow(dead_code, reason = "the gateway's own tests use all of it")]
mod place;
#[path = "../../gateway/tests/tap/server.rs"]
#[allow(dead_code, reason = "likewise")]
mod server;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const URL: &str = "http://127.0.0.1:8080/5";

fn umbra(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umbra"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `umbra tap lo` with these words around a request, and ends it by Ctrl-C.
fn tapped(arguments: &[&str]) -> (String, String) {
    let mut tap = umbra(&[&["tap", "lo", "--port", "8080"], arguments].concat()).spawn().unwrap();
    let mut story = BufReader::new(tap.stderr.take().unwrap());
    let mut said = String::new();
    story.read_line(&mut said).unwrap();
    assert!(said.starts_with("capturing"), "{said}");
    let secrets = ["-H", "X-Key: s3cret", "-H", "Authorization: Bearer s3cret"];
    let mut curl = Command::new("curl");
    let curl = curl.args(["-sS", "--max-time", "20", URL]).args(secrets).output().unwrap();
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    kill_process(Pid::from_child(&tap), Signal::INT).unwrap();
    story.read_to_string(&mut said).unwrap();
    let Output { status, stdout, .. } = tap.wait_with_output().unwrap();
    assert!(status.success(), "{said}");
    (String::from_utf8(stdout).unwrap(), said)
}

#[test]
fn requests_are_shown_and_counted() {
    if let Some(reason) = place::missing(&["ip", "tc", "curl"]) {
        return println!("skipped: {reason}");
    }
    place::apart(|| {
        server::serve("127.0.0.1:8080");
        for how in [&["--direct"][..], &[]] {
            let (answer, said) = tapped(how);
            let lines: Vec<&str> = answer.lines().collect();
            assert!(lines[0].contains("Z  GET /5  200 in "), "{answer}");
            assert!(lines[1].ends_with("1 requests, 1 captured"), "{answer}");
            assert_eq!(lines.len(), 2, "{answer}");
            assert_eq!(said.contains("umbra-tap-0"), how.is_empty(), "{said}");
        }
        let (answer, _) = tapped(&["--json"]);
        let lines: Vec<serde_json::Value> =
            answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [exchange, counts] = lines.as_slice() else { panic!("{answer}") };
        assert_eq!(exchange["exchange"]["target"], "/5");
        assert_eq!(exchange["exchange"]["status"], 200);
        assert_eq!(counts["counts"]["exchanges"], 1);
        assert_eq!(counts["counts"]["not_taken"]["kernel_drops"], 0);
        let links = place::must("ip -o link show");
        assert!(!links.contains("umbra-tap"), "{links}");
    });
}

#[test]
fn requests_are_kept_in_a_file_without_their_secrets() {
    if let Some(reason) = place::missing(&["ip", "tc", "curl"]) {
        return println!("skipped: {reason}");
    }
    place::apart(|| {
        server::serve("127.0.0.1:8080");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lo.capture");
        let file = file.to_str().unwrap();
        let to_file = ["--to-file", file, "--redact-header", "x-key"];
        let (answer, _) = tapped(&to_file);
        let lines: Vec<&str> = answer.lines().collect();
        assert!(lines[0].ends_with("1 requests, 1 captured"), "{answer}");
        assert!(lines[1].starts_with(&format!("1 of 1 exchanges in {file}, ")), "{answer}");
        assert_eq!(lines.len(), 2, "{answer}");

        let show = umbra(&["--json", "capture", "show", file]).output().unwrap();
        assert!(show.status.success(), "{show:?}");
        let shown: serde_json::Value = serde_json::from_slice(&show.stdout).unwrap();
        assert_eq!(shown["exchanges"], 1, "{shown}");
        let written = std::fs::read(file).unwrap();
        let has = |text: &str| written.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has("/5") && has("redacted-") && has("Bearer redacted-") && !has("s3cret"));

        let there = umbra(&[&["tap", "lo", "--direct"], &to_file[..]].concat()).output().unwrap();
        let said = String::from_utf8(there.stderr).unwrap();
        assert_eq!(there.status.code(), Some(2), "{said}");
        assert!(said.contains("--force replaces a file"), "{said}");
        assert!(std::fs::read(file).unwrap() == written);

        let (answer, _) = tapped(&[&to_file[..], &["--force", "--answers", "--json"]].concat());
        let lines: Vec<serde_json::Value> =
            answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [counts, capture] = lines.as_slice() else { panic!("{answer}") };
        assert_eq!(counts["counts"]["exchanges"], 1);
        assert_eq!(capture["capture"]["counted"]["captured"], 1);
        assert_eq!(capture["capture"]["over"], "stopped");
    });
}

#[test]
fn what_cannot_be_tapped_is_said_with_what_to_do() {
    if let Some(reason) = place::missing(&["ip", "tc"]) {
        return println!("skipped: {reason}");
    }
    place::apart(|| {
        #[track_caller]
        fn check(arguments: &[&str], code: i32, expected: &str) {
            let arguments = [&["tap"], arguments].concat();
            let output = umbra(&arguments).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert!(said.contains(expected), "{said}");
        }
        check(&["nobody", "--direct"], 3, "failed to find the interface \"nobody\"");
        check(&["a b"], 2, "it is no interface's name");
        check(&["lo", "--mirror-device", "eth0"], 2, "must begin with \"umbra-tap-\"");
        check(&["lo", "--percent", "101"], 2, "failed to read \"101\" as a percentage");
        check(&["lo", "--redact-header", "x-key"], 2, "`--to-file FILE` does");
        check(&["lo", "--to-file", "/tmp/a", "--redact-json", "a..b"], 2, "failed to read");
        check(&["lo", "--direct", "--to-file", "/nowhere/a"], 3, "failed to make the file");
        place::must("tc qdisc add dev lo ingress");
        check(&["lo"], 3, "`--direct` reads the interface itself");
    });
}
