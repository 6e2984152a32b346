//! `umbra gateway` and `umbra mirror` as they are typed, with curl for a client.

#![allow(clippy::unwrap_used)]

#[path = "support/gateway.rs"]
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Gateway, good, server, umbra};

#[test]
fn production_is_served_and_mirrored_until_it_is_told_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let mut gateway = Gateway::start(state, server("production"), &[]);
    assert_eq!(gateway.ask(&[]), "production");
    assert_eq!(gateway.ask(&["--http2-prior-knowledge"]), "production");

    let shadow = server("shadow").to_string();
    let started = umbra(state, &["mirror", "start", "new", "--to", &shadow, "--percent", "50"]);
    assert!(good(&started).starts_with("50 % of the requests are mirrored to 127.0.0.1:"));
    for _ in 0..20 {
        assert_eq!(gateway.ask(&[]), "production");
    }
    let until = Instant::now() + Duration::from_secs(10);
    let mirror = loop {
        let status = good(&umbra(state, &["--json", "mirror", "status"]));
        let mut status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let mirror = status["mirrors"][0].take();
        if mirror["counted"]["answered"] == 10 {
            break mirror;
        }
        assert!(Instant::now() < until, "{mirror}");
    };
    assert_eq!((&mirror["seen"], &mirror["counted"]["eligible"]), (&20.into(), &10.into()));

    for (wrong, said) in [
        (["--percent", "101"], "\"101\" as a percentage"),
        (["--header", "x-env"], "expected NAME:VALUE"),
        (["--header", "x env: a"], "\"x env\" as a header's name"),
        (["--route", "shop"], "find a route \"shop\""),
        (["--sessions", "moon"], "expected cookie:NAME, header:NAME or address"),
    ] {
        let refused =
            umbra(state, &[&["mirror", "start", "new", "--to", &shadow], &wrong[..]].concat());
        assert_eq!(refused.status.code(), Some(2));
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains(said), "{told}");
    }
    let whole = ["--sessions", "header:x-user", "--header", "x-env: beta", "--route", "all"];
    let started =
        umbra(state, &[&["mirror", "start", "new", "--to", &shadow], &whole[..]].concat());
    assert!(good(&started).starts_with("100 % of the sessions (header:x-user) are mirrored"));
    for more in [&["-H", "x-env: beta"][..], &["-H", "x-env: beta", "-H", "x-user: me"], &[]] {
        assert_eq!(gateway.ask(more), "production");
    }
    let status = good(&umbra(state, &["mirror", "status"]));
    assert!(status.contains("  new: 1 not chosen: of no session\n"), "{status}");
    good(&umbra(state, &["mirror", "stop", "new"]));
    assert_eq!(umbra(state, &["mirror", "stop", "new"]).status.code(), Some(2));

    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.process.wait().unwrap().success());
    assert!(!state.join("gateway.sock").exists());
    let nobody = umbra(state, &["mirror", "status"]);
    assert_eq!(nobody.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("umbra gateway"));
}

#[test]
fn routes_are_checked_changed_and_weighed() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let (old, new) = (server("old").to_string(), server("new").to_string());
    let file = state.join("routes.yaml");
    let path = file.to_str().unwrap();
    let write = |weight: &str| {
        let text = format!(
            "routes:\n  - name: shop\n    targets:\n      - {{ to: '{old}', weight: {weight} }}\n      \
             - {{ to: '{new}', weight: 0 }}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("-1");
    let refused = umbra(state, &["gateway", "--listen", "127.0.0.1:0", "--routes", path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("routes.yaml:4:"));

    write("1");
    good(&umbra(state, &["route", "apply", "--dry-run", path]));
    let gateway = Gateway::with(state, &["--listen", "127.0.0.1:0", "--routes", path]);
    assert_eq!(gateway.ask(&[]), "old");
    let weighed =
        umbra(state, &["route", "weigh", "shop", &format!("{old}=0"), &format!("{new}=5")]);
    assert!(good(&weighed).contains("shop"));
    assert_eq!(gateway.ask(&[]), "new");
    for (weight, why) in [("x=1", "there are: 127"), (&*format!("{new}=-1"), "from 0")] {
        let refused = umbra(state, &["route", "weigh", "shop", weight]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
    let status = good(&umbra(state, &["--json", "route", "list"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["targets"][1]["requests"], 1);
    good(&umbra(state, &["route", "apply", path]));
    assert_eq!(gateway.ask(&[]), "old");
}

#[test]
fn a_candidate_is_compared_with_production() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let gateway = Gateway::start(state, server("production"), &[]);
    assert_eq!(umbra(state, &["compare"]).status.code(), Some(2));

    let start = |name: &str, to: SocketAddr, role: &str| {
        let to = to.to_string();
        good(&umbra(state, &["mirror", "start", name, "--to", &to, "--role", role]))
    };
    assert!(start("new", server("other"), "candidate").contains("umbra compare"));
    let unjudged = umbra(state, &["compare"]);
    assert_eq!(unjudged.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&unjudged.stdout).contains("--role baseline"));

    start("old", server("production"), "baseline");
    assert!(good(&umbra(state, &["mirror", "status"])).contains("old (baseline)"));
    for _ in 0..30 {
        assert_eq!(gateway.ask(&[]), "production");
    }
    let failed = umbra(state, &["compare", "--watch", "--samples", "0"]);
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stdout).unwrap();
    assert!(said.starts_with("FAIL: ") && said.contains("new against old"), "{said}");
    let length = said.lines().find(|line| line.trim_start().starts_with("body.length")).unwrap();
    assert!(length.ends_with("DIFFERS"), "{length}");
    let report = umbra(state, &["--json", "compare"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["verdict"], "fail");
}
