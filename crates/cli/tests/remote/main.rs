//! A primary on another machine, end to end: the real program, a real daemon, a real OpenSSH
//! server, and an agent that is put there.

#![allow(clippy::unwrap_used)]

mod machine;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use machine::{Machine, has_ended, key, missing, signal, until};
use umbra_drift::alert::News;
use umbra_drift::service::{Phase, What};
use umbra_drift::watch::{Mode, Receipt};

const GOOD: &str = "nameserver 192.0.2.1\n";
const BAD: &str = "nameserver 203.0.113.9\n";

/// Why a test is left out, on its output.
fn skipped() -> bool {
    let why = missing();
    if let Some(why) = why {
        println!("skipped: {why}");
    }
    why.is_some()
}

fn unwatched(what: What) -> Option<String> {
    match what {
        What::Unwatched { why } => Some(why),
        _ => None,
    }
}

fn watched(what: What) -> Option<()> {
    matches!(what, What::Watched).then_some(())
}

fn receipt(what: What) -> Option<Receipt> {
    match what {
        What::Receipt(receipt) => Some(receipt),
        _ => None,
    }
}

#[test]
fn a_machine_behind_ssh_is_watched_and_put_back() {
    if skipped() {
        return;
    }
    let machine = Machine::start();
    // What is worth watching is found out there; with that its agent is there, too.
    let (out, err) = machine.run(&machine.add("plain", &[]), 0);
    assert!(err.contains("reaching root@127.0.0.1 by ssh; its agent is put into"), "{err}");
    assert!(out.contains("is under care") && out.contains(", put there ("), "{out}");
    machine.run(&["primary", "rm", "plain", "--yes"], 0);
    let left = || fs::read_dir(machine.there().join("primaries")).unwrap().count();
    assert_eq!(left(), 0, "what its agent remembered is gone");

    let config = machine.config();
    let (out, _) = machine.run(&machine.add("web", &["--config", &config]), 0);
    assert!(out.contains("2 parameters, 2 facts") && !out.contains("put there"), "{out}");
    let (out, _) = machine.run(&["primary", "show", "web"], 0);
    assert!(out.contains("root@127.0.0.1 -o Port=") && out.contains("/umbra-agent-"), "{out}");
    let (out, _) = machine.run(&["primary", "ls"], 0);
    assert!(out.contains("root@127.0.0.1 /"), "{out}");

    let changed = Instant::now();
    machine.change("/etc/resolv.conf", BAD);
    let (next, alert) = machine.told(0, News::Opened, "dns");
    assert!(changed.elapsed() < Duration::from_secs(10), "{:?}", changed.elapsed());
    let covered = machine.info().coverage;
    if covered.iter().any(|one| one.by.starts_with("fanotify")) {
        let who = alert.attribution.expect("who").writers;
        let shell = fs::canonicalize("/bin/sh").unwrap();
        assert!(who.iter().any(|one| one.program.exe.as_ref() == Some(&shell)), "{who:?}");
    } else {
        println!("skipped: who writes is not seen here: {covered:?}");
    }
    let (_, err) = machine.run(&["rehearse", "drift", "web"], 3);
    assert!(err.contains("they are on another machine") && err.contains("--image"), "{err}");

    // Confirmed, it stays; the plan comes from here, the hands and the journal are there.
    let rollback = ["drift", "rollback", "web", "--yes", "--confirm-timeout"];
    machine.run(&[&rollback[..], &["5m"]].concat(), 0);
    assert!(machine.reads("/etc/resolv.conf", GOOD));
    let mut kept = fs::read_dir(machine.there().join("primaries")).unwrap().flatten();
    let journals = kept.next().expect("a directory of this primary").path().join("rollbacks");
    assert_eq!(fs::read_dir(&journals).unwrap().count(), 1, "{}", journals.display());
    machine.run(&["drift", "confirm", "web"], 0);
    assert!(machine.reads("/etc/resolv.conf", GOOD));
    let (next, _) = machine.told(next, News::Resolved, "dns");

    // Not confirmed, and cut off: the timer is there as well.
    machine.change("/etc/resolv.conf", BAD);
    machine.told(next, News::Opened, "dns");
    machine.run(&[&rollback[..], &["3s"]].concat(), 0);
    machine.answers(false);
    machine.cut();
    until("it is undone", || machine.reads("/etc/resolv.conf", BAD).then_some(()));
    machine.answers(true);
    machine.until(0, |what| match what {
        What::RollbackEnded { number: 2, outcome, .. } if outcome.is_final() => {
            assert!(!outcome.is_success(), "{outcome:?}");
            Some(())
        }
        _ => None,
    });
    machine.stop();
}

#[test]
fn a_connection_that_is_lost_is_said_and_made_up_for() {
    if skipped() {
        return;
    }
    let machine = Machine::start();
    let config = machine.config();
    machine.run(&machine.add("web", &["--config", &config]), 0);
    // From here on there is something that an agent can remember.
    let (next, _) = machine.until(0, receipt);
    let agent = machine.agent().expect("an agent");

    machine.answers(false);
    machine.cut();
    let (next, why) = machine.until(next, unwatched);
    until("the agent has ended", || has_ended(agent).then_some(()));
    assert!(why.contains("its agent has ended"), "{why}");
    assert_eq!(machine.info().phase, Phase::Unwatched);
    machine.change("/etc/motd", "changed while nobody looked\n");
    machine.answers(true);
    let (_, alert) = machine.told(next, News::Opened, "motd");
    let attribution = alert.attribution.expect("when");
    assert!(attribution.after_ms.is_some() && attribution.writers.is_empty(), "{attribution:?}");
    let (next, ()) = machine.until(next, watched);
    let made_up = |receipt: &Receipt| receipt.mode == Mode::Scan && receipt.from.is_some();
    machine.until(next, |what| receipt(what).filter(made_up));

    // It keeps its line open and says nothing.
    let agent = until("an agent runs", || machine.agent());
    signal(agent, "STOP");
    let stopped = Instant::now();
    let (next, why) = machine.until(next, unwatched);
    assert!(why.contains("nothing was heard of it"), "{why}");
    assert!(stopped.elapsed() < Duration::from_secs(40), "{:?}", stopped.elapsed());
    signal(agent, "KILL");
    machine.until(next, watched);
    assert_eq!(machine.info().phase, Phase::Watched);
    machine.stop();
}

#[test]
fn who_cannot_be_reached_or_believed_is_refused_with_the_reason() {
    if skipped() {
        return;
    }
    let machine = Machine::start();
    let config = machine.config();
    let with = |more: &[&str]| machine.add("web", &[&["--config", &config], more].concat());
    let refused = |more: &[&str], words: &[&str]| {
        let (_, err) = machine.run(&with(more), 3);
        for words in words {
            assert!(err.contains(words), "{words:?} is not in {err}");
        }
        assert!(!err.chars().any(|c| c.is_control() && c != '\n'), "{err:?}");
    };
    machine.know(None);
    refused(&[], &["Host key verification failed", "compare its fingerprint"]);
    machine.know(Some(&key(&machine, "other")));
    refused(&[], &["Host key verification failed", "compare its fingerprint"]);
    machine.know(Some(&key(&machine, "host")));
    refused(&["--agent", "/nowhere/umbra-agent"], &["its agent has ended", "/nowhere/umbra-agent"]);
    let (out, _) = machine.run(&["primary", "ls"], 0);
    assert!(out.starts_with("no primaries yet"), "{out}");
    assert!(!machine.there().exists(), "nothing was put there");

    // One that arrived damaged is not used: it is put there again.
    machine.run(&with(&[]), 0);
    machine.run(&["primary", "rm", "web", "--yes"], 0);
    let is_agent =
        |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("umbra-agent-");
    let mut entries = fs::read_dir(machine.there()).unwrap().flatten();
    let agent = entries.find(is_agent).expect("an agent").path();
    fs::write(&agent, "damaged").unwrap();
    let (out, _) = machine.run(&with(&[]), 0);
    assert!(out.contains(", put there ("), "{out}");
    machine.stop();
}
