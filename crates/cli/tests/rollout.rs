//! The real program, and a daemon that says what a test wants: what is asked of it, what people
//! see, and how it ends.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use umbra_api::rollout::{
    ArmStatus, Happened, RolloutEvent, RolloutPhase, RolloutStatus, StepProgress, StepStatus,
};
use umbra_judge::arm::Arm;
use umbra_judge::journal::write::Writer;
use umbra_judge::outcome::{Decision, Kind, Outcome, Record};
use umbra_judge::settings::Settings;
use umbra_judge::trial::Trial;

/// What the daemon does with a request.
enum Answer {
    /// Answers.
    Says(u16, String),
    /// Begins to answer and breaks off.
    Cut(String),
    /// Begins to answer and goes on until the other side leaves.
    Holds(String),
}

/// A daemon that remembers what it was asked.
struct Daemon {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    fn new(answer: impl Fn(&str, usize) -> Answer + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("umbra.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request.clone());
                    seen.iter().filter(|one| **one == request).count()
                };
                serve(stream, answer(&request, count));
            }
        });
        Self { dir, asked }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umbra"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("UMBRA_STATE_DIR", self.dir.path())
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn check(&self, args: &[&str], code: i32) -> (String, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(code), "{args:?}\nstdout: {out}\nstderr: {err}");
        (out, err)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// `METHOD TARGET BODY`.
fn read(stream: &mut UnixStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).unwrap();
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let words: Vec<&str> = first.split(' ').take(2).collect();
    let request = format!("{} {}", words.join(" "), String::from_utf8(body).unwrap());
    request.trim_end().to_owned()
}

fn serve(mut stream: UnixStream, answer: Answer) {
    let chunked = |text: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n",
            text.len()
        )
    };
    let text = match &answer {
        Answer::Says(status, body) => {
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        Answer::Cut(body) | Answer::Holds(body) => chunked(body),
    };
    // The other side may have enough.
    let _ = stream.write_all(text.as_bytes());
    if matches!(answer, Answer::Holds(_)) {
        std::thread::spawn(move || stream.read(&mut [0]));
    }
}

fn rollout(phase: RolloutPhase) -> RolloutStatus {
    let words = ["mirror 100 %", "weight 5 %"];
    let step = |words: &str| StepStatus {
        words: words.to_owned(),
        progress: StepProgress::Ahead,
        began_at_ms: None,
    };
    RolloutStatus {
        id: 7,
        service: "web".to_owned(),
        candidate: "web@2".to_owned(),
        state: None,
        baseline: "web@1".to_owned(),
        phase,
        reason: "because".to_owned(),
        steps: words.map(step).to_vec(),
        weight_percent: 5.0,
        mirror_percent: 0.0,
        began_at_ms: 1_767_225_600_000,
        ended_at_ms: None,
        arms: [ArmStatus::default(), ArmStatus::default()],
        judged: None,
        analyses: Vec::new(),
        held_by: Vec::new(),
        journal: Some(PathBuf::from("/var/lib/umbra/rollouts/7.journal")),
        rolled_back: None,
        topped_up: 0,
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// Events as lines, from a number on.
fn events(phases: &[RolloutPhase], from: u64) -> String {
    let event = |(seq, phase): (u64, &RolloutPhase)| RolloutEvent {
        seq,
        at_ms: 1_767_225_600_000 + 1_500 * seq as i64,
        what: Happened::Phase { phase: *phase, reason: format!("event {seq}") },
    };
    let all = (1..).zip(phases).map(event).filter(|event| event.seq >= from);
    all.map(|event| json(&event) + "\n").collect()
}

fn number(target: &str) -> u64 {
    target.split("from=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap()
}

/// One whose rollout ends so.
fn ends(end: RolloutPhase) -> Daemon {
    Daemon::new(move |asked, _| {
        let phases = [RolloutPhase::Running, RolloutPhase::Paused, end];
        match asked {
            "GET /v1/rollouts/7" | "GET /v1/rollouts/web" => Answer::Says(200, json(&rollout(end))),
            _ if asked.starts_with("POST /v1/rollouts {") => {
                Answer::Says(200, json(&rollout(RolloutPhase::Starting)))
            }
            _ if asked.starts_with("GET /v1/rollouts?") => {
                Answer::Says(200, json(&[rollout(RolloutPhase::Running)]))
            }
            _ if asked.starts_with("GET /v1/rollouts/7/events") => {
                Answer::Says(200, events(&phases, number(asked)))
            }
            _ if asked.starts_with("POST /v1/rollouts/7/tell") => {
                Answer::Says(200, json(&rollout(RolloutPhase::Paused)))
            }
            _ => Answer::Says(404, r#"{"code":"not_found","message":"find it"}"#.to_owned()),
        }
    })
}

#[test]
fn a_rollout_is_followed_and_its_end_is_the_exit_code() {
    for (phase, code, word) in [
        (RolloutPhase::Successful, 0, "SUCCESSFUL"),
        (RolloutPhase::Failed, 1, "FAILED"),
        (RolloutPhase::Error, 3, "ERROR"),
        (RolloutPhase::Inconclusive, 4, "INCONCLUSIVE"),
    ] {
        let daemon = ends(phase);
        let start = ["rollout", "start", "web", "--image", "web@2", "--watch"];
        let (out, err) = daemon.check(&start, code);
        assert_eq!(out, "");
        assert!(err.contains("    3.000s phase paused: event 2\n"), "{err}");
        assert!(err.contains(&format!("\n{word} rollout 7 of web")), "{err}");
        assert!(err.contains("umbra rollout replay /var/lib/umbra/rollouts/7.journal"), "{err}");
        // By its service, and as JSON.
        let (out, err) = daemon.check(&["rollout", "watch", "web", "--json"], code);
        let lines: Vec<RolloutEvent> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), err.as_str()), (3, ""));
    }
}

#[test]
fn a_start_is_asked_for_as_it_was_typed() {
    let daemon = ends(RolloutPhase::Successful);
    std::fs::write(daemon.dir.path().join("rollout.yaml"), "service: web\n").unwrap();
    let (out, err) = daemon.check(
        &["rollout", "start", "web", "--candidate", "127.0.0.1:1", "--candidate", "127.0.0.1:2"],
        0,
    );
    assert_eq!(out, "7\n");
    assert!(err.contains("umbra rollout watch 7"), "{err}");
    let with_file = ["rollout", "start", "web", "--image", "web@2", "--detach", "--json"];
    let with_file = [&with_file[..], &["--file", "rollout.yaml", "--gateway", "g.sock"]].concat();
    let (out, _) = daemon.check(&with_file, 0);
    assert_eq!(serde_json::from_str::<RolloutStatus>(&out).unwrap().id, 7);
    let dir = daemon.dir.path().display();
    assert_eq!(
        daemon.asked(),
        [
            r#"POST /v1/rollouts {"service":"web","candidate":{"targets":["127.0.0.1:1","127.0.0.1:2"]},"file":null,"gateway":null}"#.to_owned(),
            format!(
                r#"POST /v1/rollouts {{"service":"web","candidate":{{"image":"web@2"}},"file":"{dir}/rollout.yaml","gateway":"{dir}/g.sock"}}"#
            ),
        ]
    );
    let file = |text: &str| std::fs::write(daemon.dir.path().join("rollout.yaml"), text).unwrap();
    let asked = daemon.asked().len();
    file("service: api\n");
    let (_, err) = daemon.check(&with_file, 2);
    assert!(err.contains("which is of \"api\""), "{err}");
    file("service: web\nstepz: []\n");
    let (out, err) = daemon.check(&with_file, 2);
    assert!(out.contains("stepz") && err.contains("umbra rollout schema"), "{out} {err}");
    assert_eq!(daemon.asked().len(), asked, "nothing is asked for");
    for nonsense in [
        &["rollout", "start", "web"][..],
        &["rollout", "start", "web", "--image", "a", "--candidate", "b:1"],
        &["rollout", "start", "web", "--image", "a", "--watch", "--detach"],
    ] {
        daemon.check(nonsense, 2);
    }
}

#[test]
fn what_is_told_is_sent() {
    let daemon = ends(RolloutPhase::Successful);
    for (typed, sent) in [
        (&["promote", "web"][..], "promote"),
        (&["promote", "--full"], "promote_full"),
        (&["abort", "7"], "abort"),
        (&["pause"], "pause"),
        (&["resume"], "resume"),
        (&["retry"], "retry"),
        (&["undo", "web"], "undo"),
    ] {
        let (out, _) = daemon.check(&[&["rollout"], typed].concat(), 0);
        assert_eq!(out, "rollout 7 of web, web@1 -> web@2: paused: because\n");
        let asked = daemon.asked();
        assert_eq!(asked.last().unwrap(), &format!("POST /v1/rollouts/7/tell \"{sent}\""));
    }
    let (_, err) = daemon.check(&["rollout", "abort", "none"], 2);
    assert!(err.starts_with("error: failed to find it"), "{err}");
}

#[test]
fn what_is_asked_is_shown() {
    let daemon = ends(RolloutPhase::Failed);
    let (out, _) = daemon.check(&["rollout", "ls"], 0);
    assert!(out.contains("web@1") && out.contains("running"), "{out}");
    let (out, _) = daemon.check(&["rollout", "status", "web"], 0);
    assert!(out.contains("failed: because") && out.contains("umbra rollout retry 7"), "{out}");
    let (out, _) = daemon.check(&["rollout", "explain", "7"], 0);
    assert!(out.contains("what happened") && out.contains("3.000s phase paused"), "{out}");
    for asked in ["ls", "status", "explain"] {
        let (out, _) = daemon.check(&["rollout", asked, "--json"], 0);
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
    }
}

#[test]
fn a_daemon_that_was_away_is_heard_again_from_where_it_stopped() {
    let daemon = Daemon::new(|asked, count| {
        let phases = [RolloutPhase::Starting, RolloutPhase::Running, RolloutPhase::Successful];
        match (asked, count) {
            ("GET /v1/rollouts/7", 1) => Answer::Says(200, json(&rollout(RolloutPhase::Starting))),
            // As one that goes down says it.
            ("GET /v1/rollouts/7/events?from=0", _) => Answer::Cut(events(&phases[..1], 0)),
            ("GET /v1/rollouts/7/events?from=2", 1) => Answer::Says(200, String::new()),
            ("GET /v1/rollouts/7", 2) => Answer::Says(
                503,
                r#"{"code":"shutting_down","message":"follow it: the daemon ends"}"#.to_owned(),
            ),
            ("GET /v1/rollouts/7/events?from=2", _) => Answer::Says(200, events(&phases, 2)),
            _ => Answer::Says(200, json(&rollout(RolloutPhase::Successful))),
        }
    });
    let (_, err) = daemon.check(&["rollout", "watch", "7"], 0);
    let phases: Vec<&str> = err.lines().filter(|line| line.contains("s phase ")).collect();
    assert_eq!(phases.len(), 3, "{err}");
    assert_eq!(err.matches("the daemon is waited for").count(), 1, "{err}");
}

#[test]
fn who_leaves_leaves_the_rollout_alone() {
    let daemon = Daemon::new(|asked, _| match asked.contains("/events") {
        true => Answer::Holds(events(&[RolloutPhase::Running], 0)),
        false => Answer::Says(200, json(&rollout(RolloutPhase::Running))),
    });
    let mut child =
        daemon.command(&["rollout", "watch", "7"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    story.read_line(&mut line).unwrap();
    assert!(line.contains("phase running"), "{line}");
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    story.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{rest}");
    assert!(rest.contains("left rollout 7, which goes on"), "{rest}");
    assert!(daemon.asked().iter().all(|asked| asked.starts_with("GET ")), "nothing is told");
}

/// A journal of a candidate that fails one request in five until it is found worse, ended by
/// this decision.
fn journal(change: impl FnOnce(&mut Decision)) -> Vec<u8> {
    let settings = Settings::default();
    let mut trial = Trial::new(settings).unwrap();
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&settings, &mut bytes);
    let mut records = vec![Record::Stage { weight: 0.05 }];
    for unit in 0_u64.. {
        records.push(Record::Outcome(Outcome {
            unit,
            arm: if unit % 20 == 0 { Arm::Candidate } else { Arm::Baseline },
            stage: 0,
            latency_us: 1_000,
            failed: unit % 100 == 0,
            hung: 0,
            kind: Kind::Ended,
        }));
        let told = records.len() - if unit == 0 { 2 } else { 1 };
        records[told..].iter().for_each(|record| trial.on(record));
        if trial.is_worse() {
            break;
        }
        assert!(unit < 100_000, "{:?}", trial.standing());
    }
    let mut decision = trial.decision();
    change(&mut decision);
    records.push(Record::Decision(decision));
    writer.batch(&records, &mut bytes);
    bytes
}

#[test]
fn a_journal_is_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal");
    let check = |bytes: &[u8], code: i32, said: &str| {
        std::fs::write(&file, bytes).unwrap();
        let run = |more: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_umbra"))
                .args(["rollout", "replay", "journal"])
                .args(more)
                .current_dir(dir.path())
                .env_clear()
                .output()
                .unwrap()
        };
        let Output { status, stdout, stderr } = run(&[]);
        let out = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert_eq!(status.code(), Some(code), "{out}");
        assert!(out.contains(said), "{out}");
        let as_json = run(&["--json"]);
        assert_eq!(as_json.status.code(), Some(code));
        if !as_json.stdout.is_empty() {
            serde_json::from_slice::<serde_json::Value>(&as_json.stdout).unwrap();
        }
        out
    };
    let good = journal(|_| {});
    let out = check(&good, 0, "REPRODUCED: 1 decision, the same to the last bit");
    assert!(out.contains("the way of the e-value") && out.contains("(errors)"), "{out}");
    // One bit, as an attacker who makes a journal of his own would have it.
    let bits = |is: &mut Decision| is.log_e = f64::from_bits(is.log_e.to_bits() + 1);
    check(&journal(bits), 1, "DIFFERENT: 1 of 1 decision");
    check(&journal(|is| is.worse = false), 1, "recorded e-value");
    check(&[&good[..], &[1, 0]].concat(), 0, "a batch that is cut off: 2 bytes not looked at");
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    check(&damaged, 3, "DAMAGED");
    check(b"umbra", 3, "header is cut off");
    check(b"something else", 3, "does not begin as one of a judge");
    let mut empty = Vec::new();
    Writer::begin(&Settings::default(), &mut empty);
    check(&empty, 4, "NOTHING DECIDED");
}

#[test]
fn files_are_checked_and_the_documentations_are_good() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umbra"));
        let Output { status, stdout, stderr } =
            command.args(args).current_dir(dir.path()).env_clear().output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    };
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rollouts.md");
    let page = std::fs::read_to_string(docs).unwrap();
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let write = |text: &str| std::fs::write(dir.path().join("rollout.yaml"), text).unwrap();
    write(example);
    let (code, out, err) = run(&["rollout", "check"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", "rollout.yaml makes sense\n"));
    let (code, out, _) = run(&["rollout", "check", "rollout.yaml", "--json"]);
    let spec: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, spec["service"].as_str()), (Some(0), Some("web")));
    write("service: web\nsteps:\n- setWeight: 50\n- setWeight: 5\nholt: 3\n");
    let (code, out, err) = run(&["rollout", "check"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("rollout.yaml:5") && err.contains("did you mean `hold`"), "{err}");
    let (code, _, err) = run(&["rollout", "check", "none.yaml"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("none.yaml"), "{err}");
    let (code, out, _) = run(&["rollout", "schema"]);
    assert_eq!(code, Some(0));
    assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().is_object());
}

#[test]
fn without_a_daemon_it_is_said_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_umbra"))
            .args(args)
            .env_clear()
            .env("UMBRA_STATE_DIR", Path::new(dir.path()))
            .output()
            .unwrap()
    };
    for args in [&["rollout", "ls"][..], &["rollout", "abort"], &["rollout", "watch", "web"]] {
        let output = run(args);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert!(err.contains("umbra serve"), "{err}");
    }
}
