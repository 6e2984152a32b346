//! What is left after an end: nothing after an orderly one, nothing that lives after `kill -9`,
//! and nothing at all after the next start.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::{Provider, ShadowSpec};
use umbra_state::Command;

use crate::support::{Ground, WARM, layers, open, open_warm, sh, until};
use crate::traces::{Traces, family, lives};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("crash::an-orderly-end-leaves-nothing", orderly_end),
        trial("crash::sites-made-ahead-leave-nothing", sites_ahead),
        trial("crash::a-killed-owner-leaves-nothing-alive", killed_owner),
        trial("crash::a-killed-owner-without-a-directory-leaves-nothing", killed_and_removed),
        trial("crash::a-failed-start-leaves-nothing", failed_start),
        trial("crash::a-view-whose-init-died-says-so", dead_view),
        trial("crash::the-thread-that-opened-may-end", thread_ends),
        trial("crash::a-directory-has-one-owner", one_owner),
    ]
}

/// The life of an owner that will be killed: three shadows, then silence.
pub(crate) fn owner(words: &[String]) -> i32 {
    let dir = Path::new(&words[0]);
    let provider = open_warm(&dir.join("shadows"), true, WARM);
    let mut kept = Vec::new();
    for number in 0..3 {
        let limits = Limits { memory_bytes: Some(100 << 20), ..Limits::default() };
        let spec = ShadowSpec::new(format!("orphan-{number}"), limits, Network::Fenced);
        let shadow = provider.spawn(&layers(dir), &spec).expect("a shadow");
        let service = shadow.start(&Command::new(["sleep", "600"])).expect("a service");
        kept.push((shadow, service));
    }
    kept[2].0.freeze().expect("frozen");
    println!("ready");
    // Until the end of the test at the latest.
    let _ = std::io::stdin().lines().next();
    drop(kept);
    0
}

/// Killed and waited for when dropped.
struct Owner(Child);

impl Drop for Owner {
    fn drop(&mut self) {
        // It may be dead already, which is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn killed_owner() {
    let ground = Ground::without_provider();
    let mut owner = start_owner(&ground);
    let traces = Traces::of(&ground.shadows());
    let family = family(owner.0.id());
    // Owner, launcher, and for each shadow a keeper, an init and a service.
    assert!(family.len() >= 2 + 3 * 3, "{family:?}");
    assert!(traces.ports().len() >= 3);
    owner.0.kill().expect("killed");
    owner.0.wait().expect("waited for");
    let provider = open(&ground.shadows(), true);
    // Whoever comes next waits for what is left to be gone.
    assert!(!family.iter().any(lives), "{family:?}");
    traces.check_gone();
    assert!(provider.list().expect("listed").is_empty());
    let spec = ShadowSpec::new("orphan-0", Limits::default(), Network::Fenced);
    let shadow = provider.spawn(&ground.layers(), &spec).expect("the name is free");
    assert!(sh(&*shadow, "true").exit.success());
}

/// Nobody will ever start on this directory again.
fn killed_and_removed() {
    let ground = Ground::without_provider();
    let mut owner = start_owner(&ground);
    let traces = Traces::of(&ground.shadows());
    let family = family(owner.0.id());
    owner.0.kill().expect("killed");
    owner.0.wait().expect("waited for");
    std::fs::remove_dir_all(ground.shadows()).expect("removed");
    std::fs::create_dir(ground.shadows()).expect("made");
    let patience = Duration::from_secs(10);
    until("all its processes are gone", patience, || !family.iter().any(lives));
    traces.check_gone();
}

fn start_owner(ground: &Ground) -> Owner {
    let program = std::env::current_exe().expect("own path");
    let child = Program::new(program)
        .args(["owner", ground.path().to_str().expect("text")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("an owner");
    let mut owner = Owner(child);
    let stdout = owner.0.stdout.take().expect("its output");
    let line = BufReader::new(stdout).lines().next().expect("a line").expect("text");
    assert_eq!(line, "ready");
    owner
}

fn sites_ahead() {
    let mut ground = Ground::warm();
    let traces = Traces::of(&ground.shadows());
    until("only their ports are there", Duration::from_secs(5), || traces.ports().len() == WARM);
    let limits = Limits { pids: Some(30), memory_bytes: Some(64 << 20), cpu_millis: None };
    let shadow = ground.spawn_limited("taker", Network::Fenced, limits);
    assert_eq!(sh(&*shadow, "hostname").stdout, b"taker\n");
    assert_eq!(ground.provider().list().expect("listed"), ["taker"]);
    if ground.provider().capabilities().limits.pids {
        let crowd = "for n in $(seq 60); do sleep 5 & done; wait";
        let said = sh(&*shadow, crowd);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("fork"), "the limit set late holds: {said}");
    }
    let reaped = ground.provider().reap().expect("nothing to do");
    assert!(reaped.shadows.is_empty(), "{reaped:?}");
    assert!(sh(&*shadow, "true").exit.success());
    until("the taken site is replaced", Duration::from_secs(5), || ground.sites_ahead() == WARM);
    drop(shadow);
    ground.provider = None;
    traces.check_gone();
}

fn orderly_end() {
    let mut ground = Ground::new();
    let traces = Traces::of(&ground.shadows());
    let first = ground.spawn("first", Network::Fenced);
    let second = ground.spawn("second", Network::None);
    let service = first.start(&Command::new(["sleep", "600"])).expect("a service");
    second.freeze().expect("frozen");
    let mine = family(std::process::id());
    let launched: Vec<_> = mine.iter().filter(|(pid, _)| *pid != std::process::id()).collect();
    assert!(launched.len() >= 6, "{launched:?}");
    drop(first);
    until("its port is gone", Duration::from_secs(5), || traces.ports().is_empty());
    drop((second, service));
    ground.provider = None;
    until("all processes are gone", Duration::from_secs(5), || !launched.iter().any(|p| lives(p)));
    traces.check_gone();
}

fn failed_start() {
    let mut ground = Ground::new();
    let traces = Traces::of(&ground.shadows());
    let missing = umbra_store::overlay::Layers::of(umbra_store::overlay::Base::Checkout(
        ground.path().join("no-such-dir"),
    ));
    let limits = Limits { pids: Some(20), ..Limits::default() };
    let spec = ShadowSpec::new("never", limits, Network::Fenced);
    let open = || std::fs::read_dir("/proc/self/fd").expect("listed").count();
    let before = open();
    for _ in 0..5 {
        assert!(ground.provider().spawn(&missing, &spec).is_err());
        assert!(ground.provider().list().expect("listed").is_empty());
    }
    // Directories are still being emptied for a moment.
    until("no descriptors are left open", Duration::from_secs(5), || open() <= before);
    until("its ports are gone", Duration::from_secs(5), || traces.ports().is_empty());
    let shadow = ground.provider().spawn(&ground.layers(), &spec).expect("a shadow");
    assert!(sh(&*shadow, "true").exit.success(), "it works after failures");
    drop(shadow);
    ground.provider = None;
    traces.check_gone();
}

fn dead_view() {
    let ground = Ground::new();
    let shadow = ground.spawn("dead", Network::None);
    let inside = family(std::process::id());
    let init = inside.iter().map(|(pid, _)| *pid).find(|pid| is_shown(*pid)).expect("an init");
    let pid = rustix::process::Pid::from_raw(init as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let gone = shadow.run(&Command::new(["true"]));
    assert!(matches!(gone, Err(umbra_shadow::ShadowError::Gone(_))), "{gone:?}");
    shadow.apply(&ground.layers()).expect("a fresh view");
    assert!(sh(&*shadow, "true").exit.success());
}

/// Whether it is the init of a view: one that stands by sees nothing of any.
fn is_shown(pid: u32) -> bool {
    is_init(pid) && std::fs::exists(format!("/proc/{pid}/root/bin")).unwrap_or_default()
}

/// Whether a process is PID 1 of a namespace of its own.
fn is_init(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = line.split_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}

/// A daemon's threads come and go; shadows do not depend on the one that made their launcher.
fn thread_ends() {
    let ground = std::thread::spawn(Ground::new).join().expect("opened");
    let shadow = ground.spawn("thread", Network::None);
    assert!(sh(&*shadow, "true").exit.success());
}

fn one_owner() {
    let ground = Ground::new();
    let config = umbra_shadow::sandbox::SandboxConfig {
        dir: ground.shadows(),
        launcher: std::env::current_exe().expect("own path"),
        user_namespaces: true,
        warm: 0,
    };
    assert!(umbra_shadow::sandbox::SandboxProvider::open(config).is_err());
}
