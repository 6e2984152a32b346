//! The form of `kayenta`, and of the canary configuration in it.

use umbra_document::formats::{ANY, DURATION, LINE, TITLE};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, Word, word};

use super::super::shapes::{ADDRESS, SECRET_HEADER, TIMEOUT, TOKEN};

pub(crate) static KAYENTA: Shape = Shape {
    noun: "Kayenta analysis",
    doc: "A canary configuration as Kayenta has it, judged as Kayenta does.",
    fields: &[
        Field::new("config", Ty::Object(&CONFIG), "The configuration; its JSON may stand here.")
            .required(),
        Field::new("scopes", Ty::Object(&SCOPES), "How queries name the arms."),
        Field::new("lifetime", Ty::Text(&DURATION), "How long it goes on.").required(),
        Field::new(
            "interval",
            Ty::Text(&DURATION),
            "Time between judgements; if not given the only one is at the end.",
        ),
        Field::new("beginAfter", Ty::Text(&DURATION), "Points before this are not looked at."),
        Field::new(
            "lookback",
            Ty::Text(&DURATION),
            "How far back each looks; if not given to the beginning.",
        ),
        Field::new("step", Ty::Text(&DURATION), "Time between two points; 60s if not given."),
        Field::new(
            "thresholds",
            Ty::Object(&THRESHOLDS),
            "Which scores are good; if not given those of the configuration, else 95 and 75.",
        ),
        ADDRESS,
        TOKEN,
        SECRET_HEADER,
        TIMEOUT,
    ],
    exactly_one: &[],
};

static SCOPES: Shape = Shape {
    noun: "scopes",
    doc: "How queries name the arms; `${scope}` is baseline and candidate if not given.",
    fields: &[
        Field::new("control", SCOPE, "The baseline's values, by their names in queries."),
        Field::new("experiment", SCOPE, "The candidate's."),
    ],
    exactly_one: &[],
};

const SCOPE: Ty = Ty::MapOf { key: &LINE, value: &Ty::Verbatim, max: 100 };

static THRESHOLDS: Shape = Shape {
    noun: "score thresholds",
    doc: "From which scores on a candidate passes, and does not fail.",
    fields: &[
        Field::new("pass", PERCENT, "From here on it passes.").required(),
        Field::new("marginal", PERCENT, "From here on it does not fail.").required(),
    ],
    exactly_one: &[],
};

const PERCENT: Ty = Ty::Amount { max: 100.0 };
/// More than any ratio that means something.
const FACTOR: Ty = Ty::Number { above: 0.0, max: 1e9 };

static CONFIG: Shape = Shape {
    noun: "canary configuration",
    doc: "A canary configuration as Kayenta has it.",
    fields: &[
        Field::new("metrics", list!(&Ty::Object(&METRIC), 500), "What is compared.").required(),
        Field::new("classifier", Ty::Object(&CLASSIFIER), "What counts how much."),
        Field::new(
            "templates",
            Ty::MapOf { key: &LINE, value: &Ty::Text(&ANY), max: 500 },
            "Filters and queries, named by metrics.",
        ),
        Field::new("judge", Ty::Object(&JUDGE), "Who judges."),
        Field::new("name", Ty::Text(&LINE), "Its name."),
        Field::new("id", Ty::Text(&LINE), "Its number in Kayenta; means nothing here."),
        Field::new("description", Ty::Text(&ANY), "What it is for."),
        Field::new("configVersion", Ty::Verbatim, "The version of the form."),
        Field::new("applications", Ty::Foreign, "Whose it is; means nothing here."),
        Field::new("createdTimestamp", Ty::Verbatim, "When it was made; means nothing here."),
        Field::new("updatedTimestamp", Ty::Verbatim, "Likewise."),
        Field::new("createdTimestampIso", Ty::Verbatim, "Likewise."),
        Field::new("updatedTimestampIso", Ty::Verbatim, "Likewise."),
    ],
    exactly_one: &[],
};

static JUDGE: Shape = Shape {
    noun: "canary judge",
    doc: "Who judges.",
    fields: &[
        Field::new("name", Ty::Word(JUDGES), "Its name."),
        Field::new("judgeConfigurations", Ty::Foreign, "Means nothing here."),
    ],
    exactly_one: &[],
};

const JUDGES: &[Word] = &[word("NetflixACAJudge-v1.0"), word("dredd-v1.0")];

static CLASSIFIER: Shape = Shape {
    noun: "canary classifier",
    doc: "What counts how much.",
    fields: &[
        Field::new(
            "groupWeights",
            Ty::MapOf { key: &LINE, value: &PERCENT, max: 500 },
            "Per cent by group.",
        ),
        Field::new("scoreThresholds", Ty::Object(&THRESHOLDS), "Which scores are good."),
    ],
    exactly_one: &[],
};

static METRIC: Shape = Shape {
    noun: "canary metric",
    doc: "A metric of both arms.",
    fields: &[
        Field::new("name", Ty::Text(&TITLE), "Its name.").required(),
        Field::new("query", Ty::Object(&QUERY), "How it is asked for.").required(),
        Field::new("groups", Ty::List { item: &Ty::Text(&LINE), min: 0, max: 100 }, "Its groups."),
        Field::new("analysisConfigurations", Ty::Object(&CONFIGURATIONS), "How it is judged."),
        Field::new("scopeName", Ty::Word(&[word("default")]), "Which scopes it is of."),
        Field::new("id", Ty::Verbatim, "Means nothing here."),
    ],
    exactly_one: &[],
};

static QUERY: Shape = Shape {
    noun: "canary query",
    doc: "How a metric is asked for.",
    fields: &[
        Field::new("type", Ty::Word(&[word("prometheus")]), "Who is asked."),
        Field::new("serviceType", Ty::Word(&[word("prometheus")]), "Who is asked."),
        Field::new("metricName", Ty::Text(&LINE), "The metric; its mean is taken."),
        Field::new("customFilter", Ty::Text(&ANY), "Which series of it.").with(OF_METRICS),
        Field::new("customFilterTemplate", Ty::Text(&LINE), "Likewise, the name of a template."),
        Field::new(
            "customInlineTemplate",
            Ty::Text(&ANY),
            "Likewise, as a text; one that begins with `PromQL:` is the whole query.",
        ),
        Field::new("resourceType", Ty::Text(&LINE), "Of which sort its resources are."),
        Field::new("groupByFields", Ty::List { item: &Ty::Text(&LINE), min: 0, max: 0 }, "None."),
        Field::new("labelBindings", Ty::List { item: &Ty::Text(&LINE), min: 0, max: 0 }, "None."),
    ],
    exactly_one: &[],
};

const OF_METRICS: &[&str] = &["metricName"];

static CONFIGURATIONS: Shape = Shape {
    noun: "analysis configurations",
    doc: "How a metric is judged, by who judges it.",
    fields: &[Field::new("canary", Ty::Object(&JUDGED), "By this judge.")],
    exactly_one: &[],
};

static JUDGED: Shape = Shape {
    noun: "canary analysis configuration",
    doc: "How a metric is judged.",
    fields: &[
        Field::new("direction", Ty::Word(DIRECTIONS), "Which difference is bad."),
        Field::new("nanStrategy", Ty::Word(&[word("remove"), word("replace")]), "Missing points."),
        Field::new("critical", Ty::Bool, "Whether all fails with it."),
        Field::new("mustHaveData", Ty::Bool, "Whether it fails without data."),
        Field::new("muted", Ty::Bool, "Whether it is judged and not counted."),
        Field::new("effectSize", Ty::Object(&EFFECT), "How large a difference must be."),
        Field::new("outliers", Ty::Object(&OUTLIERS), "What becomes of points far from others."),
    ],
    exactly_one: &[],
};

const DIRECTIONS: &[Word] = &[word("increase"), word("decrease"), word("either")];

static EFFECT: Shape = Shape {
    noun: "effect size",
    doc: "How large a difference must be to matter.",
    fields: &[
        Field::new("measure", Ty::Word(&[word("meanRatio"), word("cles")]), "In what."),
        Field::new("allowedIncrease", FACTOR, "From here on more is high."),
        Field::new("allowedDecrease", FACTOR, "From here down less is low."),
        Field::new("criticalIncrease", FACTOR, "From here on all fails."),
        Field::new("criticalDecrease", FACTOR, "From here down all fails."),
    ],
    exactly_one: &[],
};

static OUTLIERS: Shape = Shape {
    noun: "outliers",
    doc: "What becomes of points far from the others.",
    fields: &[
        Field::new("strategy", Ty::Word(&[word("remove"), word("keep")]), "Whether they stay."),
        Field::new("outlierFactor", FACTOR, "So many times between the quartiles is far."),
    ],
    exactly_one: &[],
};
