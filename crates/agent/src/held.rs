//! Changes of a package manager that is not done: whether they are what a package ships is in
//! its lists only afterwards.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use umbra_drift::discrepancy::Attribution;

/// A change is held back no longer, whatever the package manager does: so late is told what it
/// does beside its packages' files while it is at work.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it is looked whether it is done.
const EVERY: Duration = Duration::from_millis(200);
/// Paths held back; of more it is told at once.
const PATHS_MAX: usize = 50_000;
/// Writers of one path.
const WRITERS_MAX: usize = 16;

/// Paths that have changed, and who changed them.
#[derive(Debug, Default)]
pub(crate) struct Held {
    paths: BTreeMap<PathBuf, (Instant, Attribution)>,
    looked: Option<Instant>,
}

impl Held {
    /// Whether one more can be held back.
    pub(crate) fn has_room(&self) -> bool {
        self.paths.len() < PATHS_MAX
    }

    /// Holds a change back, together with those of this path before.
    pub(crate) fn hold(&mut self, path: PathBuf, by: Attribution, now: Instant) {
        self.looked.get_or_insert(now);
        let Some((_, before)) = self.paths.get_mut(&path) else {
            self.paths.insert(path, (now, by));
            return;
        };
        before.seen_at_ms = by.seen_at_ms;
        before.more_writers += by.more_writers;
        for writer in by.writers {
            if before.writers.contains(&writer) {
                continue;
            }
            if before.writers.len() < WRITERS_MAX {
                before.writers.push(writer);
            } else {
                before.more_writers += 1;
            }
        }
    }

    /// How long until it is to be looked again.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let looked = self.looked.filter(|_| !self.paths.is_empty())?;
        Some((looked + EVERY).saturating_duration_since(now))
    }

    /// What is held back no longer: all of it once nobody is `at_work`, which is asked only when
    /// it is time to.
    pub(crate) fn release(
        &mut self,
        at_work: impl FnOnce() -> bool,
        now: Instant,
    ) -> Vec<(PathBuf, Attribution)> {
        if self.wait(now).is_none_or(|wait| !wait.is_zero()) {
            return Vec::new();
        }
        self.looked = Some(now);
        if !at_work() {
            return self.release_all();
        }
        let late = self.paths.extract_if(.., |_, (since, _)| now - *since >= LONGEST);
        late.map(|(path, (_, by))| (path, by)).collect()
    }

    /// All of it.
    pub(crate) fn release_all(&mut self) -> Vec<(PathBuf, Attribution)> {
        self.looked = None;
        std::mem::take(&mut self.paths).into_iter().map(|(path, (_, by))| (path, by)).collect()
    }
}

#[cfg(test)]
mod tests {
    use umbra_drift::watch::who::Writer;

    use super::*;

    fn by(pid: i32, seen_at_ms: i64) -> Attribution {
        let writers = vec![Writer::unknown(pid)];
        Attribution { seen_at_ms, after_ms: None, writers, more_writers: 0 }
    }

    #[test]
    fn a_change_waits_for_the_package_manager_but_not_for_ever() {
        let (mut held, start) = (Held::default(), Instant::now());
        assert_eq!(held.wait(start), None);
        held.hold("/etc/a".into(), by(1, 10), start);
        assert_eq!(held.wait(start), Some(EVERY));
        assert_eq!(held.release(|| panic!("it is not time yet"), start), []);
        let mut now = start + EVERY;
        assert_eq!(held.release(|| true, now), []);
        held.hold("/etc/b".into(), by(2, 20), now);
        now = start + LONGEST;
        assert_eq!(held.release(|| true, now), [("/etc/a".into(), by(1, 10))]);
        now += EVERY;
        assert_eq!(held.release(|| false, now), [("/etc/b".into(), by(2, 20))]);
        assert_eq!(held.wait(now), None);
    }

    #[test]
    fn all_who_changed_a_path_meanwhile_are_told() {
        let (mut held, now) = (Held::default(), Instant::now());
        for pid in [1, 2, 1] {
            held.hold("/etc/a".into(), by(pid, i64::from(pid)), now);
        }
        let writers = vec![Writer::unknown(1), Writer::unknown(2)];
        let both = Attribution { writers, ..by(1, 1) };
        assert_eq!(held.release_all(), [("/etc/a".into(), both)]);
        for pid in 0..20 {
            held.hold("/etc/a".into(), by(pid, 0), now);
        }
        let (_, many) = held.release_all().remove(0);
        assert_eq!((many.writers.len(), many.more_writers), (WRITERS_MAX, 4));
    }
}
