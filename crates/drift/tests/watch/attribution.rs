//! Who changed it, when the process is long gone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_drift::watch::Seen;
use umbra_drift::watch::who::{Class, Known, Writer};

use crate::support::{Watched, directory, writers};
use crate::trial;

const WRITERS: usize = 200;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("attribution::short_lived_writers_and_a_late_reader", late_reader),
        trial("attribution::a_living_writer_shows_itself", living_writer),
        trial("attribution::a_script_is_named_beside_its_interpreter", script),
        trial("attribution::a_script_run_through_env_is_named", script_through_env),
        trial("attribution::a_fork_without_execution_is_what_its_parent_is", fork),
        trial("attribution::a_verification_ahead_of_events_waits_for_them", verification),
        trial("attribution::from_a_process_namespace_nobody_is_said_to_be_outside", namespace),
    ]
}

fn late_reader() {
    let (_keep, root) = directory();
    let mut watched = Watched::new(&root);
    for number in 0..WRITERS {
        let file = root.join(number.to_string());
        let status =
            Command::new("sh").args(["-c", "echo 1 > \"$0\""]).arg(&file).status().expect("shell");
        assert!(status.success());
    }
    // The point of this test: every writer is gone when the first event is read.
    std::thread::sleep(Duration::from_millis(100));
    watched.until(|watched| watched.changes.len() >= WRITERS);
    let shell = fs::canonicalize("/bin/sh").expect("shell");
    let shell = shell.file_name().expect("name").to_string_lossy().into_owned();
    let known = watched.changes.iter().filter(|change| writers(change) == [shell.clone()]).count();
    assert_eq!(known, WRITERS);
}

fn living_writer() {
    let (_keep, root) = directory();
    let mut watched = Watched::new(&root);
    let file = root.join("f");
    let mut writer = Command::new("sh")
        .args(["-c", "echo 1 > \"$0\"; read wait"])
        .arg(&file)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("shell");
    let change = watched.change(&file);
    drop(writer.stdin.take());
    writer.wait().expect("shell");
    let shown = only_writer(&change.seen);
    assert_eq!((shown.known, shown.uid), (Known::Alive, Some(0)));
    assert_eq!(shown.pid, writer.id().cast_signed());
    assert_eq!(shown.argv.last().map(AsRef::as_ref), Some(file.as_path()));
    assert_eq!(shown.class, Class::Unexplained);
    assert_eq!(shown.parents[0].pid, std::process::id().cast_signed());
}

fn script() {
    script_with("#!/bin/sh\n");
}

fn script_through_env() {
    script_with("#!/usr/bin/env sh\n");
}

#[track_caller]
fn script_with(first_line: &str) {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    let script = outside.join("configure");
    fs::write(&script, format!("{first_line}echo 1 > \"$1\"\n")).expect("script");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("mode");
    let mut watched = Watched::new(&root);
    let status = Command::new(&script).arg(root.join("f")).status().expect("script");
    assert!(status.success());
    let change = watched.change(&root.join("f"));
    assert_eq!(only_writer(&change.seen).program.script.as_ref(), Some(&script));
}

/// Subshells fork and execute nothing; all of them are gone when the first event is read.
fn fork() {
    let (_keep, root) = directory();
    let mut watched = Watched::new(&root);
    let script = "for n in 0 1 2 3 4 5 6 7 8 9; do (echo 1 > \"$0/$n\"); done";
    let mut shell = Command::new("sh").args(["-c", script]).arg(&root).spawn().expect("shell");
    shell.wait().expect("shell");
    watched.until(|watched| watched.changes.len() >= 10);
    let own = shell.id().cast_signed();
    let children: Vec<_> = watched.changes.iter().map(|change| only_writer(&change.seen)).collect();
    assert!(children.iter().all(|writer| writer.pid != own), "the shell forks");
    if children.iter().all(|writer| writer.known == Known::Not) {
        return println!("skipped: no process connector here (CAP_NET_ADMIN, CONFIG_PROC_EVENTS)");
    }
    let shell = fs::canonicalize("/bin/sh").expect("shell");
    for writer in children {
        assert_eq!(writer.program.exe.as_ref(), Some(&shell), "{writer:#?}");
        assert_eq!(writer.parents[0].pid, own);
    }
}

fn verification() {
    let (_keep, root) = directory();
    let mut options = Watched::options(&root);
    // All the time.
    options.verify_every = Some(Duration::from_millis(1));
    let mut watched = Watched::with(options, Default::default());
    let writing = root.clone();
    let writer = std::thread::spawn(move || {
        for number in 0..2000 {
            fs::write(writing.join(number.to_string()), "1").expect("file");
        }
    });
    watched.until(|watched| watched.changes.len() > 2000);
    writer.join().expect("writer");
    let receipts = watched.receipts.len();
    assert!(receipts > 2, "{receipts} verifications");
    for change in watched.changes.iter().filter(|change| change.path != root) {
        assert_eq!(only_writer(&change.seen).pid, std::process::id().cast_signed());
    }
}

/// The reader in a namespace, the writer outside: the test program starts itself again.
fn namespace() {
    let (_keep, root) = directory();
    let mut reader = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().expect("own program"))
        .args([crate::child::ARGUMENT, "writers"])
        .arg(&root)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("unshare");
    let output = reader.stdout.take().expect("output");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    let first = lines.next().and_then(Result::ok);
    if first.as_deref() != Some("ready") {
        reader.wait().expect("reader");
        return println!("skipped: no process namespace can be made here");
    }
    fs::write(root.join("f"), "1").expect("file");
    let said = lines.next().expect("a line").expect("line");
    drop(lines);
    reader.kill().expect("kill");
    reader.wait().expect("reader");
    assert_eq!(said, "f 0 Outside");
}

fn only_writer(seen: &Seen) -> &Writer {
    match seen {
        Seen::Events(chain) => {
            assert_eq!(chain.writers.len(), 1, "{chain:#?}");
            &chain.writers[0]
        }
        other => panic!("{other:?}"),
    }
}
