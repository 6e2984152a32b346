//! h2load: many requests at once, in HTTP/2 and HTTP/1.1.

use std::process::Command;

use super::gateway::Gateway;
use super::{is_here, server};

const REQUESTS: &str = "3000";

#[test]
fn none_of_many_requests_at_once_fails() {
    if !is_here("/usr/bin/h2load", "nghttp2-client") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path(), server::start().0, &[]);
    let body = dir.path().join("body");
    std::fs::write(&body, vec![b'x'; 10_000]).unwrap();
    let body = format!("--data={}", body.display());
    let check = |arguments: &[&str]| {
        let output = Command::new("h2load")
            .args(["-n", REQUESTS, "-c", "8", "--connection-active-timeout=60"])
            .args(arguments)
            .arg(format!("http://{}/", gateway.at))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        for line in [
            format!("{REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout"),
            format!("status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx"),
        ] {
            assert!(text.contains(&line), "{arguments:?}: {text}");
        }
    };
    check(&["-m", "20"]);
    check(&["-m", "20", &body]);
    check(&["--h1"]);
    check(&["--h1", &body]);
}
