//! Which keys `rollout.yaml` has.

use umbra_document::formats::{DURATION, Format, TITLE, refuse_if};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, word};
use umbra_drift::config::{PERCENT, SINKS};

use super::analysis::ANALYSIS;
use super::webhooks::WEBHOOKS;

/// The name of a service, and of a gateway's route.
pub(super) static NAME: Format = Format {
    noun: "a name",
    example: "web",
    pattern: r"^[A-Za-z0-9._-]{1,64}$",
    check: |text| {
        let all = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let wrong = !all || text.is_empty() || text.len() > 64;
        refuse_if(wrong, "up to 64 letters, digits, `-`, `_` and `.`")
    },
};

/// What a request asks for.
pub(super) static PATH: Format = Format {
    noun: "a path that begins with /",
    example: "/healthz",
    pattern: r"^/[\u0021-\u0022\u0024-\u007e]*$",
    check: |text| {
        let all = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        refuse_if(!text.starts_with('/') || !all, "it begins with / and holds no space and no `#`")
    },
};

pub(super) static ROOT: Shape = Shape {
    noun: "rollout",
    doc: "How a service is rolled out: in which steps, judged by what, and who is told.",
    fields: &[
        Field::new("service", Ty::Text(&NAME), "What is rolled out.").required(),
        Field::new("route", Ty::Text(&NAME), "The gateway's route to it; its own name by default."),
        Field::new(
            "control",
            Ty::Word(&[word("production"), word("fresh")]),
            "Whom the candidate is held against: all other requests, or a fresh instance of what is in production with as many as the candidate; production by default.",
        ),
        Field::new("instances", Ty::Object(&INSTANCES), "How the candidate's instances are run."),
        Field::new("judge", Ty::Object(&JUDGE), "By what the candidate is judged."),
        Field::new(
            "on_worse",
            Ty::Word(&[word("rollback"), word("pause"), word("notify")]),
            "What becomes of a candidate that was found worse, and where a guard is passed: everything to the baseline; it stays at its weight until a person ends it; or people are told, and the weight rises no more. rollback by default.",
        ),
        Field::new(
            "steps",
            list!(&Ty::Object(&STEP), 100),
            "In this order; by default copies of all requests, then 1, 5, 25, 50 and 100 %.",
        ),
        Field::new("hold", Ty::Object(&HOLD), "What each weight needs before the next step."),
        Field::new(
            "guards",
            list!(&Ty::Object(&GUARD), 32),
            "What must hold for both arms together, whoever is to blame.",
        ),
        Field::new("analysis", Ty::Object(&ANALYSIS), "Measurements beside the judge."),
        Field::new("webhooks", WEBHOOKS, "Who is asked or told over HTTP."),
        Field::new("top_up", Ty::Object(&TOP_UP), "Requests of our own where there are too few."),
        Field::new(
            "deadline",
            Ty::Text(&DURATION),
            "How long what machines do may take without progress; 10m by default.",
        ),
        Field::new(
            "notify",
            SINKS,
            "Who is told, as in monitoring_config.yml; the log by default.",
        ),
    ],
    exactly_one: &[],
};

static INSTANCES: Shape = Shape {
    noun: "instances",
    doc: "How the candidate's instances are run.",
    fields: &[
        Field::new("count", Ty::Int { min: 1, max: 100 }, "So many; 1 by default."),
        Field::new("port", Ty::Int { min: 1, max: 65_535 }, "They listen there; 8080 by default."),
        Field::new(
            "health",
            Ty::Object(&HEALTH),
            "When one is healthy; when its port is open by default.",
        ),
        Field::new("warm_up", Ty::Object(&WARM_UP), "What one is asked before it gets requests."),
        Field::new(
            "drain",
            Ty::Text(&DURATION),
            "How long one may end what it has; 30s by default.",
        ),
    ],
    exactly_one: &[],
};

static HEALTH: Shape = Shape {
    noun: "health check",
    doc: "A GET that must be answered below 400.",
    fields: &[
        Field::new("path", Ty::Text(&PATH), "What is asked for.").required(),
        Field::new("every", Ty::Text(&DURATION), "How often; 200ms by default."),
        Field::new("timeout", Ty::Text(&DURATION), "Within which time; 1s by default."),
        Field::new("healthy", COUNT, "Good answers in a row; 2 by default."),
        Field::new("within", Ty::Text(&DURATION), "It may take this long; 60s by default."),
    ],
    exactly_one: &[],
};

static WARM_UP: Shape = Shape {
    noun: "warm-up",
    doc: "What an instance is asked before it gets requests.",
    fields: &[
        Field::new("requests", Ty::Int { min: 1, max: 100_000 }, "So often.").required(),
        Field::new("path", Ty::Text(&PATH), "For what; / by default."),
    ],
    exactly_one: &[],
};

static JUDGE: Shape = Shape {
    noun: "judge",
    doc: "By what the candidate is judged, and how sure it is to be.",
    fields: &[
        Field::new(
            "alpha",
            PROBABILITY,
            "The probability that a candidate that is not worse is found so, over the whole rollout; 0.01 by default.",
        ),
        Field::new(
            "beta",
            PROBABILITY,
            "The probability that one that is worse is proved not to be; 0.05 by default.",
        ),
        Field::new(
            "errors",
            Ty::Either(&[Ty::Bool, Ty::Object(&ERRORS)]),
            "Failed requests; judged by default.",
        ),
        Field::new(
            "latency",
            Ty::Either(&[Ty::Bool, Ty::Object(&LATENCY)]),
            "Time until an answer begins; judged by default.",
        ),
        Field::new(
            "differences",
            Ty::Bool,
            "Whether answers to mirrored requests differ; judged by default where requests are mirrored.",
        ),
        Field::new("sessions_min", COUNT, "Of so many sessions errors must be; 2 by default."),
    ],
    exactly_one: &[],
};

static ERRORS: Shape = Shape {
    noun: "judging of errors",
    doc: "Failed requests.",
    fields: &[
        Field::new("tolerated", RATIO, "It may fail this many times as often; 1 by default."),
        Field::new(
            "excess",
            Ty::Text(&PERCENT),
            "It is not worse if it fails more often by less than this part of requests; 0.1% by default.",
        ),
        Field::new(
            "refute",
            RATIO,
            "A proof refutes that it fails this many times as often; 2 by default.",
        ),
    ],
    exactly_one: &[],
};

static LATENCY: Shape = Shape {
    noun: "judging of latency",
    doc: "Time until an answer begins.",
    fields: &[
        Field::new("tolerated", Ty::Text(&PERCENT), "By so much it may be slower; 0% by default."),
        Field::new(
            "refute",
            Ty::Text(&PERCENT),
            "A proof refutes that it is slower by this; 10% by default.",
        ),
    ],
    exactly_one: &[],
};

static STEP: Shape = Shape {
    noun: "step",
    doc: "A step, in Argo's words.",
    fields: &[
        Field::new(
            "setWeight",
            Ty::Number { above: 0.0, max: 100.0 },
            "The candidate gets this part of requests, in percent; more than in the step before.",
        ),
        Field::new(
            "setMirror",
            Ty::Object(&MIRROR),
            "The candidate gets copies of requests, and nobody its answers; only before the first weight.",
        ),
        Field::new("pause", Ty::Object(&PAUSE), "Nothing changes; `{}` waits for a person."),
        Field::new("analysis", Ty::Object(&MEASURE), "Measurements are made, and must be good."),
    ],
    exactly_one: &["setWeight", "setMirror", "pause", "analysis"],
};

static MIRROR: Shape = Shape {
    noun: "mirroring",
    doc: "The candidate gets copies of requests, and nobody its answers.",
    fields: &[
        Field::new("percent", Ty::Number { above: 0.0, max: 100.0 }, "Of this part of requests.")
            .required(),
        Field::new("requests", MANY, "The step ends when so many were compared."),
        Field::new("for", Ty::Text(&DURATION), "Or after so long."),
    ],
    exactly_one: &[],
};

static PAUSE: Shape = Shape {
    noun: "pause",
    doc: "Nothing changes.",
    fields: &[Field::new(
        "duration",
        Ty::Text(&DURATION),
        "For so long; until a person says so by default.",
    )],
    exactly_one: &[],
};

static MEASURE: Shape = Shape {
    noun: "analysis step",
    doc: "Measurements are made, and must be good.",
    fields: &[Field::new(
        "templates",
        list!(&Ty::Either(&[Ty::Text(&TITLE), Ty::Object(&TEMPLATE_NAME)]), 100),
        "Which: names of `analysis.templates`.",
    )
    .required()],
    exactly_one: &[],
};

static TEMPLATE_NAME: Shape = Shape {
    noun: "analysis template's name",
    doc: "A name as Argo writes it.",
    fields: &[Field::new("templateName", Ty::Text(&TITLE), "It.").required()],
    exactly_one: &[],
};

static HOLD: Shape = Shape {
    noun: "hold",
    doc: "What each weight needs before the next step.",
    fields: &[
        Field::new("for", Ty::Text(&DURATION), "At least so long; 10s by default."),
        Field::new("requests", MANY, "And so many requests of the candidate; 100 by default."),
        Field::new(
            "proved",
            Ty::Bool,
            "Whether neither is needed once it is proved that the candidate is not worse; false by default.",
        ),
        Field::new(
            "within",
            Ty::Text(&DURATION),
            "After so long with too few requests it ends, inconclusive; it waits for ever by default.",
        ),
    ],
    exactly_one: &[],
};

static GUARD: Shape = Shape {
    noun: "guard",
    doc: "What must hold for both arms together, whoever is to blame.",
    fields: &[
        Field::new("errors", Ty::Object(&ERRORS_MAX), "The part of failed requests of both arms."),
        Field::new("p99", Ty::Object(&P99_MAX), "The 99th percentile of each arm."),
        Field::new("requests_min", MANY, "It says nothing of fewer requests; 100 by default."),
        Field::new("over", Ty::Text(&DURATION), "Over this time; 1m by default."),
    ],
    exactly_one: &["errors", "p99"],
};

static ERRORS_MAX: Shape = Shape {
    noun: "limit of errors",
    doc: "The part of failed requests of both arms.",
    fields: &[Field::new("max", Ty::Text(&PERCENT), "Not more than this.").required()],
    exactly_one: &[],
};

static P99_MAX: Shape = Shape {
    noun: "limit of latency",
    doc: "The 99th percentile of each arm.",
    fields: &[Field::new("max", Ty::Text(&DURATION), "Not more than this.").required()],
    exactly_one: &[],
};

static TOP_UP: Shape = Shape {
    noun: "top-up",
    doc: "Requests of our own, which are counted apart, where there are too few.",
    fields: &[
        Field::new("requests", MANY, "At most so many at each weight.").required(),
        Field::new(
            "rate",
            Ty::Number { above: 0.0, max: 10_000.0 },
            "So many a second; 10 by default.",
        ),
        Field::new("path", Ty::Text(&PATH), "For what; / by default."),
    ],
    exactly_one: &[],
};

const PROBABILITY: Ty = Ty::Number { above: 0.0, max: 0.5 };
const RATIO: Ty = Ty::Number { above: 0.0, max: 1_000.0 };
const COUNT: Ty = Ty::Int { min: 1, max: 1_000 };
const MANY: Ty = Ty::Int { min: 1, max: 1_000_000_000 };
