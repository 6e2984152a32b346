//! Instances, end to end: the real program, its daemon and its keeper, real sandboxes.

#![allow(clippy::unwrap_used)]

mod kept;
#[path = "../support/project.rs"]
#[allow(dead_code, reason = "the other test that has it uses all of it")]
mod project;
#[path = "../support/mod.rs"]
mod serve;
#[path = "../../../shadow/tests/sandbox/traces.rs"]
#[allow(dead_code, reason = "the other test that has it uses all of it")]
mod traces;

/// What the modules that others have as well expect.
mod support {
    pub(crate) use super::kept::until;
    pub(crate) use super::serve::{serve, umbra};
}

use std::time::Duration;

use kept::{Kept, PATIENCE, answer, until};
use project::{Daemon, SERVED, run};
use umbra_daemon::instances::{InstancePhase, InstanceSpec, Instances, conformance};
use umbra_shadow::provider::Init;
use umbra_shadow::startup::{Ready, Service, Startup};
use umbra_state::{Command, StateId};

/// A project with a sealed image that answers at port 8080, its daemon, and what ends the keeper.
fn begin(recipe: &str) -> Option<(tempfile::TempDir, Daemon, Kept)> {
    let (project, daemon) = project::begin()?;
    std::fs::write(project.path().join("served.yaml"), recipe).unwrap();
    run(project.path(), &["build", "-f", "served.yaml"], 0);
    let kept = Kept::of(project.path());
    Some((project, daemon, kept))
}

const START: [&str; 7] = ["instances", "start", "web-1", "--image", "served", "--port", "8080"];

#[test]
fn an_instance_goes_on_when_its_daemon_is_killed() {
    let Some((project, mut daemon, kept)) = begin(SERVED) else { return };
    let dir = project.path();
    let (at, _) = run(dir, &START, 0);
    let at = at.trim();
    assert_eq!(answer(at).as_deref(), Some("hello\n"));
    let (again, _) = run(dir, &START, 0);
    assert_eq!(again.trim(), at, "asking twice is asking once");
    let (_, err) = run(dir, &[&START[..6], &["81"]].concat(), 2);
    assert!(err.contains("another one of that name"), "{err}");
    let (_, err) = run(dir, &["instances", "start", "x", "--image", "none", "--port", "80"], 2);
    assert!(err.contains("none"), "{err}");

    let keeper = kept.pid();
    daemon.signal("KILL");
    assert_eq!(answer(at).as_deref(), Some("hello\n"), "production does not need the daemon");
    let (out, _) = run(dir, &["instances", "ls"], 0);
    assert!(out.contains("web-1") && out.contains("running") && out.contains(at), "{out}");

    let daemon = Daemon::start(dir);
    let seen = kept.seen_by_the_daemon();
    assert_eq!((seen[0].name.as_str(), seen[0].to.as_str()), ("web-1", at));
    assert_eq!(kept.pid(), keeper, "it is the same one");
    // Another image takes the name, and everything of the former one may go but what runs.
    std::fs::write(dir.join("served.yaml"), SERVED.replace("hello", "new")).unwrap();
    run(dir, &["build", "-f", "served.yaml"], 0);
    run(dir, &["gc"], 0);
    run(dir, &["instances", "restart", "web-1"], 0);
    assert_eq!(answer(at).as_deref(), Some("hello\n"), "on a fresh view, at the same address");
    let (out, _) = run(dir, &["instances", "logs", "web-1"], 0);
    assert!(out.starts_with("web:"), "{out}");
    daemon.stop();
    assert_eq!(answer(at).as_deref(), Some("hello\n"), "nor a daemon that ends in order");

    let (out, _) = run(dir, &["version"], 0);
    assert!(out.contains(&format!("(process {}, of instances)", kept.pid())), "{out}");

    let (_, err) = run(dir, &["instances", "stop", "web-1", "web-2"], 2);
    assert!(err.contains("find instance web-2"), "{err}");
    run(dir, &["instances", "stop", "web-1"], 0);
    assert_eq!(answer(at), None);
    let (out, _) = run(dir, &["instances", "ls"], 0);
    assert_eq!(out, "no instances\n");
    until("a keeper without instances ends", PATIENCE, || kept.info().is_none());
    kept.check_nothing_is_left();
}

#[test]
fn a_killed_keeper_leaves_nothing_and_the_next_begins_the_same() {
    let Some((project, mut daemon, kept)) = begin(SERVED) else { return };
    let dir = project.path();
    let at: Vec<String> = ["web-1", "web-2"]
        .map(|name| run(dir, &[&START[..2], &[name], &START[3..]].concat(), 0).0.trim().to_owned())
        .into();
    // It would see to another at once.
    daemon.signal("KILL");
    kept.kill();
    kept.check_nothing_lives();
    assert_eq!(at.iter().map(|at| answer(at)).collect::<Vec<_>>(), [None, None]);

    let (out, _) = run(dir, &["instances", "ls"], 0);
    assert!(out.contains("web-1") && out.contains("web-2"), "{out}");
    for at in &at {
        let answered = || answer(at).as_deref() == Some("hello\n");
        until("it answers where it was", PATIENCE, answered);
    }
    run(dir, &["instances", "stop", "--all"], 0);
    until("its keeper ends", PATIENCE, || kept.info().is_none());
    kept.check_nothing_is_left();
    let (out, _) = run(dir, &["instances", "ls"], 0);
    assert_eq!(out, "no instances\n", "nothing is wanted any more");
}

#[test]
fn a_daemon_sees_to_another_keeper_by_itself() {
    let Some((project, mut daemon, kept)) = begin(SERVED) else { return };
    let dir = project.path();
    let (at, _) = run(dir, &START, 0);
    let at = at.trim();
    let answers = || answer(at).as_deref() == Some("hello\n");
    kept.kill();
    until("the daemon saw to another", PATIENCE, answers);
    // One that another daemon began, and after both were killed.
    daemon.signal("KILL");
    let mut daemon = Daemon::start(dir);
    kept.kill();
    until("the next daemon saw to another", PATIENCE, answers);
    daemon.signal("KILL");
    kept.kill();
    let daemon = Daemon::start(dir);
    until("a daemon begins what is wanted", PATIENCE, answers);
    run(dir, &["instances", "stop", "--all"], 0);
    daemon.stop();
}

/// Beside the one that answers there is one that ends.
const FLAKY: &str = "  - name: flaky\n    run: [sh, -c, 'echo begun; sleep 0.3; exit 7']\n";

#[test]
fn a_service_that_ends_is_started_again_and_counted() {
    let Some((project, daemon, kept)) = begin(&format!("{SERVED}{FLAKY}")) else { return };
    let dir = project.path();
    let (at, _) = run(dir, &START, 0);
    let keeper = kept.client();
    let instance = || keeper.list().unwrap().remove(0);
    until("it was started again", PATIENCE, || instance().restarts >= 2);
    let why = instance().why.unwrap();
    assert!(why.contains("flaky") && why.contains("exit code 7"), "{why}");
    assert_eq!(answer(at.trim()).as_deref(), Some("hello\n"), "the other one runs on");
    let logs = keeper.logs("web-1", 1000).unwrap();
    let flaky = logs.iter().find(|log| log.service == "flaky").unwrap();
    assert!(flaky.restarts >= 2 && flaky.text.matches("begun").count() >= 2, "{flaky:?}");
    assert_eq!(logs.iter().find(|log| log.service == "web").unwrap().restarts, 0);
    let phases = [InstancePhase::Running, InstancePhase::Restarting];
    assert!(phases.contains(&instance().phase));
    run(dir, &["instances", "stop", "--all"], 0);
    daemon.stop();
}

#[test]
fn an_instance_whose_first_process_dies_is_begun_again_where_it_was() {
    let Some((project, daemon, kept)) = begin(SERVED) else { return };
    let dir = project.path();
    let (at, _) = run(dir, &START, 0);
    kept.kill_first_process("web-1");
    let instance = || kept.client().list().unwrap().remove(0);
    until("it was begun again", PATIENCE, || {
        let instance = instance();
        instance.restarts >= 1 && instance.phase == InstancePhase::Running
    });
    let instance = instance();
    let why = instance.why.as_deref();
    assert_eq!((instance.restarts, why), (1, Some("its first process ended")));
    assert_eq!(answer(at.trim()).as_deref(), Some("hello\n"));
    run(dir, &["instances", "stop", "--all"], 0);
    daemon.stop();
}

#[test]
fn the_keeper_does_what_everything_that_runs_instances_must() {
    let Some((project, daemon, kept)) = begin(SERVED) else { return };
    let (state, _) = run(project.path(), &["--json", "ls"], 0);
    let listed: serde_json::Value = serde_json::from_str(&state).unwrap();
    let state: StateId = listed["images"][0]["state"].as_str().unwrap().parse().unwrap();
    let web = Service {
        name: "web".into(),
        command: Command::new(["busybox", "httpd", "-f", "-p", "8080", "-h", "/etc"]),
        ready: Some(Ready::Port(8080)),
        timeout: Duration::from_secs(10),
    };
    let startup = Startup { init: Init::Small, complete: true, services: vec![web.clone()] };
    let there = InstanceSpec { state, startup, ..conformance::sample(1) };
    let keeper = kept.client();
    conformance::check(&keeper, &there, &conformance::sample(2));

    let mut never = there.clone();
    never.startup.services[0].command = Command::shell("echo no luck; exit 4");
    let refused = keeper.start(&never).unwrap_err();
    let told = refused.causes.join("; ");
    assert!(told.contains("exit code 4") && told.contains("no luck"), "{told}");
    assert_eq!(keeper.list().unwrap(), [], "nothing of it stays");
    assert_eq!(keeper.stop_all().unwrap(), [""; 0]);
    until("its keeper ends", PATIENCE, || kept.info().is_none());
    kept.check_nothing_is_left();
    daemon.stop();
}
