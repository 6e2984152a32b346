//! Directories that are not watched and send much: journals, caches, containers.
//!
//! A filesystem mark delivers everything; what is not wanted costs a wake-up all the same.
//! A directory that sends more than a few hundred events in a few seconds is ignored. Which
//! ones is only a question of cost, never of coverage: no directory at, above or below a
//! watched one is ignored, renames are delivered always, and as soon as a directory is
//! renamed into what is watched, or mounts change, no directory is ignored any more.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Events of one directory within [`WINDOW`] that are too many.
const EVENTS: u32 = 256;
const WINDOW: Duration = Duration::from_secs(10);
/// Directories counted at the same time.
const COUNTED_MAX: usize = 1024;
/// Directories ignored at the same time.
const IGNORED_MAX: usize = 1024;

/// Counts events of directories that are not watched.
#[derive(Debug, Default)]
pub struct Hot {
    counts: HashMap<Box<[u8]>, u32>,
    since: Option<Instant>,
    proposed: Vec<PathBuf>,
    ignored: Vec<PathBuf>,
    forget: bool,
    disabled: bool,
}

/// What is to be done about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Nothing is to be ignored that was.
    pub forget: bool,
    /// To be ignored from now on.
    pub ignore: Vec<PathBuf>,
}

impl Hot {
    /// An event of the directory with this handle; whether they are too many now.
    pub fn on(&mut self, handle: &[u8], now: Instant) -> bool {
        if self.disabled || self.ignored.len() + self.proposed.len() >= IGNORED_MAX {
            return false;
        }
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > WINDOW) {
            self.since = Some(now);
            self.counts.clear();
        }
        if let Some(count) = self.counts.get_mut(handle) {
            *count += 1;
            let many = *count >= EVENTS;
            // An event that was queued before the mark is no reason for another.
            *count = if many { 0 } else { *count };
            return many;
        }
        if self.counts.len() < COUNTED_MAX {
            self.counts.insert(handle.into(), 1);
        }
        false
    }

    /// Ignore `directory`.
    pub fn propose(&mut self, directory: PathBuf) {
        self.proposed.push(directory);
    }

    /// What was ignored may be watched now.
    pub fn forget_all(&mut self) {
        self.proposed.clear();
        self.forget = true;
    }

    /// What is to be done now.
    pub fn decide(&mut self) -> Decision {
        let forget = std::mem::take(&mut self.forget) && !self.ignored.is_empty();
        if forget {
            self.ignored.clear();
        }
        Decision { forget, ignore: std::mem::take(&mut self.proposed) }
    }

    /// `directory` is ignored now.
    pub fn succeeded(&mut self, directory: PathBuf) {
        self.ignored.push(directory);
    }

    /// This kernel cannot.
    pub fn disable(&mut self) {
        self.disabled = true;
    }

    /// What was ignored since all was forgotten, as it was called then.
    pub fn ignored(&self) -> &[PathBuf] {
        &self.ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_events_in_a_short_time_are_too_many() {
        let (mut hot, start) = (Hot::default(), Instant::now());
        let many = |hot: &mut Hot, at| (0..EVENTS).filter(|_| hot.on(b"h", at)).count();
        assert_eq!((many(&mut hot, start), many(&mut hot, start)), (1, 1));
        for second in 0..2 * EVENTS {
            let at = start + WINDOW * 2 + Duration::from_secs(second.into());
            assert!(!hot.on(b"slow", at));
        }
    }

    #[test]
    fn the_tables_are_bounded() {
        let (mut hot, now) = (Hot::default(), Instant::now());
        for handle in 0..10 * COUNTED_MAX as u64 {
            hot.on(&handle.to_ne_bytes(), now);
        }
        assert_eq!(hot.counts.len(), COUNTED_MAX);
        (0..IGNORED_MAX).for_each(|_| hot.succeeded("/hot".into()));
        assert!(!(0..2 * EVENTS).any(|_| hot.on(&0u64.to_ne_bytes(), now)));
    }

    #[test]
    fn forgetting_comes_before_what_is_new() {
        let mut hot = Hot::default();
        hot.succeeded("/old".into());
        hot.propose("/before".into());
        hot.forget_all();
        hot.propose("/after".into());
        let decision = Decision { forget: true, ignore: vec!["/after".into()] };
        assert_eq!((hot.decide(), hot.ignored().len()), (decision, 0));
        assert_eq!(hot.decide(), Decision::default());
    }
}
