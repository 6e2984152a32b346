//! Names that must differ.

use std::collections::BTreeMap;

use crate::check::shorten;
use crate::diagnostic::{Found, Problem};
use crate::source::Span;
use crate::yaml::Node;

/// Where each name stands first.
pub type Names<'n> = BTreeMap<&'n str, Span>;

/// The values of `name` among `items`, which stand at `path` and are each a `noun`; a second
/// one of a name is a problem.
pub fn unique<'n>(items: &'n [Node], path: &str, noun: &str, found: &mut Found) -> Names<'n> {
    let mut names = Names::new();
    for (index, node) in items.iter().enumerate() {
        let Some(name_node) = node.get("name") else { continue };
        let Some(name) = name_node.text().filter(|name| !name.is_empty()) else { continue };
        let Some(first) = names.get(name).copied() else {
            names.insert(name, name_node.span);
            continue;
        };
        let message = format!("two {noun}s have the name `{}`", shorten(name));
        let problem = Problem::new("duplicate-name", message, name_node.span, "the second one")
            .at(format!("{path}[{index}].name"))
            .also(first, "the first one");
        found.push(problem);
    }
    names
}
