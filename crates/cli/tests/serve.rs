//! The real program with a real daemon, real sandboxes and a real build: end to end, small.

#![allow(clippy::unwrap_used)]

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/project.rs"]
mod project;
mod support;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use gateway::Gateway;
use project::{Daemon, RECIPE, SERVED, begin, run, umbra};

/// Each step brings a secret; nothing is severe enough to stop the build.
const SECRETS: &str = r#"
version: 1
name: leaky
from: {dir: root}
vars: {fail_on: critical}
steps:
  - name: old
    write: {path: /etc/old.conf, content: "keys\nkey AKIAIOSFODNN7EXAMPLE\n"}
  - name: new
    write: {path: /etc/new.conf, content: "key AKIAIOSFODNN7EXAMPL2\n"}
tests:
  - name: scan
    security: {fail_on: "${{ vars.fail_on }}"}
"#;

#[test]
fn a_security_test_compares_with_the_state_it_is_told() {
    let Some((project, daemon)) = begin() else { return };
    let dir = project.path();
    std::fs::write(dir.join("umbra.yaml"), SECRETS).unwrap();
    run(dir, &["build"], 0);
    let test = ["test", "leaky", "--var", "fail_on=high", "--format"];
    let (out, _) = run(dir, &[&test[..], &["text"]].concat(), 0);
    assert!(out.contains("2 findings in the baseline"), "{out}");
    let (out, _) = run(dir, &[&test[..], &["sarif", "--baseline", "1/old"]].concat(), 1);
    let log: serde_json::Value = serde_json::from_str(&out).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let shown: Vec<_> = results
        .iter()
        .map(|result| {
            let place = &result["locations"][0]["physicalLocation"];
            let line = place["region"]["startLine"].as_u64();
            (place["artifactLocation"]["uri"].as_str(), line, result["baselineState"].as_str())
        })
        .collect();
    assert_eq!(shown, [(Some("etc/new.conf"), Some(1), Some("new"))]);
    let (out, _) = run(dir, &[&test[..], &["text", "--baseline", "leaky"]].concat(), 0);
    assert!(out.contains("PASS scan"), "{out}");
    let (_, err) = run(dir, &[&test[..], &["text", "--baseline", "no-such"]].concat(), 2);
    assert!(err.contains("no-such"), "{err}");
    daemon.stop();
}

#[test]
fn an_image_is_built_looked_at_entered_and_tested() {
    let Some((project, daemon)) = begin() else { return };
    let dir = project.path();
    let (out, err) = run(dir, &["build", "--junit", "junit.xml", "--sarif", "out.sarif"], 0);
    let state = out.trim();
    assert_eq!(state.len(), 64, "the answer is the image's state: {out}\n{err}");
    assert!(err.contains("test counts (integration) after count: PASS"), "{err}");
    assert!(err.contains("end done: PASS"), "{err}");
    let junit = std::fs::read_to_string(dir.join("junit.xml")).unwrap();
    assert!(junit.contains("counts") && junit.contains("greets"), "{junit}");
    serde_json::from_str::<serde_json::Value>(
        &std::fs::read_to_string(dir.join("out.sarif")).unwrap(),
    )
    .unwrap();

    let (again, err) = run(dir, &["build"], 0);
    assert_eq!(again, out);
    assert!(err.contains("step 2/2 count: cached"), "{err}");
    let (out, _) = run(dir, &["ls"], 0);
    assert!(out.contains("tiny") && out.contains(&state[..12]), "{out}");
    let (out, _) = run(dir, &["log", "tiny"], 0);
    assert!(out.contains("build 1, step count") && out.contains("sealed by build 2"), "{out}");
    let (out, _) = run(dir, &["diff", "1/greeting", "tiny", "--content"], 0);
    assert!(out.contains("+ /etc/count") && out.contains("    +1 2 3"), "{out}");
    let (out, _) = run(dir, &["files", "tiny", "/etc"], 0);
    assert!(out.contains("/etc/greeting"), "{out}");

    let (out, _) = run(dir, &["exec", "tiny", "--", "cat", "/etc/greeting"], 0);
    assert_eq!(out, "hello\n");
    run(dir, &["exec", "tiny", "--", "sh", "-c", "exit 9"], 9);
    let (out, _) = run(dir, &["test", "tiny", "--only", "counts"], 0);
    assert!(out.contains("PASS counts"), "{out}");
    let (out, _) = run(dir, &["test", "tiny", "--var", "count=4"], 1);
    assert!(out.contains("FAIL counts"), "{out}");
    check_shell(dir);

    let (out, _) = run(dir, &["shadow", "create", "--from", "tiny", "--name", "mine"], 0);
    assert_eq!(out, "mine\n");
    run(dir, &["exec", "mine", "--", "sh", "-c", "echo changed > /etc/greeting"], 0);
    let (out, _) = run(dir, &["exec", "mine", "--", "cat", "/etc/greeting"], 0);
    assert_eq!(out, "changed\n");
    let (out, _) = run(dir, &["exec", "tiny", "--", "cat", "/etc/greeting"], 0);
    assert_eq!(out, "hello\n", "a shadow never changes its state");
    run(dir, &["shadow", "rm", "mine"], 0);
    let (out, _) = run(dir, &["shadow", "ls"], 0);
    assert_eq!(out, "no shadows\n");

    run(dir, &["export", "tiny", "--format", "tar", "-o", "tiny.tar"], 0);
    assert!(dir.join("tiny.tar").exists());
    check_exports(dir);
    run(dir, &["gc"], 0);
    let (out, _) = run(dir, &["fsck"], 0);
    assert!(out.starts_with("clean"), "{out}");
    daemon.stop();
}

/// An image's layers are the origin and the steps; what cannot boot is no disk.
fn check_exports(dir: &Path) {
    run(dir, &["export", "tiny", "--format", "oci", "-o", "layout"], 0);
    let blobs = dir.join("layout/blobs/sha256");
    let read = |descriptor: &serde_json::Value| -> serde_json::Value {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&std::fs::read(blobs.join(digest)).unwrap()).unwrap()
    };
    let index = std::fs::read(dir.join("layout/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let config = read(&read(&index["manifests"][0])["config"]);
    let made: Vec<_> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["created_by"].as_str().unwrap())
        .collect();
    assert_eq!(made, ["(from)", "greeting", "count"]);
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);

    let (_, err) = run(dir, &["export", "tiny", "--format", "qcow2", "-o", "tiny.qcow2"], 2);
    assert!(err.contains("linux-image-cloud-amd64"), "{err}");
    assert!(!dir.join("tiny.qcow2").exists());
}

/// A terminal that is fed by a pipe: what is typed arrives, the exit code comes back.
fn check_shell(dir: &Path) {
    let mut shell = umbra(dir)
        .args(["shell", "tiny"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept open: the end of input would be the end of the shell.
    let mut typed = shell.stdin.take().unwrap();
    typed.write_all(b"stty size; echo got-$((40 + 2)); exit 5\n").unwrap();
    let output = shell.wait_with_output().unwrap();
    drop(typed);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{out}");
    assert!(out.contains("got-42") && out.contains("24 80"), "{out}");
}

#[test]
fn a_failing_test_halts_and_what_it_left_can_be_entered() {
    let Some((project, daemon)) = begin() else { return };
    let dir = project.path();
    let (out, err) = run(dir, &["build", "--var", "count=4"], 1);
    assert_eq!(out, "", "there is no image: {err}");
    for expected in
        ["HALT after step count: test counts", "+ /etc/count", "umbra diff ", "end halted"]
    {
        assert!(err.contains(expected), "{expected:?} is missing in: {err}");
    }
    let shadow = err
        .lines()
        .find(|line| line.contains("the shadow it failed on"))
        .and_then(|line| line.split_whitespace().nth(2))
        .expect("a shadow is offered")
        .to_owned();
    let (out, _) = run(dir, &["shadow", "ls"], 0);
    assert!(out.contains(&shadow) && out.contains("frozen"), "{out}");
    let (out, _) = run(dir, &["exec", &shadow, "--", "cat", "/etc/count"], 0);
    assert_eq!(out, "1 2 3\n");
    // What was good is not run again.
    let (_, err) = run(dir, &["build"], 0);
    assert!(err.contains("step 1/2 greeting: cached"), "{err}");
    let (out, _) = run(dir, &["shadow", "ls"], 0);
    assert_eq!(out, "no shadows\n", "the next build lets go of what was kept");
    daemon.stop();
}

#[test]
fn a_shadow_with_its_services_is_production_and_another_its_mirror() {
    let Some((project, daemon)) = begin() else { return };
    let dir = project.path();
    std::fs::write(dir.join("served.yaml"), SERVED).unwrap();
    run(dir, &["build", "-f", "served.yaml"], 0);
    for name in ["production", "candidate"] {
        run(dir, &["shadow", "create", "--from", "served", "--name", name, "--services"], 0);
    }
    let (out, _) = run(dir, &["--json", "shadow", "ls"], 0);
    let shadows: serde_json::Value = serde_json::from_str(&out).unwrap();
    let production = &shadows.as_array().unwrap()[1];
    assert_eq!(production["name"], "production");
    let primary = format!("{}:8080", production["address"].as_str().unwrap());
    let primary = primary.parse().unwrap();
    let gateway = Gateway::start(&dir.join("state"), primary, &[]);

    let (_, err) = run(dir, &["mirror", "start", "copy", "--to", "nobody"], 2);
    assert!(err.contains("there are candidate, production"), "{err}");
    run(dir, &["mirror", "start", "copy", "--to", "candidate", "--port", "8080"], 0);
    let asked = gateway::curl(&["-f"], &format!("http://{}/greeting", gateway.at));
    assert_eq!(gateway::good(&asked), "hello\n");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (out, _) = run(dir, &["--json", "mirror", "status"], 0);
        let status: serde_json::Value = serde_json::from_str(&out).unwrap();
        if status["mirrors"][0]["counted"]["answered"] == 1 {
            break;
        }
        assert!(Instant::now() < until, "{out}");
    }
    run(dir, &["shadow", "rm", "candidate", "production"], 0);
    daemon.stop();
    let (_, err) = run(dir, &["mirror", "start", "copy", "--to", "candidate"], 3);
    assert!(err.contains("HOST:PORT"), "{err}");
}

#[test]
fn a_killed_daemon_leaves_nothing_to_its_successor() {
    let Some((project, mut daemon)) = begin() else { return };
    let dir = project.path();
    run(dir, &["build"], 0);
    run(dir, &["shadow", "create", "--from", "tiny", "--name", "orphan"], 0);
    let slow = RECIPE.replace("echo 1 2 3 > /etc/count", "echo slow; sleep 600");
    std::fs::write(dir.join("slow.yaml"), slow).unwrap();
    let (out, _) = run(dir, &["build", "-f", "slow.yaml", "--detach"], 0);
    assert_eq!(out, "2\n");
    daemon.signal("KILL");
    let (_, err) = run(dir, &["ls"], 3);
    assert!(err.contains("umbra serve"), "{err}");

    let daemon = Daemon::start(dir);
    let (out, _) = run(dir, &["shadow", "ls"], 0);
    assert_eq!(out, "no shadows\n");
    let (out, _) = run(dir, &["health"], 0);
    assert!(out.contains("build 2 was running"), "{out}");
    let (_, err) = run(dir, &["follow", "2"], 3);
    assert!(err.contains("ended without notice"), "{err}");
    let (out, _) = run(dir, &["fsck"], 0);
    assert!(out.starts_with("clean"), "{out}");
    let (_, err) = run(dir, &["build"], 0);
    assert!(err.contains("step 2/2 count: cached"), "{err}");
    daemon.stop();
}
