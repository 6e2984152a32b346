//! Attempts to get out of a shadow, with root mapped to nobody and without.

use std::path::Path;

use libtest_mimic::Trial;
use umbra_shadow::provider::{Limits, Network, TerminalSize};
use umbra_shadow::{Provider, ShadowError, ShadowSpec};
use umbra_state::Command;

use crate::support::{Ground, repelled, run, sh};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (kind, user_namespaces) in [("userns", true), ("no-userns", false)] {
        for attack in ["devices", "kernel-files", "system-calls", "init", "descriptors", "cgroups"]
        {
            trials.push(trial(&format!("escape::{kind}::{attack}"), move || {
                let ground = Ground::with(user_namespaces);
                let shadow = ground.spawn("prison", Network::Fenced);
                repelled(&*shadow, &[attack]);
                assert!(run(&*shadow, &Command::new(["true"])).exit.success(), "it still works");
            }));
        }
        trials.push(trial(&format!("escape::{kind}::files"), move || files(user_namespaces)));
        trials.push(trial(&format!("escape::{kind}::planted-links"), move || {
            planted_links(user_namespaces);
        }));
    }
    trials.push(trial("escape::a-former-view-leaves-no-ipc", former_ipc));
    trials.push(trial("escape::planted-fifo-as-passwd", planted_fifo));
    trials.push(trial("escape::terminal-typing", terminal_typing));
    trials
}

fn files(user_namespaces: bool) {
    let ground = Ground::with(user_namespaces);
    let marker = ground.path().join("marker");
    std::fs::write(&marker, "the host's").expect("written");
    let shadow = ground.spawn("prison", Network::None);
    repelled(&*shadow, &["files", marker.to_str().expect("text")]);
    for file in ["/etc/shadow", "/etc/machine-id", "/root/.profile"] {
        assert!(!sh(&*shadow, &format!("cat {file}")).exit.success(), "{file}");
    }
    assert_eq!(std::fs::read(&marker).expect("read"), b"the host's");
    // What is written inside shows neither in the layers nor elsewhere on the host.
    assert!(sh(&*shadow, "echo x > /etc/passwd; echo x > /new").exit.success());
    let passwd = std::fs::read_to_string(ground.root().join("etc/passwd")).expect("read");
    assert!(passwd.starts_with("root:"), "a layer was written to: {passwd}");
    assert!(!ground.root().join("new").exists() && !Path::new("/new").exists());
}

/// A delta may hold anything; links in it lead to nowhere on the host.
fn planted_links(user_namespaces: bool) {
    let ground = Ground::with(user_namespaces);
    let host = ground.path().join("host-dir");
    std::fs::create_dir(&host).expect("made");
    let climbing =
        format!("{}{}", "../".repeat(12), host.display().to_string().trim_start_matches('/'));
    for (name, target) in [
        ("proc", climbing.as_str()),
        ("sys", climbing.as_str()),
        ("dev", climbing.as_str()),
        ("dev", "/proc"),
        ("proc", "../"),
    ] {
        let upper = ground.path().join(format!("planted-{name}-{}", target.len()));
        std::fs::create_dir(&upper).expect("made");
        std::os::unix::fs::symlink(target, upper.join(name)).expect("link");
        let layers = ground.layers().with_upper(upper);
        let spec = ShadowSpec::new("planted", Limits::default(), Network::None);
        let refused = ground.provider().spawn(&layers, &spec).err();
        assert!(matches!(refused, Some(ShadowError::System { .. })), "{name}: {refused:?}");
        assert_eq!(std::fs::read_dir(&host).expect("listed").count(), 0, "{name}");
        assert!(ground.provider().list().expect("listed").is_empty(), "the name is free again");
    }
    let upper = ground.path().join("planted-etc");
    std::fs::create_dir(&upper).expect("made");
    std::fs::write(host.join("passwd"), "host:x:4242:4242::/:/bin/sh\n").expect("written");
    std::os::unix::fs::symlink(&climbing, upper.join("etc")).expect("link");
    let layers = ground.layers().with_upper(upper);
    let spec = ShadowSpec::new("etc", Limits::default(), Network::None);
    let shadow = ground.provider().spawn(&layers, &spec).expect("a shadow");
    let command = Command { user: Some("host".to_owned()), ..Command::new(["id"]) };
    assert!(matches!(shadow.run(&command), Err(ShadowError::Start { .. })), "no user of the host");
    assert!(!sh(&*shadow, "cat /etc/passwd").exit.success());
}

fn former_ipc() {
    let ground = Ground::new();
    let shadow = ground.spawn("prison", Network::None);
    repelled(&*shadow, &["ipc-leave"]);
    shadow.apply(&ground.layers()).expect("applied");
    repelled(&*shadow, &["ipc-look"]);
}

/// PID 1 reads the view's user files; one that never answers must not stop it.
fn planted_fifo() {
    let ground = Ground::new();
    let shadow = ground.spawn("prison", Network::None);
    assert!(sh(&*shadow, "rm /etc/passwd; mkfifo /etc/passwd").exit.success());
    let command = Command { user: Some("nobody".to_owned()), ..Command::new(["id"]) };
    assert!(matches!(shadow.run(&command), Err(ShadowError::Start { .. })));
    assert!(sh(&*shadow, "true").exit.success());
}

fn terminal_typing() {
    let ground = Ground::new();
    let shadow = ground.spawn("prison", Network::None);
    let command = crate::support::attack(&["system-calls"]);
    let mut attached =
        shadow.attach(&command, TerminalSize { columns: 80, rows: 24 }).expect("attached");
    assert!(attached.wait().expect("ended").success(), "TIOCSTI on a real terminal");
}
