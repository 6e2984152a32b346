//! curl: bodies in every framing, heads alone, permission to send, events.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::gateway::{Gateway, SECONDS_MAX, curl, curl_command, good, umbra};
use super::server;

const BODY_BYTES: usize = 24 << 20;

/// What curl wrote, and what it told.
#[track_caller]
fn asked(arguments: &[&str], url: &str) -> (Vec<u8>, String) {
    let output = curl(arguments, url);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    (output.stdout, told)
}

/// A gateway in front of a server, mirroring everything to another one.
fn place(state: &Path) -> (Gateway, std::sync::mpsc::Sender<String>) {
    let (primary, events) = server::start();
    let gateway = Gateway::start(state, primary, &[]);
    let shadow = server::start().0.to_string();
    let mirror = ["mirror", "start", "all", "--to", &shadow, "--body-bytes", "1000000000"];
    good(&umbra(state, &mirror));
    (gateway, events)
}

#[test]
fn bodies_come_back_as_they_were_sent_in_every_framing() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, _) = place(dir.path());
    let body: Vec<u8> = (0..BODY_BYTES as u64).map(|at| ((at * at) >> 7) as u8).collect();
    let file = dir.path().join("body");
    std::fs::write(&file, &body).unwrap();
    let (whole, piped) = (format!("@{}", file.display()), file.display().to_string());
    let head = dir.path().join("head").display().to_string();
    let length = BODY_BYTES.to_string();
    let check = |arguments: &[&str], framing: &str| {
        let all = [arguments, &["--dump-header", &head]].concat();
        let (came, _) = asked(&all, &format!("http://{}/", gateway.at));
        assert!(came == body, "{arguments:?}: {} bytes came back", came.len());
        let head = std::fs::read_to_string(&head).unwrap().to_ascii_lowercase();
        assert!(head.contains(&format!("x-framing: {framing}\r\n")), "{arguments:?}: {head}");
    };
    let chunked = "Transfer-Encoding: chunked";
    let http2 = "--http2-prior-knowledge";
    check(&["--data-binary", &whole], &length);
    check(&["-H", chunked, "--data-binary", &whole], "chunked");
    check(&["-H", chunked, "--upload-file", &piped], "chunked");
    check(&[http2, "--data-binary", &whole], &length);
    // Without a length, as a program that is still writing sends.
    let shell = format!("cat '{piped}' | curl -sS --max-time {SECONDS_MAX} {http2} -T - \"$0\"");
    let url = format!("http://{}/", gateway.at);
    let output = Command::new("sh").args(["-c", &shell, &url]).output().unwrap();
    assert!(output.status.success() && output.stdout == body, "{} bytes", output.stdout.len());

    let status = good(&umbra(dir.path(), &["--json", "mirror", "status"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let counted = &status["mirrors"][0]["counted"];
    assert_eq!((&counted["eligible"], &counted["mirrored"]), (&5.into(), &5.into()), "{status}");
}

#[test]
fn a_head_has_its_length_and_no_body() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, _) = place(dir.path());
    let url = format!("http://{}/", gateway.at);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let (head, _) = asked(&["--head", version], &url);
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = format!("content-length: {}\r\n", server::PAGE.len());
        assert!(head.contains(" 200") && head.contains(&length), "{version}: {head}");
    }
    // The same connection serves what comes next. (curl 7.88 cannot use one of HTTP/2 twice.)
    let (both, _) = asked(&["--head", &url, "--next", "-sS"], &url);
    assert!(both.ends_with(format!("\r\n\r\n{}", server::PAGE).as_bytes()));
}

#[test]
fn who_asks_first_whether_to_send_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, _) = place(dir.path());
    let url = format!("http://{}/", gateway.at);
    let expect = ["-v", "--http1.1", "-H", "Expect: 100-continue", "--data-binary", "a body"];
    // Without an answer curl would wait, and then send anyway.
    let patient = [&expect[..], &["--expect100-timeout", SECONDS_MAX]].concat();
    let (came, told) = asked(&patient, &url);
    assert_eq!(came, b"a body");
    assert!(told.contains("< HTTP/1.1 100 Continue"), "{told}");
}

/// A client that goes on until it is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn events_come_as_they_are_told() {
    let dir = tempfile::tempdir().unwrap();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        // One gateway after another: a server's events are for one client.
        let state = dir.path().join(version);
        std::fs::create_dir(&state).unwrap();
        let (gateway, events) = place(&state);
        let url = format!("http://{}{}", gateway.at, server::EVENTS);
        let mut client = curl_command(&["-N", version, &url]);
        let mut client = Running(client.stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(client.0.stdout.take().unwrap()).lines();
        for number in 0..20 {
            events.send(format!("event {number}")).unwrap();
            // The next one is not told before this one is here; curl gives up in the end.
            assert_eq!(lines.next().unwrap().unwrap(), format!("data: event {number}"));
            assert_eq!(lines.next().unwrap().unwrap(), "");
        }
        drop(events);
        assert!(lines.next().is_none() && client.0.wait().unwrap().success());
    }
}
