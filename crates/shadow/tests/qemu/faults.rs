//! What goes wrong with machines, and whoever keeps them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::{Provider, ShadowError, ShadowSpec};
use umbra_state::Command;

use crate::support::{Ground, layers, machines_of, open, sh, until};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("faults::a-killed-owner-leaves-nothing", killed_owner),
        trial("faults::a-guest-that-says-nothing-is-told-of-with-its-console", silent_guest),
        trial("faults::a-dead-machine-is-gone", dead_machine),
    ]
}

/// The life of an owner that will be killed.
pub(crate) fn owner(dir: &Path) -> i32 {
    let provider = open(dir, None).expect("a provider");
    let spec = ShadowSpec::new("orphan", Limits::default(), Network::Fenced);
    let shadow = provider.spawn(&layers(dir), &spec).expect("a shadow");
    println!("ready");
    // Until the end of the test at the latest.
    let _ = std::io::stdin().lines().next();
    drop(shadow);
    0
}

fn killed_owner() {
    let ground = Ground::without_provider();
    let own = std::env::current_exe().expect("own path");
    let mut owner = Program::new(own)
        .arg("owner")
        .arg(ground.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("an owner");
    let mut said = String::new();
    let out = owner.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut said).expect("read");
    assert_eq!(said, "ready\n");
    assert_eq!(machines_of("umbra-orphan").len(), 1);
    owner.kill().expect("killed");
    owner.wait().expect("waited for");
    until("its machine is gone", Duration::from_secs(10), || {
        machines_of("umbra-orphan").is_empty()
    });
    // Its launcher removes what has a name; a successor finds a clean place.
    let provider = open(ground.path(), None).expect("a provider");
    assert!(provider.list().expect("listed").is_empty());
    let spec = ShadowSpec::new("orphan", Limits::default(), Network::Fenced);
    let shadow = provider.spawn(&ground.layers(), &spec).expect("a shadow");
    assert!(sh(&*shadow, "true").exit.success());
}

fn silent_guest() {
    let ground = Ground::without_provider();
    // A program that cannot be a guest's first process: its libraries are not there.
    let provider = open(ground.path(), Some(Path::new("/bin/true"))).expect("a provider");
    let begun = Instant::now();
    let spec = ShadowSpec::new("silent", Limits::default(), Network::None);
    let Err(error) = provider.spawn(&ground.layers(), &spec) else { panic!("it came up") };
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let said = error.to_string();
    assert!(said.contains("silent did not come up") && said.contains("Kernel panic"), "{said}");
    assert!(machines_of("umbra-silent").is_empty());
    assert!(provider.list().expect("listed").is_empty());
}

fn dead_machine() {
    let ground = Ground::new();
    let spec = ShadowSpec::new("dead", Limits::default(), Network::None);
    let shadow = ground.provider().spawn(&ground.layers(), &spec).expect("a shadow");
    let pid = machines_of("umbra-dead")[0];
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let gone = shadow.run(&Command::new(["true"]));
    assert!(matches!(gone, Err(ShadowError::Gone(_))), "{gone:?}");
    shadow.apply(&ground.layers()).expect("a fresh machine");
    assert!(sh(&*shadow, "true").exit.success());
}
