//! A canary configuration: what the judge needs of it, and what Prometheus is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umbra_document::check::shorten;
use umbra_document::scalar::to_json;
use umbra_document::take::{text, texts_by_name};
use umbra_document::yaml::Node;
use umbra_judge::classic::Config;

use super::Scope;

/// A canary configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// What is judged, and how.
    pub judged: Config,
    /// What is asked, in the order of the metrics.
    queries: Vec<Query>,
}

/// A query before it is known of which arm it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Query {
    /// All of it.
    Whole(String),
    /// The mean of those series of a metric that are picked so.
    Mean { metric: String, filter: String },
}

/// What begins a text that is a whole query.
const WHOLE: &str = "PromQL:";

/// The configuration in a tree of its form, or why it is none.
pub(super) fn read(node: &Node) -> Result<Canary, String> {
    let judged: Config =
        serde_json::from_value(to_json(node)).map_err(|error| shorten(&error.to_string()))?;
    let templates = texts_by_name(node.get("templates")).unwrap_or_default();
    let metrics = node.get("metrics").map(Node::list).unwrap_or_default();
    let queries =
        metrics.iter().map(|metric| query(metric, &templates)).collect::<Result<_, _>>()?;
    Ok(Canary { judged, queries })
}

fn query(metric: &Node, templates: &BTreeMap<String, String>) -> Result<Query, String> {
    let name = metric.get("name").and_then(Node::text).unwrap_or_default();
    let of = |key| metric.get("query").and_then(|query| query.get(key)).and_then(text);
    let filter = match (of("customInlineTemplate"), of("customFilterTemplate")) {
        (Some(text), _) if !text.is_empty() => Some(text),
        (_, Some(template)) => Some(templates.get(&template).cloned().ok_or_else(|| {
            format!("metric `{}` names a template that is not there", shorten(name))
        })?),
        _ => of("customFilter"),
    };
    let filter = filter.unwrap_or_default();
    if let Some(whole) = filter.trim_start().strip_prefix(WHOLE) {
        return Ok(Query::Whole(whole.trim().to_owned()));
    }
    let metric = of("metricName").ok_or_else(|| {
        format!("metric `{}` has neither a `metricName` nor a query", shorten(name))
    })?;
    Ok(Query::Mean { metric, filter })
}

impl Canary {
    /// The names of all metrics, in their order.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.judged.metrics.iter().map(|metric| metric.name.as_str())
    }

    /// What is asked of a metric of one arm.
    ///
    /// # Errors
    /// It names what the scope does not have, or there is no such metric.
    pub fn query(&self, metric: &str, scope: &Scope) -> Result<String, String> {
        let place = self.metrics().position(|name| name == metric);
        let query = place.and_then(|place| self.queries.get(place));
        let query = query.ok_or_else(|| format!("there is no metric `{}`", shorten(metric)))?;
        match query {
            Query::Whole(text) => fill(text, scope),
            Query::Mean { metric, filter } => {
                let filter = fill(filter, scope)?;
                Ok(format!("avg({metric}{{{filter}}})"))
            }
        }
    }
}

/// With the scope's values in place of `${name}`.
fn fill(text: &str, scope: &Scope) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        filled.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            return Err("a `${` of a query is not closed".to_owned());
        };
        let name = rest[start + 2..start + length].trim();
        let Some(value) = scope.0.get(name) else {
            return Err(format!("the query names `${{{}}}`, no scope does", shorten(name)));
        };
        filled.push_str(value);
        rest = &rest[start + length + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}
