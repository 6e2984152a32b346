//! Compares a tree with what is remembered of it, a directory at a time.
//!
//! A directory's names are read, sorted and merged with the remembered ones, so that what
//! appeared, changed and vanished is known when the directory has been read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::What;
use super::memory::{Listing, Memory};
use super::names::{Joined, Names};
use super::stamp::{Fields, Stamp};

/// How far a change may lie before the last look and still have been missed by it:
/// timestamps are as coarse as a clock tick, on some filesystems as two seconds.
const RACY: Duration = Duration::from_secs(2);

/// A difference found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub what: What,
    /// What is there now.
    pub stamp: Option<Stamp>,
}

/// With what a tree is compared, and where not to go.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Entries that look the same but changed after this, less two seconds, are unsure.
    pub last: Option<SystemTime>,
    /// The machine was started since: the same device may have another number.
    pub rebooted: bool,
    /// Directories that are not looked into: what is there are views of the kernel.
    pub barred: Arc<HashSet<PathBuf>>,
}

/// A look at some trees, to be continued until done.
#[derive(Debug)]
pub struct Scan {
    tops: Vec<PathBuf>,
    /// Directories to look into.
    stack: Vec<PathBuf>,
    /// Those looked into ahead of their turn, and whether that was done.
    first: HashMap<PathBuf, bool>,
    /// The name at which the newest directory is to be gone on with.
    resume: Option<Vec<u8>>,
    /// What lay below directories that are none any more.
    gone: Vec<PathBuf>,
    terms: Terms,
    began: SystemTime,
    verified: u64,
    unread: u64,
}

impl Scan {
    /// Look at `tops`, at the `first` of the directories below them before the others.
    pub fn new(tops: Vec<PathBuf>, first: impl IntoIterator<Item = PathBuf>, terms: Terms) -> Self {
        let below = |path: &PathBuf| tops.iter().any(|top| path.starts_with(top));
        let first: HashMap<_, _> =
            first.into_iter().filter(below).map(|path| (path, false)).collect();
        let mut stack = tops.clone();
        stack.extend(first.keys().filter(|path| !tops.contains(path)).cloned());
        let began = SystemTime::now();
        let (resume, gone, verified, unread) = Default::default();
        Self { tops, stack, first, resume, gone, terms, began, verified, unread }
    }

    /// Look whether these are gone, before anything else.
    pub fn with_gone(mut self, paths: Vec<PathBuf>) -> Self {
        self.gone = paths;
        self
    }

    /// Look at the next directory, for at most `limit` differences; `None` when all was
    /// seen. A difference can be left to events that are still to come; what is remembered
    /// stays as it was then.
    pub fn step(
        &mut self,
        memory: &mut Memory,
        limit: usize,
        mut leave: impl FnMut(&Path) -> bool,
    ) -> Option<Vec<Found>> {
        let mut look = Look { limit, found: Vec::new(), more: false, leave: &mut leave };
        if !self.gone.is_empty() {
            self.take_gone(memory, &mut look);
            return Some(look.found);
        }
        let path = self.stack.pop()?;
        let done = self.first.get_mut(&path).is_some_and(|done| std::mem::replace(done, true));
        if self.resume.is_some() || !done {
            if self.resume.is_none() && self.tops.contains(&path) {
                self.look_at_top(&path, memory, &mut look);
            } else {
                self.look_into(&path, memory, &mut look);
            }
        }
        if self.resume.is_some() {
            self.stack.push(path);
        }
        Some(look.found)
    }

    fn look_at_top(&mut self, path: &Path, memory: &mut Memory, look: &mut Look<'_>) {
        let before = memory.get(path);
        match Stamp::of(CWD, path) {
            Ok(stamp) => {
                memory.set(path, self.compare(path, before, stamp, look));
                if stamp.is_directory() {
                    self.look_into(path, memory, look);
                } else {
                    self.gone = memory.below(path);
                }
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {
                if let Some(before) = before {
                    memory.set(path, self.vanished(path, before, look));
                }
                self.gone = memory.below(path);
            }
            Err(_) => self.unread += 1,
        }
    }

    fn look_into(&mut self, path: &Path, memory: &mut Memory, look: &mut Look<'_>) {
        let resume = self.resume.take();
        let now = match Names::read(path) {
            Ok(names) => names,
            // It went or became something else since its parent was read: there will be an
            // event, or the next look at the parent finds it missing.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            Err(_) => return self.unread += 1,
        };
        self.unread += if resume.is_none() { now.unread } else { 0 };
        let known = memory.listing(path);
        let mut known = known.into_iter().flat_map(Listing::iter).peekable();
        let mut kept: Vec<(&[u8], Stamp)> = Vec::with_capacity(now.len());
        let mut changed = false;
        let mut full = Joined::new(path);
        let mut emptied = Vec::new();
        let mut entries = now.iter().peekable();
        loop {
            let name = match (known.peek(), entries.peek()) {
                (Some((known, _)), Some((entry, _))) => (*known).min(*entry),
                (Some((name, _)), None) | (None, Some((name, _))) => *name,
                (None, None) => break,
            };
            let before = known.next_if(|(known, _)| *known == name).map(|(_, stamp)| stamp);
            let stamp = entries.next_if(|(entry, _)| *entry == name).map(|(_, stamp)| stamp);
            let full = full.with(name);
            let descends = stamp.is_some_and(|stamp| stamp.is_directory());
            if descends && resume.is_none() && !self.terms.barred.contains(full) {
                self.stack.push(full.to_owned());
            }
            let after = match (before, stamp) {
                // Another step's turn.
                _ if look.more || resume.as_deref().is_some_and(|resume| name < resume) => before,
                (before, Some(stamp)) => self.compare(full, before, stamp, look),
                // What could not be read is not missing.
                (Some(before), None) if !now.lacks(name) => Some(before),
                (Some(before), None) => self.vanished(full, before, look),
                (None, None) => None,
            };
            if look.more && self.resume.is_none() {
                self.resume = Some(name.to_vec());
            }
            let was_directory = before.is_some_and(|before| before.is_directory());
            if was_directory && !descends && !look.more {
                emptied.push(full.to_owned());
            }
            changed |= after != before;
            kept.extend(after.map(|stamp| (name, stamp)));
        }
        drop(known);
        if changed {
            let listing = Listing::from_sorted(kept.into_iter());
            memory.replace(path, listing);
        }
        self.gone = emptied.iter().flat_map(|directory| memory.below(directory)).collect();
    }

    fn take_gone(&mut self, memory: &mut Memory, look: &mut Look<'_>) {
        while let Some(path) = self.gone.pop() {
            let gone = matches!(Stamp::of(CWD, &path), Err(Errno::NOENT | Errno::NOTDIR));
            if let Some(before) = memory.get(&path).filter(|_| gone) {
                memory.set(&path, self.vanished(&path, before, look));
            }
            if look.more {
                return self.gone.push(path);
            }
        }
    }

    /// What is to be remembered of an entry that is there.
    fn compare(
        &mut self,
        path: &Path,
        before: Option<Stamp>,
        stamp: Stamp,
        look: &mut Look<'_>,
    ) -> Option<Stamp> {
        let what = match before {
            None => What::Appeared,
            Some(before) => {
                let fields = before.differs(&stamp);
                let moved = fields == Fields::IDENTITY && before.inode == stamp.inode;
                let since = self.terms.last.and_then(|last| last.checked_sub(RACY));
                if !(fields.is_empty() || (self.terms.rebooted && moved)) {
                    What::Changed(fields)
                } else if since.is_some_and(|since| stamp.changed_since(since)) {
                    What::Unsure
                } else {
                    self.verified += 1;
                    return Some(stamp);
                }
            }
        };
        if look.takes(path) {
            self.verified += 1;
            look.found.push(Found { path: path.to_owned(), what, stamp: Some(stamp) });
            Some(stamp)
        } else {
            before
        }
    }

    /// What is to be remembered of an entry that is not there.
    fn vanished(&mut self, path: &Path, before: Stamp, look: &mut Look<'_>) -> Option<Stamp> {
        if !look.takes(path) {
            return Some(before);
        }
        self.verified += 1;
        look.found.push(Found { path: path.to_owned(), what: What::Vanished, stamp: None });
        None
    }

    /// When it began: what happened later, events have to tell.
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// Entries compared, and entries that could not be looked at.
    pub fn counts(&self) -> (u64, u64) {
        (self.verified, self.unread)
    }
}

/// What one step found.
struct Look<'a> {
    limit: usize,
    found: Vec<Found>,
    /// There were more differences than the limit.
    more: bool,
    leave: &'a mut dyn FnMut(&Path) -> bool,
}

impl Look<'_> {
    /// Whether a difference at `path` is reported now.
    fn takes(&mut self, path: &Path) -> bool {
        if (self.leave)(path) {
            return false;
        }
        let full = self.found.len() >= self.limit;
        self.more |= full;
        !full
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn run(memory: &mut Memory, top: &Path, last: Option<SystemTime>, limit: usize) -> Vec<Found> {
        let terms = Terms { last, ..Terms::default() };
        let mut scan = Scan::new(vec![top.to_owned()], [], terms);
        let mut found = Vec::new();
        while let Some(more) = scan.step(memory, limit, |_| false) {
            assert!(more.len() <= limit);
            found.extend(more);
        }
        found
    }

    #[track_caller]
    fn says_what_changed(limit: usize) {
        let directory = tempfile::tempdir().expect("directory");
        let top = directory.path();
        for name in ["kept", "edited", "removed"] {
            fs::write(top.join(name), "1").expect("file");
        }
        for name in ["a/b", "c", "d"] {
            fs::create_dir_all(top.join(name)).expect("directory");
            fs::write(top.join(name).join("deep"), "1").expect("file");
        }
        let mut memory = Memory::default();
        assert_eq!(run(&mut memory, top, None, limit).len(), 11);
        assert!(run(&mut memory, top, None, limit).is_empty());

        fs::write(top.join("edited"), "22").expect("edit");
        fs::remove_file(top.join("removed")).expect("removal");
        fs::remove_dir_all(top.join("a")).expect("removal");
        fs::remove_dir_all(top.join("c")).expect("removal");
        fs::write(top.join("c"), "a file now").expect("file");
        fs::write(top.join("new"), "").expect("file");
        let mut names: Vec<_> = run(&mut memory, top, None, limit)
            .into_iter()
            .filter(|found| found.path != top)
            .map(|found| {
                (found.path.strip_prefix(top).expect("below").to_owned(), found.stamp.is_some())
            })
            .collect();
        names.sort();
        let expected = [
            ("a", false),
            ("a/b", false),
            ("a/b/deep", false),
            ("c", true),
            ("c/deep", false),
            ("edited", true),
            ("new", true),
            ("removed", false),
        ];
        assert_eq!(names, expected.map(|(name, there)| (PathBuf::from(name), there)));
        assert_eq!(memory.len(), 7);
        fs::remove_dir_all(top).expect("removal");
        assert_eq!(run(&mut memory, top, None, limit).len(), 7);
        assert!(memory.is_empty());
    }

    #[test]
    fn says_what_changed_and_nothing_else() {
        says_what_changed(usize::MAX);
    }

    #[test]
    fn few_differences_at_a_time_are_the_same_differences() {
        says_what_changed(1);
    }

    #[test]
    fn what_changed_around_the_last_look_is_unsure() {
        let directory = tempfile::tempdir().expect("directory");
        fs::write(directory.path().join("f"), "1").expect("file");
        let mut memory = Memory::default();
        let all = usize::MAX;
        run(&mut memory, directory.path(), None, all);
        let looked = SystemTime::now();
        let found = run(&mut memory, directory.path(), Some(looked), all);
        assert!(found.len() == 2 && found.iter().all(|found| found.what == What::Unsure));
        let later = looked + Duration::from_secs(60);
        assert!(run(&mut memory, directory.path(), Some(later), all).is_empty());
    }

    #[test]
    fn a_device_may_be_renumbered_by_a_reboot() {
        #[track_caller]
        fn check(rebooted: bool, expected: usize) {
            let directory = tempfile::tempdir().expect("directory");
            let mut memory = Memory::default();
            run(&mut memory, directory.path(), None, usize::MAX);
            let mut stamp = memory.get(directory.path()).expect("remembered");
            stamp.device.1 ^= 1;
            memory.set(directory.path(), Some(stamp));
            let terms = Terms { rebooted, ..Terms::default() };
            let mut scan = Scan::new(vec![directory.path().to_owned()], [], terms);
            let found = scan.step(&mut memory, usize::MAX, |_| false).expect("one");
            assert_eq!(found.len(), expected);
            let now = Stamp::of(CWD, directory.path()).expect("stamp");
            assert_eq!(memory.get(directory.path()), Some(now));
        }
        check(true, 0);
        check(false, 1);
    }

    #[test]
    fn what_is_left_to_events_stays_remembered() {
        let directory = tempfile::tempdir().expect("directory");
        let top = directory.path();
        fs::create_dir(top.join("a")).expect("directory");
        fs::write(top.join("a/f"), "1").expect("file");
        let mut memory = Memory::default();
        run(&mut memory, top, None, usize::MAX);
        fs::remove_dir_all(top.join("a")).expect("removal");
        let mut left = Vec::new();
        let mut scan = Scan::new(vec![top.to_owned()], [], Terms::default());
        while let Some(found) = scan.step(&mut memory, usize::MAX, |path| {
            left.push(path.to_owned());
            true
        }) {
            assert!(found.is_empty());
        }
        left.sort();
        assert_eq!(left, [top.to_owned(), top.join("a"), top.join("a/f")]);
        assert_eq!(memory.len(), 3);
    }

    #[test]
    fn barred_directories_are_not_looked_into() {
        let directory = tempfile::tempdir().expect("directory");
        let top = directory.path();
        fs::create_dir_all(top.join("view/deep")).expect("directory");
        let barred = Arc::new(HashSet::from([top.join("view")]));
        let mut scan = Scan::new(vec![top.to_owned()], [], Terms { barred, ..Terms::default() });
        let mut memory = Memory::default();
        while scan.step(&mut memory, usize::MAX, |_| false).is_some() {}
        assert_eq!(memory.len(), 2);
    }

    #[test]
    fn only_what_is_below_a_top_is_looked_at_first() {
        let directory = tempfile::tempdir().expect("directory");
        fs::write(directory.path().join("watched"), "1").expect("file");
        fs::write(directory.path().join("not"), "1").expect("file");
        let tops = vec![directory.path().join("watched")];
        let mut scan = Scan::new(tops, [directory.path().to_owned()], Terms::default());
        let mut memory = Memory::default();
        while scan.step(&mut memory, usize::MAX, |_| false).is_some() {}
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn a_link_loop_is_an_entry_and_not_a_way() {
        let directory = tempfile::tempdir().expect("directory");
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).expect("link");
        let mut memory = Memory::default();
        assert_eq!(run(&mut memory, directory.path(), None, usize::MAX).len(), 2);
    }
}
