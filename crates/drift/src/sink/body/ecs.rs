//! A line of JSON whose fields are named as the Elastic Common Schema 8.11 names them, so that
//! what reads other integrity monitors reads this.

use serde_json::{Map, Value, json};
use umbra_state::escape::line as shown;

use super::{difference, suggestion};
use crate::alert::{News, Standing};
use crate::config::Severity;
use crate::render::text::{cut, json as printable};
use crate::render::time::rfc3339;
use crate::render::{argv, program_name};
use crate::sink::document::Telling;
use crate::watch::who::Writer;

/// One line.
pub(in crate::sink) fn line(telling: &Telling<'_>) -> String {
    let (alert, facts) = (telling.alert, &telling.facts);
    let mut event = json!({
        "kind": "alert",
        "category": ["configuration"],
        "type": [kind(telling)],
        "action": format!("drift-{}", alert.news),
        "dataset": "umbra.drift",
        "provider": "umbra",
        "id": telling.telling,
        "severity": severity(alert.discrepancy.severity),
        "start": rfc3339(alert.opened_at_ms),
        "reason": facts.what,
        "original": difference(telling, 8 << 10),
    });
    if alert.standing == Standing::Resolved {
        event["end"] = rfc3339(alert.since_ms).into();
        event["duration"] =
            alert.since_ms.saturating_sub(alert.opened_at_ms).saturating_mul(1_000_000).into();
    }
    let mut fields = json!({
        "@timestamp": rfc3339(alert.told_at_ms),
        "ecs": {"version": "8.11.0"},
        "message": telling.title,
        "event": event,
        "host": {"name": telling.primary()},
        "rule": {"name": facts.parameter, "category": "drift"},
        "log": {"level": alert.discrepancy.severity.as_str()},
        "umbra": {"alert": {
            "id": telling.id,
            "told": alert.told,
            "standing": alert.standing,
            "news": alert.news,
            "provenance": alert.discrepancy.provenance,
            "seen": alert.seen,
            "part": facts.part,
            "tolerance": facts.tolerance(),
            "ended": alert.ended.map(|ended| ended.as_str()),
            "suggestion": suggestion(telling),
            "next_steps": alert.next_steps.iter().take(8).map(|step| cut(step, 1000)).collect::<Vec<_>>(),
        }},
    });
    if let Some(path) = &facts.path {
        let name = path.rsplit('/').next().unwrap_or(path);
        fields["file"] = json!({"path": path, "name": name});
        fields["event"]["category"] = json!(["configuration", "file"]);
    }
    if let Some(link) = &telling.link {
        fields["event"]["url"] = link.as_str().into();
    }
    let writer = alert.attribution.as_ref().and_then(|who| who.writers.last());
    if let Some(writer) = writer {
        fields["process"] = process(writer);
        if let Some(uid) = writer.uid {
            fields["user"] = json!({"id": uid.to_string()});
        }
        if let Some(container) = &writer.origin.container {
            fields["container"] = json!({"id": shown(container.as_bytes(), 200)});
        }
        if let Some(unit) = &writer.origin.unit {
            fields["service"] = json!({"name": shown(unit.as_bytes(), 200)});
        }
    }
    strip(&mut fields);
    printable(&fields) + "\n"
}

fn kind(telling: &Telling<'_>) -> &'static str {
    match telling.alert.news {
        News::Resolved => "end",
        _ if telling.facts.appeared() => "creation",
        _ if telling.facts.vanished() => "deletion",
        _ => "change",
    }
}

/// As syslog numbers them, times ten: more is graver.
pub(in crate::sink) fn severity(severity: Severity) -> u64 {
    match severity {
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

fn process(writer: &Writer) -> Value {
    let argv: Vec<String> = argv(writer).into_iter().take(32).collect();
    let executable = program_name(&writer.program);
    let name = executable.as_ref().and_then(|path| path.rsplit('/').next());
    let mut process = json!({"pid": writer.pid, "executable": executable, "name": name});
    if !argv.is_empty() {
        process["command_line"] = cut(&argv.join(" "), 2000).into();
        process["args"] = json!(argv);
    }
    if let Some(parent) = writer.parents.first() {
        process["parent"] = json!({"pid": parent.pid, "executable": program_name(parent)});
    }
    process
}

/// What is not known has no field.
fn strip(value: &mut Value) {
    if let Value::Object(map) = value {
        let fields = std::mem::take(map).into_iter().filter(|(_, value)| !value.is_null());
        *map = fields
            .map(|(key, mut value)| {
                strip(&mut value);
                (key, value)
            })
            .collect::<Map<_, _>>();
    }
}
