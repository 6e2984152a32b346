//! Drift as it happens, its history and its shadows.

use umbra_drift::alert::Alert;
use umbra_drift::config::{Notify, Severity, Target};
use umbra_drift::discrepancy::Discrepancy;
use umbra_drift::history::Change;
use umbra_drift::render::Words;
use umbra_drift::service::{AcceptReply, Blame, Event, ShadowDiff, ShadowEntry, What};
use umbra_drift::sink::document;
use umbra_state::escape::escape;

use super::lists::cause;
use super::summary::{right, table, trimmed};
use super::{rehearsal, rollback, safe, units};

/// One event as text; `None` for what only the verbose want to know.
pub fn event(event: &Event, verbose: bool) -> Option<String> {
    let (at, primary) = (units::moment(event.at_ms), safe(&event.primary));
    let line = |text: String| Some(format!("{at}  {primary}: {text}\n"));
    match &event.what {
        What::Added { items } => line(format!("under care, {items} facts watched")),
        What::AgentCopied { path, bytes } => {
            line(format!("its agent was put at {} ({})", safe(path), units::bytes(*bytes)))
        }
        What::Watched => line("watched".to_owned()),
        What::Unwatched { why } => line(format!("NOT WATCHED: {}", safe(why))),
        What::Taken { sequence, cause: why, good } => {
            let good = if *good { ", the known good one now" } else { "" };
            line(format!("shadow #{sequence} taken ({}){good}", cause(why)))
        }
        What::RollbackBegun { number, by, to, places } => line(format!(
            "rollback {number} to #{to} begun by {}, {places} places",
            rollback::by(*by)
        )),
        What::RollbackEnded { number, outcome, confirm_until_ms } => line(format!(
            "rollback {number}: {}",
            rollback::in_words(outcome, *confirm_until_ms, &event.primary)
        )),
        What::NotRolledBack { item, refusal } => line(format!(
            "{} is not rolled back without asking, since {}{}",
            safe(&item.parameter),
            safe(&refusal.to_string()),
            if refusal.passes() { "; tried again when that has passed" } else { "" }
        )),
        What::Rehearsed(told) => line(rehearsal::told(told).trim_end().to_owned()),
        What::NotRehearsed { why } => line(format!("not rehearsed: failed to {}", safe(why))),
        What::Alert(alert) => Some(format!("{at}  {}", self::alert(alert))),
        What::Warning { sentence } => line(format!("warning: {}", safe(sentence))),
        What::Receipt(receipt) if verbose => line(format!(
            "receipt: {} entries verified, {} not read, {:?}",
            receipt.entries_verified, receipt.entries_unread, receipt.lost_events
        )),
        What::Coverage(covered) if verbose => {
            let misses = covered.misses.as_deref().unwrap_or("nothing");
            let (place, by) = (escape(&covered.at.0), safe(&covered.by));
            line(format!("{place} is watched by {by}, which misses {}", safe(misses)))
        }
        What::Receipt(_) | What::Coverage(_) => None,
    }
}

/// An alert as a screen.
fn alert(alert: &Alert) -> String {
    let notify = Notify { target: Target::Terminal, min_severity: Severity::Low };
    let document = document(&notify, alert, None);
    document
        .map_or(String::new(), |document| String::from_utf8_lossy(&document.body.0).into_owned())
}

/// A primary's shadows, oldest first.
pub fn timeline(shadows: &[ShadowEntry]) -> String {
    let mut table = table(&["#", "taken", "id", "facts", "cause", "labels"]);
    for shadow in shadows {
        let mut labels = shadow.labels.clone();
        labels.extend(shadow.kept.then(|| "kept".to_owned()));
        labels.extend(shadow.good.then(|| "known good".to_owned()));
        table.add_row(vec![
            right(shadow.sequence.to_string()),
            units::moment(shadow.taken_at_ms).into(),
            safe(shadow.id.get(..12).unwrap_or(&shadow.id)).into(),
            right(shadow.items.to_string()),
            cause(&shadow.cause).into(),
            safe(&labels.join(", ")).into(),
        ]);
    }
    trimmed(&table)
}

/// That a shadow was taken.
pub fn taken(primary: &str, shadow: &ShadowEntry) -> String {
    let id = shadow.id.get(..12).unwrap_or(&shadow.id);
    format!(
        "shadow #{} of {} taken: {id}, {} facts\n",
        shadow.sequence,
        safe(primary),
        shadow.items
    )
}

/// What differs between two shadows.
pub fn diff(primary: &str, diff: &ShadowDiff) -> String {
    let later = diff.to.map_or("now".to_owned(), |to| format!("#{to}"));
    if diff.differs.is_empty() {
        return format!("{}: nothing differs between #{} and {later}\n", safe(primary), diff.from);
    }
    diff.differs.iter().map(discrepancy).collect()
}

/// Who changed a parameter.
pub fn blame(blame: &[Blame]) -> String {
    if blame.is_empty() {
        return "no change of it is known\n".to_owned();
    }
    let one = |one: &Blame| {
        let mut text = change(&one.change);
        if !one.with.is_empty() {
            text.push_str("  with it changed\n");
        }
        for other in &one.with {
            let part = other
                .item
                .part
                .as_ref()
                .map_or(String::new(), |part| format!(" {}", escape(&part.0)));
            text.push_str(&format!("    {}{part}\n", safe(&other.item.parameter)));
        }
        text
    };
    blame.iter().map(one).collect()
}

fn change(change: &Change) -> String {
    let words = Words::of_change(change);
    let mut text = format!("{}  {}\n", units::moment(change.at_ms), words.title);
    words.who.iter().for_each(|who| text.push_str(&format!("  by {who}\n")));
    words.lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    text
}

fn discrepancy(one: &Discrepancy) -> String {
    let words = Words::of(one, None, None);
    let mut text = format!("{}\n", words.title);
    words.lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    text
}

/// What was accepted.
pub fn accepted(reply: &AcceptReply) -> String {
    let mut text = String::new();
    for item in &reply.items {
        let part = item.part.as_ref().map_or(String::new(), |part| format!(" {}", escape(&part.0)));
        text.push_str(&format!("accepted {}{part}\n", safe(&item.parameter)));
    }
    text.push_str(&format!("shadow #{} is the known good one now\n", reply.good));
    text
}
