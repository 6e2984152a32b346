//! Text for people: a line, a screen, a notification.

use super::{by, difference, suggestion, who};
use crate::alert::Standing;
use crate::render::text::cut;
use crate::render::time::rfc3339;
use crate::sink::document::Telling;

/// One line for a log.
pub(in crate::sink) fn line(telling: &Telling<'_>) -> String {
    format!("{}; {}\n", telling.title, by(telling, 1000))
}

/// Lines of a difference that leave room for the rest on a screen of 24.
const DIFFERENCE_LINES: usize = 8;

/// One screen of a terminal.
pub(in crate::sink) fn screen(telling: &Telling<'_>) -> String {
    let (alert, facts) = (telling.alert, &telling.facts);
    let mut lines = vec![telling.title.clone()];
    lines.push(format!("  where      {}", facts.place()));
    lines.push(format!("  since      {}", rfc3339(alert.differs_since_ms())));
    if let Some(tolerance) = facts.tolerance() {
        lines.push(format!("  tolerated  {tolerance}"));
    }
    for (index, who) in facts.who.iter().take(3).enumerate() {
        lines.push(format!(
            "  {}  {}",
            if index == 0 { "who      " } else { "         " },
            cut(who, 300)
        ));
    }
    if let Some(ended) = alert.ended.filter(|_| alert.standing == Standing::Resolved) {
        lines.push(format!("  over       {} at {}", ended.as_str(), rfc3339(alert.since_ms)));
    }
    let shown = difference(telling, 4000);
    let all = shown.lines().count();
    lines
        .extend(shown.lines().take(DIFFERENCE_LINES).map(|line| format!("    {}", cut(line, 300))));
    if all > DIFFERENCE_LINES {
        lines.push(format!("      ... {} lines more", all - DIFFERENCE_LINES));
    }
    if let Some(suggestion) = suggestion(telling) {
        lines.push(format!("  note       {suggestion}"));
    }
    let steps = alert.next_steps.iter().take(4);
    lines.extend(steps.enumerate().map(|(index, step)| {
        format!("  {}  {}", if index == 0 { "next     " } else { "         " }, cut(step, 1000))
    }));
    lines.join("\n") + "\n"
}

/// The body of a notification, in which some servers read markup.
pub(in crate::sink) fn desktop(telling: &Telling<'_>) -> String {
    let mut text = difference(telling, 500);
    if !telling.facts.who.is_empty() {
        text.push_str(&format!("\nby {}", who(telling, 300)));
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
