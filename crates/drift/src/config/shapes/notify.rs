//! The form of who is told.

use umbra_document::formats::{ABSOLUTE, LINE};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, word};

use super::{ARGV, SEVERITY};
use crate::config::formats::{HEADER, SYSLOG, URL, VARIABLE};
use crate::config::notify::Facility;

/// Who is told.
pub const SINKS: Ty = list!(&SINK, 100);

/// A sink in one word, or with more to say.
const SINK: Ty = Ty::Either(&[
    Ty::Word(&[word("log"), word("desktop"), word("terminal")]),
    Ty::Object(&SINK_FORM),
]);

/// The address of a server, or where it is read from.
pub const ADDRESS: Ty = Ty::Either(&[Ty::Text(&URL), Ty::Object(&HIDDEN)]);
const OVER_HTTP: &[&str] = &["webhook", "slack", "alertmanager"];

static SINK_FORM: Shape = Shape {
    noun: "sink",
    doc: "Where alerts go, and which of them.",
    fields: &[
        Field::new("log", Ty::Bool, "The log of the daemon; false turns it off."),
        Field::new("jsonl", Ty::Text(&ABSOLUTE), "A file that gets a line of JSON for each."),
        Field::new("webhook", ADDRESS, "A server that gets each alert as JSON."),
        Field::new("slack", ADDRESS, "An incoming webhook of Slack or what understands the same."),
        Field::new("alertmanager", ADDRESS, "A Prometheus Alertmanager, version 2 of its API."),
        Field::new("syslog", Ty::Object(&SYSLOG_FORM), "A syslog server that reads RFC 5424."),
        Field::new("desktop", Ty::Bool, "The desktop of this machine; false turns it off."),
        Field::new("terminal", Ty::Bool, "The terminal of the daemon; false turns it off."),
        Field::new("command", ARGV, "A program that gets each alert as JSON on its input."),
        Field::new("min_severity", SEVERITY, "The least grave alert it gets; low if not given."),
        Field::new("token", Ty::Object(&HIDDEN), "A secret sent along, not written down here.")
            .with(OVER_HTTP),
        Field::new(
            "header",
            Ty::Text(&HEADER),
            "The header that carries the token as it is; if not given `Authorization: Bearer`.",
        )
        .with(&["token"]),
    ],
    exactly_one: &[
        "log",
        "jsonl",
        "webhook",
        "slack",
        "alertmanager",
        "syslog",
        "desktop",
        "terminal",
        "command",
    ],
};

/// Where a secret is read from.
pub static HIDDEN: Shape = Shape {
    noun: "secret",
    doc: "Where a secret is read from each time it is needed.",
    fields: &[
        Field::new("env", Ty::Text(&VARIABLE), "A variable of the daemon's environment."),
        Field::new("file", Ty::Text(&ABSOLUTE), "A file, white space around it left out."),
    ],
    exactly_one: &["env", "file"],
};

static SYSLOG_FORM: Shape = Shape {
    noun: "syslog server",
    doc: "A syslog server that reads RFC 5424.",
    fields: &[
        Field::new(
            "address",
            Ty::Text(&SYSLOG),
            "`udp://HOST:PORT`, `tcp://HOST:PORT` or `unix:PATH`.",
        )
        .required(),
        Field::new("facility", Ty::Word(Facility::WORDS), "Its facility; daemon if not given."),
        Field::new("app", Ty::Text(&LINE), "Its application name; umbra if not given."),
    ],
    exactly_one: &[],
};
