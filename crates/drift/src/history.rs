//! What changed on a primary, by whom, and what else changed with it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{Attribute, Difference, Numbers, Provenance, Severity, Tolerance};
use crate::discrepancy::{Attribution, Discrepancy, Finding};
use crate::primary::Circumstance;
use crate::reading::{Content, Item, Reading, Value};

/// Longer contents are kept by their digest: the shadows of the timeline have them.
const BYTES_MAX: usize = 4096;

/// Changes are one deed where one process, or its parent, made them within this time.
pub const TOGETHER_MS: i64 = 5_000;

/// A reading that became another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Of which fact.
    pub item: Item,
    /// When it was read, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What was said before.
    pub before: Reading,
    /// What was said then.
    pub after: Reading,
    /// Who made it so; `None` if nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// Whether it is known why.
    pub provenance: Provenance,
}

impl Change {
    pub(crate) fn new(item: &Item, before: &Reading, after: &Reading, how: &Circumstance) -> Self {
        Self {
            item: item.clone(),
            at_ms: how.at_ms,
            before: shortened(before),
            after: shortened(after),
            attribution: how.attribution.clone(),
            provenance: how.provenance,
        }
    }

    /// The change as what differs between before and after.
    pub fn as_discrepancy(&self) -> Discrepancy {
        Discrepancy {
            item: self.item.clone(),
            severity: Severity::Low,
            provenance: self.provenance,
            shadow: self.before.clone(),
            primary: self.after.clone(),
            findings: findings(&self.before, &self.after),
            tolerance: None,
        }
    }

    /// Whether one deed made both: a process they share, not long apart.
    pub fn together(&self, other: &Self) -> bool {
        let near = self.at_ms.abs_diff(other.at_ms) <= TOGETHER_MS.unsigned_abs();
        near && self.item != other.item && !self.processes().is_disjoint(&other.processes())
    }

    /// The writers and their nearest parents: everything is a child of the first process.
    fn processes(&self) -> BTreeSet<i32> {
        let writers = self.attribution.iter().flat_map(|attribution| &attribution.writers);
        let near = writers.flat_map(|writer| {
            std::iter::once(writer.pid).chain(writer.parents.first().map(|parent| parent.pid))
        });
        near.filter(|pid| *pid > 1).collect()
    }
}

fn findings(before: &Reading, after: &Reading) -> Vec<Finding> {
    let (before, after) = match (before, after) {
        (_, Reading::Absent) => return vec![Finding::Vanished],
        (_, Reading::Unreadable { why }) => return vec![Finding::Unreadable { why: why.clone() }],
        (Reading::Absent | Reading::Unreadable { .. }, _) => return vec![Finding::Appeared],
        (Reading::Present(before), Reading::Present(after)) => (before, after),
    };
    let mut findings = Vec::new();
    if before.content != after.content {
        let bytes =
            |value: &Value| value.content.as_ref().and_then(|c| c.bytes().map(<[u8]>::to_vec));
        let difference = match (bytes(before), bytes(after)) {
            (Some(old), Some(new)) => {
                Tolerance::EXACT.compare(&old, &new, Numbers::Plain).difference
            }
            _ => Difference::Content,
        };
        findings.push(Finding::Value { difference, changes: Vec::new(), more_changes: 0 });
    }
    let named: BTreeSet<Attribute> =
        before.attributes.keys().chain(after.attributes.keys()).copied().collect();
    let attributes = named.into_iter().filter_map(|attribute| {
        let (shadow, primary) =
            (before.attributes.get(&attribute), after.attributes.get(&attribute));
        (shadow != primary).then(|| Finding::Attribute {
            attribute,
            shadow: shadow.cloned(),
            primary: primary.cloned(),
        })
    });
    findings.extend(attributes);
    findings
}

fn shortened(reading: &Reading) -> Reading {
    match (reading, reading.bytes()) {
        (Reading::Present(value), Some(bytes)) if bytes.len() > BYTES_MAX => {
            let attributes = value.attributes.clone();
            Reading::Present(Value { content: Some(Content::digest_of(bytes)), attributes })
        }
        _ => reading.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::who::{Program, Writer};

    fn change(item: &str, at_ms: i64, pid: i32, parent: i32) -> Change {
        let parents = vec![Program { pid: parent, exe: None, script: None }];
        let writer = Writer { parents, ..Writer::unknown(pid) };
        let attribution = Some(Attribution {
            seen_at_ms: at_ms,
            after_ms: None,
            writers: vec![writer],
            more_writers: 0,
        });
        let how = Circumstance { attribution, provenance: Provenance::Unexplained, at_ms };
        Change::new(&Item::whole(item), &Reading::Absent, &Reading::text("x"), &how)
    }

    #[test]
    fn one_deed_is_one_process_or_its_parent_at_one_time() {
        #[track_caller]
        fn check(other: &Change, together: bool) {
            let one = change("a", 1_000, 50, 40);
            assert_eq!((one.together(other), other.together(&one)), (together, together));
        }
        check(&change("b", 1_500, 50, 40), true);
        check(&change("b", 1_500, 51, 40), true);
        check(&change("b", 1_500, 51, 50), true);
        check(&change("b", 9_000, 50, 40), false);
        check(&change("b", 1_500, 51, 41), false);
        check(&change("b", 1_500, 51, 1), false);
        check(&change("a", 1_500, 50, 40), false);
    }

    #[test]
    fn a_long_content_is_kept_by_its_digest() {
        let how = Circumstance { attribution: None, provenance: Provenance::Expected, at_ms: 0 };
        let long = Reading::text(vec![b'x'; BYTES_MAX + 1]);
        let change = Change::new(&Item::whole("a"), &long, &Reading::text("x"), &how);
        assert_eq!((change.before.bytes(), change.after.bytes()), (None, Some(&b"x"[..])));
    }
}
