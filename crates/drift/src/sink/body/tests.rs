//! Goldens of every document, and what holds of all of them.

use proptest::prelude::*;
use umbra_api::blob::Blob;

use crate::alert::{Alert, Ended, News, Standing, Suggestion, next_steps};
use crate::config::{Address, Dialect, Facility, Notify, Severity, SyslogAddress, Target};
use crate::discrepancy::Discrepancy;
use crate::reading::{Content, Item, Reading};
use crate::render::samples::{AT_MS, resolv, texts, vim};
use crate::sink::{DOCUMENT_BYTES_MAX, Document, again, document};

fn alert() -> Alert {
    let (discrepancy, who, path) = resolv();
    let mut alert = Alert {
        id: "00112233aabbccdd".into(),
        told: 3,
        told_at_ms: AT_MS,
        primary: "web-1".into(),
        discrepancy,
        path: Some(path),
        attribution: Some(who),
        standing: Standing::Open,
        news: News::Escalated,
        opened_at_ms: AT_MS - 60_000,
        since_ms: AT_MS,
        seen: 2,
        severities: vec![Severity::Medium, Severity::High],
        ended: None,
        suggestion: Some(Suggestion { repeats: 10, within_ms: 3_600_000 }),
        next_steps: Vec::new(),
    };
    alert.next_steps = next_steps(&alert.key(), alert.standing, &alert.discrepancy.findings);
    alert
}

fn targets() -> Vec<Target> {
    let http = |dialect| Target::Http {
        dialect,
        url: Address::Plain("https://example.com/".into()),
        token: None,
    };
    let syslog = |address| {
        let (facility, app) = (Facility::Local3, "umbra".to_owned());
        Target::Syslog { address, facility, app }
    };
    vec![
        Target::Log,
        Target::Terminal,
        Target::Desktop,
        Target::JsonLines { path: "/x".into() },
        Target::Command { argv: vec!["x".into()] },
        http(Dialect::Webhook),
        http(Dialect::Slack),
        http(Dialect::Alertmanager),
        syslog(SyslogAddress::Udp("a:514".into())),
        syslog(SyslogAddress::Tcp("a:514".into())),
    ]
}

fn told(target: Target, alert: &Alert) -> Document {
    let notify = Notify { target, min_severity: Severity::Low };
    document(&notify, alert, Some("https://umbra.example/")).expect("it is grave enough")
}

fn body(document: &Document) -> String {
    String::from_utf8(document.body.0.clone()).expect("text")
}

fn is_json(target: &Target) -> bool {
    matches!(target, Target::JsonLines { .. } | Target::Command { .. } | Target::Http { .. })
}

#[test]
fn every_sink_has_its_document() {
    let alert = alert();
    for target in targets().into_iter().take(9) {
        let (kind, json) = (target.kind(), is_json(&target));
        let document = told(target, &alert);
        assert_eq!(document.id, "00112233aabbccdd/3");
        let text = body(&document);
        if json {
            let value: serde_json::Value = serde_json::from_str(&text).expect("json");
            let pretty = serde_json::to_string_pretty(&value).expect("json");
            insta::assert_snapshot!(kind, pretty);
        } else {
            insta::assert_snapshot!(kind, text);
        }
    }
}

#[test]
fn an_end_is_told_as_one() {
    let mut alert = alert();
    (alert.standing, alert.news) = (Standing::Resolved, News::Resolved);
    alert.ended = Some(Ended::RolledBack);
    alert.suggestion = None;
    let http = |dialect| Target::Http { dialect, url: Address::Plain("x".into()), token: None };
    let posted = body(&told(http(Dialect::Alertmanager), &alert));
    let posted: serde_json::Value = serde_json::from_str(&posted).expect("json");
    for one in posted.as_array().expect("a list") {
        assert_eq!(one["endsAt"], "2026-05-28T20:26:40.123Z", "under either severity");
    }
    let slack = body(&told(http(Dialect::Slack), &alert));
    assert!(slack.contains("\"color\":\"good\""), "{slack}");
    let since = r#""title":"Since","value":"2026-05-28T20:25:40.123Z""#;
    assert!(slack.contains(since), "it was opened then: {slack}");
    let screen = body(&told(Target::Terminal, &alert));
    assert!(screen.contains("since      2026-05-28T20:25:40.123Z\n"), "{screen}");
    let over = "over       a rollback put the shadow's value back at 2026-05-28T20:26:40.123Z\n";
    assert!(screen.contains(over), "{screen}");
    let line = body(&told(Target::JsonLines { path: "/x".into() }, &alert));
    assert!(line.contains("\"duration\":60000000000"), "{line}");
}

#[test]
fn that_nobody_watches_is_told_of_the_primary() {
    let mut alert = alert();
    alert.discrepancy = Discrepancy::unwatched("its agent has ended".into());
    (alert.path, alert.attribution, alert.suggestion) = (None, None, None);
    alert.next_steps = next_steps(&alert.key(), alert.standing, &alert.discrepancy.findings);
    let said = "[high] web-1: the primary is not watched (escalated)";
    for target in targets() {
        let kind = target.kind();
        let document = told(target, &alert);
        assert_eq!(document.title, said);
        let text = body(&document);
        if kind != "slack" {
            assert!(text.contains("because its agent has ended"), "{kind}: {text}");
        }
        assert!(!text.contains("nobody saw who"), "{kind}: {text}");
    }
    let screen = body(&told(Target::Terminal, &alert));
    assert!(screen.ends_with("  next       umbra primary show web-1\n"), "{screen}");
    (alert.standing, alert.ended) = (Standing::Resolved, Some(Ended::Watched));
    let screen = body(&told(Target::Terminal, &alert));
    assert!(screen.contains("over       it is watched again at "), "{screen}");
}

#[test]
fn a_sink_gets_what_is_grave_enough_and_its_end() {
    let wanted = |alert: &Alert, min_severity| {
        document(&Notify { target: Target::Log, min_severity }, alert, None).is_some()
    };
    let mut alert = alert();
    assert!(wanted(&alert, Severity::High) && !wanted(&alert, Severity::Critical));
    alert.discrepancy.severity = Severity::Low;
    assert!(wanted(&alert, Severity::High), "it was told of the beginning");
}

#[test]
fn open_alerts_are_told_again_in_bounded_requests() {
    let open = vec![alert(); 450];
    let requests = again(&open, None, AT_MS + 3_600_000);
    assert_eq!(requests.len(), 3);
    let posted: serde_json::Value = serde_json::from_str(&requests[0]).expect("json");
    assert_eq!(posted[0]["endsAt"], "2026-05-28T21:41:40.123Z");
    assert_eq!(posted[1]["labels"]["severity"], "medium");
    assert_eq!(posted[1]["endsAt"], "2026-05-28T21:26:40.123Z", "the one before is over");
}

#[test]
fn structured_data_cannot_be_escaped_from() {
    let mut alert = alert();
    alert.primary = "a b\n<1>x".into();
    alert.discrepancy.item = Item::part("p\" x=\"y", b"/a]b\\c\"d");
    let text = body(&told(targets().remove(8), &alert));
    assert!(text.starts_with("<155>1 2026-05-28T20:26:40.123Z a_b\\u{a}<1>x umbra - escalated ["));
    assert!(text.contains(r#"parameter="p\" x=\"y""#), "{text}");
    assert!(text.contains(r#"part="/a\]b\\\\c\"d""#), "{text}");
}

/// What stands between the quotes of structured data, backslashes undone, and what comes after.
fn structured(message: &str) -> Option<&str> {
    let mut rest = &message[message.find(" [umbra@32473")? + 13..];
    loop {
        rest = match rest.strip_prefix(']') {
            Some(end) => return Some(end),
            None => rest.strip_prefix(' ')?,
        };
        let (name, value) = rest.split_once("=\"")?;
        if !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return None;
        }
        let mut chars = value.char_indices();
        loop {
            match chars.next()? {
                (at, '"') => {
                    rest = &value[at + 1..];
                    break;
                }
                (_, '\\') => {
                    chars.next()?;
                }
                (_, ']') => return None,
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_is_told_is_printable_bounded_and_whole(
        name in ".{0,200}", part in prop::collection::vec(any::<u8>(), 0..5000),
        value in prop::collection::vec(any::<u8>(), 0..20_000), many in 0usize..70,
    ) {
        let mut alert = alert();
        alert.primary = name.repeat(3);
        alert.discrepancy = texts(&name.repeat(2), &name, "");
        alert.discrepancy.item = Item::part(&name, &part);
        if let Reading::Present(primary) = &mut alert.discrepancy.primary {
            primary.content = Some(Content::Bytes(Blob(value.clone())));
        }
        alert.path = Some(Blob(part.clone()));
        let mut who = vim();
        let writer = who.writers[0].clone();
        who.writers = vec![writer; many + 1];
        who.writers[0].argv = vec![std::os::unix::ffi::OsStringExt::from_vec(part.clone()); many];
        alert.attribution = Some(who);
        alert.next_steps = next_steps(&alert.key(), alert.standing, &alert.discrepancy.findings);
        alert.id = name.clone();
        for target in targets() {
            let (json, syslog) = (is_json(&target), matches!(target, Target::Syslog { .. }));
            let kind = target.kind();
            let document = told(target, &alert);
            let text = body(&document);
            prop_assert!(text.len() <= DOCUMENT_BYTES_MAX, "{} {}", kind, text.len());
            let bad = text.chars().find(|c| c.is_control() && *c != '\n');
            prop_assert!(bad.is_none(), "{} {:?}", kind, bad);
            prop_assert!(!document.title.chars().chain(document.id.chars()).any(char::is_control));
            if json {
                let value = serde_json::from_str::<serde_json::Value>(&text);
                prop_assert!(value.is_ok(), "{} {}", kind, text);
                prop_assert_eq!(text.trim_end().matches('\n').count(), 0);
            }
            if syslog {
                prop_assert!(!text.contains('\n'));
                let end = structured(&text);
                prop_assert!(end.is_some_and(|end| end.starts_with(" \u{feff}")), "{}", text);
            }
            if kind == "terminal" {
                prop_assert!(text.lines().count() <= 24, "{}", text);
            }
        }
    }
}
