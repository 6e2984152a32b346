//! What differs between two states.

use umbra_api::state::{DiffEntry, DiffReply};
use umbra_state::diff::ChangeKind;
use umbra_state::escape::escape_output;

use super::units;

/// The difference as text; `stat` leaves the paths out.
pub fn text(reply: &DiffReply, stat: bool) -> String {
    let mut out = String::new();
    if !stat {
        reply.entries.iter().for_each(|it| entry(&mut out, it));
        if reply.omitted > 0 {
            out.push_str(&format!("... and {} more paths\n", reply.omitted));
        }
    }
    let (before, after) = (reply.before.short(), reply.after.short());
    if reply.before == reply.after {
        out.push_str(&format!("{before} and {after} are the same state\n"));
    } else {
        out.push_str(&format!("{before} -> {after}: {}\n", units::delta(&reply.counts)));
    }
    out
}

fn entry(out: &mut String, entry: &DiffEntry) {
    let (sign, what) = match entry.change {
        ChangeKind::Added => ('+', added(entry)),
        ChangeKind::Removed => ('-', entry.type_before.clone().unwrap_or_default()),
        ChangeKind::Modified(aspects) => ('~', format!("{aspects}{}", sizes(entry))),
    };
    // Paths come escaped from the daemon; its words are escaped here all the same.
    let (path, what) = (escape_output(entry.path.as_bytes()), escape_output(what.as_bytes()));
    out.push_str(&format!("{sign} {path}  ({what})\n"));
    if let Some(why) = &entry.text_missing {
        out.push_str(&format!("    no lines: {}\n", escape_output(why.as_bytes())));
    }
    for line in &entry.text {
        out.push_str(&format!("    {}\n", escape_output(line.as_bytes())));
    }
}

fn added(entry: &DiffEntry) -> String {
    let kind = entry.type_after.clone().unwrap_or_default();
    match entry.size_after {
        Some(size) if kind == "file" => format!("{kind}, {}", units::bytes(size)),
        _ => kind,
    }
}

fn sizes(entry: &DiffEntry) -> String {
    match (entry.size_before, entry.size_after) {
        (Some(before), Some(after)) if before != after => {
            format!(", {} -> {}", units::bytes(before), units::bytes(after))
        }
        _ => String::new(),
    }
}
