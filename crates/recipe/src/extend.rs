//! `extends`: another recipe's tree with steps put in between.

use umbra_document::check::shorten;
use umbra_document::diagnostic::{Found, Problem};
use umbra_document::suggest::advice;
use umbra_document::yaml::{Key, Node, Value};

/// The tree of `base` as `derived` changes it.
///
/// Only a name, variables and further steps can differ, so that reading one file is enough
/// to know what the other means.
pub(crate) fn merge(mut base: Node, derived: Node, found: &mut Found) -> Option<Node> {
    if let Some(span) = base.key_span("extends") {
        let message = "the recipe that is extended extends a third one itself";
        found.push(Problem::new("extends", message, span, "only one level is allowed"));
        return None;
    }
    let Value::Map(entries) = &mut base.value else {
        let message = "the recipe that is extended is no mapping";
        found.push(Problem::new("extends", message, base.span, ""));
        return None;
    };
    let Value::Map(changes) = derived.value else { return None };
    for (key, node) in changes {
        match key.text.as_str() {
            "name" => replace(entries, key, node),
            "vars" => merge_vars(entries, key, node),
            "insert" => insert(entries, node, found),
            _ => {}
        }
    }
    Some(base)
}

type Entries = Vec<(Key, Node)>;

fn replace(entries: &mut Entries, key: Key, node: Node) {
    entries.retain(|(known, _)| known.text != key.text);
    entries.push((key, node));
}

fn merge_vars(entries: &mut Entries, key: Key, node: Node) {
    let known = entries.iter_mut().find(|(known, _)| known.text == "vars");
    match (known.map(|(_, vars)| &mut vars.value), node.value) {
        (Some(Value::Map(vars)), Value::Map(changes)) => {
            changes.into_iter().for_each(|(key, node)| replace(vars, key, node));
        }
        (None, value) => entries.push((key, Node { span: node.span, value })),
        _ => {}
    }
}

fn insert(entries: &mut Entries, insertions: Node, found: &mut Found) {
    let steps = entries.iter_mut().find(|(key, _)| key.text == "steps");
    let Some(Value::List(steps)) = steps.map(|(_, node)| &mut node.value) else {
        let message = "the recipe that is extended has no steps to put others behind";
        found.push(Problem::new("extends", message, insertions.head(), ""));
        return;
    };
    let Value::List(insertions) = insertions.value else { return };
    for (index, insertion) in insertions.into_iter().enumerate() {
        let Some(after) = insertion.get("after") else { continue };
        let named = |step: &Node| step.get("name").and_then(Node::text) == after.text();
        let Some(at) = steps.iter().position(named) else {
            let name = after.text().unwrap_or("");
            let known: Vec<&str> =
                steps.iter().filter_map(|step| step.get("name").and_then(Node::text)).collect();
            let message = format!("no step is called `{}`", shorten(name));
            let problem = Problem::new("unknown-step", message, after.span, "unknown step");
            let path = format!("insert[{index}].after");
            found.push(problem.at(path).help_if(advice(name, &known)));
            continue;
        };
        let added = insertion.get("steps").map(Node::list).unwrap_or_default().to_vec();
        steps.splice(at + 1..at + 1, added);
    }
}
