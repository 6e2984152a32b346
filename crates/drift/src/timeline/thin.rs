//! Which historical shadows are kept.

use std::time::Duration;

/// How many shadows are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub count: usize,
    /// None older than this.
    pub age: Duration,
}

/// A shadow in a timeline, as far as keeping it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub sequence: u64,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub taken_at_ms: i64,
    /// It is kept whatever its age: labelled so, or the known good one.
    pub keep: bool,
}

/// The sequences that can go: beyond the newest `count` or older than `age`, unless kept by
/// hand. The newest always stays. `entries` are in order of their sequences.
pub fn thin(entries: &[Entry], keep: Keep, now_ms: i64) -> Vec<u64> {
    let age_ms = i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX);
    let newest_first = entries.iter().rev().enumerate();
    let gone = newest_first.filter(|(place, entry)| {
        let old = now_ms.saturating_sub(entry.taken_at_ms) > age_ms;
        *place > 0 && !entry.keep && (old || *place >= keep.count)
    });
    let mut gone: Vec<u64> = gone.map(|(_, entry)| entry.sequence).collect();
    gone.reverse();
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ages: &[(i64, bool)], count: usize, age_ms: u64, gone: &[u64]) {
        let entries: Vec<Entry> = ages
            .iter()
            .enumerate()
            .map(|(place, (age, keep))| Entry {
                sequence: place as u64,
                taken_at_ms: 1_000 - age,
                keep: *keep,
            })
            .collect();
        let keep = Keep { count, age: Duration::from_millis(age_ms) };
        assert_eq!(thin(&entries, keep, 1_000), gone);
    }

    #[test]
    fn the_old_and_the_many_go_and_what_is_kept_stays() {
        check(&[], 1, 1, &[]);
        check(&[(30, false), (20, false), (10, false)], 2, 100, &[0]);
        check(&[(30, true), (20, false), (10, false)], 1, 100, &[1]);
        check(&[(30, false), (20, true), (10, false)], 9, 15, &[0]);
        check(&[(30, false)], 0, 1, &[]);
    }
}
