//! `${{ vars.NAME }}` in values, replaced before anything is checked.
//!
//! Strict: a name that is not defined is a problem where it stands. `$${{` stands for a
//! literal `${{`. Keys and the definitions under `vars` themselves are left alone.

use std::collections::BTreeMap;

use umbra_document::diagnostic::{Found, Problem};
use umbra_document::scalar::ScalarType;
use umbra_document::source::{Source, Span};
use umbra_document::suggest::advice;
use umbra_document::yaml::{Node, TEXT_BYTES_MAX, Value};
use umbra_state::escape::escape;

use crate::formats;

/// Values by variable name.
pub(crate) type Vars = BTreeMap<String, String>;

/// The variables a recipe defines, with `overrides` in their place. What is no scalar is
/// left to the structural check to report.
pub(crate) fn defined(root: &Node, overrides: &Vars, found: &mut Found) -> Vars {
    let mut vars = Vars::new();
    let entries = root.get("vars").map(Node::map).unwrap_or_default();
    for (key, node) in entries {
        let Some(scalar) = node.scalar() else { continue };
        if scalar.text.contains(OPEN) {
            let message = "a variable cannot be made of other variables";
            found.push(Problem::new("bad-value", message, node.span, "a reference").at("vars"));
        }
        if scalar.written_type() != ScalarType::Null {
            vars.insert(key.text.clone(), scalar.text.clone());
        }
    }
    for (name, value) in overrides {
        if vars.insert(name.clone(), value.clone()).is_none() {
            let shown = escape(name.as_bytes());
            let message =
                format!("`{shown}` is set from outside, but the recipe has no such variable");
            let span = root.key_span("vars").unwrap_or_else(|| root.head());
            let known: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
            let problem = Problem::new("unknown-var", message, span, "it would be defined here");
            found.push(problem.at("vars").help_if(advice(name, &known)));
        }
    }
    vars
}

/// Replaces every reference in the values below `root`. Returns the names that were used.
pub(crate) fn substitute(
    root: &mut Node,
    vars: &Vars,
    sources: &[Source],
    found: &mut Found,
) -> Used {
    let mut run = Run { vars, sources, found, used: Used::new(), text_bytes: 0 };
    if let Value::Map(entries) = &mut root.value {
        for (key, node) in entries.iter_mut().filter(|(key, _)| key.text != "vars") {
            run.node(node, &key.text);
        }
    }
    run.used
}

/// Warns about variables that nothing refers to.
pub(crate) fn warn_unused(root: &Node, used: &Used, found: &mut Found) {
    let entries = root.get("vars").map(Node::map).unwrap_or_default();
    for (key, _) in entries.iter().filter(|(key, _)| !used.contains(&key.text)) {
        let message = format!("the variable `{}` is not used", escape(key.text.as_bytes()));
        found.push(Problem::new("unused-var", message, key.span, "").at("vars").warning());
    }
}

/// Names of variables that occur in some reference.
pub(crate) type Used = std::collections::BTreeSet<String>;

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

struct Run<'a> {
    vars: &'a Vars,
    sources: &'a [Source],
    found: &'a mut Found,
    used: Used,
    text_bytes: usize,
}

/// A text with its references replaced.
#[derive(Default)]
struct Replaced {
    text: String,
    references: usize,
    /// Some of them lead nowhere.
    unresolved: bool,
}

impl Run<'_> {
    fn node(&mut self, node: &mut Node, path: &str) {
        let span = node.span;
        match &mut node.value {
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for (key, node) in entries {
                    self.node(node, &format!("{path}.{}", key.text));
                }
            }
            Value::Scalar(scalar) if scalar.text.contains(OPEN) => {
                let replaced = self.text(&scalar.text, span, path);
                scalar.text = replaced.text;
                scalar.substituted = replaced.references > 0;
                scalar.unresolved = replaced.unresolved;
            }
            Value::Scalar(_) => {}
        }
    }

    fn text(&mut self, text: &str, span: Span, path: &str) -> Replaced {
        let mut replaced = Replaced::default();
        let mut rest = text;
        let sources = self.sources;
        let written = sources.get(span.file).map_or("", |source| source.slice(span));
        let mut markers = written.match_indices(OPEN);
        while let Some(at) = rest.find(OPEN) {
            let marker = markers.next().map(|(at, _)| span.start + at);
            if rest[..at].ends_with('$') {
                replaced.text.push_str(&rest[..at - 1]);
                replaced.text.push_str(OPEN);
                rest = &rest[at + OPEN.len()..];
            } else {
                replaced.text.push_str(&rest[..at]);
                let reference = &rest[at..];
                let end = reference.find(CLOSE).map(|end| end + CLOSE.len());
                let whole = &reference[..end.unwrap_or(OPEN.len())];
                let place = place(span, marker, whole.len());
                match self.value(whole, end.is_some(), place, path) {
                    Some(value) => replaced.text.push_str(&value),
                    None => replaced.unresolved = true,
                }
                replaced.references += 1;
                rest = &reference[whole.len()..];
            }
        }
        replaced.text.push_str(rest);
        replaced
    }

    fn value(&mut self, whole: &str, closed: bool, place: Span, path: &str) -> Option<String> {
        let inner = whole.strip_prefix(OPEN)?.strip_suffix(CLOSE).unwrap_or("").trim();
        let name = inner.strip_prefix("vars.").filter(|name| (formats::VAR.check)(name).is_ok());
        let Some(name) = name.filter(|_| closed) else {
            let message = "a reference to a variable is written `${{ vars.NAME }}`";
            let problem = Problem::new("bad-reference", message, place, "this is none").at(path);
            self.found.push(problem.help("for a literal `${{` write `$${{`"));
            return None;
        };
        let Some(value) = self.vars.get(name) else {
            let message = format!("no variable `{name}` is defined");
            let known: Vec<&str> = self.vars.keys().map(String::as_str).collect();
            let near = if self.found.is_crowded() { None } else { advice(name, &known) };
            let help = near.unwrap_or_else(|| format!("define it: `vars: {{{name}: VALUE}}`"));
            let problem = Problem::new("unknown-var", message, place, "used here").at(path);
            self.found.push(problem.help(help));
            return None;
        };
        self.used.insert(name.to_owned());
        self.text_bytes += value.len();
        if self.text_bytes > TEXT_BYTES_MAX {
            let message = format!("inserted variables exceed {TEXT_BYTES_MAX} bytes");
            self.found.push(Problem::new("limit", message, place, "at this one").at(path));
            return None;
        }
        Some(value.clone())
    }
}

/// Where a reference was written. Quoting may have changed the text around it, but hardly
/// the marker itself; if it did, the whole scalar is marked.
fn place(scalar: Span, marker: Option<usize>, length: usize) -> Span {
    match marker {
        Some(start) => Span::new(scalar.file, start..(start + length).min(scalar.end)),
        None => scalar,
    }
}
