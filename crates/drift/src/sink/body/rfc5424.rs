//! A syslog message (RFC 5424).

use super::who;
use crate::alert::Standing;
use crate::config::{Facility, Severity};
use crate::render::text::cut;
use crate::render::time::rfc3339;
use crate::sink::document::Telling;

/// Every receiver of datagrams should take as much (RFC 5426, 3.2).
const DATAGRAM_BYTES_MAX: usize = 2048;
const MESSAGE_BYTES_MAX: usize = 8192;
/// So much of each value that all of them, escaped, fit into a datagram.
const VALUE_BYTES_MAX: usize = 100;
/// Names of structured data need a number; this one is set aside for examples (RFC 5612), and
/// no other product's data has the part in front of it.
const SD_ID: &str = "umbra@32473";

/// The message, without the frame a transport puts around it.
pub(in crate::sink) fn message(
    telling: &Telling<'_>,
    facility: Facility,
    app: &str,
    datagram: bool,
) -> String {
    let (alert, facts) = (telling.alert, &telling.facts);
    let header = Header {
        facility,
        severity: alert.discrepancy.severity,
        over: alert.standing == Standing::Resolved,
        at_ms: alert.told_at_ms,
        host: &telling.primary(),
        app,
        kind: alert.news.as_str(),
    };
    let mut data = vec![("id", telling.telling.clone())];
    data.push(("severity", alert.discrepancy.severity.as_str().to_owned()));
    data.push(("parameter", facts.parameter.clone()));
    data.extend(facts.part.clone().map(|part| ("part", part)));
    data.extend(facts.path.clone().map(|path| ("path", path)));
    data.push(("opened", rfc3339(alert.opened_at_ms)));
    data.push(("who", who(telling, 200)));
    let changes: Vec<String> = facts.lines.iter().take(20).map(|line| line.signed()).collect();
    let text = format!("{}: {}", telling.title, changes.join(" | "));
    written(&header, &data, &text, datagram)
}

/// What stands before the data.
pub(in crate::sink) struct Header<'a> {
    pub(in crate::sink) facility: Facility,
    pub(in crate::sink) severity: Severity,
    pub(in crate::sink) over: bool,
    pub(in crate::sink) at_ms: i64,
    pub(in crate::sink) host: &'a str,
    pub(in crate::sink) app: &'a str,
    pub(in crate::sink) kind: &'a str,
}

/// A message of all its parts.
pub(in crate::sink) fn written(
    header: &Header<'_>,
    data: &[(&str, String)],
    text: &str,
    datagram: bool,
) -> String {
    let Header { facility, severity: grave, over, at_ms, host, app, kind } = header;
    let priority = u32::from(facility.number()) * 8 + severity(*grave, *over);
    let (host, app, kind) = (name(host, 255), name(app, 48), name(kind, 32));
    let parameters = data.iter().map(|(name, text)| {
        let text = value(cut(text, VALUE_BYTES_MAX));
        format!(" {name}=\"{text}\"")
    });
    let data: String = parameters.collect();
    let bytes_max = if datagram { DATAGRAM_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    let at = rfc3339(*at_ms);
    // The mark in front of the text says that it is UTF-8.
    let message =
        format!("<{priority}>1 {at} {host} {app} - {kind} [{SD_ID}{data}] \u{feff}{text}");
    cut(&message, bytes_max).to_owned()
}

fn severity(severity: Severity, over: bool) -> u32 {
    match severity {
        _ if over => 6,
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
    }
}

/// A field of the header: printable ASCII without a space.
fn name(text: &str, bytes_max: usize) -> String {
    let field: String =
        text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(bytes_max).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

/// `"`, `\` and `]` end what they stand in unless a backslash is in front.
fn value(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace(']', r"\]")
}
