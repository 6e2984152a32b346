//! An image's own system as a machine's first process. The program in systemd's place is a script
//! here; the real one boots in the build's tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_shadow::provider::{Files, Init, Limits, Network};
use umbra_shadow::{Provider, Shadow, ShadowSpec};
use umbra_store::overlay::Layers;

use crate::support::{Ground, sh, text, until};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("system::it-is-the-first-process-of-a-kernel-of-its-own", first_process),
        trial("system::it-is-forked-as-it-runs", forked),
        trial("system::a-state-without-one-gets-the-small-init", none_there),
    ]
}

const SCRIPT: &str = "#!/bin/sh\necho own system is up\nwhile :; do sleep 1; done\n";

/// The ground's root with a system in it.
fn system_layers(ground: &Ground) -> Layers {
    let layer = ground.path().join("system");
    let program = layer.join("usr/lib/systemd/systemd");
    fs::create_dir_all(program.parent().expect("a parent")).expect("made");
    fs::write(&program, SCRIPT).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    ground.layers().with_upper(layer)
}

fn spawn(ground: &Ground, layers: &Layers) -> Box<dyn Shadow> {
    let spec = ShadowSpec::new("system", Limits::default(), Network::Fenced);
    let spec = ShadowSpec { init: Init::Systemd, ..spec };
    ground.provider().spawn(layers, &spec).expect("a shadow")
}

fn first_process() {
    let ground = Ground::new();
    let layers = system_layers(&ground);
    let shadow = spawn(&ground, &layers);
    assert!(shadow.runs_systemd());
    let first = text(&sh(&*shadow, "tr '\\0' ' ' < /proc/1/cmdline"));
    assert!(first.contains("/usr/lib/systemd/systemd"), "{first}");
    until("its console is heard", Duration::from_secs(10), || {
        String::from_utf8_lossy(&shadow.console_tail(10_000)).contains("own system is up")
    });
    let own = text(&sh(&*shadow, "cat /proc/sys/kernel/random/boot_id"));
    let host = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read");
    assert_ne!(own, host, "a kernel of its own");
    sh(&*shadow, "echo mine > /mine");
    let address = shadow.address();
    shadow.apply(&layers).expect("applied");
    assert!(shadow.runs_systemd());
    assert!(!sh(&*shadow, "cat /mine").exit.success(), "its files are gone");
    assert_eq!(shadow.address(), address, "the address stays");
}

fn forked() {
    let ground = Ground::new();
    let layers = system_layers(&ground);
    let spec = |name: &str| ShadowSpec {
        init: Init::Systemd,
        files: Files::Disk,
        ..ShadowSpec::new(name, Limits::default(), Network::Fenced)
    };
    let ready = |shadow: &dyn Shadow| {
        until("it is up", Duration::from_secs(20), || {
            String::from_utf8_lossy(&shadow.console_tail(10_000)).contains("own system is up")
        });
        Ok(())
    };
    ground.provider().prepare(&layers, &spec("any"), &ready).expect("a template");
    let shadow = ground.provider().spawn(&layers, &spec("fork")).expect("a fork");
    assert!(shadow.runs_systemd());
    assert_eq!(text(&sh(&*shadow, "hostname")), "fork\n");
    let first = text(&sh(&*shadow, "tr '\\0' ' ' < /proc/1/cmdline"));
    assert!(first.contains("/usr/lib/systemd/systemd"), "{first}");
}

fn none_there() {
    let ground = Ground::new();
    let shadow = spawn(&ground, &ground.layers());
    assert!(!shadow.runs_systemd());
    assert_eq!(text(&sh(&*shadow, "hostname")), "system\n");
}
