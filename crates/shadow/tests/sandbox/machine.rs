//! The machine's resources against what runs inside, and what runs inside against itself.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use umbra_shadow::Provider;
use umbra_shadow::provider::{Limits, Network};
use umbra_state::{Command, Exit};

use crate::support::{Ground, run, sh};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("machine::a-fork-bomb-stays-inside", fork_bomb),
        trial("machine::a-memory-hog-stays-inside", memory_hog),
        trial("machine::processor-time-is-limited", processor_time),
        trial("machine::daemons-do-not-hold-a-command-open", daemons),
        trial("machine::two-hundred-shadows", two_hundred),
    ]
}

fn fork_bomb() {
    let ground = Ground::new();
    if !ground.provider().capabilities().limits.pids {
        println!("skipped: no control group limits processes here");
        return;
    }
    let limits = Limits { pids: Some(50), ..Limits::default() };
    let shadow = ground.spawn_limited("bomb", Network::None, limits);
    let bomb = Command::shell("f() { f | f & }; f; sleep 600").with_timeout(Duration::from_secs(2));
    let output = shadow.run(&bomb).expect("ran");
    assert_ne!(output.exit, Exit::Code(0));
    shadow.apply(&ground.layers()).expect("a fresh view after a bomb");
    assert!(sh(&*shadow, "true").exit.success());
}

fn memory_hog() {
    let ground = Ground::new();
    if !ground.provider().capabilities().limits.memory {
        println!("skipped: no control group limits memory here");
        return;
    }
    let limits = Limits { memory_bytes: Some(40 << 20), ..Limits::default() };
    let shadow = ground.spawn_limited("hog", Network::None, limits);
    // A string that doubles: memory of a process, not of a filesystem.
    let hog = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done";
    let output = run(&*shadow, &Command::shell(hog));
    assert_ne!(output.exit, Exit::Code(0), "it cannot end well");
    assert_ne!(output.exit, Exit::TimedOut, "the limit ends it, not the time");
    shadow.apply(&ground.layers()).expect("a fresh view after a hog");
    assert!(sh(&*shadow, "true").exit.success());
}

fn processor_time() {
    let ground = Ground::new();
    if !ground.provider().capabilities().limits.cpu {
        println!("skipped: no control group limits processor time here");
        return;
    }
    let limits = Limits { cpu_millis: Some(100), ..Limits::default() };
    let shadow = ground.spawn_limited("busy", Network::None, limits);
    let count = "n=0; while [ $n -lt 1000000000 ]; do n=$((n+1)); done";
    let busy = Command::shell(count).with_timeout(Duration::from_secs(1));
    assert_eq!(shadow.run(&busy).expect("ran").exit, Exit::TimedOut);
    let throttled = throttled_periods(&ground);
    assert!(throttled > 0, "it was never made to wait");
}

/// How often the kernel made a group below this ground's provider wait.
fn throttled_periods(ground: &Ground) -> u64 {
    let owner = crate::traces::owner(&ground.shadows());
    let stats = crate::traces::group_dirs(&owner).into_iter().map(|dir| dir.join("busy/cpu.stat"));
    stats
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| line.strip_prefix("nr_throttled ")?.trim().parse::<u64>().ok())
        .sum()
}

/// A daemon keeps its caller's output open for as long as it lives.
fn daemons() {
    let ground = Ground::new();
    let shadow = ground.spawn("daemon", Network::None);
    let started = Instant::now();
    let daemon =
        "mkfifo /up; setsid sh -c 'echo up > /up; exec sleep 600' & echo $! > /pid; cat /up";
    let output = sh(&*shadow, daemon);
    assert!(output.exit.success() && output.stdout == b"up\n");
    assert!(started.elapsed() < Duration::from_secs(10), "waited for the daemon");
    assert!(sh(&*shadow, "kill -0 $(cat /pid)").exit.success(), "the daemon goes on");
}

fn two_hundred() {
    let mut ground = Ground::new();
    let traces = crate::traces::Traces::of(&ground.shadows());
    let started = Instant::now();
    let shadows: Vec<_> =
        (0..200).map(|n| ground.spawn(&format!("many-{n}"), Network::Fenced)).collect();
    let spawned = started.elapsed();
    assert_eq!(ground.provider().list().expect("listed").len(), 200);
    for shadow in shadows.iter().step_by(20) {
        assert!(run(&**shadow, &Command::new(["/bin/true"])).exit.success());
    }
    drop(shadows);
    println!("200 shadows: made in {spawned:?}, gone after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    ground.provider = None;
    traces.check_gone();
}
