//! Waits until a path has come to rest.
//!
//! Editors write by temporary file and rename, packages in several steps: what counts is
//! the final state, with everyone who had a hand in it. A path rests after `quiet`
//! without events, and is let through at `longest` even if it never does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Kinds;
use super::who::Writer;

/// Writers kept of one path; the rest is counted.
const WRITERS_MAX: usize = 16;

/// What happened to one path while it was not at rest.
#[derive(Debug, Clone)]
pub struct Chain {
    /// When its first event was read.
    pub first: Instant,
    /// When its last event was read.
    pub last: Instant,
    /// What was done to it.
    pub kinds: Kinds,
    /// Everything below it may have changed as well.
    pub subtree: bool,
    /// Who did it, in order, each once; 16 at most.
    pub writers: Vec<Arc<Writer>>,
    /// Writers beyond those.
    pub more_writers: u64,
}

impl Chain {
    /// A chain of one event.
    pub fn new(at: Instant, kinds: Kinds, subtree: bool, writer: Option<Arc<Writer>>) -> Self {
        let writers = writer.into_iter().collect();
        Self { first: at, last: at, kinds, subtree, writers, more_writers: 0 }
    }

    fn absorb(&mut self, later: Chain) {
        self.first = self.first.min(later.first);
        self.last = self.last.max(later.last);
        self.kinds |= later.kinds;
        self.subtree |= later.subtree;
        self.more_writers += later.more_writers;
        for writer in later.writers {
            if self.writers.iter().any(|known| Arc::ptr_eq(known, &writer)) {
                continue;
            }
            if self.writers.len() < WRITERS_MAX {
                self.writers.push(writer);
            } else {
                self.more_writers += 1;
            }
        }
    }
}

/// How long to wait.
#[derive(Debug, Clone)]
pub struct Patience {
    /// A path rests after this long without events.
    pub quiet: Duration,
    /// Other patience at and below some paths; the longest path that fits counts.
    pub quiet_of: Vec<(PathBuf, Duration)>,
    /// A path is let through this long after its first event.
    pub longest: Duration,
}

impl Patience {
    fn quiet(&self, path: &Path) -> Duration {
        let fits = self.quiet_of.iter().filter(|(prefix, _)| path.starts_with(prefix));
        let longest = fits.max_by_key(|(prefix, _)| prefix.components().count());
        longest.map_or(self.quiet, |(_, quiet)| *quiet)
    }

    fn deadline(&self, path: &Path, chain: &Chain) -> Instant {
        (chain.last + self.quiet(path)).min(chain.first + self.longest)
    }
}

/// Paths that are not at rest. Each costs O(log n) per event and per rest.
#[derive(Debug)]
pub struct Debounce {
    patience: Patience,
    pending: HashMap<PathBuf, Chain>,
    /// One entry per pending path; it may lie in the past of the real deadline.
    deadlines: BinaryHeap<Reverse<(Instant, PathBuf)>>,
}

impl Debounce {
    /// Everything is at rest.
    pub fn new(patience: Patience) -> Self {
        Self { patience, pending: HashMap::new(), deadlines: BinaryHeap::new() }
    }

    /// Something happened to `path`.
    pub fn on(&mut self, path: &Path, event: Chain) {
        if let Some(chain) = self.pending.get_mut(path) {
            return chain.absorb(event);
        }
        let deadline = self.patience.deadline(path, &event);
        self.deadlines.push(Reverse((deadline, path.to_owned())));
        self.pending.insert(path.to_owned(), event);
    }

    /// `from` became `to`: who wrote the one has a hand in the other.
    pub fn on_rename(&mut self, from: &Path, to: &Path, event: Chain) {
        if let Some(before) = self.pending.get(from).cloned() {
            self.on(to, before);
        }
        self.on(from, event.clone());
        self.on(to, event);
    }

    /// At most `limit` paths that have come to rest at `now`, the longest waiting first.
    pub fn settled(&mut self, now: Instant, limit: usize) -> Vec<(PathBuf, Chain)> {
        let mut settled = Vec::new();
        while settled.len() < limit
            && let Some(Reverse((at, _))) = self.deadlines.peek()
            && *at <= now
            && let Some(Reverse((_, path))) = self.deadlines.pop()
        {
            let Some(chain) = self.pending.get(&path) else { continue };
            let deadline = self.patience.deadline(&path, chain);
            if deadline > now {
                self.deadlines.push(Reverse((deadline, path)));
            } else if let Some(chain) = self.pending.remove(&path) {
                settled.push((path, chain));
            }
        }
        settled
    }

    /// When to look again; a path may turn out to be busy still.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether `path` is not at rest.
    pub fn holds(&self, path: &Path) -> bool {
        self.pending.contains_key(path)
    }

    /// How many paths are not at rest.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether every path is at rest.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUIET: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    fn event(at: Instant, kinds: Kinds, writer: Option<&Arc<Writer>>) -> Chain {
        Chain::new(at, kinds, false, writer.cloned())
    }

    fn debounce() -> (Debounce, Instant) {
        let quiet_of = vec![("/slow".into(), QUIET * 4), ("/slow/fast".into(), QUIET)];
        (Debounce::new(Patience { quiet: QUIET, quiet_of, longest: LONGEST }), Instant::now())
    }

    #[test]
    fn rests_after_quiet_and_not_before() {
        let (mut debounce, start) = debounce();
        let path = Path::new("/etc/hosts");
        debounce.on(path, event(start, Kinds::CREATE, None));
        debounce.on(path, event(start + QUIET / 2, Kinds::WRITTEN, None));
        assert!(debounce.settled(start + QUIET, usize::MAX).is_empty());
        let settled = debounce.settled(start + QUIET * 3 / 2, usize::MAX);
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].1.kinds, Kinds::CREATE | Kinds::WRITTEN);
        assert!(debounce.is_empty() && debounce.next_deadline().is_none());
    }

    #[test]
    fn a_path_that_never_rests_is_let_through() {
        let (mut debounce, start) = debounce();
        let mut at = start;
        while at < start + LONGEST {
            debounce.on(Path::new("/log"), event(at, Kinds::MODIFY, None));
            assert!(debounce.settled(at, usize::MAX).is_empty());
            at += QUIET / 2;
        }
        assert_eq!(debounce.settled(start + LONGEST, usize::MAX).len(), 1);
    }

    #[test]
    fn a_rename_hands_the_writers_on() {
        let (mut debounce, start) = debounce();
        let (vim, mv) = (Arc::new(Writer::unknown(1)), Arc::new(Writer::unknown(2)));
        debounce.on(Path::new("/etc/h.tmp"), event(start, Kinds::CREATE, Some(&vim)));
        let renamed = event(start, Kinds::RENAME, Some(&mv));
        debounce.on_rename(Path::new("/etc/h.tmp"), Path::new("/etc/h"), renamed);
        let settled = debounce.settled(start + QUIET, usize::MAX);
        let (_, chain) = settled.iter().find(|(path, _)| path.ends_with("h")).expect("target");
        assert_eq!(chain.writers.iter().map(|writer| writer.pid).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_longest_path_that_fits_says_how_long_to_wait() {
        let (mut debounce, start) = debounce();
        for path in ["/slow", "/slow/a", "/slow/fast/a", "/slower"] {
            debounce.on(Path::new(path), event(start, Kinds::MODIFY, None));
        }
        let mut early: Vec<_> =
            debounce.settled(start + QUIET, usize::MAX).into_iter().map(|(path, _)| path).collect();
        early.sort();
        assert_eq!(early, [Path::new("/slow/fast/a"), Path::new("/slower")]);
        assert_eq!(debounce.settled(start + QUIET * 4, 1).len(), 1);
        assert_eq!(debounce.settled(start + QUIET * 4, 1).len(), 1);
    }

    #[test]
    fn writers_are_bounded_and_the_rest_is_counted() {
        let (mut debounce, start) = debounce();
        for pid in 0..40 {
            let writer = Arc::new(Writer::unknown(pid));
            debounce.on(Path::new("/f"), event(start, Kinds::MODIFY, Some(&writer)));
        }
        let chain = &debounce.settled(start + QUIET, usize::MAX)[0].1;
        assert_eq!((chain.writers.len(), chain.more_writers), (WRITERS_MAX, 40 - 16));
    }

    proptest! {
        /// Every event ends in exactly one settled chain, never later than `LONGEST`.
        #[test]
        fn nothing_is_lost_or_late(
            events in proptest::collection::vec((0u8..5, 0u64..200), 1..60),
        ) {
            let (mut debounce, start) = debounce();
            let mut now = start;
            let mut last_event = HashMap::new();
            let mut last_settled = HashMap::new();
            for (path, wait) in events {
                now += Duration::from_millis(wait);
                for (path, chain) in debounce.settled(now, usize::MAX) {
                    last_settled.insert(path, chain.last);
                }
                let path = PathBuf::from(format!("/{path}"));
                debounce.on(&path, event(now, Kinds::MODIFY, None));
                last_event.insert(path, now);
            }
            for (path, chain) in debounce.settled(now + LONGEST, usize::MAX) {
                last_settled.insert(path, chain.last);
            }
            prop_assert!(debounce.is_empty());
            prop_assert_eq!(last_settled, last_event);
        }
    }
}
