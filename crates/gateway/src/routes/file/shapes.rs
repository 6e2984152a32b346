//! Which keys a file of routes has.

use umbra_document::formats::{self, Format};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, word};

use crate::routes::setup::{ROUTES_MAX, TARGETS_MAX, WEIGHT_MAX, is_name};
use crate::upstream::Target;

pub(super) static TARGET: Format = Format {
    noun: "a target",
    example: "127.0.0.1:9000",
    pattern: r"^((http|https|h2c)://)?[^/@]+:[0-9]+/?$",
    check: |text| text.parse::<Target>().map(drop).map_err(|error| error.to_string()),
};

pub(super) static NAME: Format = Format {
    noun: "a name",
    example: "api",
    pattern: r"^[A-Za-z0-9._-]{1,64}$",
    check: |text| formats::refuse_if(!is_name(text), "up to 64 letters, digits, `-`, `_` and `.`"),
};

pub(super) static PATH: Format = Format {
    noun: "a path that begins with /",
    example: "/api",
    pattern: r"^/[^\u0000-\u0020?#]*$",
    check: |text| {
        let is_path = text.starts_with('/') && text.parse::<hyper::Uri>().is_ok();
        formats::refuse_if(!is_path || text.contains(['?', '#']), "it is no path of a URL")
    },
};

pub(super) static ROOT: Shape = Shape {
    noun: "routes",
    doc: "Which requests a gateway sends where. The first route that matches is taken.",
    fields: &[
        Field::new(
            "routes",
            list!(&Ty::Object(&ROUTE), ROUTES_MAX),
            "From the most to the least specific.",
        )
        .required(),
        Field::new(
            "secret",
            Ty::Text(&formats::LINE),
            "What sticky sessions are hashed with, so that several gateways agree; another one each time by default.",
        ),
    ],
    exactly_one: &[],
};

static ROUTE: Shape = Shape {
    noun: "route",
    doc: "Requests that go the same way.",
    fields: &[
        Field::new("name", Ty::Text(&NAME), "What it is called.").required(),
        Field::new("match", Ty::Object(&MATCH), "Which requests; all by default."),
        Field::new(
            "targets",
            Ty::List { item: &Ty::Object(&TARGET_OF), min: 0, max: TARGETS_MAX },
            "Where they go; none where a rollout says so.",
        )
        .required(),
        Field::new(
            "sticky",
            Ty::Object(&STICKY),
            "What makes requests stay with a target; each goes its own way by default.",
        ),
        Field::new("health", Ty::Object(&HEALTH), "How targets are asked whether they are well."),
        Field::new(
            "eject",
            Ty::Object(&EJECT),
            "When a target is left out for a while because of its answers; never by default.",
        ),
        Field::new(
            "answer_time",
            Ty::Text(&formats::DURATION),
            "How long a target may take until its answer begins.",
        ),
    ],
    exactly_one: &[],
};

static MATCH: Shape = Shape {
    noun: "match",
    doc: "What a request's head must be like: all of this.",
    fields: &[
        Field::new(
            "host",
            Ty::Either(&[
                Ty::Text(&formats::LINE),
                Ty::List { item: &Ty::Text(&formats::LINE), min: 1, max: 64 },
            ]),
            "One of these hosts; `*.example` is every name below.",
        ),
        Field::new("path", Ty::Text(&PATH), "This path, or one below it."),
        Field::new(
            "methods",
            list!(&Ty::Text(&formats::LINE), 16),
            "One of these methods; all by default.",
        ),
        Field::new(
            "headers",
            Ty::MapOf { key: &formats::LINE, value: &Ty::Text(&formats::LINE), max: 16 },
            "All of these headers, with these values.",
        ),
    ],
    exactly_one: &[],
};

static TARGET_OF: Shape = Shape {
    noun: "target",
    doc: "A server.",
    fields: &[
        Field::new("to", Ty::Text(&TARGET), "HOST:PORT, or one behind https:// or h2c://.")
            .required(),
        Field::new(
            "weight",
            Ty::Amount { max: WEIGHT_MAX },
            "Its part of all weights of the route; 1 by default.",
        ),
        Field::new(
            "send_proxy",
            Ty::Word(&[word("v1"), word("v2")]),
            "Tell it whose a connection is, by a PROXY protocol header of this version.",
        ),
    ],
    exactly_one: &[],
};

static STICKY: Shape = Shape {
    noun: "session",
    doc: "By what requests are told to be of one session.",
    fields: &[
        Field::new("cookie", Ty::Text(&NAME), "A cookie, which is set where it is missing."),
        Field::new("header", Ty::Text(&NAME), "A header."),
        Field::new("by", Ty::Word(&[word("address")]), "The client's address."),
    ],
    exactly_one: &["cookie", "header", "by"],
};

static HEALTH: Shape = Shape {
    noun: "health check",
    doc: "A GET that must be answered below 400.",
    fields: &[
        Field::new("path", Ty::Text(&PATH), "What is asked for.").required(),
        Field::new("every", Ty::Text(&formats::DURATION), "How often; 5s by default."),
        Field::new("timeout", Ty::Text(&formats::DURATION), "Within which time; 2s by default."),
        Field::new("rise", COUNT, "Good answers in a row that make it well; 2 by default."),
        Field::new("fall", COUNT, "Bad answers in a row that make it unwell; 3 by default."),
    ],
    exactly_one: &[],
};

static EJECT: Shape = Shape {
    noun: "ejection",
    doc: "A target that fails again and again is left out for a while.",
    fields: &[
        Field::new("failures", COUNT, "In a row; 5 by default."),
        Field::new(
            "for",
            Ty::Text(&formats::DURATION),
            "The first time; longer each time, up to ten times. 30s by default.",
        ),
    ],
    exactly_one: &[],
};

const COUNT: Ty = Ty::Int { min: 1, max: 1000 };
