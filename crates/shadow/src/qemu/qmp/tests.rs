use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::message::{LINE_BYTES_MAX, Message, parse};
use super::*;
use crate::qemu::programs::QEMU;

const PATIENCE: Duration = Duration::from_secs(10);

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#;

/// A monitor that waits for a command before each of these and says them, `ID` being the
/// command's number. It listens to what comes after and closes when the client does.
fn scripted(replies: &[&str]) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let replies: Vec<String> = replies.iter().map(|&reply| reply.to_owned()).collect();
    std::thread::spawn(move || {
        let mut writer = theirs.try_clone().expect("cloned");
        let mut commands = BufReader::new(theirs).lines();
        // A client that has seen enough has gone.
        let _ = writeln!(writer, "{GREETING}");
        for reply in [r#"{"return": {}, "id": ID}"#.to_owned()].into_iter().chain(replies) {
            let Some(Ok(command)) = commands.next() else { return };
            let command: Value = serde_json::from_str(&command).expect("a command");
            let reply = reply.replace("ID", &command["id"].to_string());
            if writer.write_all(reply.as_bytes()).and_then(|()| writer.write_all(b"\n")).is_err() {
                return;
            }
        }
        commands.for_each(drop);
    });
    ours
}

fn connected(replies: &[&str]) -> Qmp {
    Qmp::over(scripted(replies), PATIENCE).expect("a monitor")
}

/// What becomes of `query-status` that is answered so.
#[track_caller]
fn check_status(reply: &str, expected: Result<(bool, RunState), &str>) {
    let answer = connected(&[reply]).execute(&QueryStatus {}, Duration::from_millis(200));
    match (answer, expected) {
        (Ok(status), Ok(expected)) => assert_eq!((status.running, status.status), expected),
        (Err(error), Err(word)) => {
            let text = umbra_state::chain(&error);
            assert!(text.contains(word), "{text}");
            assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
        }
        (answer, expected) => panic!("{answer:?}, not {expected:?}"),
    }
}

#[test]
fn answers_of_all_kinds() {
    let running =
        r#"{"return": {"running": true, "status": "running", "singlestep": false}, "id": ID}"#;
    check_status(running, Ok((true, RunState::Running)));
    let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}"#;
    check_status(&format!("{event}\n{running}"), Ok((true, RunState::Running)));
    // Of a command that took too long.
    check_status(
        &format!("{{\"return\": {{}}, \"id\": 0}}\n{running}"),
        Ok((true, RunState::Running)),
    );
    let odd = r#"{"return": {"running": false, "status": "colo"}, "id": ID}"#;
    check_status(odd, Ok((false, RunState::Other)));
    let refused =
        r#"{"error": {"class": "CommandNotFound", "desc": "no\u001b[2J such"}, "id": ID}"#;
    check_status(refused, Err("no\\u{1b}[2J such (CommandNotFound)"));
    let unread = r#"{"error": {"class": "GenericError", "desc": "bad input"}}"#;
    check_status(unread, Err("bad input"));
    check_status(r#"{"return": {"status": "running"}, "id": ID}"#, Err("query-status"));
    check_status(r#"{"return": {"running": "\u001b"}, "id": ID}"#, Err("query-status"));
    check_status(r#"{"return": {}, "id": 99}"#, Err("not asked for"));
    check_status(r#"{"return": {}}"#, Err("not asked for"));
    check_status(r#"{"return": {}, "id": "2"}"#, Err("id is no number"));
    check_status(r#"{"error": {"class": "a b", "desc": ""}, "id": ID}"#, Err("does not say why"));
    check_status(r#"{"event": "stop"}"#, Err("no name"));
    check_status(r#"{"event": "STOP", "data": 1}"#, Err("no object"));
    check_status("{}", Err("neither answer nor event"));
    check_status("[1]", Err("no JSON object"));
    check_status("\x1b[2Jhello", Err("\\u{1b}[2Jhello"));
    check_status(&"[".repeat(1000), Err("no JSON object"));
    check_status(&"x".repeat(LINE_BYTES_MAX + 1), Err("too long"));
    check_status(r#"{"return": {"running": true"#, Err("no JSON object"));
    check_status("", Err("no JSON object"));
}

#[test]
fn a_monitor_that_says_nothing_costs_its_time_and_no_more() {
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let begun = Instant::now();
    let error = Qmp::over(ours, Duration::from_millis(50)).expect_err("nothing is said");
    assert!(matches!(error, QmpError::Late(_)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_endless_line_is_cut_off() {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let writer = std::thread::spawn(move || while theirs.write_all(&[b' '; 4096]).is_ok() {});
    let error = Qmp::over(ours, PATIENCE).expect_err("no line ends");
    assert!(matches!(error, QmpError::Garbled(_)), "{error}");
    writer.join().expect("it ended with the connection");
}

#[test]
fn endless_events_do_not_outlast_patience_or_fill_memory() {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let writer = std::thread::spawn(move || {
        let _ = writeln!(theirs, "{GREETING}\n{{\"return\": {{}}, \"id\": 1}}");
        while theirs.write_all(b"{\"event\": \"RTC_CHANGE\"}\n").is_ok() {}
    });
    let mut qmp = Qmp::over(ours, PATIENCE).expect("a monitor");
    let begun = Instant::now();
    let error = qmp.execute(&Stop {}, Duration::from_millis(200)).expect_err("no answer comes");
    assert!(matches!(error, QmpError::Late("stop")), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(qmp.events().dropped > 0, "{:?}", qmp.events());
    drop(qmp);
    writer.join().expect("it ended with the connection");
}

#[test]
fn a_late_answer_is_passed_over() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut writer = theirs.try_clone().expect("cloned");
    writeln!(writer, "{GREETING}\n{{\"return\": {{}}, \"id\": 1}}").expect("written");
    let mut qmp = Qmp::over(ours, PATIENCE).expect("a monitor");
    let late = qmp.execute(&Stop {}, Duration::from_millis(20)).expect_err("no answer yet");
    assert!(matches!(late, QmpError::Late("stop")), "{late}");
    let rest = [
        r#"{"return": {}, "id": 2}"#,
        r#"{"return": {"running": false, "status": "paused"}, "id": 3}"#,
    ];
    writeln!(writer, "{}", rest.join("\n")).expect("written");
    let status = qmp.execute(&QueryStatus {}, PATIENCE).expect("an answer");
    assert_eq!(status.status, RunState::Paused);
}

#[test]
fn events_are_taken_in_their_order_and_what_ends_is_seen() {
    let reply = "{\"event\": \"STOP\"}\n{\"return\": {}, \"id\": ID}\n\
         {\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}";
    let mut qmp = connected(&[reply]);
    qmp.execute(&Stop {}, PATIENCE).expect("an answer");
    let first = qmp.next_event(PATIENCE).expect("a connection").expect("an event");
    assert_eq!(first.name, "STOP");
    let wanted = |event: &Event| event.name == "SHUTDOWN";
    let end = qmp.await_event("its end", wanted, PATIENCE).expect("an event");
    assert_eq!(end.data["reason"], "guest-shutdown");
    assert_eq!(qmp.next_event(Duration::from_millis(5)).expect("a connection"), None);
}

#[test]
fn a_closed_connection_says_so() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    drop(theirs);
    let error = Qmp::over(ours, PATIENCE).expect_err("nobody is there");
    assert!(matches!(error, QmpError::Closed), "{error}");
}

#[test]
fn commands_are_written_as_qemu_reads_them() {
    #[track_caller]
    fn check<C: Command>(command: &C, name: &str, arguments: &Value) {
        assert_eq!(C::NAME, name);
        assert_eq!(&serde_json::to_value(command).expect("arguments"), arguments);
    }
    check(&Stop {}, "stop", &json!({}));
    check(&AddFd { fdset_id: 3 }, "add-fd", &json!({ "fdset-id": 3 }));
    check(&Balloon { value: 1 }, "balloon", &json!({ "value": 1 }));
    check(
        &SetLink { name: "a".into(), up: false },
        "set_link",
        &json!({ "name": "a", "up": false }),
    );
    check(&DeviceDel { id: "a".into() }, "device_del", &json!({ "id": "a" }));
    check(&BlockdevDel { node_name: "a".into() }, "blockdev-del", &json!({ "node-name": "a" }));
    check(&DeviceAdd(json!({ "driver": "x" })), "device_add", &json!({ "driver": "x" }));
    let capability = Capability { capability: "x-ignore-shared", state: true };
    check(
        &MigrateSetCapabilities { capabilities: vec![capability] },
        "migrate-set-capabilities",
        &json!({ "capabilities": [{ "capability": "x-ignore-shared", "state": true }] }),
    );
}

#[test]
fn versions_are_read_and_compared() {
    let Ok(Message::Greeting(version)) = parse(GREETING.as_bytes()) else { panic!("no greeting") };
    assert_eq!(version.to_string(), "7.2.22");
    assert!(version < Version { major: 10, minor: 0, micro: 0 });
    assert!(parse(br#"{"QMP": {"version": {}}}"#).is_err());
}

/// A QEMU that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_real_monitor() {
    let Ok(program) = QEMU.find() else {
        println!("skipped: qemu-system-x86_64 is not installed (Debian package qemu-system-x86)");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("monitor");
    let child = Program::new(program)
        .args(["-M", "none", "-nodefaults", "-display", "none", "-qmp"])
        .arg(format!("unix:{},server=on,wait=off", path.display()))
        .stdin(Stdio::null())
        .spawn()
        .expect("started");
    let mut child = Running(child);
    let mut qmp = Qmp::connect(&path, PATIENCE).expect("a monitor");
    assert!(qmp.version().major >= 7);
    let asked = qmp.execute(&QueryVersion {}, PATIENCE).expect("an answer").qemu;
    assert_eq!(asked, qmp.version());
    assert!(qmp.execute(&QueryStatus {}, PATIENCE).expect("an answer").running);
    qmp.execute(&Stop {}, PATIENCE).expect("stopped");
    assert!(!qmp.execute(&QueryStatus {}, PATIENCE).expect("an answer").running);
    let stopped = |event: &Event| event.name == "STOP";
    qmp.await_event("a stop", stopped, PATIENCE).expect("an event");
    let refused = qmp.execute(&SetLink { name: "none".into(), up: true }, PATIENCE);
    let refused = refused.expect_err("there is no interface");
    assert!(matches!(&refused, QmpError::Refused { class, .. } if class == "DeviceNotFound"));
    let added = qmp
        .execute_with(&AddFd { fdset_id: 3 }, std::io::stdin().as_fd(), PATIENCE)
        .expect("it takes a descriptor");
    assert_eq!(added.fdset_id, 3);
    qmp.execute(&RemoveFd { fdset_id: 3 }, PATIENCE).expect("let go of");
    qmp.execute(&ObjectAdd(json!({ "qom-type": "rng-builtin", "id": "r" })), PATIENCE)
        .expect("made");
    qmp.execute(&Quit {}, PATIENCE).expect("it ends");
    assert!(child.0.wait().expect("waited").success());
    let gone = qmp.execute(&Stop {}, PATIENCE).expect_err("nobody is there");
    assert!(matches!(gone, QmpError::Closed), "{gone}");
}
