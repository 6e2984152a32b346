//! For a person at a terminal.

use umbra_state::escape::line;

use super::{Check, Told};
use crate::alert::{Key, Standing, next_steps, word};
use crate::render::text::count;
use crate::render::time::{moment, span};

/// Lines of one difference; `umbra drift show` has all of them.
const LINES_MAX: usize = 12;
const CHARS_MAX: usize = 200;
/// Items not read that are named.
const UNREAD_MAX: usize = 50;

pub(super) fn report(check: &Check, told: &[Told<'_>]) -> String {
    let mut lines = vec![head(check), circumstances(check)];
    let mut severity = None;
    for one in told {
        if severity != Some(one.severity()) {
            severity = Some(one.severity());
            lines.push(String::new());
            lines.push(one.severity().as_str().to_uppercase());
        }
        entry(check, one, &mut lines);
    }
    if !check.unread.is_empty() {
        lines.push(String::new());
        lines.push("NOT READ, so that nothing is known of it".to_owned());
        for unread in check.unread.iter().take(UNREAD_MAX) {
            let part = unread.item.part.as_ref().map(|part| line(&part.0, CHARS_MAX));
            let part = part.map(|part| format!(": {part}")).unwrap_or_default();
            let name = line(unread.item.parameter.as_bytes(), CHARS_MAX);
            lines.push(format!("  {name}{part}: {}", line(unread.why.as_bytes(), CHARS_MAX)));
        }
        let more = check.unread.len().saturating_sub(UNREAD_MAX);
        if more > 0 {
            lines.push(format!("  ... and {more} more"));
        }
    }
    if !told.is_empty() {
        lines.push(String::new());
        lines.push("what next, for one parameter with --parameter NAME".to_owned());
        let whole = next_steps_of(&check.primary);
        lines.extend(whole.into_iter().map(|(what, step)| format!("  {what:<19} {step}")));
    }
    lines.join("\n") + "\n"
}

/// For all of a primary at once.
fn next_steps_of(primary: &str) -> [(&'static str, String); 3] {
    let primary = word(primary.as_bytes());
    [
        ("try it on a shadow", format!("umbra rehearse rollback {primary}")),
        ("put it back", format!("umbra drift rollback {primary}")),
        ("keep it", format!("umbra drift accept {primary} --reason 'WHY'")),
    ]
}

fn head(check: &Check) -> String {
    let primary = line(check.primary.as_bytes(), CHARS_MAX);
    let severities = check.severities();
    let counts: Vec<String> =
        severities.iter().map(|(severity, count)| format!("{count} {severity}")).collect();
    if counts.is_empty() && check.unread.is_empty() {
        return format!("{primary} is as its shadow");
    }
    if counts.is_empty() {
        return format!("{primary}: nothing differs of what could be read");
    }
    if check.entries.iter().all(|entry| entry.discrepancy.is_ahead()) {
        let soon = count(check.entries.len() as u64, "number", "numbers");
        return format!("{primary} is as its shadow, and {soon} will not be as expected");
    }
    format!("{primary} has drifted: {}", counts.join(", "))
}

fn circumstances(check: &Check) -> String {
    let mut text = format!(
        "{} of {} held against the shadow of {} at {}",
        count(check.items, "item", "items"),
        count(check.parameters, "parameter", "parameters"),
        moment(check.shadow_at_ms),
        moment(check.checked_at_ms),
    );
    if !check.unread.is_empty() {
        text.push_str(&format!(", {} not read", check.unread.len()));
    }
    text
}

fn entry(check: &Check, told: &Told<'_>, lines: &mut Vec<String>) {
    let facts = &told.facts;
    lines.push(format!("  {} {}", facts.name(), facts.what));
    if let Some(path) = facts.path.as_ref().filter(|path| facts.part.as_ref() != Some(*path)) {
        lines.push(format!("    where  {path}"));
    }
    if let Some(since_ms) = told.entry.since_ms {
        let ago = span(check.checked_at_ms.saturating_sub(since_ms));
        lines.push(format!("    since  {} ({ago})", moment(since_ms)));
    }
    if let Some(tolerance) = facts.tolerance() {
        lines.push(format!("    fine   {tolerance}"));
    }
    for (index, who) in facts.who.iter().enumerate() {
        lines.push(format!("    {}  {who}", if index == 0 { "who  " } else { "     " }));
    }
    for shown in facts.lines.iter().take(LINES_MAX) {
        lines.push(format!("      {}", shown.signed()));
    }
    let more = facts.lines.len().saturating_sub(LINES_MAX) + facts.more_lines;
    if more > 0 {
        lines.push(format!("      ... {} more", count(more as u64, "line", "lines")));
    }
    let item = told.entry.discrepancy.item.clone();
    let key = Key { primary: check.primary.clone(), item };
    // The first shows it and says what else can be done.
    let step = next_steps(&key, Standing::Open, &[]).into_iter().next();
    lines.extend(step.map(|step| format!("    next   {step}")));
}
