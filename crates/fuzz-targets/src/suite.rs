//! What shadows print and hold: test reports, scanners' results, goss files, system files.

use umbra_state::Evidence;
use umbra_suite::check::goss::{GossFile, PROBLEMS_MAX};
use umbra_suite::check::http::JsonPath;
use umbra_suite::check::{junit_in, lynis, openscap, tap};
use umbra_suite::fuzzing;

use crate::Target;
use crate::seeds::{files, texts};

/// What is shown to a person is one printable line of a bounded length.
fn check_shown(text: &str) {
    assert!(!text.chars().any(char::is_control), "a control character is shown: {text:?}");
    assert!(text.len() <= 64 << 10, "{} bytes are shown", text.len());
}

fn check_evidence(evidence: &[Evidence]) {
    for seen in evidence {
        check_shown(&seen.subject);
        check_shown(&seen.seen);
        seen.expected.iter().for_each(|text| check_shown(text));
    }
}

/// See [`tap`](self::tap()).
pub const TAP: Target = Target {
    name: "tap",
    open: || Box::new(tap),
    seeds: || {
        texts(&[
            "TAP version 14\n1..2\nok 1 - a\nnot ok 2 - b # TODO later\n",
            "1..0 # SKIP none\n",
            "ok\n    1..1\n    ok 1\n  ---\n  a: b\n  ...\nBail out! gone\n",
        ])
    },
    words: &[
        "ok ",
        "not ok ",
        "1..",
        "# SKIP",
        "# TODO",
        "Bail out!",
        "TAP version 13\n",
        "\\#",
        " - ",
        "18446744073709551615",
        "\n",
        "\r\n",
    ],
    cases: 2_000,
    heap_factor: 200,
};

/// A point for a line at most, every word of it fit to be shown.
pub fn tap(bytes: &[u8]) -> bool {
    let recognised = tap::looks_like_tap(bytes);
    let Ok(tap) = tap::parse(bytes) else { return false };
    assert!(tap.points.len() <= bytes.split(|&byte| byte == b'\n').count());
    assert!(!recognised || tap.planned.is_some() || bytes.starts_with(b"TAP") || bytes[0] <= b'\r');
    let evidence = tap.evidence();
    assert!(evidence.len() <= tap.points.len() + 2);
    check_evidence(&evidence);
    true
}

/// See [`junit`].
pub const JUNIT: Target = Target {
    name: "junit",
    open: || Box::new(junit),
    seeds: || {
        texts(&[
            "<?xml version=\"1.0\"?>\n<testsuites><testsuite name='s'><testcase classname='a' name='b' time='0.1'/><testcase name='c'><failure message='m'>t &lt; u<![CDATA[x]]></failure></testcase><testcase name='d'><skipped/></testcase></testsuite></testsuites>",
        ])
    },
    words: XML_WORDS,
    cases: 2_000,
    heap_factor: 200,
};

const XML_WORDS: &[&str] = &[
    "<testcase name='a'>",
    "</testcase>",
    "<testsuite>",
    "</testsuite>",
    "<failure>",
    "</failure>",
    "<Rule id='r'>",
    "</Rule>",
    "<title>",
    "</title>",
    "<rule-result idref='r' severity='high'>",
    "</rule-result>",
    "<result>fail</result>",
    "&amp;",
    "&#0;",
    "&#x1b;",
    "&lol;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<!DOCTYPE a [",
    "<!ENTITY lol 'x'>",
    "<?",
    "?>",
    " a='b'",
    "x:",
    "\u{feff}",
];

/// Every case comes from a tag, fit to be shown.
pub fn junit(bytes: &[u8]) -> bool {
    let Ok(cases) = junit_in::parse(bytes) else { return false };
    assert!(cases.len() <= bytes.iter().filter(|&&byte| byte == b'<').count());
    let evidence: Vec<Evidence> = cases.iter().filter_map(junit_in::Case::evidence).collect();
    check_evidence(&evidence);
    true
}

/// See [`openscap()`].
pub const OPENSCAP: Target = Target {
    name: "openscap",
    open: || Box::new(openscap),
    seeds: || {
        texts(&[
            "<Benchmark><Rule id='r'><title>No &amp; empty passwords</title></Rule><TestResult><rule-result idref='r' severity='high'><result>fail</result></rule-result></TestResult></Benchmark>",
        ])
    },
    words: XML_WORDS,
    cases: 2_000,
    heap_factor: 200,
};

/// Every result comes from a tag; titles are fit to be shown.
pub fn openscap(bytes: &[u8]) -> bool {
    let Ok(results) = openscap::parse(bytes) else { return false };
    assert!(results.len() <= bytes.iter().filter(|&&byte| byte == b'<').count());
    results.iter().filter_map(|result| result.title.as_deref()).for_each(check_shown);
    true
}

/// See [`lynis`](self::lynis()).
pub const LYNIS: Target = Target {
    name: "lynis",
    open: || Box::new(lynis),
    seeds: || {
        texts(&[
            "# Lynis Report\nwarning[]=AUTH-9283|Found|guest|-|\nsuggestion[]=BOOT-5122|Set|-|text:x|\nhardening_index=63\nlynis_tests_done=241\n",
        ])
    },
    words: &["warning[]=", "suggestion[]=", "hardening_index=", "lynis_tests_done=", "|", "-", "="],
    cases: 2_000,
    heap_factor: 200,
};

/// An item for a line at most, fit to be shown; an index of at most 100.
pub fn lynis(bytes: &[u8]) -> bool {
    let Ok(report) = lynis::parse(bytes) else { return false };
    let items: Vec<_> = report.warnings.iter().chain(&report.suggestions).collect();
    assert!(items.len() <= bytes.split(|&byte| byte == b'\n').count());
    assert!(report.hardening_index.is_none_or(|index| index <= 100));
    for item in items {
        for text in [&item.test, &item.message, &item.details, &item.solution] {
            check_shown(text);
        }
    }
    true
}

/// See [`goss`].
pub const GOSS: Target = Target {
    name: "goss",
    open: || Box::new(goss),
    seeds: || {
        let mut seeds = files("examples/web", "goss.yaml");
        seeds.extend(texts(&[
            "file:\n  /etc/passwd: {exists: true, mode: 0644, contents: ['/root/', '!x']}\nport:\n  tcp:22: {listening: true}\n",
            "a: &a [x]\nmatching:\n  b: {content: *a, matches: {and: [{have-len: 1}, {not: {gt: 2}}]}}\n",
            "user:\n  a: {exists: true}\n  b: {uid: {lt: 5}}\n",
        ]));
        seeds
    },
    words: &[
        "file:\n",
        "user:\n",
        "  a: {exists: true}\n",
        "{not: ",
        "{and: [",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "!!binary ",
        "{{ .Vars.x }}",
        "gossfile:\n",
        "---\n",
        "0644",
        "1e999",
        ".nan",
        "~",
        "\"",
        "'",
        "|\n",
        "\t",
        "/(a{1000}){1000}/",
    ],
    cases: 1_000,
    heap_factor: 2_000,
};

/// Resources or problems, problems bounded and fit to be shown; no resource twice.
pub fn goss(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match GossFile::parse("goss.yaml", &text) {
        Ok(file) => {
            let mut names: Vec<_> = file.resources.iter().map(|it| (it.kind, &it.id)).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "a resource stands there twice");
            true
        }
        Err(problems) => {
            assert!((1..=PROBLEMS_MAX).contains(&problems.len()));
            problems.iter().for_each(|problem| check_shown(&problem.to_string()));
            false
        }
    }
}

/// See [`url`].
pub const URL: Target = Target {
    name: "url",
    open: || Box::new(url),
    seeds: || {
        texts(&[
            "http://localhost:8080/a?b=c#d\n/login?next=http://a/",
            "https://[::1]/x/y\n../z",
            "http://h\n//other:1/p",
        ])
    },
    words: &[
        "http://", "https://", "//", "/", "?", "#", ":", "@", "[::1]", "%", "..", "\n", ":443",
    ],
    cases: 3_000,
    heap_factor: 64,
};

/// An address that is read is written so that it is read the same; wherever a redirect leads,
/// the same holds there.
pub fn url(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (address, location) = text.split_once('\n').unwrap_or((&text, "/"));
    fuzzing::url(address, location)
}

/// See [`json_path`].
pub const JSON_PATH: Target = Target {
    name: "json_path",
    open: || Box::new(json_path),
    seeds: || texts(&["$.a.b[0].c", "a[1][2]", "$"]),
    words: &["$", ".", "[", "]", "[0]", ".a", "18446744073709551615"],
    cases: 3_000,
    heap_factor: 64,
};

/// A place that is read has few steps, and can be shown.
pub fn json_path(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(path) = text.parse::<JsonPath>() else { return false };
    assert!(!path.to_string().chars().any(char::is_control));
    true
}

/// See [`accounts`].
pub const ACCOUNTS: Target = Target {
    name: "accounts",
    open: || Box::new(accounts),
    seeds: || texts(&["root:x:0:0:root:/root:/bin/sh\nadm:x:4:a,b\n"]),
    words: &[":", "::", "\n", "0", "4294967296", ","],
    cases: 2_000,
    heap_factor: 200,
};

/// A user or group for a line at most.
pub fn accounts(bytes: &[u8]) -> bool {
    let (users, groups) = fuzzing::accounts(bytes);
    assert!(users.max(groups) <= bytes.split(|&byte| byte == b'\n').count());
    users + groups > 0
}

/// See [`sockets`].
pub const SOCKETS: Target = Target {
    name: "sockets",
    open: || Box::new(sockets),
    seeds: || {
        texts(&[
            "tcp\n  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A 0\nudp6\n   1: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07\n",
        ])
    },
    words: &["tcp\n", "udp6\n", " 0A ", ":0016", "0100007F", "\n"],
    cases: 2_000,
    heap_factor: 200,
};

/// A listener for a line at most.
pub fn sockets(bytes: &[u8]) -> bool {
    let sockets = fuzzing::sockets(bytes);
    assert!(sockets <= bytes.split(|&byte| byte == b'\n').count());
    sockets > 0
}

/// See [`packages`].
pub const PACKAGES: Target = Target {
    name: "packages",
    open: || Box::new(packages),
    seeds: || {
        texts(&[
            "Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22\nDescription: x\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
        ])
    },
    words: &["Package: ", "Status: install ok installed\n", "Version: ", "\n\n", "\n ", ":"],
    cases: 2_000,
    heap_factor: 200,
};

/// A package for a stanza at most.
pub fn packages(bytes: &[u8]) -> bool {
    let packages = fuzzing::packages(bytes);
    assert!(packages <= bytes.split(|&byte| byte == b'\n').count());
    packages > 0
}
