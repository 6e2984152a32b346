//! The form of a drift configuration: which keys it has and what each may hold.

mod notify;
mod parameter;
mod parts;
mod policy;

pub use notify::{ADDRESS, HIDDEN, SINKS};
pub(super) use parameter::PARAMETER;

use umbra_document::formats::{ARGUMENT, DURATION, LINE};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty};

use super::formats::PATHS;
use super::model::OnDrift;
use super::severity::Severity;
use super::source::Attribute;

/// A file: a list of parameters, or a mapping that holds one.
pub(super) static ROOT: Ty = Ty::Either(&[PARAMETERS, Ty::Object(&FILE)]);

const ITEMS_MAX: usize = 1_000;
const PARAMETERS: Ty = list!(&Ty::Object(&PARAMETER), 10_000);
const SEVERITY: Ty = Ty::Word(Severity::WORDS);
const ATTRIBUTES: Ty = list!(&Ty::Word(Attribute::WORDS), 9);
const ARGV: Ty = list!(&Ty::Text(&ARGUMENT), ITEMS_MAX);
const PATTERNS: Ty = list!(&Ty::Text(&PATHS), ITEMS_MAX);
const LINES: Ty = list!(&Ty::Text(&LINE), ITEMS_MAX);
/// More than any value that is watched; a float still tells whole numbers apart below it.
const AMOUNT: Ty = Ty::Amount { max: 1e15 };

pub(super) static FILE: Shape = Shape {
    noun: "drift configuration",
    doc: "Which parameters of a machine are held against its shadows.",
    fields: &[
        Field::new(
            "version",
            Ty::Int { min: 1, max: 2 },
            "In version 2 values such as 64M, 30s and 10% are numbers; 1 if not given.",
        ),
        Field::new("defaults", Ty::Object(&DEFAULTS), "What holds where a parameter says nothing."),
        Field::new("parameters", PARAMETERS, "What is watched."),
        Field::new("monitoring", PARAMETERS, "Another word for `parameters`."),
        Field::new("history", Ty::Object(&HISTORY), "Which shadows of the past are kept."),
        Field::new("policy", Ty::Object(&policy::POLICY), "What may be done without asking."),
        Field::new("notify", SINKS, "Who is told; the log if not given."),
    ],
    exactly_one: &["parameters", "monitoring"],
};

static HISTORY: Shape = Shape {
    noun: "history",
    doc: "Which shadows of the past are kept. The known good one, and those with `--keep`, always are.",
    fields: &[
        Field::new("count", Ty::Int { min: 1, max: 100_000 }, "So many; 400 if not given."),
        Field::new("age", Ty::Text(&DURATION), "None that is older; 366d if not given."),
        Field::new(
            "every",
            Ty::Text(&DURATION),
            "How often one is taken by itself, if something changed; 1d if not given.",
        ),
    ],
    exactly_one: &[],
};

static DEFAULTS: Shape = Shape {
    noun: "defaults",
    doc: "What holds where a parameter says nothing.",
    fields: &[
        Field::new("debounce", Ty::Text(&DURATION), DEBOUNCE),
        Field::new("poll", Ty::Text(&DURATION), POLL),
        Field::new("attrs", ATTRIBUTES, ATTRS),
        Field::new("severity", SEVERITY, "How grave a drift is; medium if not given."),
        Field::new("on_drift", Ty::Word(OnDrift::WORDS), ON_DRIFT),
    ],
    exactly_one: &[],
};

const DEBOUNCE: &str = "How long a path must be quiet before it is looked at; 50ms if not given.";
const POLL: &str = "How often a value is read of which nothing tells that it changed; if not \
                    given 1s for what can be critical, else 30s.";
const ATTRS: &str = "What of a path counts; content if not given, in trees also type, mode, \
                     owner, group and link.";
const ON_DRIFT: &str = "What to do about a drift; alert if not given.";
