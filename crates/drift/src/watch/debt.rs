//! What was not seen event by event, until a scan has seen it.
//!
//! Losing events is allowed, losing them silently is not: every loss becomes a debt of
//! its filesystem, and every debt ends in a [receipt](super::Receipt).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Directories remembered per debt; beyond that the whole filesystem is looked at anyway.
const DIRTY_MAX: usize = 4096;

/// How much was not seen one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// That many events were read and not followed up singly.
    Exactly(u64),
    /// The kernel dropped events and does not say how many.
    Unknown,
}

impl Lost {
    /// Both losses together.
    pub fn and(self, other: Lost) -> Lost {
        match (self, other) {
            (Lost::Exactly(one), Lost::Exactly(two)) => Lost::Exactly(one.saturating_add(two)),
            _ => Lost::Unknown,
        }
    }
}

/// What one filesystem owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Until here everything had been covered.
    pub since: SystemTime,
    /// Events not followed up singly.
    pub lost: Lost,
    /// Directories known to be affected, to be looked at first.
    pub dirty: BTreeSet<PathBuf>,
}

/// Scan debt per filesystem.
#[derive(Debug, Default)]
pub struct Debt {
    owed: HashMap<u64, Owed>,
}

impl Debt {
    /// This is owed as well.
    pub fn add(&mut self, filesystem: u64, more: Owed) {
        self.incur(filesystem, more.since, more.lost, None);
        for dirty in more.dirty {
            self.incur(filesystem, more.since, Lost::Exactly(0), Some(&dirty));
        }
    }

    /// Something on `filesystem` was not followed up; until `since` all was.
    pub fn incur(&mut self, filesystem: u64, since: SystemTime, lost: Lost, dirty: Option<&Path>) {
        let owed = self.owed.entry(filesystem).or_insert_with(|| Owed {
            since,
            lost: Lost::Exactly(0),
            dirty: BTreeSet::new(),
        });
        owed.since = owed.since.min(since);
        owed.lost = owed.lost.and(lost);
        if let Some(dirty) = dirty
            && owed.dirty.len() < DIRTY_MAX
            && !owed.dirty.contains(dirty)
        {
            owed.dirty.insert(dirty.to_owned());
        }
    }

    /// Whether `filesystem` owes a scan.
    pub fn owes(&self, filesystem: u64) -> bool {
        self.owed.contains_key(&filesystem)
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Take over all debts, to be paid by one scan each.
    pub fn take(&mut self) -> Vec<(u64, Owed)> {
        let mut all: Vec<_> = self.owed.drain().collect();
        all.sort_by_key(|(filesystem, owed)| (owed.since, *filesystem));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn debts_add_up_from_the_earliest_moment() {
        let start = SystemTime::UNIX_EPOCH;
        let mut debt = Debt::default();
        debt.incur(1, start + Duration::from_secs(2), Lost::Exactly(3), Some(Path::new("/a")));
        debt.incur(1, start + Duration::from_secs(1), Lost::Exactly(4), Some(Path::new("/a")));
        debt.incur(2, start, Lost::Exactly(1), None);
        debt.incur(2, start, Lost::Unknown, None);
        debt.incur(2, start, Lost::Exactly(9), None);
        assert!(debt.owes(1) && !debt.owes(3));
        let owed = debt.take();
        assert_eq!(owed[0].0, 2);
        assert_eq!(owed[0].1.lost, Lost::Unknown);
        assert_eq!(owed[1].1.lost, Lost::Exactly(7));
        assert_eq!(owed[1].1.since, start + Duration::from_secs(1));
        assert_eq!(owed[1].1.dirty.len(), 1);
        assert!(debt.take().is_empty());
    }

    #[test]
    fn dirty_directories_are_bounded() {
        let mut debt = Debt::default();
        for number in 0..DIRTY_MAX + 10 {
            let path = PathBuf::from(number.to_string());
            debt.incur(1, SystemTime::UNIX_EPOCH, Lost::Exactly(1), Some(&path));
        }
        let owed = debt.take().remove(0).1;
        assert_eq!(owed.dirty.len(), DIRTY_MAX);
        assert_eq!(owed.lost, Lost::Exactly(DIRTY_MAX as u64 + 10));
    }
}
