//! The form of tests.

use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, word};

use super::{COMMAND, ENV, GLOBS, limit};
use crate::formats;

/// The keys of which a test has exactly one.
const CHECKS: &[&str] = &["run", "http", "goss", "load", "security", "openscap", "lynis"];

pub(super) static TEST: Shape = Shape {
    noun: "test",
    doc: "One expectation about a shadow of the image.",
    fields: &[
        Field::new("name", Ty::Text(&formats::TITLE), "Its name, unique among the tests.")
            .required(),
        Field::new(
            "kind",
            Ty::Word(&[word("unit"), word("integration"), word("performance"), word("security")]),
            "What it is about. If not given: unit for run, integration for http and goss, performance for load, security for the rest.",
        ),
        Field::new(
            "after",
            Ty::Either(&[
                Ty::Word(&[word("each"), word("final")]),
                list!(&Ty::Text(&formats::NAME), limit::STEPS),
            ]),
            "After which steps it is due: each, final, or a list of names; each if not given.",
        ),
        Field::new(
            "when",
            Ty::Object(&WHEN),
            "When its earlier verdict no longer stands; after every delta if not given.",
        ),
        Field::new(
            "timeout",
            Ty::Text(&formats::DURATION),
            "How long one attempt may take; 60s if not given.",
        ),
        Field::new(
            "retries",
            Ty::Int { min: 0, max: 20 },
            "How many more attempts it gets; 0 if not given.",
        ),
        Field::new(
            "retry_delay",
            Ty::Text(&formats::DURATION),
            "How long to wait between attempts; no time if not given.",
        ),
        Field::new("services", Ty::Bool, "Whether the services are up first; true if not given."),
        Field::new(
            "allow_failure",
            Ty::Bool,
            "Whether a failure is reported but does not halt the build; false if not given.",
        ),
        Field::new(
            "run",
            COMMAND,
            "A command in the shadow: a line for `/bin/sh -e`, or a program and its arguments.",
        ),
        Field::new(
            "format",
            Ty::Word(&[word("auto"), word("plain"), word("tap"), word("junit")]),
            "What the command prints; auto, which knows TAP when it sees it, if not given.",
        )
        .with(&["run"]),
        Field::new(
            "exit",
            Ty::Int { min: 0, max: 255 },
            "The exit code that is right; 0 if not given.",
        )
        .with(&["run"]),
        Field::new(
            "report",
            Ty::Text(&formats::INSIDE),
            "The file in the shadow that holds the JUnit report, if it is not standard output.",
        )
        .with(&["run"]),
        Field::new("stdout", TEXTS, "What standard output contains: texts, or `/a pattern/`.")
            .with(&["run"]),
        Field::new("stderr", TEXTS, "What standard error contains, likewise.").with(&["run"]),
        Field::new("env", ENV, "More environment variables.").with(&["run"]),
        Field::new("user", Ty::Text(&formats::USER), "Who runs the command; root if not given.")
            .with(&["run"]),
        Field::new("workdir", Ty::Text(&formats::INSIDE), "Where the command runs.").with(&["run"]),
        Field::new("http", Ty::Object(&HTTP), "A request and the answer it must get."),
        Field::new("goss", Ty::Text(&formats::BESIDE), "A goss file beside the recipe."),
        Field::new("load", Ty::Object(&LOAD), "Requests of simulated users at a given rate."),
        Field::new("security", Ty::Object(&SECURITY), "A scan of what the delta adds."),
        Field::new("openscap", Ty::Object(&OPENSCAP), "An XCCDF profile evaluated by OpenSCAP."),
        Field::new("lynis", Ty::Object(&LYNIS), "An audit by lynis."),
    ],
    exactly_one: CHECKS,
};

static WHEN: Shape = Shape {
    noun: "condition",
    doc: "When an earlier verdict no longer stands.",
    fields: &[Field::new(
        "changed",
        GLOBS,
        "The delta changes a path that one of these patterns meets.",
    )
    .required()],
    exactly_one: &[],
};

/// One text or several, each of which may be an expression between slashes.
const TEXTS: Ty = Ty::Either(&[Ty::Text(&formats::ANY), list!(&Ty::Text(&formats::ANY), 100)]);

const METHOD: Ty = Ty::Word(&[
    word("GET"),
    word("HEAD"),
    word("POST"),
    word("PUT"),
    word("PATCH"),
    word("DELETE"),
    word("OPTIONS"),
]);

const STATUS: Ty =
    Ty::Either(&[Ty::Int { min: 100, max: 599 }, list!(&Ty::Int { min: 100, max: 599 }, 50)]);

const HEADERS: Ty = Ty::MapOf { key: &formats::HEADER, value: &Ty::Text(&formats::LINE), max: 100 };

static HTTP: Shape = Shape {
    noun: "request",
    doc: "A request and the answer it must get.",
    fields: &[
        Field::new(
            "url",
            Ty::Text(&formats::URL),
            "The address as seen from inside the shadow, such as https://localhost/.",
        )
        .required(),
        Field::new("method", METHOD, "GET if not given."),
        Field::new("headers", HEADERS, "Headers to send."),
        Field::new("body", Ty::Text(&formats::ANY), "The body to send."),
        Field::new(
            "insecure",
            Ty::Bool,
            "Whether any certificate is accepted; false if not given.",
        ),
        Field::new(
            "ca",
            Ty::Text(&formats::INSIDE),
            "A file in the shadow with the certificates to trust.",
        ),
        Field::new(
            "redirects",
            Ty::Int { min: 0, max: 10 },
            "How many redirects to follow; 0 if not given.",
        ),
        Field::new(
            "expect",
            Ty::Object(&EXPECT),
            "What the answer must be; a status from 200 to 299 if not given.",
        ),
    ],
    exactly_one: &[],
};

static EXPECT: Shape = Shape {
    noun: "expected answer",
    doc: "What an answer must be.",
    fields: &[
        Field::new(
            "status",
            STATUS,
            "The status, or a list of good ones; 200 to 299 if not given.",
        ),
        Field::new("headers", HEADERS, "Headers it has: the exact value, or `/a pattern/`."),
        Field::new("body", TEXTS, "What the body contains: texts, or `/a pattern/`."),
        Field::new(
            "json",
            Ty::MapOf { key: &formats::TITLE, value: &Ty::Foreign, max: 100 },
            "Values in a JSON body by path, such as `items.0.name: first`.",
        ),
        Field::new(
            "latency",
            Ty::Text(&formats::DURATION),
            "How long the answer may take at most.",
        ),
    ],
    exactly_one: &[],
};

static LOAD: Shape = Shape {
    noun: "load",
    doc: "Requests of simulated users at a given rate, whatever the answers.",
    fields: &[
        Field::new(
            "url",
            Ty::Text(&formats::URL),
            "The address as seen from inside the shadow; a scenario's paths go behind it.",
        )
        .required(),
        Field::new(
            "rate",
            Ty::Number { above: 0.0, max: 100_000.0 },
            "How many users arrive per second.",
        )
        .required(),
        Field::new("duration", Ty::Text(&formats::DURATION), "For how long users arrive.")
            .required(),
        Field::new(
            "warm_up",
            Ty::Text(&formats::DURATION),
            "For how long users arrive beforehand without being counted; no time if not given.",
        ),
        Field::new(
            "arrival",
            Ty::Word(&[word("constant"), word("poisson")]),
            "Whether users come evenly or by chance; constant if not given.",
        ),
        Field::new(
            "in_flight",
            Ty::Int { min: 1, max: 10_000 },
            "How many users are under way at most; those who find no place are counted as dropped. 256 if not given.",
        ),
        Field::new(
            "insecure",
            Ty::Bool,
            "Whether any certificate is accepted; false if not given.",
        ),
        Field::new(
            "ca",
            Ty::Text(&formats::INSIDE),
            "A file in the shadow with the certificates to trust.",
        ),
        Field::new(
            "request_timeout",
            Ty::Text(&formats::DURATION),
            "How long a request may take before it counts as an error; 5s if not given.",
        ),
        Field::new(
            "scenario",
            list!(&Ty::Object(&JOURNEY), 50),
            "What users do; one GET of the address if not given.",
        ),
        Field::new(
            "scenario_file",
            Ty::Text(&formats::BESIDE),
            "A file beside the recipe with a `scenario`, instead of one here.",
        ),
        Field::new(
            "thresholds",
            list!(&Ty::Text(&formats::LINE), 50),
            "What must hold, such as `p(99)<20ms` or `errors<0.1%`.",
        )
        .required(),
    ],
    exactly_one: &[],
};

static JOURNEY: Shape = Shape {
    noun: "journey",
    doc: "What one sort of users does, request by request.",
    fields: &[
        Field::new("name", Ty::Text(&formats::TITLE), "Its name.").required(),
        Field::new(
            "weight",
            Ty::Int { min: 1, max: 1_000_000 },
            "How many of all users do this, as a share; 1 if not given.",
        ),
        Field::new("requests", list!(&Ty::Object(&REQUEST), 100), "The requests in order.")
            .required(),
    ],
    exactly_one: &[],
};

static REQUEST: Shape = Shape {
    noun: "journey's request",
    doc: "A request of a simulated user.",
    fields: &[
        Field::new("path", Ty::Text(&formats::REQUEST_PATH), "The path and query.").required(),
        Field::new("method", METHOD, "GET if not given."),
        Field::new("headers", HEADERS, "Headers to send."),
        Field::new("body", Ty::Text(&formats::ANY), "The body to send."),
        Field::new(
            "think",
            Ty::Text(&formats::DURATION),
            "How long the user thinks before asking; no time if not given.",
        ),
        Field::new("status", STATUS, "The status, or a list of good ones; below 400 if not given."),
        Field::new(
            "extract",
            Ty::Either(&[Ty::Object(&EXTRACT), list!(&Ty::Object(&EXTRACT), 20)]),
            "What is taken from the answer; paths, headers and bodies of later requests have it as `${name}`.",
        ),
    ],
    exactly_one: &[],
};

static EXTRACT: Shape = Shape {
    noun: "extraction",
    doc: "What is taken from an answer for later requests of the journey.",
    fields: &[
        Field::new("name", Ty::Text(&formats::TAKEN), "What later requests call it.").required(),
        Field::new(
            "json",
            Ty::Text(&formats::TITLE),
            "Where it is in a JSON body, such as `data.items[0].id`.",
        ),
        Field::new("header", Ty::Text(&formats::HEADER), "The header whose value it is."),
        Field::new(
            "regex",
            Ty::Text(&formats::LINE),
            "An expression for the body: its first group, or all of it, is taken.",
        ),
    ],
    exactly_one: &["json", "header", "regex"],
};

/// A scenario as a file of its own.
pub(crate) static SCENARIO: Shape = Shape {
    noun: "scenario file",
    doc: "What simulated users do, for load tests and `umbra replay`.",
    fields: &[Field::new("scenario", list!(&Ty::Object(&JOURNEY), 50), "What users do.").required()],
    exactly_one: &[],
};

const SEVERITY: Ty = Ty::Word(&[word("low"), word("medium"), word("high"), word("critical")]);

static SECURITY: Shape = Shape {
    noun: "scan",
    doc: "A scan of what the delta adds; what was there before does not count.",
    fields: &[
        Field::new("fail_on", SEVERITY, "The least severity that fails; high if not given."),
        Field::new(
            "ports",
            Ty::List { item: &Ty::Int { min: 1, max: 65_535 }, min: 0, max: 100 },
            "Ports that may be listened on; if not given, ports are not looked at.",
        ),
        Field::new(
            "certificate_days",
            Ty::Int { min: 0, max: 3_650 },
            "A certificate that ends within so many days is a finding; 30 if not given.",
        ),
        Field::new(
            "allow",
            list!(&Ty::Object(&ALLOW), limit::ITEMS),
            "Findings that are all right.",
        ),
    ],
    exactly_one: &[],
};

static ALLOW: Shape = Shape {
    noun: "exception",
    doc: "A finding that is all right, and why.",
    fields: &[
        Field::new("rule", Ty::Text(&formats::VAR), "Only findings of the rule with this id."),
        Field::new("path", Ty::Text(&formats::GLOB), "Only on paths that this pattern meets."),
        Field::new("reason", Ty::Text(&formats::LINE), "Why.").required(),
    ],
    exactly_one: &[],
};

static OPENSCAP: Shape = Shape {
    noun: "OpenSCAP evaluation",
    doc: "An XCCDF profile evaluated by OpenSCAP.",
    fields: &[
        Field::new(
            "datastream",
            Ty::Text(&formats::HOST),
            "The benchmark or data stream: on the building machine, or in the shadow with `inside`.",
        )
        .required(),
        Field::new(
            "profile",
            Ty::Text(&formats::LINE),
            "The profile's id; the default profile if not given.",
        ),
        Field::new("inside", Ty::Bool, "Whether the benchmark is a file of the shadow; false if not given."),
        Field::new("fail_on", SEVERITY, "The least severity that fails; high if not given."),
    ],
    exactly_one: &[],
};

static LYNIS: Shape = Shape {
    noun: "lynis audit",
    doc: "An audit by lynis.",
    fields: &[
        Field::new(
            "hardening_index",
            Ty::Int { min: 0, max: 100 },
            "The least hardening index; none if not given.",
        ),
        Field::new(
            "fail_on",
            SEVERITY,
            "The least severity of a new finding that fails; medium, which are lynis's warnings, if not given.",
        ),
        Field::new(
            "skip",
            list!(&Ty::Text(&formats::VAR), 500),
            "Tests of lynis whose findings do not count, by id.",
        ),
        Field::new(
            "groups",
            list!(&Ty::Text(&formats::VAR), 100),
            "The groups of tests to make, as `lynis show groups` has them; all if not given.",
        ),
    ],
    exactly_one: &[],
};
