use crate::config::{Config, Difference, Severity};

use super::*;

fn config(parameter: &str) -> Config {
    let text = format!("version: 2\nparameters:\n  - {parameter}\n");
    crate::config::parse("test", &text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn compare(parameter: &str, shadow: &Reading, primary: &Reading) -> Outcome {
    let config = config(parameter);
    let item = Item::whole(&config.parameters[0].name);
    Comparer::new(&config).compare(&item, shadow, primary, UNEXPLAINED)
}

#[track_caller]
fn found(parameter: &str, shadow: &Reading, primary: &Reading) -> Vec<Finding> {
    match compare(parameter, shadow, primary) {
        Outcome::Same => Vec::new(),
        Outcome::Differs(discrepancy) => discrepancy.findings,
        Outcome::Unknown { why } => panic!("unknown: {why}"),
    }
}

#[track_caller]
fn quiet(parameter: &str, shadow: &str, primary: &str) {
    let findings = found(parameter, &Reading::text(shadow), &Reading::text(primary));
    assert_eq!(findings, [], "{shadow:?} {primary:?}");
}

#[track_caller]
fn keys(parameter: &str, shadow: &str, primary: &str, expected: &[&str]) {
    let findings = found(parameter, &Reading::text(shadow), &Reading::text(primary));
    let [Finding::Value { changes, .. }] = &findings[..] else { panic!("{findings:?}") };
    let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, expected);
}

const RAW: &str = "{name: x, path: /etc/x, tolerance: 0, severity: high}";
const SSHD: &str = "{name: x, path: /etc/ssh/sshd_config, format: auto, severity: high}";

#[test]
fn absent_unreadable_and_empty_are_three() {
    let unreadable = || Reading::Unreadable { why: "it is a directory".to_owned() };
    let (absent, empty) = (Reading::Absent, Reading::text(""));
    assert_eq!(found(RAW, &absent, &absent), []);
    assert_eq!(found(RAW, &absent, &empty), [Finding::Appeared]);
    assert_eq!(found(RAW, &empty, &absent), [Finding::Vanished]);
    let why = "it is a directory".to_owned();
    assert_eq!(found(RAW, &empty, &unreadable()), [Finding::Unreadable { why }]);
    for primary in [&absent, &empty, &unreadable()] {
        let outcome = compare(RAW, &unreadable(), primary);
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    }
}

#[test]
fn four_fields_compare_bytes() {
    quiet(RAW, "nameserver 1.1.1.1\n", "nameserver 1.1.1.1\n");
    for primary in
        ["# comment\nnameserver 1.1.1.1\n", "nameserver 1.1.1.1", "nameserver  1.1.1.1\n"]
    {
        let findings = found(RAW, &Reading::text("nameserver 1.1.1.1\n"), &Reading::text(primary));
        assert_eq!(findings.len(), 1, "{primary:?}");
    }
}

#[test]
fn a_word_is_no_number_within_tolerance() {
    let parameter = "{name: x, path: /proc/sys/vm/swappiness, tolerance: 5, severity: low}";
    quiet(parameter, "60\n", "65\n");
    for primary in ["66\n", "", "high\n", "64M"] {
        assert_eq!(found(parameter, &Reading::text("60\n"), &Reading::text(primary)).len(), 1);
    }
}

#[test]
fn what_means_nothing_is_no_difference() {
    let shadow = "Port 22\nPermitRootLogin no\n";
    quiet(SSHD, shadow, "# why\nPermitRootLogin   no\n\nPort 22\n");
    quiet(SSHD, shadow, "Port 22\nPermitRootLogin no\nPermitRootLogin yes\n");
    keys(SSHD, shadow, "Port 22\nPermitRootLogin yes\n", &["permitrootlogin"]);
}

#[test]
fn tolerance_counts_keys_of_a_format() {
    let parameter = "{name: x, path: /etc/sysctl.conf, format: auto, tolerance: 1}";
    quiet(parameter, "a = 1\nb = 2\n", "a = 2\nb = 2\n");
    keys(parameter, "a = 1\nb = 2\n", "a = 2\nb = 3\n", &["a", "b"]);
}

#[test]
fn ignored_keys_and_lines_mean_nothing() {
    let parameter = "{name: x, path: /etc/sysctl.conf, format: auto, ignore: {keys: [net.*]}}";
    quiet(parameter, "net.a = 1\n", "net.a = 2\n");
    let parameter = "{name: x, path: /x, ignore: {lines: ['^#'], order: true, whitespace: true}}";
    quiet(parameter, "a b\nc\n", "# x\n c\n\na  b \n");
    assert_eq!(found(parameter, &Reading::text("a b\nc\n"), &Reading::text("a c\n")).len(), 1);
}

#[test]
fn what_is_expected_holds_whatever_the_shadow_says() {
    let parameter = "{name: x, path: /x, expect: {one_of: ['no', prohibit-password]}}";
    quiet(parameter, "no\n", "no\n");
    let findings = found(parameter, &Reading::text("yes\n"), &Reading::text("yes\n"));
    let expected = "one of `no`, `prohibit-password`".to_owned();
    assert_eq!(findings, [Finding::Unexpected { expected }]);
    let parameter = "{name: x, path: /x, tolerance: 100, expect: {ge: 5, le: 10}}";
    quiet(parameter, "5", "10");
    for primary in ["4", "11", "word"] {
        let findings = found(parameter, &Reading::text("7"), &Reading::text(primary));
        assert!(matches!(findings.last(), Some(Finding::Unexpected { .. })), "{findings:?}");
    }
}

#[test]
fn what_moves_by_itself_is_held_against_what_is_expected_of_it() {
    let disk = "{name: x, source: mount, path: /, key: used_percent, expect: {le: 90}}";
    quiet(disk, "10.5", "89.9");
    let (low, high) = (Reading::text("10.5"), Reading::text("90.1"));
    let unexpected = [Finding::Unexpected { expected: "a number of at most 90".to_owned() }];
    let unreadable = || Reading::Unreadable { why: "its filesystem does not answer".to_owned() };
    // Whatever the shadow says, also nothing and what nobody knows.
    for shadow in [&low, &high, &Reading::Absent, &unreadable()] {
        assert_eq!(found(disk, shadow, &low), []);
        assert_eq!(found(disk, shadow, &high), unexpected);
        assert_eq!(found(disk, shadow, &Reading::Absent), unexpected);
        let findings = found(disk, shadow, &unreadable());
        assert!(matches!(findings[0], Finding::Unreadable { .. }), "{findings:?}");
    }
    // The shadow counts as soon as there is a tolerance.
    let held = "{name: x, source: mount, path: /, key: used_percent, tolerance: 5}";
    quiet(held, "10.5", "15.5");
    assert_eq!(found(held, &low, &high).len(), 1);
    assert_eq!(found(held, &low, &Reading::Absent), [Finding::Vanished]);
    // What does not move by itself is held as everything else is.
    let size = "{name: x, source: mount, path: /, key: size_bytes}";
    assert_eq!(found(size, &Reading::text("1"), &Reading::text("2")).len(), 1);
}

#[test]
fn a_digest_tells_only_that_it_differs() {
    let digest = |text: &str| {
        let content = Some(crate::reading::Content::digest_of(text.as_bytes()));
        Reading::Present(Value { content, attributes: BTreeMap::new() })
    };
    assert_eq!(found(RAW, &digest("a"), &digest("a")), []);
    assert_eq!(found(RAW, &digest("a"), &Reading::text("a")), []);
    let findings = found(RAW, &digest("a"), &digest("b"));
    assert!(matches!(findings[..], [Finding::Value { difference: Difference::Content, .. }]));
}

#[test]
fn only_the_attributes_named_count_and_raise_the_severity() {
    let of = |mode: &str, owner: &str| {
        let attributes = [(Attribute::Mode, mode), (Attribute::Owner, owner)]
            .map(|(attribute, text)| (attribute, umbra_api::blob::Blob(text.as_bytes().to_vec())));
        let content = Some(crate::reading::Content::Bytes(Default::default()));
        Reading::Present(Value { content, attributes: attributes.into() })
    };
    assert_eq!(found(RAW, &of("0644", "0"), &of("0600", "1")), []);
    let parameter = "{name: x, path: /x, attrs: [content, mode], \
                     severity: {default: low, attrs: {mode: critical}}}";
    let outcome = compare(parameter, &of("0644", "0"), &of("0666", "1"));
    let Outcome::Differs(discrepancy) = outcome else { panic!("{outcome:?}") };
    assert_eq!(discrepancy.severity, Severity::Critical);
    assert_eq!(discrepancy.findings.len(), 1);
}

#[test]
fn a_drift_that_is_open_closes_well_within() {
    let config = config("{name: x, path: /x, tolerance: {abs: 10, hysteresis: 4}}");
    let comparer = Comparer::new(&config);
    let differs = |primary: &str, open: bool| {
        let known = Circumstances { open, ..UNEXPLAINED };
        let (shadow, primary) = (Reading::text("100"), Reading::text(primary));
        comparer.compare(&Item::whole("x"), &shadow, &primary, known) != Outcome::Same
    };
    assert!(!differs("108", false) && differs("108", true) && !differs("106", true));
}

#[test]
fn both_sides_items_are_compared_and_gone_is_absent() {
    let config = config("{name: x, glob: /etc/**}");
    let snapshot = |parts: &[(&str, &str)]| Snapshot {
        readings: parts
            .iter()
            .map(|(part, text)| (Item::part("x", part.as_bytes()), Reading::text(*text)))
            .collect(),
    };
    let shadow = snapshot(&[("/etc/a", "1"), ("/etc/b", "1")]);
    let primary = snapshot(&[("/etc/b", "1"), ("/etc/c", "1")]);
    let outcomes = Comparer::new(&config).compare_all(&shadow, &primary, |_| UNEXPLAINED);
    let findings: Vec<_> = outcomes
        .iter()
        .map(|(item, outcome)| match outcome {
            Outcome::Differs(discrepancy) => (item.clone(), discrepancy.findings.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    let part = |path: &str| Item::part("x", path.as_bytes());
    let expected =
        [(part("/etc/a"), vec![Finding::Vanished]), (part("/etc/c"), vec![Finding::Appeared])];
    assert_eq!(findings, expected);
}
