//! An alert as JSON in umbra's own words, for webhooks and programs.

use serde::Serialize;

use super::{difference, suggestion};
use crate::alert::{News, Standing};
use crate::config::{Provenance, Severity};
use crate::render::text::{cut, json};
use crate::render::time::rfc3339;
use crate::sink::document::Telling;

/// The form's number: keys are added under one number, changed only under another.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Object<'a> {
    version: u32,
    id: &'a str,
    told: u64,
    title: &'a str,
    primary: String,
    parameter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    severity: Severity,
    standing: Standing,
    news: News,
    provenance: Provenance,
    what: &'a str,
    difference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<String>,
    who: Vec<&'a str>,
    opened_at: String,
    since: String,
    seen: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
    next_steps: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
}

/// The object, on one line.
pub(in crate::sink) fn object(telling: &Telling<'_>) -> String {
    let (alert, facts) = (telling.alert, &telling.facts);
    json(&Object {
        version: VERSION,
        id: &telling.id,
        told: alert.told,
        title: &telling.title,
        primary: telling.primary(),
        parameter: &facts.parameter,
        part: facts.part.as_deref(),
        path: facts.path.as_deref(),
        severity: alert.discrepancy.severity,
        standing: alert.standing,
        news: alert.news,
        provenance: alert.discrepancy.provenance,
        what: &facts.what,
        difference: difference(telling, 8 << 10),
        tolerance: facts.tolerance(),
        who: facts.who.iter().map(|who| cut(who, 1000)).collect(),
        opened_at: rfc3339(alert.opened_at_ms),
        since: rfc3339(alert.since_ms),
        seen: alert.seen,
        ended: alert.ended.map(|ended| ended.as_str()),
        suggestion: suggestion(telling),
        next_steps: alert.next_steps.iter().take(8).map(|step| cut(step, 1000)).collect(),
        link: telling.link.as_deref(),
    })
}
