//! Plans from small snapshots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use umbra_api::blob::Blob;

use super::*;
use crate::attributes::{Kind, encode_id, encode_mode};
use crate::config;
use crate::reading::{Content, Snapshot, Value};

const MERGE: &str = "version: 2\nparameters:\n  - {name: etc, glob: '/etc/**', \
    format: auto, attrs: [content, mode], rollback: {mode: merge, never: ['/etc/private/**']}, \
    ignore: {keys: ['/etc/sysctl.conf:vm.*']}}\n";

/// A text file as a collector has it.
fn file(text: &str) -> Reading {
    with_mode(text, 0o644)
}

fn with_mode(text: &str, mode: u32) -> Reading {
    let attributes = BTreeMap::from([
        (Attribute::Type, Kind::File.blob()),
        (Attribute::Mode, encode_mode(mode)),
        (Attribute::Owner, encode_id(0)),
        (Attribute::Group, encode_id(0)),
    ]);
    Reading::Present(Value { content: Some(Content::Bytes(Blob(text.into()))), attributes })
}

fn link(to: &str) -> Reading {
    let attributes =
        BTreeMap::from([(Attribute::Type, Kind::Link.blob()), (Attribute::Link, Blob(to.into()))]);
    Reading::Present(Value { content: None, attributes })
}

fn snapshot(files: &[(&str, Reading)]) -> Snapshot {
    let items =
        files.iter().map(|(path, reading)| (Item::part("etc", path.as_bytes()), reading.clone()));
    Snapshot { readings: items.collect() }
}

struct Asked<'a> {
    config: &'a str,
    base: Option<Snapshot>,
    selection: Selection,
    conflicts: Conflicts,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        let selection = Selection::Everything;
        Self { config: MERGE, base: None, selection, conflicts: Conflicts::Stop }
    }
}

fn plan_of(asked: &Asked<'_>, target: &Snapshot, current: &Snapshot) -> Plan {
    let config = config::parse("test.yml", asked.config).expect("a configuration");
    let plan = plan(Request {
        config: &config,
        target,
        base: asked.base.as_ref().unwrap_or(target),
        current,
        files: &BTreeMap::new(),
        selection: &asked.selection,
        conflicts: asked.conflicts,
    });
    let json = serde_json::to_string(&plan).expect("serialisable");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("readable"), plan);
    plan
}

/// What the only change writes.
#[track_caller]
fn written(plan: &Plan) -> String {
    let [change] = plan.changes.as_slice() else { panic!("{plan}") };
    let Aim::Present { content: Some(content), .. } = &change.to else { panic!("{plan}") };
    String::from_utf8(content.0.clone()).expect("text")
}

const SYSCTL: &str = "/etc/sysctl.conf";

/// How full a disk is has no earlier value to return to.
#[test]
fn what_moves_by_itself_is_left_with_a_reason() {
    let of =
        |value: &str| Snapshot { readings: [(Item::whole("disk"), Reading::text(value))].into() };
    let left = |config: &str, selection: Selection, current: &str| {
        let asked = Asked { config, selection, ..Asked::default() };
        let plan = plan_of(&asked, &Snapshot::default(), &of(current));
        assert_eq!((plan.changes.len(), plan.conflicts.len()), (0, 0), "{plan}");
        plan.left.into_iter().map(|left| left.why).collect::<Vec<_>>()
    };
    let disk = "[{name: disk, source: mount, path: /, key: used_percent, expect: {le: 90}}]";
    let why = "it is a number that moves by itself";
    let named = || Selection::Parameter("disk".to_owned());
    assert!(left(disk, Selection::Everything, "50").is_empty(), "there is nothing to say");
    assert_eq!(left(disk, Selection::Everything, "91"), [why]);
    assert_eq!(left(disk, named(), "50"), [why]);
    assert!(left(disk, Selection::Parameter("other".to_owned()), "91").is_empty());
    // Also where the shadow counts.
    let held = "[{name: disk, source: mount, path: /, key: used_percent, tolerance: 5}]";
    let plan = plan_of(&Asked { config: held, ..Asked::default() }, &of("50"), &of("91"));
    assert_eq!((plan.changes.len(), plan.left[0].why.as_str()), (0, why));
}

#[test]
fn only_drifted_keys_change() {
    let good = snapshot(&[(SYSCTL, file("# good\na.b = 1\nc.d = 2\n"))]);
    let bad = snapshot(&[(SYSCTL, file("# mine\na.b = 9\n\nc.d=2\nvm.mine = 3\ne.f = 4\n"))]);
    let plan = plan_of(&Asked::default(), &good, &bad);
    assert_eq!(written(&plan), "# mine\na.b = 1\n\nc.d=2\nvm.mine = 3\n");
    assert_eq!(plan.changes[0].class, Class::Merge);
    let why: Vec<&str> = plan.left.iter().map(|left| left.why.as_str()).collect();
    assert_eq!(why, ["the configuration ignores it"]);

    // However it is spelled.
    for key in ["e.f", "\"e.f\"", "$.e.f", "/e.f"] {
        let selection = Selection::Key { path: PathBuf::from(SYSCTL), key: key.to_owned() };
        let plan = plan_of(&Asked { selection, ..Asked::default() }, &good, &bad);
        assert_eq!(written(&plan), "# mine\na.b = 9\n\nc.d=2\nvm.mine = 3\n", "{key}");
    }
}

/// What is compared as text goes back as text, but for accounts and where a key is named.
#[test]
fn the_parameter_says_how_its_files_are_written() {
    let text = MERGE.replace("format: auto, ", "");
    let good = snapshot(&[(SYSCTL, file("# good\na.b = 1\n"))]);
    let bad = snapshot(&[(SYSCTL, file("# mine\na.b = 9\n"))]);
    let asked = Asked { config: &text, ..Asked::default() };
    let plan = plan_of(&asked, &good, &bad);
    assert_eq!(written(&plan), "# good\na.b = 1\n");
    assert_eq!(plan.changes[0].class, Class::Restore);
    let selection = Selection::Key { path: PathBuf::from(SYSCTL), key: "a.b".to_owned() };
    let asked = Asked { config: &text, selection, ..Asked::default() };
    assert_eq!(written(&plan_of(&asked, &good, &bad)), "# mine\na.b = 1\n");
    let good = snapshot(&[("/etc/passwd", file("a:$old:1:1::/:/bin/sh\n"))]);
    let bad = snapshot(&[("/etc/passwd", file("a:x:1:1::/:/bin/zsh\n"))]);
    let asked = Asked { config: &text, ..Asked::default() };
    assert_eq!(written(&plan_of(&asked, &good, &bad)), "a:x:1:1::/:/bin/sh\n");
}

#[test]
fn three_different_values_are_a_conflict() {
    let target = snapshot(&[(SYSCTL, file("a.b = 1\nc.d = 2\n"))]);
    let base = snapshot(&[(SYSCTL, file("a.b = 5\nc.d = 2\n"))]);
    let current = snapshot(&[(SYSCTL, file("a.b = 9\nc.d = 7\n"))]);
    let asked = Asked { base: Some(base.clone()), ..Asked::default() };
    let plan = plan_of(&asked, &target, &current);
    assert!(plan.is_empty());
    let [conflict] = plan.conflicts.as_slice() else { panic!("{plan}") };
    let blob = |text: &str| Some(Blob(text.into()));
    assert_eq!(conflict.part.as_deref(), Some("a.b"));
    let sides = [&conflict.base, &conflict.current, &conflict.target];
    assert_eq!(sides, [&blob("5"), &blob("9"), &blob("1")]);
    let asked = Asked { base: Some(base), conflicts: Conflicts::Target, ..Asked::default() };
    assert_eq!(written(&plan_of(&asked, &target, &current)), "a.b = 1\nc.d = 2\n");
}

#[test]
fn a_file_without_a_format_is_a_whole() {
    let target = snapshot(&[("/etc/motd", file("one\n"))]);
    let base = snapshot(&[("/etc/motd", file("two\n"))]);
    let current = snapshot(&[("/etc/motd", file("three\n"))]);
    assert_eq!(written(&plan_of(&Asked::default(), &target, &current)), "one\n");
    let plan = plan_of(&Asked { base: Some(base), ..Asked::default() }, &target, &current);
    assert!(plan.is_empty() && plan.conflicts.len() == 1, "{plan}");
}

/// Why the only drifted thing stays.
#[track_caller]
fn stays(path: &str, target: Reading, current: Reading, why: &str) {
    let plan =
        plan_of(&Asked::default(), &snapshot(&[(path, target)]), &snapshot(&[(path, current)]));
    assert!(plan.is_empty(), "{plan}");
    let [left] = plan.left.as_slice() else { panic!("{plan}") };
    assert_eq!(left.why, why, "{path}");
}

#[test]
fn what_is_never_put_back_stays() {
    let secret = "an earlier secret may be a stolen one";
    stays("/etc/shadow", file("root:a:1::::::\n"), file("root:b:1::::::\n"), secret);
    let keys = "earlier host keys may be stolen ones";
    stays("/etc/ssh/ssh_host_rsa_key", file("a"), file("b"), keys);
    stays("/etc/machine-id", file("a\n"), file("b\n"), "it is the machine's identity");
    let managed = "it is managed by a service, which would write it again";
    stays("/etc/resolv.conf", file("nameserver 1.1.1.1\n"), link("../run/x"), managed);
    stays("/etc/private/a", file("a"), file("b"), "the configuration never puts it back");
    let digest = Reading::Present(Value {
        content: Some(Content::digest_of(b"long")),
        attributes: BTreeMap::new(),
    });
    stays("/etc/long", digest, file("b"), "the target keeps only a digest of its content");
    let unreadable = Reading::Unreadable { why: "it is a directory".to_owned() };
    let why = "the primary could not be read: it is a directory";
    stays("/etc/odd", file("a"), unreadable, why);
}

#[test]
fn a_password_in_an_account_stays() {
    let good = snapshot(&[("/etc/passwd", file("a:$old:1:1::/:/bin/sh\nb:x:2:2::/:/bin/sh\n"))]);
    let bad = snapshot(&[("/etc/passwd", file("a:x:1:1::/:/bin/sh\nb:x:2:2::/:/bin/zsh\n"))]);
    let plan = plan_of(&Asked::default(), &good, &bad);
    assert_eq!(written(&plan), "a:x:1:1::/:/bin/sh\nb:x:2:2::/:/bin/sh\n");
    assert_eq!(plan.left.len(), 1, "{plan}");
}

#[test]
fn only_watched_attributes_are_put_back_unless_it_is_made_anew() {
    let good = snapshot(&[("/etc/a", with_mode("a\n", 0o640))]);
    let bad = snapshot(&[("/etc/a", with_mode("a\n", 0o666))]);
    let plan = plan_of(&Asked::default(), &good, &bad);
    let Aim::Present { content: None, attributes } = &plan.changes[0].to else { panic!("{plan}") };
    assert_eq!(attributes.keys().collect::<Vec<_>>(), [&Attribute::Mode]);
    let plan = plan_of(&Asked::default(), &good, &Snapshot::default());
    let Aim::Present { content: Some(_), attributes } = &plan.changes[0].to else {
        panic!("{plan}")
    };
    assert_eq!(attributes.get(&Attribute::Group), Some(&encode_id(0)));
    let gone = plan_of(&Asked::default(), &Snapshot::default(), &bad);
    assert_eq!(gone.changes[0].to, Aim::Absent);
}

#[test]
fn one_key_is_looked_up_in_its_file() {
    let config = "version: 2\nparameters:\n  - {name: login, path: /etc/ssh/sshd_config, \
        format: auto, key: PermitRootLogin, validate: [sshd, -t, -f, '{file}'], \
        apply: {reload: ssh.service}, confirm: {timeout: 60s, probe: 'tcp://{host}:22'}}\n";
    let config = config::parse("test.yml", config).expect("a configuration");
    let of =
        |text: &str| Snapshot { readings: [(Item::whole("login"), Reading::text(text))].into() };
    let path = PathBuf::from("/etc/ssh/sshd_config");
    let text = "# ours\nPort 22\nPermitRootLogin yes\nX11Forwarding no\n";
    let plan = plan(Request {
        config: &config,
        target: &of("no"),
        base: &of("no"),
        current: &of("yes"),
        files: &[(path, text.as_bytes().to_vec())].into(),
        selection: &Selection::Parameter("login".to_owned()),
        conflicts: Conflicts::Stop,
    });
    assert_eq!(written(&plan), text.replace("Login yes", "Login no"));
    assert_eq!(plan.changes[0].checks, [["sshd", "-t", "-f", "{file}"].map(str::to_owned)]);
    let confirm = plan.confirm.expect("a confirmation");
    assert_eq!((confirm.timeout_ms, confirm.by_person), (60_000, false));
    assert_eq!(confirm.probes, ["tcp://{host}:22"]);
}

#[test]
fn a_path_is_chosen() {
    let good = snapshot(&[("/etc/a/x", file("1")), ("/etc/ab", file("1"))]);
    let bad = snapshot(&[("/etc/a/x", file("2")), ("/etc/ab", file("2"))]);
    let selection = Selection::Path(PathBuf::from("/etc/a"));
    let plan = plan_of(&Asked { selection, ..Asked::default() }, &good, &bad);
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.changes[0].place.path(), Some(Path::new("/etc/a/x")));
}

#[test]
fn a_plan_reads_as_a_list() {
    let good = snapshot(&[
        (SYSCTL, file("a.b = 1\n")),
        ("/etc/mode", with_mode("x", 0o600)),
        ("/etc/motd", file("hello\n")),
        ("/etc/shadow", file("a")),
    ]);
    let bad = snapshot(&[
        (SYSCTL, file("a.b = 2\n")),
        ("/etc/mode", with_mode("x", 0o666)),
        ("/etc/motd", file("\x1b[2Jhello\n")),
        ("/etc/new", file("x")),
        ("/etc/shadow", file("b")),
    ]);
    let plan = plan_of(&Asked::default(), &good, &bad);
    insta::assert_snapshot!(plan.to_string());
}

fn lines() -> impl Strategy<Value = String> {
    let line = ("[abc]\\.[de]", 0..4u8).prop_map(|(key, value)| format!("{key} = {value}\n"));
    proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

proptest! {
    /// Carried out, nothing that was chosen differs any more.
    #[test]
    fn what_was_merged_means_what_the_target_means(target in lines(), current in lines()) {
        let good = snapshot(&[(SYSCTL, file(&target))]);
        let bad = snapshot(&[(SYSCTL, file(&current))]);
        let plan = plan_of(&Asked::default(), &good, &bad);
        if let [change] = plan.changes.as_slice() {
            let Aim::Present { content: Some(content), .. } = &change.to else { panic!("{plan}") };
            let format = crate::format::Format::Sysctl;
            let [then, now] = [target.as_bytes(), &content.0].map(|text| crate::format::parse(format, text));
            prop_assert_eq!(crate::format::diff(&then, &now), []);
        }
    }

    #[test]
    fn a_pattern_matches_itself(text in "[a-z.*]{0,12}") {
        prop_assert!(merge::matches(&text, &text));
        prop_assert!(merge::matches("*", &text));
    }
}
