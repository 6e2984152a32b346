//! SARIF 2.1.0, as code-scanning services read it: a rule for each parameter, a result for each
//! discrepancy.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use umbra_state::escape::line;

use super::{Check, Told};
use crate::config::Severity;
use crate::render::text::json_pretty;
use crate::render::time::rfc3339;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn log(check: &Check, told: &[Told<'_>]) -> String {
    let mut gravest: BTreeMap<&str, Severity> = BTreeMap::new();
    for one in told {
        let severity = gravest.entry(&one.facts.parameter).or_insert(one.severity());
        *severity = one.severity().max(*severity);
    }
    let places: BTreeMap<&str, usize> =
        gravest.keys().enumerate().map(|(index, name)| (*name, index)).collect();
    let rules: Vec<Value> = gravest.iter().map(|(name, severity)| rule(name, *severity)).collect();
    let results: Vec<Value> =
        told.iter().map(|told| result(told, places[told.facts.parameter.as_str()])).collect();
    let unread = check.unread.iter().map(|unread| {
        let part = unread.item.part.as_ref().map(|part| format!(": {}", line(&part.0, 300)));
        let name = line(unread.item.parameter.as_bytes(), 300);
        let why = line(unread.why.as_bytes(), 300);
        let text = format!("{name}{} was not read: {why}", part.unwrap_or_default());
        json!({"level": "error", "message": {"text": text}})
    });
    let notifications: Vec<Value> = unread.collect();
    let run = json!({
        "tool": {"driver": {
            "name": "umbra",
            "version": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        }},
        "columnKind": "unicodeCodePoints",
        "invocations": [{
            "executionSuccessful": check.unread.is_empty(),
            "endTimeUtc": rfc3339(check.checked_at_ms),
            "machine": line(check.primary.as_bytes(), 300),
            "toolExecutionNotifications": notifications,
        }],
        "results": results,
    });
    json_pretty(&json!({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})) + "\n"
}

fn rule(name: &str, severity: Severity) -> Value {
    // What code-scanning services sort by.
    let score = match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    };
    json!({
        "id": name,
        "shortDescription": {"text": format!("{name} is as its shadow")},
        "properties": {"security-severity": score, "tags": ["drift"]},
    })
}

fn result(told: &Told<'_>, rule_index: usize) -> Value {
    let facts = &told.facts;
    let level = match told.severity() {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    };
    let lines: Vec<String> = facts.lines.iter().map(|line| line.signed()).collect();
    let text = format!("{} {}\n{}", facts.name(), facts.what, lines.join("\n"));
    let mut result = json!({
        "ruleId": facts.parameter,
        "ruleIndex": rule_index,
        "level": level,
        "message": {"text": text.trim_end()},
        "partialFingerprints": {"umbraDrift/v1": fingerprint(told)},
        "properties": {
            "severity": told.severity(),
            "provenance": facts.masked.provenance,
            "who": facts.who,
            "since": told.entry.since_ms.map(rfc3339),
        },
    });
    let path = told.entry.path.as_ref().or(told.entry.discrepancy.item.part.as_ref());
    if let Some(path) = path.filter(|path| path.0.starts_with(b"/")) {
        let location = json!({"physicalLocation": {"artifactLocation": {"uri": uri(&path.0)}}});
        result["locations"] = json!([location]);
    } else {
        let location = json!({"logicalLocations": [{"fullyQualifiedName": facts.name()}]});
        result["locations"] = json!([location]);
    }
    result
}

/// The same for the same item, however it differs: a service tells by it what is new.
fn fingerprint(told: &Told<'_>) -> String {
    let item = serde_json::to_vec(&told.entry.discrepancy.item).unwrap_or_default();
    blake3::hash(&item).to_hex()[..16].to_owned()
}

/// An absolute path as a URI: everything but unreserved characters and slashes is encoded.
fn uri(path: &[u8]) -> String {
    let mut out = String::from("file://");
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(*byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
