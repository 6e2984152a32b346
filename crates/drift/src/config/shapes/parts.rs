//! The form of what a parameter is made of.

use umbra_document::formats::{ANY, DURATION};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty};

use super::{AMOUNT, ARGV, ITEMS_MAX, LINES, PATTERNS, SEVERITY};
use crate::config::formats::{PERCENT, PROBE, UNIT};
use crate::config::model::RollbackMode;

const BOUND: Ty = Ty::Number { above: -1e15, max: 1e15 };
const COUNT: Ty = Ty::Int { min: 0, max: 1_000_000_000 };

pub(super) static TOLERANCE: Shape = Shape {
    noun: "tolerance",
    doc: "How far a value may be from its shadow's: a distance, or a count for sets.",
    fields: &[
        Field::new("abs", AMOUNT, "So much, whatever the shadow's value."),
        Field::new("rel", Ty::Text(&PERCENT), "A part of the shadow's value; the greater counts."),
        Field::new(
            "hysteresis",
            AMOUNT,
            "How far within a drift must be to be over; 0 if not given.",
        )
        .with(&["abs", "rel"]),
        Field::new("added", COUNT, "How many lines more, in any order; 0 if not given."),
        Field::new("removed", COUNT, "How many lines fewer, in any order; 0 if not given."),
    ],
    exactly_one: &[],
};

pub(super) static SEVERITIES: Shape = Shape {
    noun: "severity",
    doc: "How grave drifts are, by what is known of them.",
    fields: &[
        Field::new("default", SEVERITY, "Where nothing else is said.").required(),
        Field::new("expected", SEVERITY, "Of changes an owner made; the default if not given."),
        Field::new("unexplained", SEVERITY, "Of all others; the default if not given."),
        Field::new("attrs", Ty::Object(&BY_ATTRIBUTE), "At least this if the attribute changed."),
    ],
    exactly_one: &[],
};

static BY_ATTRIBUTE: Shape = Shape {
    noun: "severity of attributes",
    doc: "At least this if the attribute changed.",
    fields: &[
        Field::new("content", SEVERITY, "Its bytes."),
        Field::new("type", SEVERITY, "File, directory, link or another."),
        Field::new("mode", SEVERITY, "Permission bits."),
        Field::new("owner", SEVERITY, "Its user."),
        Field::new("group", SEVERITY, "Its group."),
        Field::new("acl", SEVERITY, "Its access control list."),
        Field::new("xattr", SEVERITY, "Extended attributes."),
        Field::new("caps", SEVERITY, "File capabilities."),
        Field::new("link", SEVERITY, "Where a symbolic link leads."),
    ],
    exactly_one: &[],
};

pub(super) static EXPECT: Shape = Shape {
    noun: "expectation",
    doc: "What holds whatever the shadow says.",
    fields: &[
        Field::new("one_of", list!(&Ty::Text(&ANY), ITEMS_MAX), "The value is one of these."),
        Field::new("ge", BOUND, "It is a number and not below this."),
        Field::new("le", BOUND, "It is a number and not above this."),
    ],
    exactly_one: &[],
};

pub(super) static IGNORE: Shape = Shape {
    noun: "ignore rules",
    doc: "Differences that mean nothing.",
    fields: &[
        Field::new("keys", LINES, "Keys, in trees `PATH:KEY`; `*` stands for any part."),
        Field::new("lines", LINES, "Regular expressions of lines."),
        Field::new("order", Ty::Bool, "The order of lines; false if not given."),
        Field::new("whitespace", Ty::Bool, "White space and empty lines; false if not given."),
    ],
    exactly_one: &[],
};

pub(super) static APPLY: Shape = Shape {
    noun: "way to apply",
    doc: "What makes a changed file count.",
    fields: &[
        Field::new("reload", Ty::Text(&UNIT), "A unit that reads it again."),
        Field::new("restart", Ty::Text(&UNIT), "A unit that starts again."),
        Field::new("command", ARGV, "A program and its arguments."),
    ],
    exactly_one: &["reload", "restart", "command"],
};

pub(super) static CONFIRM: Shape = Shape {
    noun: "confirmation",
    doc: "A rollback that is not confirmed in time is undone.",
    fields: &[
        Field::new("timeout", Ty::Text(&DURATION), "How long there is; 120s if not given."),
        Field::new(
            "probe",
            Ty::Text(&PROBE),
            "What must accept connections; a person confirms if not given.",
        ),
    ],
    exactly_one: &[],
};

pub(super) static ROLLBACK: Shape = Shape {
    noun: "rollback",
    doc: "How a parameter is put back.",
    fields: &[
        Field::new("mode", Ty::Word(RollbackMode::WORDS), "In which manner; merge if not given."),
        Field::new("never", PATTERNS, "Paths of a tree that are never put back."),
    ],
    exactly_one: &[],
};
