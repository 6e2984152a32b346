//! The form of a parameter.

use umbra_document::formats::{ABSOLUTE, DURATION, LINE, SIZE, TITLE, USER};
use umbra_document::shape::{Field, Shape, Ty, Word, word};

use super::parts;
use super::{AMOUNT, ARGV, ATTRIBUTES, ATTRS, DEBOUNCE, LINES, ON_DRIFT, PATTERNS, POLL, SEVERITY};
use crate::config::formats::{PERCENT, UNIT};
use crate::config::model::OnDrift;
use crate::config::source::View;

/// Where values come from: the words for `source`.
const SOURCES: &[Word] = &[
    word("file"),
    word("sysctl"),
    word("command"),
    word("package"),
    word("service"),
    word("listen"),
    word("mount"),
    word("memory"),
    word("certificate"),
    word("user"),
    word("network"),
    word("kernel"),
];

/// How texts are written: the words for `format`.
const FORMATS: &[Word] = &[
    word("auto"),
    word("raw"),
    word("kv"),
    word("sysctl"),
    word("ini"),
    word("systemd"),
    word("resolv"),
    word("hosts"),
    word("fstab"),
    word("crypttab"),
    word("passwd"),
    word("shadow"),
    word("group"),
    word("gshadow"),
    word("sshd"),
    word("crontab"),
    word("cron.d"),
    word("nginx"),
    word("deb822"),
    word("json"),
    word("toml"),
    word("yaml"),
    word("nft"),
];

pub(in crate::config) static PARAMETER: Shape = Shape {
    noun: "parameter",
    doc: "One thing that is watched. Four keys are enough: name, path, tolerance, severity.",
    fields: &[
        Field::new("name", Ty::Text(&TITLE), "Its name, unique in the file.").required(),
        Field::new("source", Ty::Word(SOURCES), "Where its value comes from; file if not given."),
        Field::new("path", Ty::Text(&ABSOLUTE), "The file, taken as it is; or where a mount is."),
        Field::new(
            "kind",
            Ty::Word(&[word("file"), word("tree")]),
            "Whether `path` is one file or everything below; file if not given.",
        )
        .with(&["path", "glob"]),
        Field::new(
            "glob",
            Ty::Either(&[Ty::Text(&LINE), LINES]),
            "Patterns of absolute paths, `!` before those to leave out; or of kernel settings.",
        ),
        Field::new("attrs", ATTRIBUTES, ATTRS),
        Field::new(
            "key",
            Ty::Text(&LINE),
            "One value inside the file or the output; or the name of a setting, package, \
             property, account or fact.",
        ),
        Field::new(
            "format",
            Ty::Word(FORMATS),
            "How the file, the tree's files or the output is written; as text only if not given.",
        ),
        Field::new(
            "view",
            Ty::Word(View::WORDS),
            "Whether the key counts as the file declares it or as its service goes by it; \
             declared if not given.",
        )
        .with(&["key"]),
        Field::new("argv", ARGV, "The program whose output is the value, and its arguments."),
        Field::new("user", Ty::Text(&USER), "Who runs the program; nobody if not given.")
            .with(&["argv"]),
        Field::new("timeout", Ty::Text(&DURATION), "How long it may take; 5s if not given.")
            .with(&["argv"]),
        Field::new("output_max", Ty::Text(&SIZE), "How much it may print; 1Mi if not given.")
            .with(&["argv"]),
        Field::new("unit", Ty::Text(&UNIT), "The unit of a service."),
        Field::new(
            "tolerance",
            Ty::Either(&[AMOUNT, Ty::Text(&PERCENT), Ty::Object(&parts::TOLERANCE)]),
            "How far numbers may be apart, or how many lines of texts may differ; 0 if not given, and \
             any distance for numbers that move by themselves.",
        ),
        Field::new(
            "severity",
            Ty::Either(&[SEVERITY, Ty::Object(&parts::SEVERITIES)]),
            "How grave a drift is; medium if not given.",
        ),
        Field::new("expect", Ty::Object(&parts::EXPECT), "What holds whatever the shadow says."),
        Field::new("on_drift", Ty::Word(OnDrift::WORDS), ON_DRIFT),
        Field::new("debounce", Ty::Text(&DURATION), DEBOUNCE),
        Field::new("poll", Ty::Text(&DURATION), POLL),
        Field::new("ignore", Ty::Object(&parts::IGNORE), "Differences that mean nothing."),
        Field::new(
            "nodiff",
            Ty::Either(&[Ty::Bool, PATTERNS]),
            "Whether its value never leaves the machine, or which paths' contents never do; \
             false if not given.",
        ),
        Field::new("owned_by", LINES, "Whose changes are expected: dpkg, or `unit:NAME`."),
        Field::new("validate", ARGV, "A program that accepts a good file; `{file}` is its path."),
        Field::new("apply", Ty::Object(&parts::APPLY), "What makes a changed file count."),
        Field::new("confirm", Ty::Object(&parts::CONFIRM), "How a rollback is confirmed."),
        Field::new("rollback", Ty::Object(&parts::ROLLBACK), "How it is put back."),
    ],
    exactly_one: &[],
};
