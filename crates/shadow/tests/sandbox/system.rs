//! An image's own systemd as the first process: what it may do, and what it may not.
//!
//! The program in systemd's place is a script here; the real one boots in the build's tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_shadow::provider::{Init, Limits, Network};
use umbra_shadow::{Provider, Shadow, ShadowSpec};
use umbra_store::overlay::Layers;

use crate::support::{Ground, repelled, sh, until};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("system::it-is-the-first-process", first_process),
        trial("system::a-state-without-one-gets-the-small-init", none_there),
        trial("system::one-that-cannot-start-is-told", cannot_start),
        trial("system::its-groups-end-with-the-view", groups_end),
        trial("system::it-dies-with-its-view", dies),
        trial("system::limits-hold-for-it", limits_hold),
        trial("system::escape::devices", || escape("devices")),
        trial("system::escape::descriptors", || escape("descriptors")),
        trial("system::escape::unmasked-kernel-files", kernel_files),
        trial("system::escape::calls", calls),
        trial("system::escape::a-route-out", route_out),
    ]
}

const SCRIPT: &str = "#!/bin/sh\n\
    echo \"$container is up\"\n\
    mkdir /sys/fs/cgroup/init.scope\n\
    echo 1 > /sys/fs/cgroup/init.scope/cgroup.procs\n\
    while :; do sleep 1; done\n";

/// Puts a system into a layer of the ground's.
fn make_system(ground: &Ground) {
    make_program(&ground.path().join("system"), SCRIPT);
}

fn make_program(layer: &Path, script: &str) {
    let program = layer.join("usr/lib/systemd/systemd");
    fs::create_dir_all(program.parent().expect("a parent")).expect("made");
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// The ground's root with the system in it.
fn system_layers(ground: &Ground) -> Layers {
    ground.layers().with_upper(ground.path().join("system"))
}

/// A shadow that runs it; `None`, saying why, where this machine lets none.
fn boot(ground: &Ground, network: Network, limits: Limits) -> Option<Box<dyn Shadow>> {
    if !ground.provider().capabilities().systemd {
        println!("skipped: {:?}", ground.provider().capabilities().missing);
        return None;
    }
    make_system(ground);
    let spec = ShadowSpec { init: Init::Systemd, ..ShadowSpec::new("system", limits, network) };
    let shadow = ground.provider().spawn(&system_layers(ground), &spec).expect("a shadow");
    await_up(&*shadow);
    Some(shadow)
}

#[track_caller]
fn await_up(shadow: &dyn Shadow) {
    assert!(shadow.runs_systemd());
    let group = "/sys/fs/cgroup/init.scope/cgroup.procs";
    until("it is up", Duration::from_secs(10), || {
        sh(shadow, &format!("grep -qx 1 {group}")).exit.success()
    });
}

fn first_process() {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::None, Limits::default()) else { return };
    let said = sh(&*shadow, "tr '\\0' ' ' < /proc/1/cmdline; cat /sys/fs/cgroup/cgroup.type");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("/usr/lib/systemd/systemd"), "{said}");
    let said = sh(&*shadow, "cat /proc/self/cgroup | grep ^0").stdout;
    assert_eq!(said, b"0::/\n", "the top of its hierarchy is all it sees");
    until("its console is heard", Duration::from_secs(5), || {
        shadow.console_tail(1000).starts_with(b"umbra is up")
    });
    assert!(sh(&*shadow, "mkdir /m && mount -t tmpfs m /m && umount /m").exit.success());
    assert!(sh(&*shadow, "echo seen > /dev/console").exit.success());
}

fn none_there() {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::None, Limits::default()) else { return };
    shadow.apply(&ground.layers()).expect("applied");
    assert!(!shadow.runs_systemd());
    assert!(shadow.console_tail(1000).is_empty());
    assert!(sh(&*shadow, "true").exit.success());
    let mount = "mkdir -p /m && mount -t tmpfs m /m";
    assert!(!sh(&*shadow, mount).exit.success(), "a system's rights are for a system");
    shadow.apply(&system_layers(&ground)).expect("applied");
    await_up(&*shadow);
}

fn cannot_start() {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::None, Limits::default()) else { return };
    let broken = ground.path().join("broken");
    make_program(&broken, "#!/no/such/interpreter\n");
    let refused = shadow.apply(&ground.layers().with_upper(broken)).err();
    let said = refused.map(|error| umbra_state::chain(&error)).unwrap_or_default();
    assert!(said.contains("start /usr/lib/systemd/systemd"), "{said}");
    shadow.apply(&ground.layers()).expect("another view can be shown");
}

fn groups_end() {
    let mut ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::None, Limits::default()) else { return };
    let traces = crate::traces::Traces::of(&ground.shadows());
    for _ in 0..3 {
        shadow.apply(&system_layers(&ground)).expect("applied");
        await_up(&*shadow);
    }
    let systems = || traces.groups_below("system").len();
    // The view's and that of the init which stands by.
    until("former views' groups are gone", Duration::from_secs(5), || systems() <= 2);
    drop(shadow);
    ground.provider = None;
    traces.check_gone();
}

fn dies() {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::None, Limits::default()) else { return };
    shadow.freeze().expect("frozen");
    shadow.thaw().expect("thawed");
    assert!(sh(&*shadow, "touch /here").exit.success());
    shadow.apply(&system_layers(&ground)).expect("applied");
    assert!(!sh(&*shadow, "test -e /here").exit.success());
    shadow.destroy().expect("destroyed");
    assert!(shadow.run(&umbra_state::Command::new(["true"])).is_err());
}

fn limits_hold() {
    let ground = Ground::new();
    let limits = Limits { pids: Some(40), ..Limits::default() };
    let Some(shadow) = boot(&ground, Network::None, limits) else { return };
    if !ground.provider().capabilities().limits.pids {
        println!("skipped: no control group limits processes here");
        return;
    }
    let crowd = "for n in $(seq 80); do sleep 3 & done; wait";
    let said = sh(&*shadow, crowd).stderr;
    assert!(String::from_utf8_lossy(&said).contains("fork"), "it may have no more than 40");
}

fn escape(attack: &str) {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::Fenced, Limits::default()) else { return };
    repelled(&*shadow, &[attack]);
}

/// It may take the covers off; the user namespace still guards what was below.
fn kernel_files() {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::None, Limits::default()) else { return };
    let script = "for m in $(awk '$2 ~ \"^/proc/\" {print $2}' /proc/mounts); do umount $m; done
        mount -o remount,rw /sys 2>/dev/null || true
        for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger \
                 /proc/sys/vm/drop_caches /proc/sys/fs/binfmt_misc/register /proc/kcore \
                 /sys/kernel/uevent_helper /sys/power/state /proc/kmsg; do
            test -e $f || continue
            tried=1
            (: >> $f) 2>/dev/null && echo opened $f for writing
        done
        (head -c 1 /proc/kcore || head -c 1 /proc/kmsg) 2>/dev/null && echo read the kernel || true
        test -n \"$tried\" && echo tried";
    let said = sh(&*shadow, script);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "tried\n", "{said:?}");
}

fn calls() {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::None, Limits::default()) else { return };
    for refused in [
        "mknod /disk b 8 0",
        "unshare -U true",
        "mkdir /d; mount -t debugfs d /d",
        "mkdir /d; mount -t devtmpfs d /d",
        "mkdir /d; mount -t cgroup -o memory d /d",
        "swapon /dev/null",
        "insmod /attacker",
        "nsenter -t 1 -m -p -U true",
        "reboot -f",
        "dmesg",
    ] {
        let output = sh(&*shadow, refused);
        assert!(!output.exit.success(), "{refused}: {output:?}");
    }
    assert!(sh(&*shadow, "true").exit.success());
    // Another /proc shows no more than the one that is there.
    let said = sh(&*shadow, "mkdir /p && mount -t proc p /p && ls -d /p/[0-9]* | wc -l").stdout;
    let seen: u32 = String::from_utf8_lossy(&said).trim().parse().expect("a number");
    assert!(seen < 20, "it sees {seen} processes");
}

/// It may change its routes; the fence is not its own.
fn route_out() {
    let ground = Ground::new();
    let Some(shadow) = boot(&ground, Network::Fenced, Limits::default()) else { return };
    let bridge = crate::network::gateway(&*shadow);
    let routed = sh(&*shadow, &format!("ip route add default via {bridge}"));
    assert!(routed.exit.success(), "{routed:?}");
    let mut targets = vec!["connect".to_owned(), format!("{bridge}:22"), "192.0.2.1:80".to_owned()];
    let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    targets.extend(crate::network::own_addresses().iter().map(|own| format!("{own}:{port}")));
    let words: Vec<&str> = targets.iter().map(String::as_str).collect();
    repelled(&*shadow, &words);
}
