//! As `rpm -V` reports: `S.5....T.  c /etc/x`, `missing     /etc/x`.
//!
//! It has no word for what came; here that is `added`. `?` stands where nobody could look.

use umbra_state::escape::line;

use super::{Check, Told, length};
use crate::config::Attribute;
use crate::discrepancy::Finding;

pub(super) fn report(check: &Check, told: &[Told<'_>]) -> String {
    let mut text = String::new();
    for one in told {
        let flags = if one.facts.vanished() {
            "missing  ".to_owned()
        } else if one.facts.appeared() {
            "added    ".to_owned()
        } else {
            flags(one)
        };
        let place = one.facts.place();
        text.push_str(&format!("{flags}  {} {place}\n", kind(&place)));
    }
    for unread in &check.unread {
        let part = unread.item.part.as_ref();
        let name = part.map_or(unread.item.parameter.as_bytes(), |part| part.0.as_slice());
        let place = line(name, 300);
        let why = line(unread.why.as_bytes(), 300);
        text.push_str(&format!("?????????  {} {place} ({why})\n", kind(&place)));
    }
    text
}

/// `c` for a configuration file: here, what lies in `/etc`.
fn kind(place: &str) -> char {
    if place.starts_with("/etc/") { 'c' } else { ' ' }
}

/// `SM5DLUGTP`: size, mode, digest, device, link, user, group, time, capabilities.
fn flags(told: &Told<'_>) -> String {
    let discrepancy = &told.entry.discrepancy;
    let unreadable = |finding: &Finding| matches!(finding, Finding::Unreadable { .. });
    if discrepancy.findings.iter().any(unreadable) {
        return "..?......".to_owned();
    }
    let changed = told.facts.attributes();
    let flag = |attribute: Attribute, letter: char| {
        if changed.contains(&attribute) { letter } else { '.' }
    };
    let sizes = (length(&discrepancy.shadow), length(&discrepancy.primary));
    [
        if sizes.0 == sizes.1 { '.' } else { 'S' },
        // rpm's mode is permissions and file type.
        if changed.contains(&Attribute::Type) { 'M' } else { flag(Attribute::Mode, 'M') },
        flag(Attribute::Content, '5'),
        '.',
        flag(Attribute::Link, 'L'),
        flag(Attribute::Owner, 'U'),
        flag(Attribute::Group, 'G'),
        '.',
        flag(Attribute::Caps, 'P'),
    ]
    .iter()
    .collect()
}
