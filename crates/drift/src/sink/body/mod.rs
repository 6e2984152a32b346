//! What is in a document, for each kind of sink. Pure, and bounded by how much of each thing is
//! told.

pub(super) mod alertmanager;
pub(super) mod ecs;
pub(super) mod rfc5424;
pub(super) mod slack;
#[cfg(test)]
mod tests;
pub(super) mod text;
pub(super) mod webhook;

use super::document::Telling;
use crate::render::{Line, text::cut};

/// The difference in one text of at most so many bytes, the rest counted.
fn difference(telling: &Telling<'_>, bytes_max: usize) -> String {
    let mut text = String::new();
    let lines = &telling.facts.lines;
    for (shown, next) in lines.iter().map(Line::signed).enumerate() {
        let last_words = 40;
        if text.len() + next.len() + last_words > bytes_max {
            let more = lines.len() - shown + telling.facts.more_lines;
            text.push_str(&format!("  ... {more} lines more\n"));
            return text;
        }
        text.push_str(&next);
        text.push('\n');
    }
    if telling.facts.more_lines > 0 {
        text.push_str(&format!("  ... {} lines more\n", telling.facts.more_lines));
    }
    text
}

/// Who, in one text.
fn who(telling: &Telling<'_>, bytes_max: usize) -> String {
    cut(&telling.facts.who.join("; "), bytes_max).to_owned()
}

/// Who did it; where nobody did anything, what there is to say besides the title.
fn by(telling: &Telling<'_>, bytes_max: usize) -> String {
    if telling.facts.who.is_empty() {
        let lines = telling.facts.lines.iter().map(|line| line.signed().trim().to_owned());
        return cut(&lines.collect::<Vec<_>>().join("; "), bytes_max).to_owned();
    }
    format!("by {}", who(telling, bytes_max))
}

/// What might be done about its coming again and again.
fn suggestion(telling: &Telling<'_>) -> Option<String> {
    let suggestion = telling.alert.suggestion?;
    Some(format!(
        "it came {} times within {}; if it means nothing, give the parameter an `ignore` rule or \
         a `tolerance` (nothing is ignored unless you say so)",
        suggestion.repeats,
        crate::render::time::span(suggestion.within_ms)
    ))
}
