//! Routes as a file that people write.
//!
//! ```yaml
//! routes:
//!   - name: api
//!     match: { host: shop.example, path: /api }
//!     targets:
//!       - to: 127.0.0.1:9000
//!         weight: 95
//!       - to: 127.0.0.1:9001
//!         weight: 5
//!     sticky: { cookie: session }
//!     health: { path: /healthz }
//!     eject: {}
//!   - name: rest
//!     targets: [{ to: 127.0.0.1:9000 }]
//! ```

use std::path::Path;
use std::time::Duration;

use umbra_document::file::{ReadError, read_text};
use umbra_document::formats::{self, Format};
use umbra_document::shape::{Field, Shape, Ty, word};
use umbra_document::source::Source;
use umbra_document::take::{duration, each, int, number, optional, text, texts, texts_by_name};
use umbra_document::yaml::Node;
use umbra_document::{Found, Problem, Problems, check, list, names, yaml};
use umbra_state::escape::escape;

use super::setup::{
    EjectSetup, HealthSetup, ROUTES_MAX, RouteSetup, RoutesSetup, StickySetup, TARGETS_MAX,
    TargetSetup, WEIGHT_MAX, is_name,
};
use crate::upstream::Target;

/// A file may be this long.
const FILE_BYTES_MAX: u64 = 1 << 20;

static TARGET: Format = Format {
    noun: "a target",
    example: "127.0.0.1:9000",
    pattern: r"^((http|https|h2c)://)?[^/@]+:[0-9]+/?$",
    check: |text| text.parse::<Target>().map(drop).map_err(|error| error.to_string()),
};

static NAME: Format = Format {
    noun: "a name",
    example: "api",
    pattern: r"^[A-Za-z0-9._-]{1,64}$",
    check: |text| formats::refuse_if(!is_name(text), "up to 64 letters, digits, `-`, `_` and `.`"),
};

static PATH: Format = Format {
    noun: "a path that begins with /",
    example: "/api",
    pattern: r"^/[^\u0000-\u0020?#]*$",
    check: |text| {
        let is_path = text.starts_with('/') && text.parse::<hyper::Uri>().is_ok();
        formats::refuse_if(!is_path || text.contains(['?', '#']), "it is no path of a URL")
    },
};

static ROOT: Shape = Shape {
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
        Field::new("targets", list!(&Ty::Object(&TARGET_OF), TARGETS_MAX), "Where they go.")
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

/// What problems call the document.
const NOUN: &str = "routes";

/// Reads and checks the file at `path`.
///
/// # Errors
/// All that is wrong with it, each with its place.
pub fn load(path: &Path) -> Result<RoutesSetup, Problems> {
    let name = path.display().to_string();
    let text = read_text(path, FILE_BYTES_MAX).map_err(|error| unreadable(&name, &error))?;
    parse(&name, &text)
}

/// Checks a text; `name` stands for its path in problems.
///
/// # Errors
/// All that is wrong with it, each with its place.
pub fn parse(name: &str, text: &str) -> Result<RoutesSetup, Problems> {
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(name, &ReadError::TooLong { bytes_max: FILE_BYTES_MAX }));
    }
    let mut found = Found::default();
    let setup = read(text, &mut found);
    let source = || Source { name: name.to_owned(), text: text.to_owned() };
    setup.ok_or_else(|| found.into_problems(&[source()]))
}

fn read(text: &str, found: &mut Found) -> Option<RoutesSetup> {
    let root = yaml::parse(0, text, NOUN, found)?;
    check::check(&root, &ROOT, found);
    let list = root.get("routes").map(Node::list).unwrap_or_default();
    names::unique(list, "routes", "route", found);
    if found.has_errors() {
        return None;
    }
    let setup = setup(&root);
    let wrong = match &setup {
        Some(setup) => setup.check().err().map(|error| error.to_string()),
        None => Some("the file passed every check and still cannot be read".to_owned()),
    };
    match wrong {
        Some(why) => {
            found.push(Problem::new("route", why, root.head(), "these routes"));
            None
        }
        None => setup,
    }
}

fn unreadable(name: &str, error: &ReadError) -> Problems {
    let message = format!("cannot read `{}`: {error}", escape(name.as_bytes()));
    Problems::without_place("unreadable", message, None)
}

fn setup(root: &Node) -> Option<RoutesSetup> {
    let secret = optional(root.get("secret"), text)?;
    Some(RoutesSetup { routes: each(root.get("routes"), route)?, secret })
}

fn route(node: &Node) -> Option<RouteSetup> {
    let matching = |key| node.get("match").and_then(|node| node.get(key));
    Some(RouteSetup {
        name: text(node.get("name")?)?,
        hosts: texts(matching("host"))?,
        path: optional(matching("path"), text)?,
        methods: each(matching("methods"), text)?,
        headers: texts_by_name(matching("headers"))?.into_iter().collect(),
        targets: each(node.get("targets"), target)?,
        sticky: optional(node.get("sticky"), sticky)?,
        health: optional(node.get("health"), health)?,
        eject: optional(node.get("eject"), eject)?,
        answer_time_ms: duration(node.get("answer_time"))?.map(milliseconds),
    })
}

fn target(node: &Node) -> Option<TargetSetup> {
    let weight = optional(node.get("weight"), |node| number(node.scalar()?))?;
    Some(TargetSetup { to: text(node.get("to")?)?, weight: weight.unwrap_or(1.0) })
}

fn sticky(node: &Node) -> Option<StickySetup> {
    Some(match (node.get("cookie"), node.get("header")) {
        (Some(name), _) => StickySetup::Cookie(text(name)?),
        (_, Some(name)) => StickySetup::Header(text(name)?),
        (None, None) => StickySetup::Address,
    })
}

fn health(node: &Node) -> Option<HealthSetup> {
    let time = |key, usual: u64| Some(duration(node.get(key))?.map_or(usual, milliseconds));
    Some(HealthSetup {
        path: text(node.get("path")?)?,
        every_ms: time("every", 5_000)?,
        timeout_ms: time("timeout", 2_000)?,
        rise: optional(node.get("rise"), int)?.unwrap_or(2),
        fall: optional(node.get("fall"), int)?.unwrap_or(3),
    })
}

fn eject(node: &Node) -> Option<EjectSetup> {
    Some(EjectSetup {
        failures: optional(node.get("failures"), int)?.unwrap_or(5),
        for_ms: duration(node.get("for"))?.map_or(30_000, milliseconds),
    })
}

/// Not none at all: what is to happen every so often would always happen.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_set_up() {
        let text = "\
routes:
  - name: api
    match: { host: ['*.example', shop], path: /api, methods: [GET], headers: { x-beta: '1' } }
    targets: [{ to: 'https://app:443', weight: 0.5 }, { to: '127.0.0.1:9001' }]
    sticky: { cookie: id }
    health: { path: /up, every: 1s }
    eject: {}
    answer_time: 250ms
  - name: rest
    targets: [{ to: '127.0.0.1:9000' }]
    sticky: { by: address }
";
        let setup = parse("routes.yaml", text).expect("valid");
        let [api, rest] = &setup.routes[..] else { panic!("{setup:?}") };
        assert_eq!(
            (api.hosts.len(), api.path.as_deref(), api.answer_time_ms),
            (2, Some("/api"), Some(250))
        );
        assert_eq!(api.targets[0], TargetSetup { to: "https://app:443".to_owned(), weight: 0.5 });
        assert_eq!(api.sticky, Some(StickySetup::Cookie("id".to_owned())));
        let health = HealthSetup {
            path: "/up".to_owned(),
            every_ms: 1_000,
            timeout_ms: 2_000,
            rise: 2,
            fall: 3,
        };
        assert_eq!(
            (&api.health, api.eject),
            (&Some(health), Some(EjectSetup { failures: 5, for_ms: 30_000 }))
        );
        assert_eq!((&rest.sticky, rest.targets[0].weight), (&Some(StickySetup::Address), 1.0));
        assert!(rest.hosts.is_empty() && rest.health.is_none());
    }

    #[test]
    fn every_mistake_is_told_at_its_place() {
        #[track_caller]
        fn check(text: &str, told: &[&str]) {
            let problems = parse("routes.yaml", text).expect_err("refused").render(false);
            for one in told {
                assert!(problems.contains(one), "{one} is not in\n{problems}");
            }
        }
        check("routes: []", &["routes"]);
        check("routes: [{ name: a, target: [] }]", &["targets"]);
        check(
            "routes:\n  - { name: a b, targets: [{ to: x }] }\n  - { name: c, sticky: {} }\n",
            &["a name", "a target", "cookie", "targets"],
        );
        let twice = "routes: [{ name: a, targets: [{ to: 'a:1' }] }, { name: a, targets: [{ to: 'a:1' }] }]";
        check(twice, &["`a`"]);
        let nothing = "routes: [{ name: a, targets: [{ to: 'a:1', weight: 0 }] }]";
        check(nothing, &["one of a weight above 0"]);
    }
}
