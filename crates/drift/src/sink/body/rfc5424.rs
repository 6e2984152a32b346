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
    let over = alert.standing == Standing::Resolved;
    let priority = u32::from(facility.number()) * 8 + severity(alert.discrepancy.severity, over);
    let header = format!(
        "<{priority}>1 {} {} {} - {}",
        rfc3339(alert.told_at_ms),
        name(&telling.primary(), 255),
        name(app, 48),
        name(alert.news.as_str(), 32),
    );
    let mut data = format!("[{SD_ID}");
    let mut parameter = |name: &str, text: &str| {
        data.push_str(&format!(" {name}=\"{}\"", value(cut(text, VALUE_BYTES_MAX))));
    };
    parameter("id", &telling.telling);
    parameter("severity", alert.discrepancy.severity.as_str());
    parameter("parameter", &facts.parameter);
    if let Some(part) = &facts.part {
        parameter("part", part);
    }
    if let Some(path) = &facts.path {
        parameter("path", path);
    }
    let since = rfc3339(alert.opened_at_ms);
    parameter("opened", &since);
    parameter("who", &who(telling, 200));
    data.push(']');
    let changes: Vec<String> = facts.lines.iter().take(20).map(|line| line.signed()).collect();
    let text = format!("{}: {}", telling.title, changes.join(" | "));
    let bytes_max = if datagram { DATAGRAM_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    // The mark in front of the text says that it is UTF-8.
    let message = format!("{header} {data} \u{feff}{text}");
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
