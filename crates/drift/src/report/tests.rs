//! Goldens of every format, and what holds of all of them.

use proptest::prelude::*;

use super::*;
use crate::render::samples::{AT_MS, all, resolv, texts, vim};

fn check() -> Check {
    let (_, who, path) = resolv();
    let entry = |(index, discrepancy)| Entry {
        discrepancy,
        attribution: match index {
            0 => Some(who.clone()),
            1 => Some(Attribution { writers: Vec::new(), after_ms: Some(AT_MS - 90_000), ..vim() }),
            _ => None,
        },
        path: (index == 0).then(|| path.clone()),
        since_ms: (index < 2).then_some(AT_MS - 60_000),
    };
    Check {
        primary: "web-1".into(),
        shadow_at_ms: AT_MS - 86_400_000,
        checked_at_ms: AT_MS,
        parameters: 4,
        items: 1234,
        entries: all().into_iter().enumerate().map(entry).collect(),
        unread: vec![Unread {
            item: Item::part("etc", b"/etc/pi\x1bpe"),
            why: "it is a pipe".into(),
        }],
    }
}

#[test]
fn every_format_tells_it() {
    for format in Format::ALL {
        insta::assert_snapshot!(format.as_str(), check().render(format));
    }
}

#[test]
fn nothing_to_tell_is_told() {
    let check = Check { entries: Vec::new(), unread: Vec::new(), ..check() };
    let text = check.render(Format::Text);
    assert!(text.starts_with("web-1 is as its shadow\n"), "{text}");
    assert_eq!(check.render(Format::Rpm), "");
    let log: serde_json::Value = serde_json::from_str(&check.render(Format::Sarif)).expect("json");
    assert_eq!(log["runs"][0]["results"].as_array().map(Vec::len), Some(0));
    assert!(check.render(Format::Aide).contains("NO differences"));
}

#[test]
fn formats_and_codes_have_names() {
    for format in Format::ALL {
        assert_eq!(Format::named(format.as_str()), Some(format));
    }
    assert_eq!(Format::named("xml"), None);
    assert!(ExitCodes::WORDS.iter().all(|word| ExitCodes::named(word).is_some()));
}

#[test]
fn exit_codes_say_what_was_found() {
    #[track_caller]
    fn codes(entries: &[usize], unread: bool, aide: u8, terraform: u8) {
        let all = check();
        let entries = entries.iter().map(|index| all.entries[*index].clone()).collect();
        let unread = if unread { all.unread.clone() } else { Vec::new() };
        let check = Check { entries, unread, ..all };
        assert_eq!(
            (ExitCodes::Aide.of(&check), ExitCodes::Terraform.of(&check)),
            (aide, terraform)
        );
    }
    codes(&[], false, 0, 0);
    codes(&[0], false, 4, 2);
    codes(&[2], false, 1, 2);
    codes(&[3], false, 2, 2);
    codes(&[0, 1, 2, 3, 4], false, 7, 2);
    let mut ahead = check();
    ahead.unread.clear();
    ahead.entries.truncate(1);
    ahead.entries[0].discrepancy.findings = vec![crate::render::samples::nears()];
    assert_eq!((ExitCodes::Aide.of(&ahead), ExitCodes::Terraform.of(&ahead)), (0, 0));
    assert!(ahead.render(Format::Text).contains("1 number will not be as expected"));
    // No evidence is never a pass.
    codes(&[], true, 18, 1);
    codes(&[0], true, 18, 1);
    assert_eq!(ExitCodes::Aide.failed(Failure::Config), 17);
    assert_eq!(ExitCodes::Terraform.failed(Failure::Config), 1);
}

/// CVE-2025-54389: a name of a file rewrote the terminal that showed AIDE's report.
#[track_caller]
fn is_printable(check: &Check) {
    for format in Format::ALL {
        let text = check.render(format);
        let tab = |c: char| c == '\t' && format == Format::Aide;
        let bad = text.chars().find(|c| c.is_control() && *c != '\n' && !tab(*c));
        assert!(bad.is_none(), "{format:?} {bad:?} {text}");
        assert!(!text.contains('\u{202e}'), "{format:?}");
        if format == Format::Ndjson {
            text.lines().for_each(|line| {
                serde_json::from_str::<serde_json::Value>(line).expect("json");
            });
        }
    }
}

#[test]
fn no_secret_is_told() {
    let entry = Entry {
        discrepancy: texts("app", "password=hunter2\nx=1\n", "password=hunter3\nx=2\n"),
        attribution: Some(vim()),
        path: None,
        since_ms: None,
    };
    let check = Check { entries: vec![entry], ..check() };
    for format in Format::ALL {
        let text = check.render(format);
        assert!(!text.contains("hunter") && !text.contains("t0p"), "{format:?} {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_names_and_values_are_told_printably(
        name in ".{0,20}", part in prop::collection::vec(any::<u8>(), 0..40),
        shadow in prop::collection::vec(any::<u8>(), 0..60),
        primary in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut check = check();
        check.primary.clone_from(&name);
        for entry in &mut check.entries {
            entry.discrepancy.item = Item::part(&name, &part);
            entry.path = Some(Blob(part.clone()));
            if let Some(crate::reading::Content::Bytes(bytes)) = content(&mut entry.discrepancy.shadow) {
                bytes.0.clone_from(&shadow);
            }
            if let Some(crate::reading::Content::Bytes(bytes)) = content(&mut entry.discrepancy.primary) {
                bytes.0.clone_from(&primary);
            }
        }
        check.unread[0].item = Item::part(&name, &part);
        check.unread[0].why.clone_from(&name);
        is_printable(&check);
    }
}

fn content(reading: &mut crate::reading::Reading) -> Option<&mut crate::reading::Content> {
    match reading {
        crate::reading::Reading::Present(value) => value.content.as_mut(),
        _ => None,
    }
}
