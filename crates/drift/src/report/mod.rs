//! What one comparison of a whole machine found, for people and for programs.
//!
//! | [`Format`] | for |
//! |---|---|
//! | `text` | a person: by severity, with who, since when, what and what next |
//! | `aide` | what reads AIDE's reports |
//! | `rpm` | what reads `rpm -V` |
//! | `json`, `ndjson` | programs: one object, or a line for each discrepancy and one for the sum |
//! | `sarif` | code-scanning services |
//!
//! In each of them every name and value is printable and secrets are hidden; what is left out
//! is counted. The exit codes are in [`ExitCodes`].

mod aide;
mod exit;
mod json;
mod rpm;
mod sarif;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use umbra_api::blob::Blob;

pub use exit::{ExitCodes, Failure};

use crate::config::Severity;
use crate::discrepancy::{Attribution, Discrepancy};
use crate::reading::{Content, Item, Reading};
use crate::render::Facts;

/// One comparison of a primary with a shadow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Check {
    /// The primary's name.
    pub primary: String,
    /// When the shadow was taken, in milliseconds since 1970 UTC.
    pub shadow_at_ms: i64,
    /// When they were compared.
    pub checked_at_ms: i64,
    /// How many parameters were compared.
    pub parameters: u64,
    /// How many items.
    pub items: u64,
    /// What differs beyond tolerance.
    pub entries: Vec<Entry>,
    /// What could not be compared, so that nothing is known of it.
    pub unread: Vec<Unread>,
}

/// A discrepancy, and what is known besides.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What differs.
    pub discrepancy: Discrepancy,
    /// Who made it so; `None` if nothing is known.
    pub attribution: Option<Attribution>,
    /// The path it is about, if it is about one.
    pub path: Option<Blob>,
    /// Since when, if that is known.
    pub since_ms: Option<i64>,
}

/// An item of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which.
    pub item: Item,
    /// Why, as a sentence after "because".
    pub why: String,
}

/// How a check is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// As AIDE 0.18 does.
    Aide,
    /// As `rpm -V` does.
    Rpm,
    /// One object.
    Json,
    /// A line for each discrepancy, each unread item and the sum.
    Ndjson,
    /// SARIF 2.1.0.
    Sarif,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Text, Self::Aide, Self::Rpm, Self::Json, Self::Ndjson, Self::Sarif];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Aide => "aide",
            Self::Rpm => "rpm",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Sarif => "sarif",
        }
    }

    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

impl Check {
    /// The check in this format; ends with a line end unless it is empty.
    pub fn render(&self, format: Format) -> String {
        let mut told: Vec<Told<'_>> = self.entries.iter().map(Told::new).collect();
        // The gravest first, then in the order of names.
        told.sort_by(|a, b| {
            let (x, y) = (&a.entry.discrepancy, &b.entry.discrepancy);
            y.severity.cmp(&x.severity).then_with(|| x.item.cmp(&y.item))
        });
        match format {
            Format::Text => text::report(self, &told),
            Format::Aide => aide::report(self, &told),
            Format::Rpm => rpm::report(self, &told),
            Format::Json => json::object(self, &told),
            Format::Ndjson => json::lines(self, &told),
            Format::Sarif => sarif::log(self, &told),
        }
    }

    /// How many discrepancies have which severity, the gravest first.
    fn severities(&self) -> Vec<(Severity, usize)> {
        let mut counts = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.discrepancy.severity).or_insert(0) += 1;
        }
        counts.into_iter().rev().collect()
    }
}

/// An entry in words.
struct Told<'a> {
    entry: &'a Entry,
    facts: Facts,
}

impl<'a> Told<'a> {
    fn new(entry: &'a Entry) -> Self {
        let attribution = entry.attribution.as_ref();
        let facts = Facts::of(&entry.discrepancy, attribution, entry.path.as_ref());
        Self { entry, facts }
    }

    fn severity(&self) -> Severity {
        self.entry.discrepancy.severity
    }
}

/// How many bytes a reading has.
fn length(reading: &Reading) -> Option<u64> {
    match reading.value()?.content.as_ref()? {
        Content::Bytes(bytes) => Some(bytes.0.len() as u64),
        Content::Digest { bytes, .. } => Some(*bytes),
    }
}
