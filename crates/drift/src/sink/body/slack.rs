//! A message for Slack's incoming webhooks, and what understands the same (Mattermost, Rocket
//! Chat, Discord's `/slack`): plain text, one attachment, no blocks.

use serde_json::json;

use super::{difference, suggestion, who};
use crate::alert::Standing;
use crate::config::Severity;
use crate::render::text::{cut, json as printable};
use crate::render::time::rfc3339;
use crate::sink::document::Telling;

/// The message.
pub(in crate::sink) fn message(telling: &Telling<'_>) -> String {
    let (alert, facts) = (telling.alert, &telling.facts);
    let mut fields = vec![
        json!({"title": "Primary", "value": escape(&telling.primary()), "short": true}),
        json!({"title": "Parameter", "value": escape(&facts.name()), "short": true}),
        json!({"title": "Severity", "value": alert.discrepancy.severity, "short": true}),
        json!({"title": "Since", "value": rfc3339(alert.differs_since_ms()), "short": true}),
    ];
    if !facts.who.is_empty() {
        let who = escape(&who(telling, 1000));
        fields.push(json!({"title": "Who", "value": who, "short": false}));
    }
    if let Some(suggestion) = suggestion(telling) {
        fields.push(json!({"title": "Note", "value": escape(&suggestion), "short": false}));
    }
    let steps: Vec<&str> = alert.next_steps.iter().take(4).map(|step| cut(step, 500)).collect();
    if !steps.is_empty() {
        let value = format!("```{}```", code(&steps.join("\n")));
        fields.push(json!({"title": "Next", "value": value, "short": false}));
    }
    let difference = difference(telling, 3000);
    let text =
        if difference.is_empty() { String::new() } else { format!("```{}```", code(&difference)) };
    let mut attachment = json!({
        "fallback": escape(&telling.title),
        "color": color(alert.standing == Standing::Resolved, alert.discrepancy.severity),
        "text": text,
        "fields": fields,
        "mrkdwn_in": ["text", "fields"],
        "ts": alert.since_ms.div_euclid(1000),
    });
    if let Some(link) = &telling.link {
        attachment["title"] = "Open".into();
        attachment["title_link"] = link.as_str().into();
    }
    printable(&json!({"text": escape(&telling.title), "attachments": [attachment]}))
}

/// `&`, `<` and `>` are what Slack reads commands from, such as `<!channel>`.
pub(in crate::sink) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Inside of a block of code; three backticks would end it.
pub(in crate::sink) fn code(text: &str) -> String {
    escape(text).replace("```", "'''")
}

/// The colour of what is well, or so grave.
pub(in crate::sink) fn color(is_well: bool, severity: Severity) -> &'static str {
    match (is_well, severity) {
        (true, _) => "good",
        (_, Severity::Critical | Severity::High) => "danger",
        (_, Severity::Medium) => "warning",
        (_, Severity::Low) => "#439fe0",
    }
}
