//! Drift configurations, those of other tools that become one, configuration files of every format, and readings on the wire.

use umbra_drift::alert::Life;
use umbra_drift::config;
use umbra_drift::discrepancy::Discrepancy;
use umbra_drift::format::{Format, Key, Tree, diff, parse};
use umbra_drift::import::{self, Tool};
use umbra_drift::reading::Reading;
use umbra_drift::report::{Check, Entry, Format as ReportFormat};
use umbra_drift::wire::{Tell, read, write};

use crate::Target;
use crate::seeds::{files, texts};

/// See [`monitoring`].
pub const MONITORING: Target = Target {
    name: "monitoring",
    open: || Box::new(monitoring),
    seeds: || files("crates/drift/tests/config", ".yml"),
    words: &[
        "parameters:\n",
        "- ",
        "  ",
        "name: ",
        "path: /",
        "tolerance: ",
        "10%",
        "severity: ",
        "critical",
        "glob: ",
        "source: command",
        "notify:\n",
        "webhook: https://",
        "syslog: {address: udp://",
        "token: {env: A}",
        "version: 2",
        "policy:\n",
        "&a ",
        "*a",
        "[",
        "{",
        "]",
        "}",
        "\"",
        "'",
        "|\n",
        "#",
        "\t",
        "é",
        "\u{2028}",
        "1e999",
        "(a+)+",
    ],
    cases: 300,
    heap_factor: 2_000,
};

const SHOWN_BYTES_MAX: usize = 400 << 10;

/// A configuration or problems, never neither; problems are bounded and printable.
pub fn monitoring(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Err(problems) = config::parse("monitoring.yml", &text) else { return true };
    assert!(problems.has_errors(), "it is refused, so there is an error");
    let shown = problems.render(false);
    assert!(shown.len() <= SHOWN_BYTES_MAX, "{} bytes are shown", shown.len());
    let control = shown.chars().find(|c| c.is_control() && *c != '\n');
    assert!(control.is_none(), "{control:?} is shown");
    false
}

/// See [`import()`].
pub const IMPORT: Target = Target {
    name: "import",
    open: || Box::new(import),
    seeds: || {
        let samples = ["aide.conf", "osquery.conf", "ossec.conf", "goss.yaml"];
        let of = |(number, name): (u8, &str)| {
            let sample = files("crates/drift/tests/import", name).into_iter();
            sample.map(move |bytes| [&[number], &bytes[..]].concat()).collect::<Vec<_>>()
        };
        (0..).zip(samples).flat_map(of).collect()
    },
    words: &[
        "\n/etc/.*",
        "(a|b)",
        "[^/]*",
        "[0-9]+",
        "{1,3}",
        "$",
        " p+u-i\n",
        "@@define A ",
        "@@{A}",
        "@@ifdef A\n",
        "@@endif\n",
        "%%",
        "\"file_paths\": {\"a\": [\"/",
        "\"]}",
        "// ",
        "<directories restrict=\".c$|x\">/a,/b</directories>",
        "<ignore type=\"sregex\">",
        "</ignore>",
        "<syscheck>",
        "&amp;",
        "&x;",
        "file:\n  /a: {exists: true}\n",
        "{or: [a, b]}",
        "{ge: 1}",
        "{{",
        "&a ",
        "*a",
        "é",
        "\u{2028}",
        "\u{85}",
        "\0",
    ],
    cases: 300,
    heap_factor: 4_000,
};

const TOOLS: [Tool; 4] = [Tool::Aide, Tool::Osquery, Tool::Wazuh, Tool::Goss];

/// The first byte picks the tool. Whatever its configuration says, what is written is one of
/// ours, and printable; so is what is told.
pub fn import(bytes: &[u8]) -> bool {
    let Some((pick, bytes)) = bytes.split_first() else { return false };
    let tool = TOOLS[usize::from(*pick) % TOOLS.len()];
    let Ok(imported) = import::parse(tool, &String::from_utf8_lossy(bytes)) else { return false };
    if let Err(problems) = config::parse("monitoring.yml", &imported.text) {
        panic!("{}\n{}", problems.render(false), imported.text);
    }
    let told = imported.notes.iter().map(|note| note.what.as_str());
    for text in told.chain(imported.text.lines()) {
        let control = text.chars().find(|c| c.is_control());
        assert!(control.is_none(), "{control:?} is told");
    }
    true
}

/// See [`format()`].
pub const FORMAT: Target = Target {
    name: "format",
    open: || Box::new(format),
    seeds: format_seeds,
    words: &[
        "=",
        ": ",
        " ",
        "\n",
        "\n  ",
        "\n\t",
        "\r\n",
        "#",
        ";",
        "{",
        "}",
        "[",
        "]",
        "[[a]]\n",
        "\"",
        "'",
        "\\",
        "\\\n",
        ",",
        "- ",
        "|\n",
        "---\n",
        "\"\"\"",
        "Match all\n",
        "chain c {\n",
        "* * * * * x\n",
        "@daily x\n",
        "{\"a\":",
        "null",
        "\0",
        "x_by_lua_block {",
        "é",
    ],
    cases: 1_000,
    // A node for each byte, compared with itself.
    heap_factor: 4_000,
};

const FORMATS: [Format; 22] = [
    Format::Raw,
    Format::KeyValue,
    Format::Sysctl,
    Format::Ini,
    Format::Systemd,
    Format::Resolv,
    Format::Hosts,
    Format::Fstab,
    Format::Crypttab,
    Format::Passwd,
    Format::Shadow,
    Format::Group,
    Format::Gshadow,
    Format::Sshd,
    Format::Crontab,
    Format::CronD,
    Format::Nginx,
    Format::Deb822,
    Format::Json,
    Format::Toml,
    Format::Yaml,
    Format::Nft,
];

/// Keys that are edited of one input; each edit reads the file again.
const KEYS_MAX: usize = 8;
/// Longer inputs are read and compared, and not edited.
const EDITED_BYTES_MAX: usize = 8 << 10;

/// The first byte picks the format. Whatever follows is a tree that equals itself; every key is
/// found, also as it is printed; putting back what was got changes nothing (get-put), and what was put is what is got
/// (put-get).
pub fn format(bytes: &[u8]) -> bool {
    let Some((pick, bytes)) = bytes.split_first() else { return false };
    let format = FORMATS[usize::from(*pick) % FORMATS.len()];
    let tree = parse(format, bytes);
    assert_eq!(diff(&tree, &tree), [], "{format:?} differs from itself");
    let keys = tree.keys();
    let edited = if bytes.len() > EDITED_BYTES_MAX { 0 } else { KEYS_MAX };
    for key in keys.iter().take(edited) {
        let value = tree.get(key).unwrap_or_else(|| panic!("{format:?} {key} is not found"));
        let printed: Key = key.to_string().parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(tree.spelled(&printed).as_ref(), Some(key), "{format:?} {key} as it is printed");
        let same = tree.edit(key, Some(value)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(same, bytes, "get-put {format:?} {key}");
        put(&tree, key);
    }
    tree.is_understood()
}

/// A container is replaced by whatever the text is read as; only of a value is it the same.
fn put(tree: &Tree<'_>, key: &Key) {
    let format = tree.format();
    let new: &[u8] = if format == Format::Json { b"\"new\"" } else { b"new" };
    let Ok(edited) = tree.edit(key, Some(new)) else { return };
    let again = parse(format, &edited);
    if again.keys().len() == tree.keys().len() && again.keys().contains(key) {
        assert_eq!(again.get(key), Some(new), "put-get {format:?} {key}");
    }
}

fn format_seeds() -> Vec<Vec<u8>> {
    let samples: [(Format, &str); 10] = [
        (Format::Sysctl, "net.ipv4.ip_forward = 1\n# x\nvm.swappiness=60\n"),
        (Format::Systemd, "[Service]\nExecStart=/bin/a \\\n -b\nExecStart=\n"),
        (Format::Fstab, "UUID=1 / ext4 defaults,noatime 0 1\n"),
        (Format::Passwd, "root:x:0:0:root:/root:/bin/sh\n"),
        (Format::Sshd, "Port 22\nMatch User bob\n  X11Forwarding no\n"),
        (Format::Nginx, "http { server { listen 80; location / { root /x; } } }\n"),
        (Format::Json, "{\"a\": [1, {\"b\": null}], \"c\": \"d\"}\n"),
        (Format::Toml, "a = 1\n[b.c]\nd = [\"x\", 'y']\n[[e]]\nf = \"\"\"z\"\"\"\n"),
        (Format::Yaml, "a:\n  - b: c\n    d: |\n      text\ne: {f: g}\n"),
        (
            Format::Nft,
            "table inet t {\n  chain c {\n    type filter hook input priority 0;\n    accept\n  }\n}\n",
        ),
    ];
    let number = |format| FORMATS.iter().position(|other| *other == format).unwrap_or(0) as u8;
    samples.iter().map(|(format, text)| [&[number(*format)], text.as_bytes()].concat()).collect()
}

/// See [`certificate()`].
pub const CERTIFICATE: Target = Target {
    name: "certificate",
    open: || Box::new(certificate),
    // Recorded: they cannot be written by hand.
    seeds: Vec::new,
    words: &[
        "-----BEGIN CERTIFICATE-----\n",
        "-----END CERTIFICATE-----\n",
        "-----BEGIN ",
        "-----BEGIN -----",
        "\n",
        "=",
        "MII",
        "\x30\x7f",
        "\x06\x03\x55\x04\x03",
        "\x0c\x7f",
        "\x17\x0d",
        "\x18\x0f99991231235959Z",
        "500101000000Z",
        "\x02\x01\x00",
        "\x05\x00",
        "\0",
    ],
    cases: 2_000,
    heap_factor: 400,
};

/// Certificates or a reason; whose they are is one bounded line without a character that a
/// terminal would obey.
pub fn certificate(bytes: &[u8]) -> bool {
    let Ok(found) = umbra_drift::certificate::read(bytes) else { return false };
    let own = &found.own;
    assert!(own.subject.chars().count() <= 1_000, "{}", own.subject.len());
    let control = own.subject.chars().find(|c| c.is_control());
    assert!(control.is_none(), "{control:?} is shown");
    assert_eq!(own.fingerprint.len(), 95, "{}", own.fingerprint);
    true
}

/// See [`wire`].
pub const WIRE: Target = Target {
    name: "wire",
    open: || Box::new(wire),
    seeds: || {
        texts(&[
            r#"{"item":{"parameter":"etc","part":"/etc/x"},"severity":"high","provenance":"unexplained","shadow":{"present":{"content":{"bytes":"a\n"},"attributes":{"mode":"0644"}}},"primary":{"unreadable":{"why":"it is a pipe"}},"findings":[{"finding":"value","difference":{"distance":1.5},"changes":[{"key":"a.password","shadow":null,"primary":"x","in_force":true}],"more_changes":2},{"finding":"attribute","attribute":"mode","shadow":{"base64":"/w=="},"primary":"0600"},{"finding":"appeared"}],"tolerance":"none"}"#,
            r#"{"present":{"content":{"digest":{"blake3":"0000000000000000000000000000000000000000000000000000000000000007","bytes":3}}}}"#,
            "\"absent\"",
        ])
    },
    words: &[
        "\"absent\"",
        "{\"bytes\":\"",
        "{\"base64\":\"/w==\"}",
        "\"nan\"",
        "\"infinite\"",
        "null",
        "\\u001b[2J",
        "\\ud83d\\ude00",
        "password=",
        "{\"distance\":",
        "\"vanished\"",
        "1e999",
        "-0.0",
    ],
    cases: 2_000,
    heap_factor: 400,
};

/// A reading or a discrepancy that is understood says the same when it is written and read
/// again, and can be told in every format without a character that a terminal would obey.
pub fn wire(bytes: &[u8]) -> bool {
    if let Ok(reading) = serde_json::from_slice::<Reading>(bytes) {
        let written = serde_json::to_string(&reading).expect("a reading is written");
        let again: Reading = serde_json::from_str(&written).expect("what was written is read");
        assert_eq!(again, reading);
        return true;
    }
    // One row of what a daemon keeps is read by the same rules.
    let _ = serde_json::from_slice::<Life>(bytes);
    let Ok(discrepancy) = serde_json::from_slice::<Discrepancy>(bytes) else { return false };
    let written = serde_json::to_string(&discrepancy).expect("a discrepancy is written");
    let again: Discrepancy = serde_json::from_str(&written).expect("what was written is read");
    // Debug shows what is no number as equal; a distance keeps all but its last bit.
    assert_eq!(
        (&again.item, again.findings.len()),
        (&discrepancy.item, discrepancy.findings.len())
    );
    assert_eq!((&again.shadow, &again.primary), (&discrepancy.shadow, &discrepancy.primary));
    let entry = Entry { discrepancy, attribution: None, path: None, since_ms: Some(0) };
    let check = Check { primary: "web".to_owned(), entries: vec![entry], ..Check::default() };
    for format in ReportFormat::ALL {
        let text = check.render(format);
        let tab = |c: char| c == '\t' && format == ReportFormat::Aide;
        let control = text.chars().find(|c| c.is_control() && *c != '\n' && !tab(*c));
        assert!(control.is_none(), "{control:?} is told in {format:?}");
    }
    true
}

/// See [`lines`].
pub const LINES: Target = Target {
    name: "lines",
    open: || Box::new(lines),
    seeds: || {
        texts(&[
            "{\"tell\":\"ready\",\"version\":2,\"program\":\"umbra-agent 0.1.0\"}\n",
            "{\"tell\":\"alive\",\"number\":7,\"busy_ms\":null}\n{\"tell\":\"forgotten\"}\n",
            r#"{"tell":"all","number":1,"readings":[[{"parameter":"etc","part":"/etc/x"},{"present":{"content":{"bytes":"a\n"},"attributes":{"mode":"0644"}}}],[{"parameter":"dns"},"absent"]],"last":true}
"#,
            r#"{"tell":"changed","readings":[[{"parameter":"dns"},{"unreadable":{"why":"it is a pipe"}}]],"attribution":{"seen_at_ms":1,"writers":[],"more_writers":0},"provenance":"unexplained"}
"#,
            r#"{"tell":"surveyed","machine":true,"interfaces":["eth0"],"files":["/etc/hosts"],"managed":[],"mounts":["/"],"settings":[]}
"#,
            r#"{"tell":"coverage","at":"/","kind":"ext4","by":"fanotify"}
{"tell":"files","number":1,"files":[["/etc/x",{"base64":"/w=="}]]}
"#,
        ])
    },
    words: &[
        "{\"tell\":\"",
        "\"readings\":[",
        "[{\"parameter\":\"a\"},\"absent\"],",
        "\"part\":{\"base64\":\"/w==\"}",
        "\"number\":18446744073709551615",
        "\"last\":false",
        "\n",
        "null",
        "\\u0000",
    ],
    cases: 2_000,
    heap_factor: 400,
};

/// What an agent says, line by line, is understood or ends the conversation; what is understood
/// says the same when it is written and read again.
pub fn lines(bytes: &[u8]) -> bool {
    let mut from = bytes;
    let mut understood = false;
    while let Ok(Some(tell)) = read::<Tell>(&mut from) {
        let mut written = Vec::new();
        write(&mut written, &tell).expect("what was read is written");
        let again = read::<Tell>(&mut &written[..]).expect("what was written is read");
        assert_eq!(again.as_ref(), Some(&tell));
        understood = true;
    }
    understood
}
