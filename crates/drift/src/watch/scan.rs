//! Compares a tree with what is remembered of it, a directory at a time.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;

use super::What;
use super::debt::{self, Lost, Receipt};
use super::stamp::{Memory, Stamp};

/// How far a change may lie before the last look and still have been missed by it:
/// timestamps are as coarse as a clock tick, on some filesystems as two seconds.
const RACY: Duration = Duration::from_secs(2);
/// Paths longer than the kernel takes are not reached by anybody else either.
const PATH_MAX: usize = 4095;

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

/// A look at some trees, to be continued until done.
#[derive(Debug)]
pub struct Scan {
    tops: Vec<PathBuf>,
    /// Directories to look into.
    stack: Vec<PathBuf>,
    /// Those looked into ahead of their turn, and whether that was done.
    first: HashMap<PathBuf, bool>,
    generation: u64,
    began: SystemTime,
    /// Entries changed since may have been missed by the last look.
    racy_since: Option<SystemTime>,
    verified: u64,
    unread: u64,
}

impl Scan {
    /// Look at `tops`, at the `first` of their directories before the others. The
    /// generation is larger than that of any scan before. Entries that look the same but
    /// changed after `last` (less two seconds) are reported as unsure.
    pub fn new(
        tops: Vec<PathBuf>,
        first: impl IntoIterator<Item = PathBuf>,
        generation: u64,
        last: Option<SystemTime>,
    ) -> Self {
        let first: HashMap<_, _> = first.into_iter().map(|path| (path, false)).collect();
        let mut stack = tops.clone();
        stack.extend(first.keys().cloned());
        Self {
            tops,
            stack,
            first,
            generation,
            began: SystemTime::now(),
            racy_since: last.and_then(|last| last.checked_sub(RACY)),
            verified: 0,
            unread: 0,
        }
    }

    /// Look at the next directory; `None` when all was seen. A difference can be
    /// left to events that are still to come; what is remembered stays as it was then.
    pub fn step(
        &mut self,
        memory: &mut Memory,
        mut leave: impl FnMut(&Path) -> bool,
    ) -> Option<Vec<Found>> {
        let path = self.stack.pop()?;
        let mut found = Vec::new();
        if let Some(done) = self.first.get_mut(&path)
            && std::mem::replace(done, true)
        {
            return Some(found);
        }
        if self.tops.contains(&path) {
            match Stamp::of(CWD, &path) {
                Ok(stamp) => {
                    found.extend(self.compare(
                        memory,
                        path.as_os_str().as_bytes(),
                        stamp,
                        &mut leave,
                    ));
                    if !stamp.is_directory() {
                        return Some(found);
                    }
                }
                Err(Errno::NOENT | Errno::NOTDIR) => return Some(found),
                Err(_) => {
                    self.unread += 1;
                    return Some(found);
                }
            }
        }
        self.look_into(&path, memory, &mut leave, &mut found);
        Some(found)
    }

    fn look_into(
        &mut self,
        path: &Path,
        memory: &mut Memory,
        leave: &mut impl FnMut(&Path) -> bool,
        found: &mut Vec<Found>,
    ) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, path, flags, Mode::empty());
        let directory = match opened.and_then(|fd| Dir::read_from(&fd).map(|dir| (fd, dir))) {
            Ok(directory) => directory,
            // It went or became something else since its parent was read: there will be an
            // event, or its entries are found missing at the end.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            Err(_) => return self.unread += 1,
        };
        let (fd, entries) = directory;
        let mut full = path.as_os_str().as_bytes().to_vec();
        if full != b"/" {
            full.push(b'/');
        }
        let prefix = full.len();
        for entry in entries {
            let Ok(entry) = entry else {
                self.unread += 1;
                break;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            full.truncate(prefix);
            full.extend_from_slice(name.to_bytes());
            let stamp = match Stamp::of(&fd, name) {
                Ok(stamp) if full.len() <= PATH_MAX => stamp,
                Err(Errno::NOENT) => continue,
                _ => {
                    self.unread += 1;
                    continue;
                }
            };
            found.extend(self.compare(memory, &full, stamp, leave));
            if stamp.is_directory() {
                let below = PathBuf::from(std::ffi::OsString::from_vec(full.clone()));
                self.stack.push(below);
            }
        }
    }

    fn compare(
        &mut self,
        memory: &mut Memory,
        path: &[u8],
        stamp: Stamp,
        leave: &mut impl FnMut(&Path) -> bool,
    ) -> Option<Found> {
        let as_path = Path::new(std::ffi::OsStr::from_bytes(path));
        let Some(remembered) = memory.entry(path) else {
            if leave(as_path) {
                return None;
            }
            self.verified += 1;
            memory.insert(path, stamp, self.generation);
            let found = Found { path: as_path.into(), what: What::Appeared, stamp: Some(stamp) };
            return Some(found);
        };
        if remembered.generation >= self.generation {
            return None;
        }
        remembered.generation = self.generation;
        let fields = remembered.stamp.differs(&stamp);
        let what = if !fields.is_empty() {
            What::Changed(fields)
        } else if self.racy_since.is_some_and(|since| stamp.changed_since(since)) {
            What::Unsure
        } else {
            self.verified += 1;
            return None;
        };
        if leave(as_path) {
            return None;
        }
        self.verified += 1;
        remembered.stamp = stamp;
        Some(Found { path: as_path.into(), what, stamp: Some(stamp) })
    }

    /// After the last step: what is remembered and is not there any more.
    pub fn missing(
        &mut self,
        memory: &mut Memory,
        mut leave: impl FnMut(&Path) -> bool,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for top in &self.tops {
            for path in memory.unseen(top, self.generation) {
                // What could not be read is not missing.
                let gone = matches!(Stamp::of(CWD, &path), Err(Errno::NOENT | Errno::NOTDIR));
                if !gone || leave(&path) {
                    continue;
                }
                memory.remove(&path);
                self.verified += 1;
                found.push(Found { path, what: What::Vanished, stamp: None });
            }
        }
        found
    }

    /// When it began: what happened later, events have to tell.
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// What the scan proves, given what was lost since `from`.
    pub fn receipt(
        &self,
        filesystem: Option<u64>,
        from: Option<SystemTime>,
        mode: debt::Mode,
        lost_events: Lost,
    ) -> Receipt {
        Receipt {
            filesystem,
            from,
            to: self.began,
            mode,
            lost_events,
            entries_verified: self.verified,
            entries_unread: self.unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn run(
        memory: &mut Memory,
        top: &Path,
        generation: u64,
        last: Option<SystemTime>,
    ) -> Vec<Found> {
        let mut scan = Scan::new(vec![top.to_owned()], [], generation, last);
        let mut found = Vec::new();
        while let Some(more) = scan.step(memory, |_| false) {
            found.extend(more);
        }
        found.extend(scan.missing(memory, |_| false));
        found
    }

    #[test]
    fn says_what_changed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("directory");
        let top = directory.path();
        for name in ["kept", "edited", "removed"] {
            fs::write(top.join(name), "1").expect("file");
        }
        fs::create_dir_all(top.join("a/b")).expect("directory");
        fs::write(top.join("a/b/deep"), "1").expect("file");
        let mut memory = Memory::default();
        assert_eq!(run(&mut memory, top, 1, None).len(), 7);
        assert!(run(&mut memory, top, 2, None).is_empty());

        fs::write(top.join("edited"), "22").expect("edit");
        fs::remove_file(top.join("removed")).expect("removal");
        fs::remove_dir_all(top.join("a")).expect("removal");
        fs::write(top.join("new"), "").expect("file");
        let mut names: Vec<_> = run(&mut memory, top, 3, None)
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
            ("edited", true),
            ("new", true),
            ("removed", false),
        ];
        assert_eq!(names, expected.map(|(name, there)| (PathBuf::from(name), there)));
    }

    #[test]
    fn what_changed_around_the_last_look_is_unsure() {
        let directory = tempfile::tempdir().expect("directory");
        fs::write(directory.path().join("f"), "1").expect("file");
        let mut memory = Memory::default();
        run(&mut memory, directory.path(), 1, None);
        let looked = SystemTime::now();
        let found = run(&mut memory, directory.path(), 2, Some(looked));
        assert!(found.len() == 2 && found.iter().all(|found| found.what == What::Unsure));
        let later = looked + Duration::from_secs(60);
        assert!(run(&mut memory, directory.path(), 3, Some(later)).is_empty());
    }

    #[test]
    fn a_link_loop_is_an_entry_and_not_a_way() {
        let directory = tempfile::tempdir().expect("directory");
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).expect("link");
        let mut memory = Memory::default();
        assert_eq!(run(&mut memory, directory.path(), 1, None).len(), 2);
    }
}
