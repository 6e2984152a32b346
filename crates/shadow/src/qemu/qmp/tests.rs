use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::command::*;
use super::message::{LINE_BYTES_MAX, Message, Version, parse};
use super::*;
use crate::qemu::machine::{Backing, Board, Start};
use crate::qemu::tests as real;

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

/// What becomes of `query-migrate` that is answered so.
#[track_caller]
fn check_answer(reply: &str, expected: Result<Option<MigrationStatus>, &str>) {
    let answer = connected(&[reply]).execute(&QueryMigrate {}, Duration::from_millis(200));
    match (answer, expected) {
        (Ok(info), Ok(expected)) => assert_eq!(info.status, expected),
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
    let completed = r#"{"return": {"status": "completed", "total-time": 5}, "id": ID}"#;
    check_answer(completed, Ok(Some(MigrationStatus::Completed)));
    let first = |line: &str| format!("{line}\n{completed}");
    for event in [
        r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}"#,
        r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
        r#"{"event": "\u001b[2J", "data": 1, "id": 99}"#,
    ] {
        check_answer(&first(event), Ok(Some(MigrationStatus::Completed)));
    }
    // Of a command that took too long.
    let late = first(r#"{"return": {}, "id": 0}"#);
    check_answer(&late, Ok(Some(MigrationStatus::Completed)));
    let odd = r#"{"return": {"status": "postcopy-recover"}, "id": ID}"#;
    check_answer(odd, Ok(Some(MigrationStatus::UnderWay)));
    check_answer(r#"{"return": {}, "id": ID}"#, Ok(None));
    let refused =
        r#"{"error": {"class": "CommandNotFound", "desc": "no\u001b[2J such"}, "id": ID}"#;
    check_answer(refused, Err("no\\u{1b}[2J such (CommandNotFound)"));
    let unread = r#"{"error": {"class": "GenericError", "desc": "bad input"}}"#;
    check_answer(unread, Err("bad input"));
    check_answer(r#"{"return": 7, "id": ID}"#, Err("query-migrate"));
    check_answer(r#"{"return": {"status": 1}, "id": ID}"#, Err("query-migrate"));
    check_answer(r#"{"return": {"error-desc": {"\u001b": 1}}, "id": ID}"#, Err("query-migrate"));
    check_answer(r#"{"return": {}, "id": 99}"#, Err("not asked for"));
    check_answer(r#"{"return": {}}"#, Err("not asked for"));
    check_answer(r#"{"return": {}, "id": "2"}"#, Err("id is no number"));
    check_answer(r#"{"error": {"class": "a b", "desc": ""}, "id": ID}"#, Err("does not say why"));
    check_answer("{}", Err("neither answer nor event"));
    check_answer("[1]", Err("no JSON object"));
    check_answer("\x1b[2Jhello", Err("\\u{1b}[2Jhello"));
    check_answer(&"[".repeat(1000), Err("no JSON object"));
    check_answer(&"x".repeat(LINE_BYTES_MAX + 1), Err("too long"));
    check_answer(r#"{"return": {"status": "completed""#, Err("no JSON object"));
    check_answer("", Err("no JSON object"));
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
fn endless_events_do_not_outlast_patience() {
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
    let rest = [r#"{"return": {}, "id": 2}"#, r#"{"return": {"status": "cancelled"}, "id": 3}"#];
    writeln!(writer, "{}", rest.join("\n")).expect("written");
    let info = qmp.execute(&QueryMigrate {}, PATIENCE).expect("an answer");
    assert_eq!(info.status, Some(MigrationStatus::Cancelled));
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
    assert_eq!(version, Version { major: 7, minor: 2, micro: 22 });
    assert!(version < Version { major: 10, minor: 0, micro: 0 });
    assert!(parse(br#"{"QMP": {"version": {}}}"#).is_err());
}

#[test]
fn the_real_monitor() {
    let Some(program) = real::program() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let machine = real::machine(dir.path(), Board::Pc, Backing::Own, Start::Incoming);
    let (mut running, mut qmp) = real::start(&program, &machine);
    assert!(qmp.version().major >= 7);
    let info = qmp.execute(&QueryMigrate {}, PATIENCE).expect("an answer");
    assert_eq!(info, MigrationInfo { status: None, error: None });
    let refused = qmp.execute(&RemoveFd { fdset_id: 99 }, PATIENCE).expect_err("there is none");
    assert!(matches!(&refused, QmpError::Refused { class, .. } if class == "GenericError"));
    qmp.execute_with(&AddFd { fdset_id: 3 }, std::io::stdin().as_fd(), PATIENCE)
        .expect("it takes a descriptor");
    qmp.execute(&RemoveFd { fdset_id: 3 }, PATIENCE).expect("let go of");
    running.0.kill().expect("killed");
    running.0.wait().expect("waited for");
    let gone = qmp.execute(&Stop {}, PATIENCE).expect_err("nobody is there");
    assert!(matches!(gone, QmpError::Closed), "{gone}");
}
