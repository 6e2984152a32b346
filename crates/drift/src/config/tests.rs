//! Files from the first example to the last mistake, and the parser against the schema.

use std::time::Duration;

use proptest::prelude::*;
use umbra_document::scalar::to_json;
use umbra_document::{laws, source, yaml};

use super::*;
use crate::format::Format;

/// The form that works verbatim, for ever.
const FOUR_FIELDS: &str = include_str!("../../tests/config/four-fields.yml");
const EVERYTHING: &str = include_str!("../../tests/config/everything.yml");
const MANY_MISTAKES: &str = include_str!("../../tests/config/many-mistakes.yml");

#[track_caller]
fn good(text: &str) -> Config {
    parse("monitoring_config.yml", text)
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

#[track_caller]
fn refused(text: &str, code: &str, part: &str) {
    let problems = parse("x.yml", text).expect_err(text);
    let rendered = problems.render(false);
    assert_eq!(problems.diagnostics[0].code, code, "{rendered}");
    assert!(rendered.contains(part), "{rendered}");
}

#[test]
fn the_four_fields_mean_what_they_always_meant() {
    let config = good(FOUR_FIELDS);
    let read: Vec<_> = config
        .parameters
        .iter()
        .map(|parameter| {
            let Source::File { path, key: None, format: None, view: View::Declared, attributes } =
                &parameter.source
            else {
                panic!("{parameter:?}");
            };
            assert_eq!(attributes, &[Attribute::Content]);
            assert_eq!(parameter.tolerance, Tolerance::EXACT);
            assert_eq!(parameter.on_drift, OnDrift::Alert);
            (parameter.name.as_str(), path.as_str(), parameter.severity.default)
        })
        .collect();
    let expected = [
        ("network_interface_0_ip_address", "/sys/class/net/eth0/address", Severity::Critical),
        ("dns_server_1", "/etc/resolv.conf", Severity::High),
        ("hostname", "/etc/hostname", Severity::Medium),
        ("timezone", "/etc/timezone", Severity::Low),
    ];
    assert_eq!(read, expected);
    assert_eq!(config.numbers, Numbers::Plain);
    assert_eq!(config.policy, Policy::default());
}

#[test]
fn the_list_may_stand_alone_or_under_monitoring() {
    let config = good(FOUR_FIELDS);
    assert_eq!(good(&FOUR_FIELDS.replace("parameters:", "monitoring:")), config);
    assert_eq!(good(&FOUR_FIELDS.replace("parameters:\n", "")), config);
}

#[test]
fn a_path_is_never_a_pattern() {
    let path = "/srv/a#b/*.{conf,d}/[x]?";
    let config = good(&format!("[{{name: odd, path: '{path}', tolerance: 0, severity: low}}]"));
    let Source::File { path: read, .. } = &config.parameters[0].source else { panic!() };
    assert_eq!(read, path);
}

/// A whole file or a tree may say how it is written; nothing said is text, for ever.
#[test]
fn a_format_needs_no_key() {
    let format = |fields: &str, path: &str| {
        let config = good(&format!("[{{name: a, {fields}}}]"));
        config.parameters[0].source.format(Path::new(path))
    };
    assert_eq!(format("path: /etc/hosts", "/etc/hosts"), Format::Raw);
    assert_eq!(format("path: /etc/hosts, format: auto", "/etc/hosts"), Format::Hosts);
    assert_eq!(format("path: /etc/x, format: ini", "/etc/x"), Format::Ini);
    assert_eq!(format("path: /etc/x, format: ini, key: a.b", "/etc/x"), Format::Ini);
    assert_eq!(format("glob: '/etc/**', format: auto", "/etc/fstab"), Format::Fstab);
    assert_eq!(format("glob: '/etc/**', format: auto", "/etc/motd"), Format::Raw);
    assert_eq!(format("path: /etc, kind: tree", "/etc/fstab"), Format::Raw);
    let keyed = "source: command, argv: [a], format: json, key: a";
    assert_eq!(format(keyed, "/"), Format::Json);
}

#[test]
fn everything_means_what_it_says() {
    insta::assert_debug_snapshot!(good(EVERYTHING));
}

#[test]
fn all_mistakes_are_shown_at_once() {
    insta::assert_snapshot!(parse("monitoring.yml", MANY_MISTAKES).unwrap_err().render(false));
}

#[test]
fn what_can_be_critical_is_looked_at_more_often() {
    let config = good(
        "- {name: a, path: /a, severity: {default: low, attrs: {mode: critical}}}\n\
         - {name: b, path: /b}\n\
         - {name: c, path: /c, severity: critical, poll: 5m}\n",
    );
    let polls: Vec<u64> = config.parameters.iter().map(|p| p.poll.as_secs()).collect();
    assert_eq!(polls, [1, 30, 300]);
    assert_eq!(config.parameters[0].debounce, Duration::from_millis(50));
}

#[test]
fn tolerances_are_written_in_several_ways() {
    let read = |written: &str| {
        let text = format!("[{{name: a, path: /a, tolerance: {written}}}]");
        good(&text).parameters[0].tolerance
    };
    let distance = |abs, rel, hysteresis| Tolerance::Distance { abs, rel, hysteresis };
    assert_eq!(read("5"), distance(5.0, 0.0, 0.0));
    assert_eq!(read("0.5"), distance(0.5, 0.0, 0.0));
    assert_eq!(read("12.5%"), distance(0.0, 0.125, 0.0));
    assert_eq!(read("'12.5%'"), distance(0.0, 0.125, 0.0));
    assert_eq!(read("{abs: 5, rel: 10%, hysteresis: 2}"), distance(5.0, 0.1, 2.0));
    assert_eq!(read("{added: 2}"), Tolerance::Set { added: 2, removed: 0 });
}

#[test]
fn mistakes_say_what_was_expected() {
    refused("", "empty", "holds no drift configuration");
    refused("parameters: []", "bad-value", "at least one entry");
    refused("12", "wrong-type", "expected a list or a mapping");
    refused("[{name: a, path: /a, severity: hihg}]", "bad-value", "did you mean `high`?");
    refused("[{name: a, path: /a, tolerance: -1}]", "bad-value", "a number from 0");
    refused("[{name: a, path: /a, tolerance: .nan}]", "bad-value", "a number from 0");
    refused("[{name: a, path: /a, tolerance: lots}]", "bad-value", "a percentage");
    refused("[{name: a, path: /a, tolerance: {}}]", "bad-value", "needs `abs`");
    refused("[{name: a, path: /a, tolerance: {abs: 1, added: 1}}]", "one-of", "not both");
    refused("[{name: a, path: etc}]", "bad-value", "it begins with `/`");
    refused("[{name: a, path: /a, key: b}]", "not-allowed-here", "needs the `format`");
    refused("[{name: a, path: /a, format: ini, key: 'a]b'}]", "bad-value", "is no key");
    refused(
        "[{name: a, path: /a, format: ini, key: 'a[x]'}]",
        "bad-value",
        "a number or NAME=VALUE",
    );
    refused("[{name: a, path: /a, format: ini, key: a.}]", "bad-value", "expected a name");
    refused(
        "[{name: a, source: command, argv: [b], format: json, key: a..b}]",
        "bad-value",
        "name",
    );
    refused("[{name: a, path: /a, format: auto, key: b}]", "not-allowed-here", "name the format");
    refused(
        "[{name: a, source: command, argv: [b], format: ini}]",
        "not-allowed-here",
        "only allowed beside `key`",
    );
    refused("[{name: a, source: listen, format: ini}]", "not-allowed-here", "means nothing");
    refused("[{name: a}]", "missing-key", "needs `path` or `glob`");
    refused("[{name: a, source: command, path: /a}]", "missing-key", "needs `argv`");
    refused("[{name: a, source: kernel, key: releas}]", "bad-value", "did you mean `release`?");
    refused("[{name: a, source: mount, path: /, key: usde_percent}]", "bad-value", "used_percent");
    refused("[{name: a, source: mount, key: options}]", "missing-key", "needs `path`");
    refused("[{name: a, source: memory}]", "missing-key", "needs `key`");
    refused("[{name: a, source: certificate, path: /a}]", "missing-key", "needs `key`");
    refused("[{name: a, source: certificate, key: subject}]", "missing-key", "needs `path`");
    refused("[{name: a, source: listen, on_drift: rollback}]", "bad-value", "cannot be rolled");
    refused("[{name: a, path: /a, poll: 30}]", "wrong-type", "a duration");
    refused("[{name: a, path: /a, ignore: {lines: ['(']}}]", "bad-value", "unclosed group");
    refused("[{name: a, glob: '/a['}]", "bad-value", "is no pattern");
    let slip = parse("x", "[{name: a, paht: /a}]").unwrap_err();
    assert_eq!(slip.diagnostics.len(), 1, "{}", slip.render(false));
    refused("[{name: a, path: /a}, {name: a, path: /b}]", "duplicate-name", "two parameters");
    refused("[{name: the primary, path: /a}]", "bad-value", "what alerts call the machine");
    refused("{parameters: [{name: a, path: /a}], monitoring: []}", "one-of", "only one of");
}

/// A number that moves by itself and is held against nothing would never be told of.
#[test]
fn what_moves_by_itself_needs_something_to_be_held_against() {
    #[track_caller]
    fn needs(fields: &str) {
        let text = |more: &str| format!("[{{name: a, {fields}{more}}}]");
        refused(&text(""), "missing-key", "needs `expect` or `tolerance`");
        let rehearsed = text(", expect: {le: 1}, on_drift: rehearse");
        refused(&rehearsed, "bad-value", "cannot be rehearsed");
        let defaults = format!(
            "{{defaults: {{on_drift: rollback}}, parameters: {}}}",
            text(", expect: {le: 1}")
        );
        let parameter = &good(&defaults).parameters[0];
        assert_eq!((parameter.tolerance, parameter.on_drift), (Tolerance::Any, OnDrift::Alert));
        let held = good(&text(", tolerance: 5")).parameters[0].tolerance;
        assert_eq!(held, Tolerance::Distance { abs: 5.0, rel: 0.0, hysteresis: 0.0 });
    }
    needs("source: mount, path: /, key: used_percent");
    needs("source: mount, path: /, key: inodes_used_percent");
    needs("source: mount, path: /, key: available_bytes");
    needs("source: memory, key: available_percent");
    needs("source: certificate, path: /a, key: days_left");
    for fields in [
        "source: mount, path: /, key: size_bytes",
        "source: mount, path: /, key: options",
        "source: certificate, path: /a, key: expires",
        "source: certificate, path: /a, key: fingerprint",
    ] {
        let config = good(&format!("[{{name: a, {fields}}}]"));
        assert_eq!(config.parameters[0].tolerance, Tolerance::EXACT, "{fields}");
    }
}

/// Where in the key it cannot be read, not only which key it is.
#[test]
fn a_bad_key_is_pointed_at() {
    let text = "- name: a\n  path: /etc/x\n  format: ini\n  key: a.b]c\n";
    let shown = parse("x", text).unwrap_err().render(false);
    assert!(shown.contains("x:4:11"), "{shown}");
    for key in ["\"Match User bob\".X", "$.a[0]['b c']", "/Match[1]/X", "/*[a='x']/b", "/1/ipaddr"]
    {
        good(&format!("[{{name: a, path: /a, format: sshd, key: '{}'}}]", key.replace('\'', "''")));
    }
    let text = "- name: a\n  path: /etc/x\n  format: json\n  key: $.a[1:2]\n";
    let shown = parse("x", text).unwrap_err().render(false);
    assert!(shown.contains("x:4:13") && shown.contains("a slice"), "{shown}");
}

#[test]
fn files_that_cannot_be_read_are_said_to_be() {
    let problems = load(Path::new("/nonexistent/monitoring.yml")).unwrap_err();
    assert!(problems.render(false).contains("there is no such file"));
    let long = "#".repeat(FILE_BYTES_MAX as usize + 1);
    assert_eq!(parse("x", &long).unwrap_err().diagnostics[0].code, "unreadable");
}

/// A short expression can cost a lot to compile, and a file has room for many.
#[test]
fn expressions_are_counted() {
    let lines = "a+, ".repeat(900);
    let text = format!("[{{name: a, path: /a, ignore: {{lines: [{lines}]}}}}]");
    let problems = parse("x", &text).unwrap_err();
    assert_eq!(problems.diagnostics.len(), 1);
    assert_eq!(problems.diagnostics[0].code, "limit");
    refused(r"[{name: a, path: /a, ignore: {lines: ['\w{900}']}}]", "bad-value", "size limit");
}

/// Whether the structural check and the schema say the same about a text.
#[track_caller]
fn agree(schema: &jsonschema::Validator, text: &str) {
    let mut found = Found::default();
    let root = yaml::parse(0, text, DOCUMENT.noun, &mut found).filter(|_| !found.has_errors());
    // What is no YAML never reaches a validator.
    let Some(root) = root else { return };
    check::check_value(&root, &shapes::ROOT, &mut found);
    let valid = schema.is_valid(&to_json(&root));
    if valid == found.has_errors() {
        let sources = [source::Source { name: "x".to_owned(), text: text.to_owned() }];
        let problems = found.into_problems(&sources).render(false);
        panic!("{text}\nthe schema says {valid}, the parser {problems}");
    }
}

#[test]
fn parser_and_schema_refuse_the_same_near_misses() {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    for text in [FOUR_FIELDS, EVERYTHING, MANY_MISTAKES] {
        agree(&validator, text);
        laws::near_misses(text).for_each(|near| agree(&validator, &near));
    }
}

proptest! {
    #[test]
    fn any_text_is_read_to_an_end(text in "([a-z]{1,3}: |- |\\[|\\]|\\{|\\}|&a |\\*a|\"|'|name: |path: /|tolerance: |10%|-1|severity: |glob: |\n {0,4}|é|\u{0}){0,60}") {
        if let Err(problems) = parse("x", &text) {
            prop_assert!(problems.has_errors() && !problems.render(false).is_empty());
        }
    }

    #[test]
    fn cut_files_are_read_to_an_end(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        text.truncate(at + 200);
        let _ = parse("x", &text.into_iter().collect::<String>()).map_err(|p| p.render(true));
    }
}
