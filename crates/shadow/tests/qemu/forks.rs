//! Machines forked from one that was ready: fast, and each its own.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use umbra_shadow::provider::{Files, Limits, Network};
use umbra_shadow::{Provider, Shadow, ShadowSpec};

use crate::support::{Ground, sh, text, until};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("forks::each-is-its-own-machine", own_machines)]
}

const COUNT: usize = 4;

fn own_machines() {
    let ground = Ground::new();
    let etc = ground.path().join("root/etc");
    fs::write(etc.join("machine-id"), "0123456789abcdef0123456789abcdef\n").expect("written");
    let spec = |name: &str| ShadowSpec {
        files: Files::Disk,
        ..ShadowSpec::new(name, Limits::default(), Network::Fenced)
    };
    let begun = Instant::now();
    let provider = ground.provider();
    let ready = |shadow: &dyn Shadow| {
        assert!(sh(shadow, "echo prepared > /prepared").exit.success());
        Ok(())
    };
    provider.prepare(&ground.layers(), &spec("any"), &ready).expect("a template");
    let prepared = begun.elapsed();
    assert!(provider.list().expect("listed").is_empty(), "a template is no shadow");
    let begun = Instant::now();
    let shadows: Vec<Box<dyn Shadow>> = (0..COUNT)
        .map(|number| {
            let spec = spec(&format!("fork-{number}"));
            provider.spawn(&ground.layers(), &spec).expect("a fork")
        })
        .collect();
    let each = begun.elapsed() / COUNT as u32;
    println!("prepared in {prepared:?}, a fork in {each:?}");
    assert!(each * 4 < prepared, "a fork in {each:?}, a boot in {prepared:?}");
    check_differ(&shadows, "head -c 32 /dev/urandom | od -An -tx1");
    check_differ(&shadows, "cat /etc/machine-id");
    check_differ(&shadows, "hostname");
    check_differ(&shadows, "ip -4 addr show eth0 | grep inet");
    for shadow in &shadows {
        assert_eq!(text(&sh(&**shadow, "cat /prepared")), "prepared\n");
        let addresses = text(&sh(&**shadow, "ip -4 addr show eth0 | grep -c inet"));
        assert_eq!(addresses, "1\n", "its template's is not its own");
        assert!(sh(&**shadow, "! test -e /mine && touch /mine").exit.success());
        check_clock(&**shadow);
        check_reached(&**shadow);
    }
    // Another view is another fork.
    shadows[0].apply(&ground.layers()).expect("a fresh view");
    assert!(sh(&*shadows[0], "! test -e /mine").exit.success());
}

#[track_caller]
fn check_differ(shadows: &[Box<dyn Shadow>], script: &str) {
    let said: BTreeSet<String> =
        shadows.iter().map(|shadow| text(&sh(&**shadow, script))).collect();
    assert_eq!(said.len(), shadows.len(), "{script}: {said:?}");
}

#[track_caller]
fn check_clock(shadow: &dyn Shadow) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let there: u64 = text(&sh(shadow, "date +%s")).trim().parse().expect("a time");
    assert!(there.abs_diff(now) <= 2, "{there} is not {now}");
}

#[track_caller]
fn check_reached(shadow: &dyn Shadow) {
    let _server = shadow.start(&umbra_state::Command::shell("nc -l -p 80")).expect("a server");
    let at = SocketAddr::new(shadow.address().expect("an address"), 80);
    until("it answers", Duration::from_secs(10), || {
        TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok()
    });
}
