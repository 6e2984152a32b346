//! A daemon killed in the middle of writing events: the next one is old or new, never mixed.
//!
//! The test starts itself again as a child that runs a daemon whose build never stops
//! talking, lets a client follow it, kills the child with SIGKILL and looks what is left.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use support::{client, ended, idle, ingested, request, result, start, started, state};
use umbra_api::build::{BuildEvent, BuildPhase, Event};
use umbra_api::client::Client;
use umbra_state::Verdict;

const CHILD_DIR: &str = "UMBRA_CRASH_TEST_DIR";

/// The child's part; without its directory in the environment there is nothing to do.
#[test]
fn child_that_talks_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let instance = start(&dir, Arc::default(), |stage| {
        stage.sink.emit(started(stage.id, "web", &["packages"]));
        stage.sink.emit(ingested(0, state(1)));
        for number in 0.. {
            let text = format!("line {number}\n");
            stage.sink.emit(Event::StepOutput { step: 0, text });
            if number % 100 == 99 {
                let mut judged = result("serves", Verdict::Pass);
                judged.output = Some("x".repeat(2000));
                stage.sink.emit(Event::TestEnded { step: 0, result: judged });
            }
            if stage.control.is_cancelled() {
                return;
            }
        }
    });
    println!("ready");
    // Until the kill.
    let mut forever = String::new();
    drop(std::io::stdin().read_line(&mut forever));
    drop(instance);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn talkative_daemon(dir: &Path) -> Killed {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_talks_until_it_is_killed", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let child = Killed(child);
    let ready = lines.map_while(Result::ok).any(|line| line.contains("ready"));
    assert!(ready, "the child starts its daemon");
    child
}

#[test]
fn killed_while_writing_events() {
    for seen_before_the_kill in [1, 200, 3000] {
        let dir = tempfile::tempdir().unwrap();
        let child = talkative_daemon(dir.path());
        let umbra = Client::new(dir.path().join("umbra.sock"));
        let id = umbra.start_build(&request("/srv/web.yaml")).unwrap().id;
        let told: Vec<BuildEvent> =
            umbra.events(id, 0).unwrap().take(seen_before_the_kill).map(Result::unwrap).collect();
        drop(child);
        check_remains(dir.path(), id, &told);
    }
}

/// What a client was told is there, without gaps, and the build has an end that says why.
fn check_remains(dir: &Path, id: u64, told: &[BuildEvent]) {
    let instance = start(dir, Arc::default(), idle);
    let umbra = client(&instance);
    let kept: Vec<BuildEvent> = umbra.events(id, 0).unwrap().map(Result::unwrap).collect();
    assert!(kept.len() > told.len(), "{} events kept of {} told", kept.len(), told.len());
    assert_eq!(&kept[..told.len()], told);
    assert!(kept.iter().enumerate().all(|(number, event)| event.seq == number as u64));
    let Event::Ended { phase, reason, .. } = &kept.last().unwrap().event else {
        panic!("expected an end");
    };
    assert_eq!(*phase, BuildPhase::Broken);
    assert!(reason.as_deref().unwrap().contains("ended without notice"));
    // The build's row says exactly what its kept events say.
    let ingested = kept.iter().any(|event| matches!(event.event, Event::StepIngested { .. }));
    let info = umbra.build(id).unwrap();
    assert_eq!((info.phase, info.name.as_str()), (BuildPhase::Broken, "web"));
    assert_eq!(info.state, ingested.then(|| state(1)));
    assert!(info.ended_at_ms.is_some());
    assert!(umbra.images().unwrap().is_empty());
    let health = umbra.health().unwrap();
    assert!(health.ok);
    assert_eq!(health.start_notes, [format!("build {id} was running when the last daemon ended")]);
    // A second restart finds nothing to bury.
    drop(instance);
    let instance = start(dir, Arc::default(), |stage| {
        stage.sink.emit(ended(BuildPhase::Done, Verdict::Pass, None));
    });
    let umbra = client(&instance);
    assert!(umbra.health().unwrap().start_notes.is_empty());
    assert_eq!(umbra.start_build(&request("/srv/web.yaml")).unwrap().id, id + 1);
}
