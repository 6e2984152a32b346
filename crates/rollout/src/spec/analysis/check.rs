//! What the form of `analysis` cannot say: conditions, names that exist, keys that go together.
//!
//! Works on any tree, also one the structural check has found fault with: what cannot be
//! understood is passed over here, since it has been reported there.

use std::collections::BTreeMap;

use umbra_document::check::shorten;
use umbra_document::names::{self, Names};
use umbra_document::source::{Source, Span};
use umbra_document::suggest::advice;
use umbra_document::take;
use umbra_document::yaml::Node;
use umbra_document::{Found, Problem};

use super::{extract, kayenta};
use crate::analysis::{Expression, placeholder, prometheus};

/// Records every such problem of the section.
pub(crate) fn check(section: &Node, sources: &[Source], found: &mut Found) {
    let templates = section.get("templates").map(Node::list).unwrap_or_default();
    let names = names::unique(templates, "analysis.templates", "analysis template", found);
    let arguments = section.get("args").map(Node::list).unwrap_or_default();
    names::unique(arguments, "analysis.args", "argument", found);
    let arguments = extract::arguments(section);
    let server = section.get("prometheus").is_some();
    for (index, node) in templates.iter().enumerate() {
        let path = format!("analysis.templates[{index}]");
        Template { node, path, sources, server, arguments: &arguments, found: &mut *found }.check();
    }
    background(section, &names, found);
}

fn background(section: &Node, names: &Names<'_>, found: &mut Found) {
    let background = section.get("background").and_then(|node| node.get("templates"));
    for (index, node) in background.map(Node::list).unwrap_or_default().iter().enumerate() {
        let Some(name) = node.text().filter(|name| !names.contains_key(name)) else { continue };
        let message = format!("there is no analysis template `{}`", shorten(name));
        let known: Vec<&str> = names.keys().copied().collect();
        let problem = Problem::new("unknown-name", message, node.span, "")
            .at(format!("analysis.background.templates[{index}]"))
            .help_if(advice(name, &known));
        found.push(problem);
    }
}

struct Template<'a> {
    node: &'a Node,
    /// Where it stands, such as `analysis.templates[2]`.
    path: String,
    sources: &'a [Source],
    /// Whether there is a server for all.
    server: bool,
    arguments: &'a BTreeMap<String, String>,
    found: &'a mut Found,
}

/// What the judge of a canary configuration decides by itself.
const NOT_JUDGED: [&str; 6] = [
    "interval",
    "count",
    "initialDelay",
    "successCondition",
    "failureCondition",
    "consecutiveSuccessLimit",
];

impl Template<'_> {
    fn check(&mut self) {
        let provider = |key| self.node.get("provider").and_then(|node| node.get(key));
        if let Some(query) = provider("prometheus") {
            self.server(query, "prometheus");
            self.query(query);
            self.range(query);
            self.conditions();
            self.counts();
        }
        if let Some(canary) = provider("kayenta") {
            self.server(canary, "kayenta");
            for key in NOT_JUDGED {
                if let Some(span) = self.node.key_span(key) {
                    let message = format!("`{key}` says nothing where `kayenta` judges");
                    self.report("not-allowed-here", message, span, key, None);
                }
            }
            let path = format!("{}.provider.kayenta", self.path);
            kayenta::check(canary, &path, self.found);
        }
    }

    fn server(&mut self, node: &Node, provider: &str) {
        if self.server || node.get("address").is_some() {
            return;
        }
        let help = "give it here, or for all templates in `analysis.prometheus`".to_owned();
        let message = "nothing says which Prometheus to ask: `address` is missing";
        self.report(
            "missing-key",
            message.to_owned(),
            node.head(),
            &format!("provider.{provider}"),
            Some(help),
        );
    }

    fn query(&mut self, query: &Node) {
        let Some(node) = query.get("query") else { return };
        let Some(text) = node.text() else { return };
        let path = "provider.prometheus.query";
        if text.trim().is_empty() {
            self.report("bad-value", "the query is empty".to_owned(), node.span, path, None);
        }
        if text.len() > QUERY_BYTES_MAX {
            let message = format!("a query has at most {QUERY_BYTES_MAX} bytes");
            self.report("limit", message, node.span, path, None);
        }
        let known: Vec<String> = placeholder::KNOWN
            .into_iter()
            .map(str::to_owned)
            .chain(self.arguments.keys().map(|name| format!("args.{name}")))
            .collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        for (at, name) in placeholder::names(text) {
            if !known.contains(&name) {
                let message = format!("nothing is called `{{{{{}}}}}`", shorten(name));
                let span = self.within(node, at);
                self.report("unknown-name", message, span, path, advice(name, &known));
            }
        }
    }

    fn range(&mut self, query: &Node) {
        let Some(node) = query.get("range") else { return };
        let Some(range) = extract::range(node) else { return };
        if range.window_ms / range.step_ms >= prometheus::RANGE_POINTS_MAX {
            let message = format!(
                "more than {} steps are in this window, more than Prometheus evaluates",
                prometheus::RANGE_POINTS_MAX
            );
            self.report("limit", message, node.head(), "provider.prometheus.range", None);
        }
    }

    fn conditions(&mut self) {
        let keys = ["successCondition", "failureCondition"];
        if keys.iter().all(|key| self.node.get(key).is_none()) {
            let message = "a measurement needs `successCondition` or `failureCondition`";
            let help = "for example successCondition: result[0] >= 0.95".to_owned();
            self.report("missing-key", message.to_owned(), self.node.head(), "", Some(help));
        }
        for key in keys {
            let Some(node) = self.node.get(key) else { continue };
            let Some(Err(error)) = node.text().map(Expression::parse) else { continue };
            let span = self.within(node, error.at);
            let message = format!("it is no condition: {}", error.message);
            self.report("bad-value", message, span, key, None);
        }
    }

    fn counts(&mut self) {
        let count = |key| self.node.get(key).and_then(take::int::<i64>);
        let (Some(wanted), Some(node)) = (count("count"), self.node.get("count")) else { return };
        if wanted > 1 && self.node.get("interval").is_none() {
            let message = format!("{wanted} measurements need an `interval` between them");
            self.report("missing-key", message, node.span, "count", None);
        }
        for key in ["failureLimit", "inconclusiveLimit", "consecutiveSuccessLimit"] {
            let Some(limit) = count(key).filter(|limit| *limit >= wanted) else { continue };
            // As many good ones in a row as there are at all is strict, and makes sense.
            if key == "consecutiveSuccessLimit" && limit == wanted {
                continue;
            }
            let span = self.node.get(key).map_or(node.span, |node| node.span);
            let message = format!("of {wanted} measurements never more than {limit} are of a sort");
            let problem = Problem::new("no-effect", message, span, "it is never reached");
            self.found.push(problem.at(format!("{}.{key}", self.path)).warning());
        }
    }

    /// The part of a text, if it stands in the file as it is, else all of it.
    fn within(&self, node: &Node, at: std::ops::Range<usize>) -> Span {
        let written = self.sources.get(node.span.file).map(|source| source.slice(node.span));
        let found = node.text().zip(written).and_then(|(text, written)| {
            let start = node.span.start + written.find(text)?;
            Some(Span::new(node.span.file, start + at.start..start + at.end))
        });
        found.unwrap_or(node.span)
    }

    fn report(
        &mut self,
        code: &'static str,
        message: String,
        span: Span,
        below: &str,
        help: Option<String>,
    ) {
        let dot = if below.is_empty() { "" } else { "." };
        let problem = Problem::new(code, message, span, "");
        self.found.push(problem.at(format!("{}{dot}{below}", self.path)).help_if(help));
    }
}

/// A query is no longer: it goes into an address.
const QUERY_BYTES_MAX: usize = 4096;
