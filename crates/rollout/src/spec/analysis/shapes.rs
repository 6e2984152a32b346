//! The form of `analysis`.

use umbra_document::formats::{ANY, DURATION, LINE, TITLE};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, Word, word};
use umbra_drift::config::{HEADER, HIDDEN, URL};

use super::kayenta::shapes::KAYENTA;

pub(crate) static ANALYSIS: Shape = Shape {
    noun: "analysis",
    doc: "Measurements beside the judge: conditions on what a Prometheus answers.",
    fields: &[
        Field::new(
            "templates",
            list!(&Ty::Object(&TEMPLATE), 100),
            "The measurements; steps name them.",
        )
        .required(),
        Field::new("background", Ty::Object(&BACKGROUND), "Those that go on beside the steps."),
        Field::new("prometheus", Ty::Object(&SERVER), "Whom templates ask that do not say."),
        Field::new(
            "args",
            list!(&Ty::Object(&ARGUMENT), 100),
            "Values that stand as `{{args.NAME}}` in queries.",
        ),
    ],
    exactly_one: &[],
};

static ARGUMENT: Shape = Shape {
    noun: "argument",
    doc: "A value that stands as `{{args.NAME}}` in queries.",
    fields: &[
        Field::new("name", Ty::Text(&TITLE), "Its name.").required(),
        Field::new("value", Ty::Verbatim, "What is put in its place.").required(),
    ],
    exactly_one: &[],
};

static BACKGROUND: Shape = Shape {
    noun: "background analysis",
    doc: "Measurements that go on beside the steps until the rollout is over.",
    fields: &[
        Field::new("templates", list!(&Ty::Text(&TITLE), 100), "Their names.").required(),
        Field::new(
            "startingStep",
            Ty::Int { min: 0, max: 1000 },
            "They begin with this step, counted from 0; 0 if not given.",
        ),
    ],
    exactly_one: &[],
};

const LIMIT: Ty = Ty::Int { min: 0, max: 1_000_000 };

static TEMPLATE: Shape = Shape {
    noun: "analysis template",
    doc: "A measurement, how often it is made, and when it is good.",
    fields: &[
        Field::new("name", Ty::Text(&TITLE), "Its name; no two have the same.").required(),
        Field::new("provider", Ty::Object(&PROVIDER), "Who measures.").required(),
        Field::new(
            "interval",
            Ty::Text(&DURATION),
            "Time between measurements; only one is made if not given.",
        ),
        Field::new(
            "count",
            Ty::Int { min: 1, max: 1_000_000 },
            "So many measurements; with an interval and without a count it never ends by itself.",
        ),
        Field::new("initialDelay", Ty::Text(&DURATION), "Before the first; none if not given."),
        Field::new(
            "successCondition",
            Ty::Text(&LINE),
            "When a measurement is good, such as `result[0] >= 0.95`.",
        ),
        Field::new(
            "failureCondition",
            Ty::Text(&LINE),
            "When it is bad; where both are given and neither holds nobody can say.",
        ),
        Field::new(
            "failureLimit",
            Ty::Int { min: -1, max: 1_000_000 },
            "With more bad ones it failed; -1 for any number; 0 if not given.",
        ),
        Field::new(
            "consecutiveSuccessLimit",
            LIMIT,
            "So many good ones in a row are enough; 0 for no such rule; 0 if not given.",
        ),
        Field::new(
            "inconclusiveLimit",
            LIMIT,
            "With more of which nobody can say it is inconclusive; 0 if not given.",
        ),
        Field::new(
            "consecutiveErrorLimit",
            LIMIT,
            "With more in a row that could not be made it is an error; 4 if not given.",
        ),
        Field::new("dryRun", Ty::Bool, "It is shown and counts for nothing; false if not given."),
        Field::new(
            "onFailure",
            Ty::Word(ON_FAILURE),
            "What becomes of the rollout; if not given rollback, and pause with kayenta.",
        ),
    ],
    exactly_one: &[],
};

const ON_FAILURE: &[Word] = &[word("rollback"), word("pause")];

static PROVIDER: Shape = Shape {
    noun: "provider",
    doc: "Who measures.",
    fields: &[
        Field::new("prometheus", Ty::Object(&PROMETHEUS), "A query to a Prometheus."),
        Field::new("kayenta", Ty::Object(&KAYENTA), "A canary configuration as Kayenta has it."),
    ],
    exactly_one: &["prometheus", "kayenta"],
};

const ADDRESS_DOC: &str = "Where it is, such as `http://prometheus:9090`.";
const TOKEN_DOC: &str = "A secret sent along, not written down here.";
const HEADER_DOC: &str =
    "The header that carries the token as it is; if not given `Authorization: Bearer`.";
const TIMEOUT_DOC: &str = "An answer may take this long; 10s if not given.";

static SERVER: Shape = Shape {
    noun: "Prometheus server",
    doc: "A Prometheus, or what answers like one.",
    fields: &[
        Field::new("address", Ty::Text(&URL), ADDRESS_DOC).required(),
        Field::new("token", Ty::Object(&HIDDEN), TOKEN_DOC),
        Field::new("header", Ty::Text(&HEADER), HEADER_DOC).with(&["token"]),
        Field::new("timeout", Ty::Text(&DURATION), TIMEOUT_DOC),
    ],
    exactly_one: &[],
};

/// What says whom to ask, where that may be said elsewhere.
pub(super) const ADDRESS: Field = Field::new("address", Ty::Text(&URL), ADDRESS_DOC);
pub(super) const TOKEN: Field =
    Field::new("token", Ty::Object(&HIDDEN), TOKEN_DOC).with(&["address"]);
pub(super) const SECRET_HEADER: Field =
    Field::new("header", Ty::Text(&HEADER), HEADER_DOC).with(&["token"]);
pub(super) const TIMEOUT: Field = Field::new("timeout", Ty::Text(&DURATION), TIMEOUT_DOC);

static PROMETHEUS: Shape = Shape {
    noun: "Prometheus query",
    doc: "A query to a Prometheus.",
    fields: &[
        Field::new(
            "query",
            Ty::Text(&ANY),
            "PromQL; `{{service}}`, `{{arm}}`, `{{rollout}}` and `{{args.NAME}}` are filled in.",
        )
        .required(),
        Field::new("range", Ty::Object(&RANGE), "Over a time; at an instant if not given."),
        Field::new(
            "freshWithin",
            Ty::Text(&DURATION),
            "What is answered may be this old; 1m if not given.",
        ),
        ADDRESS,
        TOKEN,
        SECRET_HEADER,
        TIMEOUT,
    ],
    exactly_one: &[],
};

static RANGE: Shape = Shape {
    noun: "range",
    doc: "A time, and the points in it: `result` is all values of all series.",
    fields: &[
        Field::new("window", Ty::Text(&DURATION), "So far back from now.").required(),
        Field::new("step", Ty::Text(&DURATION), "Time between two points; 15s if not given."),
    ],
    exactly_one: &[],
};
