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

use serde_json::Value as Json;
use umbra_document::schema::Schema;
use umbra_document::source::Source;
use umbra_document::whole::Whole;
use umbra_document::yaml::Node;
use umbra_document::{Found, Problem, Problems, check, names};

use super::setup::RoutesSetup;

const DOCUMENT: Whole = Whole { noun: "routes", bytes_max: 1 << 20 };

/// Reads and checks the file at `path`.
///
/// # Errors
/// All that is wrong with it, each with its place.
pub fn load(path: &Path) -> Result<RoutesSetup, Problems> {
    DOCUMENT.load(path, read)
}

/// Checks a text; `name` stands for its path in problems.
///
/// # Errors
/// All that is wrong with it, each with its place.
pub fn parse(name: &str, text: &str) -> Result<RoutesSetup, Problems> {
    DOCUMENT.parse(name, text, read)
}

fn read(root: Node, _: &[Source], found: &mut Found) -> Option<RoutesSetup> {
    check::check(&root, &shapes::ROOT, found);
    let list = root.get("routes").map(Node::list).unwrap_or_default();
    names::unique(list, "routes", "route", found);
    if found.has_errors() {
        return None;
    }
    let setup = extract::setup(&root)?;
    if let Err(error) = setup.check() {
        found.push(Problem::new("route", error.to_string(), root.head(), "these routes"));
    }
    Some(setup)
}

/// A schema that accepts exactly the files whose form is accepted here. That names differ and
/// that some weight is above 0 no schema can say.
pub fn schema() -> Json {
    let mut schema = Schema::default();
    let root = schema.object(&shapes::ROOT);
    schema.published(root, "urn:umbra:routes:1", "umbra routes")
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
