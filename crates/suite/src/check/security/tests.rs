//! The whole scan over small trees and a directory that plays the shadow.

use super::*;
use crate::target::DirTarget;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use umbra_state::{Content, Digest, Leaf, Meta, Verdict, tree};

/// A tree with files of these paths, modes and contents; directories are made as needed.
fn tree_of(files: &[(&str, u16, &[u8])]) -> Tree {
    let mut root =
        tree::Dir { meta: Meta { mode: 0o755, ..Meta::default() }, entries: BTreeMap::new() };
    for (path, mode, content) in files {
        insert(&mut root, path, file(*mode, content));
    }
    Tree { root: Arc::new(root) }
}

fn file(mode: u16, content: &[u8]) -> Node {
    let meta = Meta { mode, ..Meta::default() };
    // Larger contents are objects, which the scan reads through the shadow's root.
    let content = match content.len() > 64 {
        true => {
            Content::Object { digest: Digest::new([content[0]; 32]), size: content.len() as u64 }
        }
        false => Content::Inline(content.into()),
    };
    Node::Leaf(Arc::new(Leaf { meta, content, link: None }))
}

fn insert(dir: &mut tree::Dir, path: &str, node: Node) {
    let Some((first, rest)) = path.split_once('/') else {
        dir.entries.insert(path.as_bytes().into(), node);
        return;
    };
    let mut child = match dir.entries.remove(first.as_bytes()) {
        Some(Node::Dir(child)) => (*child).clone(),
        _ => tree::Dir { meta: Meta { mode: 0o755, ..Meta::default() }, entries: BTreeMap::new() },
    };
    insert(&mut child, rest, node);
    dir.entries.insert(first.as_bytes().into(), Node::Dir(Arc::new(child)));
}

fn scan(
    check: &SecurityCheck,
    root: &Path,
    before: Option<&Tree>,
    after: &Tree,
    baseline: Option<&Baseline>,
) -> Outcome {
    let target = DirTarget::new(root).expect("target").with_answer(
        "/proc/net/",
        0,
        "tcp\n 0: 00000000:1F90 00000000:0000 0A\n",
        "",
    );
    let now_unix_s = Some(1_800_000_000);
    let context =
        Context { before, after: Some(after), baseline, now_unix_s, ..Context::default() };
    look(check, &target, &context, Instant::now() + Duration::from_secs(10)).expect("looked")
}

fn rules(outcome: &Outcome) -> Vec<(&str, &Standing)> {
    outcome.findings.iter().map(|finding| (finding.rule.as_str(), &finding.standing)).collect()
}

fn failed(outcome: &Outcome) -> bool {
    outcome.evidence.iter().any(|seen| seen.verdict == Verdict::Fail)
}

#[test]
fn only_what_a_delta_adds_fails() {
    let dir = tempfile::tempdir().expect("tempdir");
    let check = SecurityCheck::default();
    let before = tree_of(&[("usr/bin/su", 0o4755, b"su"), ("etc/motd", 0o644, b"hi")]);
    let first = scan(&check, dir.path(), None, &before, None);
    assert_eq!(rules(&first), [("setuid-file", &Standing::Baseline)]);
    assert!(!failed(&first));

    let after = tree_of(&[
        ("usr/bin/su", 0o4755, b"new su"),
        ("usr/bin/evil", 0o6755, b"x"),
        ("srv/drop", 0o666, b""),
    ]);
    let second = scan(&check, dir.path(), Some(&before), &after, None);
    assert_eq!(
        rules(&second),
        [
            ("world-writable-file", &Standing::New),
            ("setuid-file", &Standing::New),
            ("setgid-file", &Standing::New),
            ("setuid-file", &Standing::Baseline),
        ]
    );
    assert!(failed(&second));
    assert!(
        second.evidence[second.evidence.len() - 1].seen.starts_with("3 new, of which 3 are high")
    );

    let mut baseline = Baseline::default();
    baseline.add(&second.findings);
    let third = scan(&check, dir.path(), Some(&before), &after, Some(&baseline));
    assert!(!failed(&third), "{:?}", third.evidence);
}

#[test]
fn severity_and_allowances_decide() {
    let dir = tempfile::tempdir().expect("tempdir");
    let before = tree_of(&[]);
    let after = tree_of(&[("etc/app.conf", 0o644, b"password = hX9!kq27LmZp")]);
    let check = SecurityCheck::default();
    assert!(
        !failed(&scan(&check, dir.path(), Some(&before), &after, None)),
        "medium does not fail"
    );
    let strict = SecurityCheck { fail_on: Severity::Medium, ..check };
    assert!(failed(&scan(&strict, dir.path(), Some(&before), &after, None)));
    let allow = Allow {
        rule: Some("password".into()),
        paths: Some(Globs::new(["etc/**"]).expect("glob")),
        reason: "a test account".into(),
    };
    let allowed = SecurityCheck { allow: vec![allow], ..strict };
    let outcome = scan(&allowed, dir.path(), Some(&before), &after, None);
    assert_eq!(
        rules(&outcome),
        [("password", &Standing::Allowed { reason: "a test account".into() })]
    );
    assert!(!failed(&outcome));
}

#[test]
fn contents_are_read_through_the_root_and_bounded() {
    let dir = tempfile::tempdir().expect("tempdir");
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n", "MIIEvQIBADANBgkqhkiG9w0B".repeat(5));
    std::fs::create_dir(dir.path().join("etc")).expect("mkdir");
    std::fs::write(dir.path().join("etc/tls.key"), &key).expect("write");
    let before = tree_of(&[]);
    let binary = vec![0u8; 100];
    let huge = vec![b'a'; 2 << 20];
    std::fs::write(dir.path().join("etc/bin"), &binary).expect("write");
    let after = tree_of(&[
        ("etc/tls.key", 0o600, key.as_bytes()),
        ("etc/bin", 0o644, &binary),
        ("etc/huge", 0o644, &huge),
    ]);
    let outcome = scan(&SecurityCheck::default(), dir.path(), Some(&before), &after, None);
    assert_eq!(rules(&outcome), [("private-key", &Standing::New)]);
    assert_eq!(outcome.findings[0].path.as_deref(), Some("/etc/tls.key"));
    let coverage =
        outcome.evidence.iter().find(|seen| seen.subject == "secrets").expect("coverage");
    assert_eq!(
        coverage.seen,
        "1 changed text files read; not read: 1 binary, 1 larger than 1048576 bytes"
    );
}

#[test]
fn a_first_states_secrets_are_seen_and_fail_nothing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let token = b"# keys\nkey AKIAIOSFODNN7EXAMPLE\n";
    let first = tree_of(&[("etc/app.conf", 0o644, token)]);
    let outcome = scan(&SecurityCheck::default(), dir.path(), None, &first, None);
    assert_eq!(rules(&outcome), [("aws-access-key", &Standing::Baseline)]);
    assert_eq!(outcome.findings[0].line, Some(2));
    assert!(!failed(&outcome));
    // Known from there, it is not new where the file changes.
    let mut baseline = Baseline::default();
    baseline.add(&outcome.findings);
    let later = tree_of(&[("etc/app.conf", 0o644, &[token, &b"more\n"[..]].concat())]);
    let second = scan(&SecurityCheck::default(), dir.path(), Some(&first), &later, Some(&baseline));
    assert_eq!(rules(&second), [("aws-access-key", &Standing::Baseline)]);
}

#[test]
fn a_scan_that_runs_out_of_time_is_no_pass() {
    let dir = tempfile::tempdir().expect("tempdir");
    let target = DirTarget::new(dir.path()).expect("target");
    let after = tree_of(&[("etc/motd", 0o644, b"hi")]);
    let context = Context { after: Some(&after), now_unix_s: Some(0), ..Context::default() };
    let outcome = look(&SecurityCheck::default(), &target, &context, Instant::now());
    let errors = outcome.expect("looked").errors;
    assert_eq!(errors, ["read every changed file in the test's time"]);
}

#[test]
fn accounts_and_ports_are_part_of_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    std::fs::create_dir(dir.path().join("etc")).expect("mkdir");
    let passwd = "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n";
    std::fs::write(dir.path().join("etc/passwd"), passwd).expect("write");
    let before = tree_of(&[]);
    let after = tree_of(&[("etc/passwd", 0o644, passwd.as_bytes())]);
    let check = SecurityCheck { ports: Some(vec![80]), ..SecurityCheck::default() };
    let outcome = scan(&check, dir.path(), Some(&before), &after, None);
    assert_eq!(rules(&outcome), [("second-root", &Standing::New), ("open-port", &Standing::New)]);
}

#[test]
fn without_a_tree_nobody_looked() {
    let dir = tempfile::tempdir().expect("tempdir");
    let target = DirTarget::new(dir.path()).expect("target");
    let missing = look(&SecurityCheck::default(), &target, &Context::default(), Instant::now());
    assert!(matches!(missing, Err(ProbeError::Missing { .. })));
}
