//! As AIDE 0.18 reports.
//!
//! What it has no place for stands where it fits: an item without a path by its name, of unknown
//! file type. Times, inodes and link counts are never compared here, and so stand as not checked.

use umbra_state::escape::line;

use super::{Check, Told, length};
use crate::attributes;
use crate::config::Attribute;
use crate::discrepancy::Finding;
use crate::reading::{Content, Reading};
use crate::render::time::moment;

const RULE: &str = "---------------------------------------------------";
/// As wide as AIDE's columns.
const COLUMN: usize = 32;
/// Rows of one detail; AIDE has no limit.
const ROWS_MAX: usize = 16;

pub(super) fn report(check: &Check, told: &[Told<'_>]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let start = moment(check.checked_at_ms);
    let mut lines = vec![format!("Start timestamp: {start} (umbra {version})")];
    if told.is_empty() {
        lines.push(
            "AIDE found NO differences between database and filesystem. Looks okay!!".to_owned(),
        );
    } else {
        lines.push("AIDE found differences between database and filesystem!!".to_owned());
    }
    let of = |kind: Kind| told.iter().filter(move |told| Kind::of(told) == kind);
    let sections = [(Kind::Added, "Added"), (Kind::Removed, "Removed"), (Kind::Changed, "Changed")];
    lines.extend([String::new(), "Summary:".to_owned()]);
    lines.push(format!("  Total number of entries:\t{}", check.items));
    for (kind, name) in sections {
        lines.push(format!("  {:<23}\t{}", format!("{name} entries:"), of(kind).count()));
    }
    for (kind, name) in sections {
        if of(kind).next().is_none() {
            continue;
        }
        heading(&mut lines, &format!("{name} entries:"));
        lines.extend(of(kind).map(|told| format!("{}: {}", summary(told), told.facts.place())));
    }
    if of(Kind::Changed).next().is_some() {
        heading(&mut lines, "Detailed information about changes:");
        for (index, told) in of(Kind::Changed).enumerate() {
            if index > 0 {
                lines.push(String::new());
            }
            details(told, &mut lines);
        }
    }
    if !check.unread.is_empty() {
        heading(&mut lines, "Entries that could not be read:");
        for unread in &check.unread {
            let part = unread.item.part.as_ref();
            let name = part.map_or(unread.item.parameter.as_bytes(), |part| part.0.as_slice());
            lines.push(format!("{}: {}", line(name, 300), line(unread.why.as_bytes(), 300)));
        }
    }
    lines.extend([String::new(), String::new()]);
    lines.push(format!("End timestamp: {start}"));
    lines.join("\n") + "\n"
}

fn heading(lines: &mut Vec<String>, title: &str) {
    lines.extend([
        String::new(),
        RULE.to_owned(),
        title.to_owned(),
        RULE.to_owned(),
        String::new(),
    ]);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Added,
    Removed,
    Changed,
}

impl Kind {
    fn of(told: &Told<'_>) -> Self {
        if told.facts.appeared() {
            Self::Added
        } else if told.facts.vanished() {
            Self::Removed
        } else {
            Self::Changed
        }
    }
}

/// `YlZbpugamcinHAXSEC` of aide.conf(5).
fn summary(told: &Told<'_>) -> String {
    let discrepancy = &told.entry.discrepancy;
    let kind = file_type(told);
    match Kind::of(told) {
        Kind::Added => return format!("{kind}{}", "+".repeat(17)),
        Kind::Removed => return format!("{kind}{}", "-".repeat(17)),
        Kind::Changed => {}
    }
    let changed = told.facts.attributes();
    let letter = |attribute: Attribute, letter: char| {
        if changed.contains(&attribute) {
            return change_of(told, attribute).unwrap_or(letter);
        }
        let has = |reading| is_checked(reading, attribute);
        if has(&discrepancy.shadow) || has(&discrepancy.primary) { '.' } else { ' ' }
    };
    let mut text = String::from(kind);
    text.push(letter(Attribute::Link, 'l'));
    text.push(match (length(&discrepancy.shadow), length(&discrepancy.primary)) {
        (Some(shadow), Some(primary)) if shadow > primary => '<',
        (Some(shadow), Some(primary)) if shadow < primary => '>',
        (Some(_), Some(_)) => '=',
        _ => ' ',
    });
    text.push(' ');
    text.push(letter(Attribute::Mode, 'p'));
    text.push(letter(Attribute::Owner, 'u'));
    text.push(letter(Attribute::Group, 'g'));
    text.push_str("     ");
    text.push(letter(Attribute::Content, 'H'));
    text.push(letter(Attribute::Acl, 'A'));
    text.push(letter(Attribute::Xattr, 'X'));
    text.push_str("  ");
    text.push(letter(Attribute::Caps, 'C'));
    text
}

/// An attribute that only one side has was added or removed.
fn change_of(told: &Told<'_>, attribute: Attribute) -> Option<char> {
    told.facts.masked.findings.iter().find_map(|finding| match finding {
        Finding::Attribute { attribute: other, shadow, primary } if *other == attribute => {
            match (shadow, primary) {
                (None, Some(_)) => Some('+'),
                (Some(_), None) => Some('-'),
                _ => None,
            }
        }
        _ => None,
    })
}

fn is_checked(reading: &Reading, attribute: Attribute) -> bool {
    let Some(value) = reading.value() else { return false };
    if attribute == Attribute::Content {
        return value.content.is_some();
    }
    value.attributes.contains_key(&attribute)
}

fn file_type(told: &Told<'_>) -> char {
    let discrepancy = &told.entry.discrepancy;
    if told.facts.attributes().contains(&Attribute::Type) {
        return '!';
    }
    let of = |reading: &Reading| reading.value()?.attributes.get(&Attribute::Type).cloned();
    let kind = of(&discrepancy.primary).or_else(|| of(&discrepancy.shadow));
    match kind.as_ref().map(attributes::Kind::read) {
        Some(Some(kind)) => letter_of(kind),
        Some(None) => '?',
        None if told.facts.path.is_some() => 'f',
        None => '?',
    }
}

/// As `aide` writes them.
fn letter_of(kind: attributes::Kind) -> char {
    use attributes::Kind;
    match kind {
        Kind::File => 'f',
        Kind::Directory => 'd',
        Kind::Link => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::Block => 'b',
        Kind::Character => 'c',
    }
}

fn details(told: &Told<'_>, lines: &mut Vec<String>) {
    let (raw, masked) = (&told.entry.discrepancy, &told.facts.masked);
    let kind = match file_type(told) {
        'd' => "Directory",
        'l' => "Link",
        'f' => "File",
        _ => "Entry",
    };
    lines.push(format!("{kind}: {}", told.facts.place()));
    let sizes = (length(&raw.shadow), length(&raw.primary));
    if sizes.0 != sizes.1 {
        let shown = |size: Option<u64>| size.map_or_else(String::new, |size| size.to_string());
        detail("Size", &shown(sizes.0), &shown(sizes.1), lines);
    }
    for finding in &masked.findings {
        match finding {
            Finding::Attribute { attribute, shadow, primary } => {
                let shown = |value: Option<&umbra_api::blob::Blob>| {
                    value.map_or_else(String::new, |value| line(&value.0, COLUMN * ROWS_MAX))
                };
                let (shadow, primary) = (shown(shadow.as_ref()), shown(primary.as_ref()));
                detail(name(*attribute), &shadow, &primary, lines);
            }
            Finding::Value { .. } => {
                let shadow = digest(&raw.shadow, &masked.shadow);
                let primary = digest(&raw.primary, &masked.primary);
                detail("BLAKE3", &shadow, &primary, lines);
            }
            Finding::Unreadable { why } | Finding::Unwatched { why } => {
                detail("Unread", "", &line(why.as_bytes(), 300), lines);
            }
            Finding::Unexpected { expected } => {
                detail("Expected", &line(expected.as_bytes(), 300), "", lines);
            }
            Finding::Nears { bound, breach } => {
                detail("Ahead", "", &format!("{bound} on {breach}"), lines);
            }
            Finding::Appeared | Finding::Vanished => {}
        }
    }
}

/// A short secret could be guessed from its digest.
fn digest(raw: &Reading, masked: &Reading) -> String {
    let content = |reading: &Reading| reading.value().and_then(|value| value.content.clone());
    match (content(raw), content(masked)) {
        (Some(raw), Some(masked)) if raw != masked => "(hidden)".to_owned(),
        (Some(Content::Bytes(bytes)), _) => blake3::hash(&bytes.0).to_hex().to_string(),
        (Some(Content::Digest { blake3, .. }), _) => blake3.to_string(),
        (None, _) => String::new(),
    }
}

fn name(attribute: Attribute) -> &'static str {
    match attribute {
        Attribute::Content => "Content",
        Attribute::Type => "Type",
        Attribute::Mode => "Perm",
        Attribute::Owner => "Uid",
        Attribute::Group => "Gid",
        Attribute::Acl => "ACL",
        Attribute::Xattr => "XAttrs",
        Attribute::Caps => "Caps",
        Attribute::Link => "Linkname",
    }
}

/// Old and new in two columns, over as many rows as the longer needs.
fn detail(name: &str, old: &str, new: &str, lines: &mut Vec<String>) {
    let rows = |text: &str| -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        chars.chunks(COLUMN).take(ROWS_MAX).map(|row| row.iter().collect()).collect()
    };
    let (old, new) = (rows(old), rows(new));
    for row in 0..old.len().max(new.len()).max(1) {
        let name = if row == 0 { format!("{name:<9} :") } else { " ".repeat(11) };
        let cell = |rows: &[String]| rows.get(row).cloned().unwrap_or_default();
        let text = format!(" {name} {:<COLUMN$} | {}", cell(&old), cell(&new));
        lines.push(text.trim_end().to_owned());
    }
}
