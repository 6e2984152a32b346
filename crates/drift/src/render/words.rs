//! Discrepancies and changes in words, for screens of other crates.

use umbra_api::blob::Blob;

use super::facts::Facts;
use crate::discrepancy::{Attribution, Discrepancy};
use crate::history::Change;

/// What is to be said; every line is printable and no secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What is different, in one line.
    pub title: String,
    /// Who made it so, one line each; empty if nobody saw.
    pub who: Vec<String>,
    /// Lines that went and lines that came.
    pub lines: Vec<String>,
}

impl Words {
    /// Of a discrepancy, which is about this path if it is about one.
    pub fn of(
        discrepancy: &Discrepancy,
        attribution: Option<&Attribution>,
        path: Option<&Blob>,
    ) -> Self {
        let facts = Facts::of(discrepancy, attribution, path);
        let mut lines: Vec<String> = facts.lines.iter().map(super::Line::signed).collect();
        if facts.more_lines > 0 {
            lines.push(format!("... {} lines more", facts.more_lines));
        }
        let title = format!("{} {}", facts.name(), facts.what);
        Self { title, who: facts.who, lines }
    }

    /// Of a change.
    pub fn of_change(change: &Change) -> Self {
        Self::of(&change.as_discrepancy(), change.attribution.as_ref(), None)
    }
}
