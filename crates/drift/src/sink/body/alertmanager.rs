//! Alerts for version 2 of Alertmanager's API.
//!
//! An Alertmanager holds an alert by its labels and forgets it at its `endsAt`, so what is open
//! is told again ([`again`]) every [`REFRESH_MS`], and ends by itself [`ENDS_AFTER_MS`] after the
//! daemon has ended. A severity is a label, since people route by it: when it changes the alert
//! under the label before is ended in the same request.

use serde::Serialize;

use super::{difference, who};
use crate::alert::{Alert, Standing};
use crate::config::Severity;
use crate::render::text::json;
use crate::render::time::rfc3339;
use crate::sink::document::Telling;

/// How often all open alerts are to be told again.
pub const REFRESH_MS: i64 = 5 * 60_000;
/// When an alert ends that is not told again: it may be missed twice.
pub const ENDS_AFTER_MS: i64 = 3 * REFRESH_MS;

/// Alerts in one request.
const ALERTS_MAX: usize = 200;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: Labels<'a>,
    annotations: Annotations,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

#[derive(Serialize)]
struct Labels<'a> {
    alertname: &'static str,
    instance: String,
    parameter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a str>,
    severity: Severity,
}

#[derive(Serialize)]
struct Annotations {
    summary: String,
    description: String,
    who: String,
    next_steps: String,
    id: String,
}

/// What is posted of one telling.
pub(in crate::sink) fn alerts(telling: &Telling<'_>) -> String {
    json(&posted(telling, telling.alert.told_at_ms))
}

/// What is posted to tell all open alerts again, in requests of bounded size. These need no
/// outbox: the next ones tell the same.
pub fn again<'a>(
    open: impl IntoIterator<Item = &'a Alert>,
    pages: Option<&str>,
    now_ms: i64,
) -> Vec<String> {
    let tellings: Vec<Telling<'_>> =
        open.into_iter().map(|alert| Telling::new(alert, pages)).collect();
    let requests = tellings.chunks(ALERTS_MAX);
    requests
        .map(|some| json(&some.iter().flat_map(|one| posted(one, now_ms)).collect::<Vec<_>>()))
        .collect()
}

fn posted<'a>(telling: &'a Telling<'_>, now_ms: i64) -> Vec<Posted<'a>> {
    let alert = telling.alert;
    let severity = alert.discrepancy.severity;
    let over = alert.standing == Standing::Resolved;
    let ends_at_ms = if over { now_ms } else { now_ms.saturating_add(ENDS_AFTER_MS) };
    let others = alert.severities.iter().copied().filter(|other| *other != severity);
    let mut all = vec![one(telling, severity, ends_at_ms)];
    all.extend(others.map(|other| one(telling, other, now_ms)));
    all
}

fn one<'a>(telling: &'a Telling<'_>, severity: Severity, ends_at_ms: i64) -> Posted<'a> {
    let (alert, facts) = (telling.alert, &telling.facts);
    Posted {
        labels: Labels {
            alertname: "UmbraDrift",
            instance: telling.primary(),
            parameter: &facts.parameter,
            part: facts.part.as_deref(),
            severity,
        },
        annotations: Annotations {
            summary: telling.title.clone(),
            description: difference(telling, 1500),
            who: who(telling, 500),
            next_steps: crate::render::text::cut(&alert.next_steps.join("\n"), 2000).to_owned(),
            id: telling.id.clone(),
        },
        starts_at: rfc3339(alert.opened_at_ms),
        // An alert must not end before it starts.
        ends_at: rfc3339(ends_at_ms.max(alert.opened_at_ms)),
        generator_url: telling.link.as_deref(),
    }
}
