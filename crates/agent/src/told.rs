//! What the daemon knows already, so that only news is told.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use umbra_drift::reading::{Item, Reading, Snapshot};

/// What was told last of each item: 16 bytes each, however long the reading.
///
/// Keyed hashes of 64 bits: that two readings of one item collide has a chance of 2^-64, and
/// who writes files does not know the key.
#[derive(Debug, Default)]
pub(crate) struct Told {
    hasher: RandomState,
    readings: HashMap<u64, u64>,
}

impl Told {
    /// Forgets everything but this.
    pub(crate) fn all(&mut self, snapshot: &Snapshot) {
        self.readings.clear();
        for (item, reading) in &snapshot.readings {
            self.is_news(item, reading);
        }
    }

    /// Whether this is not what was told last. From now on it is.
    pub(crate) fn is_news(&mut self, item: &Item, reading: &Reading) -> bool {
        let key = self.hasher.hash_one(item);
        let value = self.hasher.hash_one(reading);
        match reading {
            // What is not there and never was is no news.
            Reading::Absent if item.part.is_some() => self.readings.remove(&key).is_some(),
            _ => self.readings.insert(key, value) != Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_again_is_no_news() {
        let mut told = Told::default();
        let (a, part) = (Item::whole("a"), Item::part("t", b"/etc/x"));
        assert!(told.is_news(&a, &Reading::text("1")));
        assert!(!told.is_news(&a, &Reading::text("1")));
        assert!(told.is_news(&a, &Reading::text("2")) && told.is_news(&a, &Reading::Absent));
        assert!(!told.is_news(&part, &Reading::Absent));
        assert!(told.is_news(&part, &Reading::text("1")));
        assert!(told.is_news(&part, &Reading::Absent) && !told.is_news(&part, &Reading::Absent));
        let snapshot = Snapshot { readings: [(a.clone(), Reading::text("3"))].into() };
        told.all(&snapshot);
        assert!(!told.is_news(&a, &Reading::text("3")));
    }
}
