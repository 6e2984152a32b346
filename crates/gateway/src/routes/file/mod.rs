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

mod extract;
mod shapes;

use std::path::Path;

use serde_json::{Value as Json, json};
use umbra_document::file::{ReadError, read_text};
use umbra_document::schema::{Schema, sorted};
use umbra_document::source::Source;
use umbra_document::yaml::Node;
use umbra_document::{Found, Problem, Problems, check, names, yaml};
use umbra_state::escape::escape;

use super::setup::RoutesSetup;

/// A file may be this long.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    check::check(&root, &shapes::ROOT, found);
    let list = root.get("routes").map(Node::list).unwrap_or_default();
    names::unique(list, "routes", "route", found);
    if found.has_errors() {
        return None;
    }
    let setup = extract::setup(&root);
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

/// A schema that accepts exactly the files whose form is accepted here. That names differ and
/// that some weight is above 0 no schema can say.
pub fn schema() -> Json {
    let mut schema = Schema::default();
    let mut root = schema.object(&shapes::ROOT);
    root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    root["$id"] = "urn:umbra:routes:1".into();
    root["title"] = "umbra routes".into();
    root["definitions"] = schema.definitions();
    sorted(json!(root))
}

#[cfg(test)]
mod tests {
    use umbra_document::laws;

    use crate::listen::proxy_header::Version;

    use super::super::setup::{EjectSetup, HealthSetup, StickySetup, TargetSetup};
    use super::*;

    #[test]
    fn nouns_name_shapes_uniquely() {
        assert!(laws::nouns_are_unique(&[&shapes::ROOT]) > 5);
    }

    #[test]
    fn forms_and_patterns_agree() {
        // Whether a port is one, and a path one of a URL, no pattern says.
        let stricter = [&shapes::TARGET, &shapes::PATH];
        laws::forms_agree(&[&shapes::TARGET, &shapes::NAME, &shapes::PATH], &stricter);
    }

    /// `UMBRA_BLESS=1` writes the file anew.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/routes.schema.json");
        laws::is_published(path.as_ref(), &schema());
    }

    #[test]
    fn what_is_written_is_what_is_set_up() {
        let text = "\
routes:
  - name: api
    match: { host: ['*.example', shop], path: /api, methods: [GET], headers: { x-beta: '1' } }
    targets: [{ to: 'https://app:443', weight: 0.5, send_proxy: v2 }, { to: '127.0.0.1:9001' }]
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
        assert_eq!(
            api.targets[0],
            TargetSetup {
                to: "https://app:443".to_owned(),
                weight: 0.5,
                send_proxy: Some(Version::V2),
            }
        );
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
