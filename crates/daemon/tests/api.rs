//! The API as a client meets it, on a whole daemon with fakes.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use support::{
    FakeProvider, Stage, client, ended, failure, idle, ingested, put_state, request, result, spec,
    start, started, state, try_start,
};
use umbra_api::attach::Frame;
use umbra_api::build::{Answer, BuildEvent, BuildPhase, Event, Metric};
use umbra_api::client::ClientError;
use umbra_api::daemon::GcRequest;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::shadow::{
    AttachRequest, ExecRequest, Place, ShadowPhase, ShadowRequest, TerminalSize,
};
use umbra_api::state::{ExportRequest, TestRequest};
use umbra_build::{StepKey, TestKey};
use umbra_state::{Cause, Command, Digest, Exit, Verdict};

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>, code: ErrorCode) -> WireError {
    match answer {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.code, code, "{error:?}");
            error
        }
        other => panic!("expected {code:?}, got {other:?}"),
    }
}

fn good_build(stage: &Stage) {
    stage.sink.emit(started(stage.id, "web", &["packages", "config"]));
    stage.sink.emit(ingested(0, state(1)));
    stage.sink.emit(ingested(1, state(2)));
    let metric = |name: &str, value| Metric { name: name.into(), value, unit: "ms".into() };
    let metrics = vec![metric("p99", 12.5), metric("max", f64::INFINITY)];
    let judged = umbra_api::build::TestResult { metrics, ..result("serves", Verdict::Pass) };
    stage.sink.emit(Event::TestEnded { step: 1, result: judged });
    stage.sink.emit(Event::Sealed { image: "web".into(), state: state(2) });
    stage.sink.emit(ended(BuildPhase::Done, Verdict::Pass, None));
    // A defect: nothing may come after the end.
    stage.sink.emit(Event::Warning { message: "late".into() });
}

#[test]
fn a_build_is_followed_listed_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), good_build);
    let umbra = client(&instance);
    let info = umbra.start_build(&request("/srv/web.yaml")).unwrap();
    assert_eq!((info.id, info.recipe.as_str()), (1, "/srv/web.yaml"));
    let events: Vec<BuildEvent> = umbra.events(1, 0).unwrap().map(Result::unwrap).collect();
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    assert!(matches!(events[5].event, Event::Ended { .. }));
    let from: Vec<u64> = umbra.events(1, 4).unwrap().map(|event| event.unwrap().seq).collect();
    assert_eq!(from, [4, 5]);

    let build = umbra.build(1).unwrap();
    assert_eq!((build.phase, build.verdict), (BuildPhase::Done, Verdict::Pass));
    assert_eq!((build.name.as_str(), build.state), ("web", Some(state(2))));
    assert_eq!(umbra.images().unwrap()[0].state, state(2));
    let causes: Vec<Cause> =
        umbra.timeline("web").unwrap().into_iter().map(|entry| entry.cause).collect();
    let step = |step: &str| Cause::BuildStep { build: 1, step: step.into() };
    assert_eq!(causes, [step("packages"), step("config"), Cause::Seal { build: 1 }]);
    let metrics = umbra.metrics("web", 10).unwrap();
    assert_eq!(metrics.len(), 1, "a number that is none is left out");
    assert_eq!((metrics[0].value, metrics[0].step.as_str()), (12.5, "config"));

    // The same state again: its timeline grows by the seal alone.
    umbra.start_build(&request("/srv/web.yaml")).unwrap();
    assert_eq!(umbra.events(2, 0).unwrap().count(), 6);
    let timeline = umbra.timeline("web").unwrap();
    assert_eq!(timeline.len(), 4);
    assert_eq!(timeline[3].cause, Cause::Seal { build: 2 });
    assert_eq!(umbra.builds(1).unwrap()[0].id, 2);
}

#[test]
fn events_survive_a_restart_and_follow_live() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), |stage| {
        stage.sink.emit(started(stage.id, "web", &["packages"]));
        stage.control.wait_cancelled();
        stage.sink.emit(ended(BuildPhase::Cancelled, Verdict::Inconclusive, Some("asked to")));
    });
    let umbra = client(&instance);
    umbra.start_build(&request("/srv/web.yaml")).unwrap();
    let mut events = umbra.events(1, 0).unwrap();
    assert_eq!(events.next().unwrap().unwrap().seq, 0);
    assert_eq!(umbra.events_so_far(1, 0).unwrap().count(), 1);
    assert_eq!(umbra.build(1).unwrap().phase, BuildPhase::Running);
    assert_eq!(umbra.health().unwrap().builds_running, 1);
    umbra.cancel_build(1).unwrap();
    assert!(matches!(events.next().unwrap().unwrap().event, Event::Ended { .. }));
    assert!(events.next().is_none());
    refused(umbra.cancel_build(1), ErrorCode::Conflict);
    instance.shutdown();

    let instance = start(dir.path(), Arc::default(), idle);
    let umbra = client(&instance);
    assert_eq!(umbra.events(1, 0).unwrap().count(), 2);
    assert_eq!(umbra.build(1).unwrap().reason.as_deref(), Some("asked to"));
    assert_eq!(umbra.start_build(&request("/srv/web.yaml")).unwrap().id, 2);
}

#[test]
fn a_question_is_answered_once() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), |stage| {
        stage.sink.emit(started(stage.id, "web", &["packages", "config"]));
        let answers = stage.control.ask();
        stage.sink.emit(Event::Asked { failure: failure(None) });
        let answer = answers.recv().unwrap();
        stage.sink.emit(Event::Answered { answer });
        stage.control.wait_cancelled();
    });
    let umbra = client(&instance);
    umbra.start_build(&request("/srv/web.yaml")).unwrap();
    let mut events = umbra.events(1, 0).unwrap();
    assert!(matches!(events.nth(1).unwrap().unwrap().event, Event::Asked { .. }));
    assert_eq!(umbra.build(1).unwrap().phase, BuildPhase::Asking);
    umbra.answer_build(1, Answer::Continue).unwrap();
    assert_eq!(events.next().unwrap().unwrap().event, Event::Answered { answer: Answer::Continue });
    refused(umbra.answer_build(1, Answer::Halt), ErrorCode::Conflict);
    umbra.cancel_build(1).unwrap();
    // The script says nothing at its end: the daemon does.
    let Event::Ended { reason, verdict, .. } = events.next().unwrap().unwrap().event else {
        panic!("expected the end");
    };
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.unwrap().contains("without saying how"));
}

#[test]
fn the_failed_shadow_is_kept_entered_and_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    let instance = start(dir.path(), Arc::clone(&provider), |stage| {
        stage.sink.emit(started(stage.id, "web", &["packages", "config"]));
        let shadow = stage.provider.spawn(&Default::default(), &spec("b-failed")).unwrap();
        let other = stage.provider.spawn(&Default::default(), &spec("b-other")).unwrap();
        shadow.freeze().unwrap();
        stage.kept.lock().unwrap().push(shadow);
        stage.sink.emit(Event::Halted { failure: failure(Some("b-failed")) });
        drop(other);
        stage.sink.emit(ended(BuildPhase::Halted, Verdict::Fail, Some("serves failed")));
    });
    let umbra = client(&instance);
    umbra.start_build(&request("/srv/web.yaml")).unwrap();
    assert_eq!(umbra.events(1, 0).unwrap().count(), 3);
    let shadows = umbra.shadows().unwrap();
    assert_eq!(shadows.len(), 1);
    assert_eq!((shadows[0].owner.as_str(), shadows[0].state), ("build 1", Some(state(2))));
    assert_eq!(shadows[0].phase, ShadowPhase::Frozen);
    let exec = ExecRequest {
        place: Place::Any("b-failed".into()),
        command: Command::new(["look", "around"]),
        services: false,
        provider: None,
    };
    let reply = umbra.exec(&exec).unwrap();
    assert_eq!(
        (reply.shadow.as_str(), reply.stdout.0.as_slice()),
        ("b-failed", &b"look around\n"[..])
    );
    assert_eq!(umbra.shadows().unwrap()[0].phase, ShadowPhase::Frozen);
    umbra.remove_shadow("b-failed").unwrap();
    assert!(provider.alive.names().is_empty());
    refused(umbra.remove_shadow("b-failed"), ErrorCode::NotFound);
}

#[test]
fn a_running_build_keeps_its_shadows_and_loses_them_with_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    let instance = start(dir.path(), Arc::clone(&provider), |stage| {
        stage.sink.emit(started(stage.id, "web", &["packages"]));
        let _shadow = stage.provider.spawn(&Default::default(), &spec("b-1")).unwrap();
        stage.control.wait_cancelled();
        stage.sink.emit(ended(BuildPhase::Cancelled, Verdict::Inconclusive, None));
    });
    let umbra = client(&instance);
    umbra.start_build(&request("/srv/web.yaml")).unwrap();
    provider.alive.wait_present("b-1");
    let error = refused(umbra.remove_shadow("b-1"), ErrorCode::Conflict);
    assert!(error.message.contains("build 1 uses it"), "{error}");
    let error = refused(umbra.gc(GcRequest::default()), ErrorCode::Conflict);
    assert!(error.hint.is_some());
    let socket = instance.socket().to_owned();
    instance.shutdown();
    assert!(provider.alive.names().is_empty());
    assert!(!socket.exists());
}

#[test]
fn states_are_resolved_listed_compared_and_written_out() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), idle);
    let umbra = client(&instance);
    let a = put_state(&instance, &[("hosts", "one\ntwo\n"), ("gone", "x")]);
    let b = put_state(&instance, &[("hosts", "one\nthree\n"), ("new\nname", "y")]);
    instance.daemon().states().store().set_ref("image/web", b).unwrap();

    let info = umbra.state(&a.to_string()[..12]).unwrap();
    assert_eq!((info.state, info.entries, info.content_bytes), (a, 3, 9));
    assert_eq!(umbra.state("image/web").unwrap().refs, ["image/web"]);
    refused(umbra.state("nothing"), ErrorCode::NotFound);

    let files = umbra.files(&b.to_string(), "/", 2).unwrap();
    assert_eq!((files.files.len(), files.omitted), (2, 1));
    let files = umbra.files(&b.to_string(), "/hosts", 10).unwrap();
    assert_eq!(files.files[0].mode, "0644");

    let diff = umbra.diff(&a.to_string(), "image/web", true).unwrap();
    insta::assert_json_snapshot!(diff);
    let none = umbra.diff("image/web", "image/web", false).unwrap();
    assert!(none.entries.is_empty());

    let out = dir.path().join("out");
    let path = out.display().to_string();
    umbra
        .export(&ExportRequest {
            state: a.to_string(),
            format: "dir".into(),
            path: path.clone(),
            size: None,
        })
        .unwrap();
    assert_eq!(std::fs::read_to_string(out.join("hosts")).unwrap(), "one\ntwo\n");
    let tar = ExportRequest {
        state: a.to_string(),
        format: "tar".into(),
        path: dir.path().join("out.tar").display().to_string(),
        size: None,
    };
    umbra.export(&tar).unwrap();
    assert!(std::fs::metadata(&tar.path).unwrap().len() > 1024);
    refused(umbra.export(&tar), ErrorCode::Conflict);
    let oci = ExportRequest {
        format: "oci".into(),
        path: dir.path().join("layout").display().to_string(),
        ..tar.clone()
    };
    umbra.export(&oci).unwrap();
    assert!(dir.path().join("layout/index.json").exists());
    refused(umbra.export(&oci), ErrorCode::Conflict);
    let disk = dir.path().join("disk.qcow2");
    let disk_request = ExportRequest {
        format: "qcow2".into(),
        path: disk.display().to_string(),
        size: Some(1 << 30),
        ..tar.clone()
    };
    let error = refused(umbra.export(&disk_request), ErrorCode::BadRequest);
    assert!(error.message.contains("linux-image-cloud-amd64"), "{error:?}");
    assert!(!disk.exists() && !disk.with_extension("partial").exists());
    refused(umbra.export(&ExportRequest { size: Some(1), ..oci }), ErrorCode::BadRequest);
    let unknown = ExportRequest { format: "floppy".into(), path, ..tar.clone() };
    refused(umbra.export(&unknown), ErrorCode::BadRequest);
    let relative = ExportRequest { format: "dir".into(), path: "out".into(), ..tar };
    refused(umbra.export(&relative), ErrorCode::BadRequest);
}

#[test]
fn ephemeral_shadows_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    let instance = start(dir.path(), Arc::clone(&provider), idle);
    let umbra = client(&instance);
    let a = put_state(&instance, &[("hosts", "x")]);
    let ask = |name: Option<&str>, ttl_s| ShadowRequest {
        from: a.to_string(),
        name: name.map(Into::into),
        ttl_s,
        owner: Some("eve".into()),
        services: false,
        provider: None,
    };
    let info = umbra.create_shadow(&ask(Some("feature-1"), None)).unwrap();
    assert_eq!((info.name.as_str(), info.state), ("feature-1", Some(a)));
    assert_eq!((info.phase, info.owner.as_str()), (ShadowPhase::Idle, "eve"));
    refused(umbra.create_shadow(&ask(Some("feature-1"), None)), ErrorCode::Conflict);
    refused(umbra.create_shadow(&ask(Some("../etc"), None)), ErrorCode::BadRequest);
    refused(
        umbra.create_shadow(&ShadowRequest { from: "nope".into(), ..ask(None, None) }),
        ErrorCode::NotFound,
    );

    let by = |name: &str| ShadowRequest { provider: Some(name.into()), ..ask(None, None) };
    let unknown = refused(umbra.create_shadow(&by("incus")), ErrorCode::BadRequest);
    assert!(unknown.message.contains("there are sandbox"), "{unknown:?}");
    let usual = umbra.create_shadow(&by("sandbox")).unwrap();
    umbra.remove_shadow(&usual.name).unwrap();

    let with_services = ShadowRequest { services: true, ..ask(Some("feature-2"), None) };
    refused(umbra.create_shadow(&with_services), ErrorCode::NotFound);

    // One whose time is over at once ends what runs in it.
    let brief = umbra.create_shadow(&ask(None, Some(1))).unwrap();
    assert!(brief.expires_at_ms.is_some());
    let wait = ExecRequest {
        place: Place::Shadow(brief.name.clone()),
        command: Command::new(["wait-gone"]),
        services: false,
        provider: None,
    };
    let elsewhere = ExecRequest { provider: Some("sandbox".into()), ..wait.clone() };
    refused(umbra.exec(&elsewhere), ErrorCode::BadRequest);
    refused(umbra.exec(&wait), ErrorCode::NotFound);
    assert_eq!(provider.alive.names(), ["feature-1"]);

    // A state is entered through a shadow of its own that is gone afterwards.
    let exec = |argv: &[&str]| ExecRequest {
        place: Place::Any(a.to_string()),
        command: Command::new(argv.iter().copied()),
        services: false,
        provider: None,
    };
    let reply = umbra.exec(&exec(&["fail", "3"])).unwrap();
    assert_eq!(reply.exit, Exit::Code(3));
    assert_eq!(umbra.exec(&exec(&["bytes"])).unwrap().stdout.0, [0xff, 0xfe]);
    refused(umbra.exec(&exec(&["missing"])), ErrorCode::BadRequest);
    assert_eq!(provider.alive.names(), ["feature-1"]);
    instance.shutdown();
    assert!(provider.alive.names().is_empty());
}

#[test]
fn a_terminal_is_carried_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    let instance = start(dir.path(), Arc::clone(&provider), idle);
    let a = put_state(&instance, &[("hosts", "x")]);
    let exec = ExecRequest {
        place: Place::Any(a.to_string()),
        command: Command::new(["sh"]),
        services: false,
        provider: None,
    };
    let size = TerminalSize { columns: 120, rows: 40 };
    let attachment = client(&instance).attach(&AttachRequest { exec: exec.clone(), size }).unwrap();
    let (mut reader, mut writer) = attachment.split();
    let mut seen = String::new();
    let mut until = |wanted: &str| {
        while !seen.contains(wanted) {
            match reader.next_frame().unwrap().unwrap() {
                Frame::Stdout(bytes) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
                other => panic!("unexpected {other:?}"),
            }
        }
    };
    until("hello 120x40\n");
    writer.send(&Frame::Stdin(b"quiet please\n".to_vec())).unwrap();
    until("QUIET PLEASE\n");
    writer.send(&Frame::Resize(TerminalSize { columns: 7, rows: 5 })).unwrap();
    until("now 7x5\n");
    writer.send(&Frame::Stdin(b"bye".to_vec())).unwrap();
    assert_eq!(reader.next_frame().unwrap(), Some(Frame::Exit(Exit::Code(7))));
    assert_eq!(reader.next_frame().unwrap(), None);

    // Hanging up ends it too, and the shadow goes with it.
    let (mut reader, writer) =
        client(&instance).attach(&AttachRequest { exec, size }).unwrap().split();
    assert!(matches!(reader.next_frame().unwrap(), Some(Frame::Stdout(_))));
    writer.close();
    drop((reader, writer));
    instance.shutdown();
    assert!(provider.alive.names().is_empty());
}

#[test]
fn tests_run_against_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    let instance = start(dir.path(), Arc::clone(&provider), idle);
    let umbra = client(&instance);
    let a = put_state(&instance, &[("hosts", "x")]);
    let recipe = dir.path().join("umbra.yaml");
    std::fs::write(&recipe, RECIPE).unwrap();
    let request = |recipe: &std::path::Path, tests: &[&str]| TestRequest {
        state: a.short(),
        recipe: recipe.display().to_string(),
        vars: Vec::new(),
        tests: tests.iter().map(ToString::to_string).collect(),
        baseline: None,
    };
    let reply = umbra.test(&request(&recipe, &[])).unwrap();
    assert_eq!((reply.state, reply.verdict), (a, Verdict::Fail));
    let verdicts: Vec<(&str, Verdict)> =
        reply.results.iter().map(|result| (result.name.as_str(), result.verdict)).collect();
    assert_eq!(verdicts, [("says hello", Verdict::Pass), ("fails", Verdict::Fail)]);
    assert_eq!(umbra.test(&request(&recipe, &["says hello"])).unwrap().verdict, Verdict::Pass);
    refused(umbra.test(&request(&recipe, &["no such"])), ErrorCode::NotFound);
    assert!(provider.alive.names().is_empty());
    std::fs::write(&recipe, "version: 1\nnonsense: 1\n").unwrap();
    let error = refused(umbra.test(&request(&recipe, &[])), ErrorCode::BadRecipe);
    assert!(error.message.contains("nonsense"), "{error}");
}

/// Two tests; the fake's shadows echo, and fail with the code they are told.
const RECIPE: &str = r#"
version: 1
name: web
from: {dir: .}
steps:
  - name: site
    write: {path: /hosts, content: x}
services:
  - name: app
    run: [/bin/app]
    ready: {command: [is, it, ready]}
tests:
  - name: says hello
    services: true
    run: [hello]
  - name: fails
    run: [fail, "3"]
"#;

#[test]
fn steps_and_passed_tests_are_remembered_across_restarts() {
    fn key(step: &str, parent: u8) -> StepKey {
        StepKey {
            image: "web".into(),
            step: step.into(),
            parent: state(parent),
            definition: Digest::new([7; 32]),
            inputs: Digest::new([8; 32]),
        }
    }
    fn tested(number: u8) -> TestKey {
        TestKey { state: state(number), before: None, definition: Digest::new([9; 32]) }
    }
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), |stage| {
        stage.sink.emit(started(stage.id, "web", &["packages"]));
        assert_eq!(stage.cache.get(&key("a", 1)), None);
        stage.cache.put(&key("a", 1), state(2));
        assert_eq!(stage.cache.get(&key("a", 1)), Some(state(2)));
        stage.cache.put(&key("a", 2), state(3));
        stage.cache.put(&key("a", 1), state(4));
        assert_eq!(stage.cache.last("web", "a"), Some(key("a", 1)));
        stage.cache.put_passed(&tested(1));
        stage.cache.put_passed(&tested(1));
        assert!(stage.cache.passed(&tested(1)) && !stage.cache.passed(&tested(2)));
        stage.sink.emit(ended(BuildPhase::Done, Verdict::Pass, None));
    });
    let umbra = client(&instance);
    umbra.start_build(&request("/srv/web.yaml")).unwrap();
    assert_eq!(umbra.events(1, 0).unwrap().count(), 2);
    assert_eq!(umbra.build(1).unwrap().phase, BuildPhase::Done);
    instance.shutdown();
    let instance = start(dir.path(), Arc::default(), |stage| {
        assert_eq!(stage.cache.get(&key("a", 1)), Some(state(4)));
        assert!(stage.cache.passed(&tested(1)));
        stage.sink.emit(ended(BuildPhase::Done, Verdict::Pass, None));
    });
    let umbra = client(&instance);
    umbra.start_build(&request("/srv/web.yaml")).unwrap();
    assert_eq!(umbra.events(2, 0).unwrap().count(), 1);
    assert_eq!(umbra.build(2).unwrap().phase, BuildPhase::Done);
}

#[test]
fn collection_keeps_what_is_named_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), |stage| {
        // Remembered, but the store has not got it (any more).
        let key = StepKey {
            image: "web".into(),
            step: "a".into(),
            parent: state(1),
            definition: Digest::new([7; 32]),
            inputs: Digest::new([8; 32]),
        };
        stage.cache.put(&key, state(9));
        stage.sink.emit(ended(BuildPhase::Done, Verdict::Pass, None));
    });
    let umbra = client(&instance);
    umbra.start_build(&request("/srv/other.yaml")).unwrap();
    assert_eq!(umbra.events(1, 0).unwrap().count(), 1);
    let named = put_state(&instance, &[("a", "1")]);
    let shown = put_state(&instance, &[("b", "2")]);
    let lost = put_state(&instance, &[("c", "3")]);
    let store = instance.daemon().states().store().clone();
    store.set_ref("image/web", named).unwrap();
    let ask = ShadowRequest {
        from: shown.to_string(),
        name: None,
        ttl_s: None,
        owner: None,
        services: false,
        provider: None,
    };
    umbra.create_shadow(&ask).unwrap();
    let dry = umbra.gc(GcRequest { dry_run: true }).unwrap();
    assert_eq!((dry.states_removed, store.contains(lost)), (1, true));
    let reply = umbra.gc(GcRequest { dry_run: false }).unwrap();
    assert_eq!((reply.states_removed, reply.cache_entries_removed), (1, 1));
    assert!(store.contains(named) && store.contains(shown) && !store.contains(lost));
    assert_eq!(umbra.fsck().unwrap().findings, Vec::<String>::new());
}

#[test]
fn a_recipe_with_problems_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), idle);
    let umbra = client(&instance);
    refused(umbra.start_build(&request("/srv/bad.yaml")), ErrorCode::BadRecipe);
    refused(umbra.start_build(&request("relative.yaml")), ErrorCode::BadRequest);
    assert!(umbra.builds(10).unwrap().is_empty());
    refused(umbra.build(1), ErrorCode::NotFound);
    refused(umbra.events(1, 0).map(drop), ErrorCode::NotFound);
    refused(umbra.timeline("web"), ErrorCode::NotFound);
}

#[test]
fn one_directory_and_one_socket_have_one_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), idle);
    let mode = std::fs::metadata(instance.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = try_start(dir.path(), Arc::default(), idle).err().expect("refused");
    assert_eq!(error.code, ErrorCode::Conflict);
    drop(instance);
    // A socket that a killed daemon left is replaced; a file is not.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("umbra.sock")).unwrap());
    drop(start(dir.path(), Arc::default(), idle));
    std::fs::write(dir.path().join("umbra.sock"), "mine").unwrap();
    let error = try_start(dir.path(), Arc::default(), idle).err().expect("refused");
    assert_eq!(error.code, ErrorCode::Conflict);
    assert_eq!(std::fs::read_to_string(dir.path().join("umbra.sock")).unwrap(), "mine");
}

#[test]
fn what_a_predecessor_left_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    provider.leftovers.lock().unwrap().push("b9-1".into());
    let instance = start(dir.path(), provider, idle);
    let health = client(&instance).health().unwrap();
    assert!(health.ok);
    assert_eq!(health.start_notes, ["removed shadows left behind: b9-1"]);
    let version = client(&instance).version().unwrap();
    assert_eq!((version.provider.as_str(), version.missing.len()), ("fake", 1));
}

/// Sends bytes as they are; returns the status and the body.
fn raw(instance: &umbra_daemon::instance::Instance, bytes: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(instance.socket()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: umbra\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: umbra\r\nconnection: close\r\n\r\n").into_bytes()
}

#[test]
fn hostile_requests_get_json_errors_and_the_daemon_lives() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), idle);
    let deep = "[".repeat(100_000);
    for (request, status, code) in [
        (get("/"), 404, "not_found"),
        (get("/v1/builds/x"), 400, "bad_request"),
        (get("/v1/builds/99999999999999999999999"), 400, "bad_request"),
        (get("/v1/builds?limit=-1"), 400, "bad_request"),
        (get("/v1/diff?a=1"), 400, "bad_request"),
        (get("/v1/states/%ff%fe"), 400, "bad_request"),
        (get("/v1/states/..%2f..%2fetc"), 404, "not_found"),
        (get("/v1/gc"), 400, "bad_request"),
        (post("/v1/builds", ""), 400, "bad_request"),
        (post("/v1/builds", "{}"), 400, "bad_request"),
        (post("/v1/builds", &deep), 400, "bad_request"),
        (post("/v1/exec", "{\"place\":{\"kind\":\"moon\",\"name\":\"x\"}}"), 400, "bad_request"),
        (post("/v1/attach", "{}"), 400, "bad_request"),
        (post("/v1/shadows", "{\"from\":\"\u{0}\"}"), 400, "bad_request"),
    ] {
        let line = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        let (seen, body) = raw(&instance, &request);
        assert_eq!(seen, status, "{line}: {body}");
        let error: WireError = serde_json::from_str(&body).expect("a JSON error");
        assert_eq!(serde_json::to_value(error.code).unwrap(), code, "{line}");
    }
    assert!(client(&instance).health().unwrap().ok);
}

#[test]
fn requests_beyond_the_limits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let instance = start(dir.path(), Arc::default(), idle);
    let long = format!(
        "POST /v1/builds HTTP/1.1\r\nhost: umbra\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        1u64 << 40
    );
    let (status, body) = raw(&instance, long.as_bytes());
    assert_eq!(status, 413, "{body}");
    let mut many = b"GET /v1/health HTTP/1.1\r\nhost: umbra\r\n".to_vec();
    (0..100).for_each(|number| many.extend(format!("x-{number}: y\r\n").into_bytes()));
    many.extend(b"\r\n");
    assert_eq!(raw(&instance, &many).0, 431);
    assert!(client(&instance).health().unwrap().ok);
}
