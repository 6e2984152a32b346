//! Programs as sources, well behaved and not.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use umbra_drift::reading::Reading;

use super::support::{Root, is_digest, of_machine, text, why};
use super::{nobodys_trial, root_trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        root_trial("commands::the_output_is_the_value", output),
        root_trial("commands::a_program_is_alone", alone),
        root_trial("commands::a_failure_says_why", failures),
        root_trial("commands::nothing_outlives_a_reading", ends),
        root_trial("commands::a_daemon_does_not_stay", daemons),
        root_trial("commands::a_directory_is_a_fence", fence),
        nobodys_trial("commands::without_root_only_ones_own_run", unprivileged),
        nobodys_trial("commands::without_namespaces_nothing_stays_either", without_namespaces),
    ]
}

fn shell(script: &str, more: &str) -> String {
    let script = script.replace('\\', "\\\\").replace('"', "\\\"");
    format!("source: command, argv: [sh, -c, \"{script}\"]{more}")
}

fn output() {
    assert_eq!(text(&of_machine("source: command, argv: [printf, 'a b']")), "a b");
    let json = shell("echo '{\"a\": {\"b\": 7}}'", ", format: auto, key: a.b");
    assert_eq!(text(&of_machine(&json)), "7");
    assert!(is_digest(&of_machine("source: command, argv: [echo, secret], nodiff: true")));
    let keyed = shell("echo 'Leap status : Normal'", ", format: kv, key: Leap status");
    assert_ne!(of_machine(&keyed).bytes(), Some(&b"secret"[..]));
}

fn alone() {
    let told = text(&of_machine(&shell(
        "id -u; id -G; pwd; env | sort | grep -v _=; cat; grep NoNewPrivs /proc/self/status; ls /proc/self/fd | wc -l",
        "",
    )));
    let nobody = "65534\n65534\n/\nHOME=/nonexistent\nLANG=C\nLC_ALL=C\nLOGNAME=nobody\n";
    assert!(told.starts_with(nobody), "{told}");
    assert!(told.contains("NoNewPrivs:\t1\n"), "{told}");
    // Three of its own, and that of the listing.
    assert!(told.ends_with("\n4\n"), "{told}");
    let root = text(&of_machine("source: command, argv: [id, -u], user: root"));
    assert_eq!(root, "0\n");
}

fn failures() {
    #[track_caller]
    fn check(parameter: &str, expected: &str) {
        let reading = of_machine(parameter);
        assert!(why(&reading).contains(expected), "{reading:?}");
    }
    check("source: command, argv: [no-such-program]", "cannot be run: No such file");
    check("source: command, argv: [/etc/passwd]", "cannot be run: Permission denied");
    check("source: command, argv: [bin/sh]", "does not begin with `/`");
    check("source: command, argv: [id], user: no-such-user", "no user `no-such-user`");
    check(&shell("echo broken >&2; exit 3", ""), "failed with 3 and said: broken");
    check(&shell("printf '\\033[2J' >&2; exit 1", ""), "said: \\u{1b}[2J");
    check(&shell("kill -9 $$", ""), "ended by signal 9");
    check(&shell("yes", ", output_max: 64Ki"), "printed more than 65536 bytes");
    check("source: command, argv: [cat, /dev/zero], timeout: 5s", "printed more than");
}

/// A duration no other process sleeps for, so that it can be found.
fn marker(seconds: u32) -> String {
    format!("{}{seconds:03}", std::process::id())
}

#[track_caller]
fn none_sleeps(marker: &str) {
    for entry in fs::read_dir("/proc").expect("processes").filter_map(Result::ok) {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(!line.starts_with("sleep") || !line.contains(marker), "{line:?} is left");
    }
}

fn ends() {
    let marker = marker(1);
    let script =
        format!("trap '' TERM INT HUP; sleep {marker} & setsid sleep {marker} & sleep {marker}");
    let began = Instant::now();
    let reading = of_machine(&shell(&script, ", timeout: 300ms"));
    assert!(why(&reading).contains("took longer than 300ms"), "{reading:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    none_sleeps(&marker);
}

fn daemons() {
    let marker = marker(2);
    let script = format!("(setsid sleep {marker} </dev/null >/dev/null 2>&1 &); echo started");
    assert_eq!(text(&of_machine(&shell(&script, ""))), "started\n");
    none_sleeps(&marker);
    // One that keeps the output open.
    let script = format!("(setsid sleep {marker} &); echo started");
    let began = Instant::now();
    assert_eq!(text(&of_machine(&shell(&script, ", timeout: 20s"))), "started\n");
    assert!(began.elapsed() < Duration::from_secs(10));
    none_sleeps(&marker);
}

/// Programs of a directory see it and nothing else, and cannot write.
fn fence() {
    let Some(busybox) =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|at| Path::new(at).exists())
    else {
        println!("skipped: a static program is needed, and busybox is not installed");
        return;
    };
    let root = Root::new();
    root.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:n:/:/bin/sh\n");
    root.write("/etc/group", "root:x:0:\n");
    root.write("/etc/hostname", "inside\n");
    fs::create_dir_all(root.at("/bin")).expect("made");
    fs::create_dir_all(root.at("/proc")).expect("made");
    fs::copy(busybox, root.at("/bin/busybox")).expect("copied");
    let run = |script: &str| {
        let argv = format!("argv: [/bin/busybox, sh, -c, '{script}']");
        root.read(&format!("source: command, user: root, {argv}"))
    };
    assert_eq!(text(&run("busybox cat /etc/hostname; busybox ls /")), "inside\nbin\netc\nproc\n");
    assert_eq!(text(&run("echo x > /etc/hostname || echo refused").clone()), "refused\n");
    let processes = text(&run("busybox ls /proc | busybox grep -c ^[0-9]"));
    assert!(processes.trim().parse::<u32>().is_ok_and(|count| count < 10), "{processes}");
    assert_eq!(text(&run("busybox ls /proc/sys/net/ipv4/conf")), "all\ndefault\nlo\n");
    let capabilities = text(&run("busybox grep CapEff /proc/self/status"));
    assert_eq!(capabilities, "CapEff:\t0000000000000004\n");
    assert_eq!(fs::read_to_string(root.at("/etc/hostname")).expect("a file"), "inside\n");
    assert!(matches!(run("exit 3"), Reading::Unreadable { .. }));
}

fn unprivileged() {
    let reading = of_machine("source: command, argv: [id], user: root");
    assert!(why(&reading).contains("only root can run it as `root`"), "{reading:?}");
    let reading = Root::new().read("source: command, argv: [id]");
    assert!(why(&reading).contains("only root"), "{reading:?}");
}

/// The name of who runs this.
fn own_name() -> Option<String> {
    let own = rustix::process::geteuid().as_raw().to_string();
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    let line = accounts.lines().find(|line| line.split(':').nth(2) == Some(&own))?;
    Some(line.split(':').next()?.to_owned())
}

fn without_namespaces() {
    let Some(name) = own_name() else {
        println!("skipped: who runs this has no account");
        return;
    };
    let marker = marker(3);
    let user = format!(", user: {name}");
    let nested = format!("setsid sh -c 'setsid sleep {marker} & setsid sleep {marker}' & ");
    let script = format!("({nested}); (setsid sleep {marker} &); echo started");
    assert_eq!(text(&of_machine(&shell(&script, &user))), "started\n");
    none_sleeps(&marker);
    let script = format!("{nested} trap '' TERM; sleep {marker}");
    let reading = of_machine(&shell(&script, &format!("{user}, timeout: 300ms")));
    assert!(why(&reading).contains("took longer"), "{reading:?}");
    none_sleeps(&marker);
}
