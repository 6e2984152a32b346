//! Measures what a rehearsal costs beside its suite:
//! `cargo run --release -p umbra-rehearse --example measure`, as root, with busybox-static
//! installed. Prints milliseconds.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use umbra_drift::reading::Reading;
use umbra_rehearse::{Bounds, Directory, Edit, Report, Root, Subject, What, rehearse};
use umbra_shadow::provider::{Init, Limits, Network};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::startup::Startup;
use umbra_state::{Command, TestKind, Verdict};
use umbra_suite::Test;
use umbra_suite::spec::{Check, RunCheck};

const ROUNDS: usize = 40;
const EDITS: usize = 20;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        std::process::exit(umbra_shadow::sandbox::launcher::main());
    }
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(root.join(name))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/sh"))?;
    let provider = SandboxProvider::open(SandboxConfig {
        dir: dir.path().join("shadows"),
        launcher: std::env::current_exe()?,
        user_namespaces: true,
        warm: 0,
    })?;
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch)?;
    let subject = subject(&root, &scratch)?;
    let (good, bad) = (drift("fine"), drift("broken"));
    let mut passes = Times::default();
    let mut fails = Times::default();
    for _ in 0..ROUNDS {
        passes.add(&rehearsed(&provider, &subject, &good, Verdict::Pass)?);
        fails.add(&rehearsed(&provider, &subject, &bad, Verdict::Fail)?);
    }
    println!("{EDITS} changed files, one test of a shell's start, {ROUNDS} rounds");
    Times::line("view with changes, set up", &mut passes.setups);
    Times::line("the test itself", &mut passes.tests);
    Times::line("rehearsal that passes", &mut passes.all);
    Times::line("rehearsal that fails", &mut fails.all);
    Times::line("  of it: each probe", &mut fails.probes);
    Ok(())
}

#[derive(Default)]
struct Times {
    setups: Vec<Duration>,
    tests: Vec<Duration>,
    all: Vec<Duration>,
    probes: Vec<Duration>,
}

impl Times {
    fn add(&mut self, (report, took): &(Report, Duration)) {
        self.all.push(*took);
        let us = Duration::from_micros;
        self.setups.extend(report.runs.last().map(|run| us(run.setup_us)));
        let seen = report.runs.iter().flat_map(|run| &run.seen);
        self.tests.extend(seen.map(|seen| us(seen.took_us)));
        self.probes.extend(
            report.failures.iter().map(|failure| us(failure.took_us / failure.probes.max(1))),
        );
    }

    fn line(what: &str, times: &mut [Duration]) {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, ms);
        println!("  {what:30} min {:7.2}  p50 {:7.2}  p99 {:7.2}", at(0), at(50), at(99));
    }
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn rehearsed(
    provider: &SandboxProvider,
    subject: &Subject,
    what: &What,
    expected: Verdict,
) -> Result<(Report, Duration), Failure> {
    let began = Instant::now();
    let report = rehearse(provider, subject, what, &AtomicBool::new(false))?;
    let took = began.elapsed();
    if report.verdict == expected { Ok((report, took)) } else { Err(format!("{report:#?}").into()) }
}

fn subject(root: &Path, scratch: &Path) -> Result<Subject, Failure> {
    let script =
        Command::shell("read word < /etc/file-7 && test \"$word\" = fine || test ! -e /etc/file-7");
    let check = Check::Run(RunCheck::new(script));
    Ok(Subject {
        name: "measured".to_owned(),
        root: Root::Directory(Directory::open(root)?),
        good: Vec::new(),
        startup: Startup { init: Init::Small, complete: true, services: Vec::new() },
        tests: vec![Test::new("fine", TestKind::Unit, check)],
        validators: Vec::new(),
        limits: Limits::default(),
        network: Network::None,
        scratch: scratch.to_owned(),
        bounds: Bounds::default(),
    })
}

fn drift(word: &str) -> What {
    let edit = |n| Edit::new(format!("/etc/file-{n}"), Reading::text(format!("{word}\n")));
    What::Drift((0..EDITS).map(edit).collect())
}
