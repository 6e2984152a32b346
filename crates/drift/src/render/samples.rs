//! Discrepancies for the tests of whatever tells them.

use std::collections::BTreeMap;

use umbra_api::blob::Blob;

use crate::config::{Attribute, Difference, Provenance, Severity};
use crate::discrepancy::{Attribution, Discrepancy, Finding, KeyChange};
use crate::forecast::{Basis, Bound, Breach, Of};
use crate::reading::{Item, Reading, Value};
use crate::watch::who::{Known, Program, Writer};

/// 2026-05-28T20:26:40.123Z.
pub(crate) const AT_MS: i64 = 1_780_000_000_123;

/// Two texts that differ.
pub(crate) fn texts(name: &str, shadow: &str, primary: &str) -> Discrepancy {
    Discrepancy {
        item: Item::whole(name),
        severity: Severity::High,
        provenance: Provenance::Unexplained,
        shadow: Reading::text(shadow),
        primary: Reading::text(primary),
        findings: vec![Finding::Value {
            difference: Difference::Lines { added: 1, removed: 0, changed: 1 },
            changes: Vec::new(),
            more_changes: 0,
        }],
        tolerance: None,
    }
}

/// That a number nears its bound: expected two hours later, at the earliest in one.
pub(crate) fn nears() -> Finding {
    let basis = Basis { points: 30, from_ms: AT_MS - 1_740_000, to_ms: AT_MS, of: Of::All };
    let at = |hours: i64| AT_MS + hours * 3_600_000;
    let breach = Breach {
        expected_ms: at(2),
        earliest_ms: at(1),
        first_ms: at(1),
        latest_ms: None,
        per_day: 40.0,
        basis,
    };
    Finding::Nears { bound: Bound::Above(90.0), breach }
}

/// `echo bad >> /etc/resolv.conf`.
pub(crate) fn resolv() -> (Discrepancy, Attribution, Blob) {
    let discrepancy = texts("dns_server_1", "nameserver 1.1.1.1\n", "nameserver 1.1.1.1\nbad\n");
    (discrepancy, vim(), Blob(b"/etc/resolv.conf".to_vec()))
}

/// A person at a terminal.
pub(crate) fn vim() -> Attribution {
    let mut writer = Writer::unknown(4711);
    writer.program.exe = Some("/usr/bin/vim".into());
    writer.argv = vec!["vim".into(), "--token=t0p".into(), "/etc/resolv.conf".into()];
    writer.uid = Some(0);
    writer.login_uid = Some(1000);
    let parent = |pid, exe: &str| Program { pid, exe: Some(exe.into()), script: None };
    writer.parents = vec![parent(4000, "/usr/bin/bash"), parent(900, "/usr/sbin/sshd")];
    writer.origin.session = Some("3".to_owned());
    writer.known = Known::Alive;
    Attribution { seen_at_ms: AT_MS, after_ms: None, writers: vec![writer], more_writers: 0 }
}

fn file(content: &str, mode: &str) -> Reading {
    let mut reading = Reading::text(content);
    if let Reading::Present(Value { attributes, .. }) = &mut reading {
        *attributes = BTreeMap::from([
            (Attribute::Type, Blob(b"file".to_vec())),
            (Attribute::Mode, Blob(mode.as_bytes().to_vec())),
        ]);
    }
    reading
}

/// One of each kind: keys, a mode, one that came, one that went, a number, and a name that wants
/// to rewrite the terminal.
pub(crate) fn all() -> Vec<Discrepancy> {
    let base = texts("etc", "", "");
    let part = |path: &[u8]| Item::part("etc", path);
    let keys = Discrepancy {
        item: part(b"/etc/ssh/sshd_config"),
        severity: Severity::Critical,
        shadow: file("PermitRootLogin no\n", "0644"),
        primary: file("PermitRootLogin yes\n", "0666"),
        findings: vec![
            Finding::Value {
                difference: Difference::Lines { added: 1, removed: 1, changed: 1 },
                changes: vec![
                    KeyChange {
                        key: "PermitRootLogin".into(),
                        shadow: Some(Blob(b"no".to_vec())),
                        primary: Some(Blob(b"yes".to_vec())),
                        in_force: true,
                    },
                    KeyChange {
                        key: "db.password".into(),
                        shadow: Some(Blob(b"old".to_vec())),
                        primary: Some(Blob(b"new".to_vec())),
                        in_force: false,
                    },
                ],
                more_changes: 3,
            },
            Finding::Attribute {
                attribute: Attribute::Mode,
                shadow: Some(Blob(b"0644".to_vec())),
                primary: Some(Blob(b"0666".to_vec())),
            },
        ],
        ..base.clone()
    };
    let came = Discrepancy {
        item: part(b"/etc/cron.d/\x1b[2Jevil\xff"),
        shadow: Reading::Absent,
        primary: file("* * * * * root /tmp/x\n", "0644"),
        findings: vec![Finding::Appeared],
        ..base.clone()
    };
    let went = Discrepancy {
        item: part(b"/etc/hosts.deny"),
        severity: Severity::Medium,
        shadow: file("ALL: ALL\n", "0644"),
        primary: Reading::Absent,
        findings: vec![Finding::Vanished],
        ..base
    };
    let number = Discrepancy {
        severity: Severity::Low,
        provenance: Provenance::Expected,
        findings: vec![Finding::Value {
            difference: Difference::Distance(30.0),
            changes: Vec::new(),
            more_changes: 0,
        }],
        tolerance: Some("at most 5 apart".to_owned()),
        ..texts("swappiness", "60\n", "90\n")
    };
    vec![resolv().0, keys, came, went, number]
}
