//! Two values held against each other.

use umbra_api::blob::Blob;

use super::meaning::Meaning;
use crate::config::{Difference, Numbers, Tolerance};
use crate::discrepancy::{CHANGES_MAX, Finding, KeyChange};
use crate::format::{self, Format};
use crate::reading::{Content, Item, Value};

/// How values are compared.
pub(super) struct Values<'r> {
    pub(super) tolerance: &'r Tolerance,
    pub(super) numbers: Numbers,
    /// Whether they were beyond tolerance until now.
    pub(super) open: bool,
}

impl Values<'_> {
    /// What differs, if it is more than is tolerated.
    pub(super) fn finding(
        &self,
        item: &Item,
        meaning: &Meaning,
        shadow: &Value,
        primary: &Value,
    ) -> Option<Finding> {
        let (shadow, primary) = match (&shadow.content, &primary.content) {
            (None, None) => return None,
            (Some(shadow), Some(primary)) if shadow.same(primary) => {
                // Not a number is not even equal to itself.
                let (shadow, primary) = (shadow.bytes()?, primary.bytes()?);
                return self.lines(meaning, shadow, primary);
            }
            (Some(Content::Bytes(shadow)), Some(Content::Bytes(primary))) => (shadow, primary),
            // That they differ is all that can be known.
            _ => return Some(unlisted(Difference::Content)),
        };
        match meaning.format(item) {
            Some(format) => self.keys(item, meaning, format, &shadow.0, &primary.0),
            None => self.lines(meaning, &shadow.0, &primary.0),
        }
    }

    fn lines(&self, meaning: &Meaning, shadow: &[u8], primary: &[u8]) -> Option<Finding> {
        let (shadow, primary) = (meaning.lines(shadow), meaning.lines(primary));
        let compared = self.tolerance.compare(&shadow, &primary, self.numbers);
        let differs = compared.beyond || (self.open && !compared.over);
        differs.then(|| unlisted(compared.difference))
    }

    fn keys(
        &self,
        item: &Item,
        meaning: &Meaning,
        format: Format,
        shadow: &[u8],
        primary: &[u8],
    ) -> Option<Finding> {
        let (old, new) = (format::parse(format, shadow), format::parse(format, primary));
        let mut changes: Vec<KeyChange> =
            format::diff(&old, &new).into_iter().map(key_change).collect();
        changes.retain(|change| !meaning.ignores(item, &change.key));
        let count = |of: fn(&KeyChange) -> bool| {
            changes.iter().filter(|change| change.in_force && of(change)).count() as u64
        };
        let added = count(|change| change.primary.is_some());
        let removed = count(|change| change.shadow.is_some());
        let changed = count(|_| true);
        let compared = self.tolerance.of_keys(added, removed, changed, old.keys().len() as u64);
        let differs = compared.beyond || (self.open && !compared.over);
        differs.then(|| {
            let more_changes = changes.len().saturating_sub(CHANGES_MAX) as u64;
            changes.truncate(CHANGES_MAX);
            Finding::Value { difference: compared.difference, changes, more_changes }
        })
    }
}

fn unlisted(difference: Difference) -> Finding {
    Finding::Value { difference, changes: Vec::new(), more_changes: 0 }
}

fn key_change(change: format::Change) -> KeyChange {
    let (shadow, primary) = match change.difference {
        format::Difference::Added(new) => (None, Some(Blob(new))),
        format::Difference::Removed(old) => (Some(Blob(old)), None),
        format::Difference::Changed { old, new } => (Some(Blob(old)), Some(Blob(new))),
    };
    KeyChange { key: change.key.to_string(), shadow, primary, in_force: change.in_force }
}

/// A tolerance as a person says it; `None` for none at all.
pub(super) fn in_words(tolerance: &Tolerance) -> Option<String> {
    let words = match *tolerance {
        Tolerance::EXACT | Tolerance::Any => return None,
        Tolerance::Distance { abs, rel, hysteresis } => {
            let mut words = match (abs > 0.0, rel > 0.0) {
                (true, true) => format!("{abs} or {} %, what is more", rel * 100.0),
                (false, true) => format!("{} %", rel * 100.0),
                _ => abs.to_string(),
            };
            if hysteresis > 0.0 {
                words.push_str(&format!(", over when {hysteresis} within"));
            }
            words
        }
        Tolerance::Set { added, removed } => format!("{added} more, {removed} fewer"),
    };
    Some(words)
}
