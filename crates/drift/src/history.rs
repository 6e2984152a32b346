//! What changed on a primary, by whom, and what else changed with it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::Provenance;
use crate::discrepancy::Attribution;
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
