//! What is remembered of all watched entries, small enough to be kept for a whole system.

mod listing;
mod persist;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use umbra_state::Digest;

pub(super) use listing::Listing;
pub use persist::{Loaded, Refused};

use super::stamp::Stamp;

/// What is remembered of all watched entries.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// By the directory's path.
    directories: BTreeMap<Box<[u8]>, Listing>,
    entries: usize,
    /// When the last complete look at everything began; `None`: there was none.
    pub complete: Option<SystemTime>,
    /// What had been watched then.
    roots: Vec<PathBuf>,
    pub(super) origin: Origin,
    /// The last receipt's hash.
    pub(super) head: Option<Digest>,
}

/// Where a memory comes from.
#[derive(Debug, Clone, Default)]
pub(super) enum Origin {
    /// From the watcher that has it, or from nowhere.
    #[default]
    Own,
    /// From a file.
    Saved {
        /// Until then everything had been covered when it was saved.
        covered: Option<SystemTime>,
        /// The machine was started since.
        rebooted: bool,
    },
    /// There was a file, and it is not to be believed.
    Refused(String),
}

impl Memory {
    /// What is remembered of `path`.
    pub fn get(&self, path: &Path) -> Option<Stamp> {
        let (directory, name) = split(path.as_os_str().as_bytes());
        self.directories.get(directory)?.get(name)
    }

    /// How many entries are remembered.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Every entry, a directory after the other, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (PathBuf, Stamp)> {
        self.directories.iter().flat_map(|(directory, listing)| {
            listing.iter().map(|(name, stamp)| (join(directory, name), stamp))
        })
    }

    /// What had been watched when it was complete.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// What is remembered of `path` is not to be believed: the next look reports it, whatever
    /// it finds. To be said of all that was reported after the memory was saved, since it
    /// may since have become again what is remembered.
    pub fn doubt(&mut self, path: &Path) {
        // No entry looks like this.
        let impossible = Stamp {
            device: (0, 0),
            inode: 0,
            mode: 0,
            uid: u32::MAX,
            gid: u32::MAX,
            size: u64::MAX,
            mtime: (0, 0),
            ctime: (0, 0),
        };
        self.set(path, Some(impossible));
    }

    /// The next receipt follows the one with this hash. A file knows of no receipt later
    /// than itself; whoever keeps receipts knows better which one was the last.
    pub fn follow(&mut self, last: Digest) {
        self.head = Some(last);
    }

    /// Everything below `roots` was looked at, beginning at `began`.
    pub(super) fn completed(&mut self, began: SystemTime, roots: &[PathBuf]) {
        self.complete = Some(began);
        self.roots = roots.to_vec();
    }

    /// Forget what is not below one of `roots`.
    pub(super) fn keep_below(&mut self, roots: &[PathBuf]) {
        let under = |path: &Path| roots.iter().any(|root| path.starts_with(root));
        let directories = self.directories.keys().map(|path| OsStr::from_bytes(path));
        let strange = directories.map(PathBuf::from).filter(|path| !under(path));
        for directory in strange.collect::<Vec<_>>() {
            let Some(listing) = self.listing(&directory) else { continue };
            let path = |name: &[u8]| join(directory.as_os_str().as_bytes(), name);
            let kept = Listing::from_sorted(listing.iter().filter(|(name, _)| under(&path(name))));
            self.replace(&directory, kept);
        }
    }

    /// Remember `path` as it is now, or that it is not there.
    pub(super) fn set(&mut self, path: &Path, stamp: Option<Stamp>) {
        let (directory, name) = split(path.as_os_str().as_bytes());
        match (stamp, self.directories.get_mut(directory)) {
            (Some(stamp), Some(listing)) => {
                self.entries += usize::from(listing.set(name, &stamp).is_none());
            }
            (Some(stamp), None) => {
                let listing = Listing::from_sorted(std::iter::once((name, stamp)));
                self.entries += listing.len();
                self.directories.insert(directory.into(), listing);
            }
            (None, Some(listing)) => {
                self.entries -= usize::from(listing.remove(name).is_some());
                if listing.len() == 0 {
                    self.directories.remove(directory);
                }
            }
            (None, None) => {}
        }
    }

    /// What is remembered of the entries of `directory`.
    pub(super) fn listing(&self, directory: &Path) -> Option<&Listing> {
        self.directories.get(directory.as_os_str().as_bytes())
    }

    /// Remember these entries of `directory` and no others.
    pub(super) fn replace(&mut self, directory: &Path, listing: Listing) {
        let directory = directory.as_os_str().as_bytes();
        let new = listing.len();
        let old = match new {
            0 => self.directories.remove(directory),
            _ => match self.directories.get_mut(directory) {
                Some(known) => Some(std::mem::replace(known, listing)),
                None => self.directories.insert(directory.into(), listing),
            },
        };
        self.entries = self.entries + new - old.map_or(0, |old| old.len());
    }

    /// What is remembered below directories that are not remembered themselves: they went,
    /// and what lay in them has not been looked after yet.
    pub(super) fn orphans(&self, roots: &[PathBuf]) -> Vec<PathBuf> {
        let above = |path: &Path| roots.iter().any(|root| root.parent() == Some(path));
        let lost = self.directories.iter().filter(|(directory, _)| {
            let path = Path::new(OsStr::from_bytes(directory));
            let known = self.get(path).is_some_and(|stamp| stamp.is_directory());
            !known && !directory.is_empty() && !above(path)
        });
        let below = lost
            .flat_map(|(directory, listing)| listing.iter().map(|(name, _)| join(directory, name)));
        below.collect()
    }

    /// What is remembered below `top`, without itself; what is deeper comes later.
    pub(super) fn below(&self, top: &Path) -> Vec<PathBuf> {
        let top = top.as_os_str().as_bytes();
        let mut first = top.to_vec();
        if first != b"/" {
            first.push(b'/');
        }
        // '0' is the byte after '/': the range is exactly what begins with "top/".
        let mut last = first.clone();
        last.pop();
        last.push(b'0');
        let own = self.directories.get_key_value(top).filter(|_| top != b"/");
        let range = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
        let below = own.into_iter().chain(self.directories.range::<[u8], _>(range));
        below
            .flat_map(|(directory, listing)| listing.iter().map(|(name, _)| join(directory, name)))
            .collect()
    }
}

/// Directory and name; the root directory is the entry "/" of the directory "".
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) if path.len() == 1 => (b"", path),
        Some(0) => (&path[..1], &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn join(directory: &[u8], name: &[u8]) -> PathBuf {
    let mut path = OsString::from_vec(Vec::with_capacity(directory.len() + 1 + name.len()));
    path.push(OsStr::from_bytes(directory));
    if !directory.is_empty() && directory != b"/" {
        path.push("/");
    }
    path.push(OsStr::from_bytes(name));
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn stamp() -> Stamp {
        let directory = tempfile::tempdir().expect("directory");
        Stamp::of(rustix::fs::CWD, directory.path()).expect("stamp")
    }

    #[test]
    fn below_a_directory_is_not_what_begins_like_it() {
        let mut memory = Memory::default();
        let paths = ["/", "/e", "/e/a", "/e/a/b", "/e/a/b/c", "/e/a-", "/e/a0", "/f"];
        let stamp = stamp();
        for path in paths {
            memory.set(Path::new(path), Some(stamp));
        }
        let below = |top: &str| memory.below(Path::new(top)).len();
        assert_eq!((below("/e/a"), below("/e"), below("/"), below("/f")), (2, 5, 7, 0));
        assert_eq!((memory.len(), memory.iter().count()), (8, 8));
        let mut all: Vec<_> = memory.iter().map(|(path, _)| path).collect();
        all.sort();
        let mut expected = paths.map(PathBuf::from);
        expected.sort();
        assert_eq!(all, expected);
        assert!(memory.orphans(&["/".into()]).is_empty());
        let mut orphaned = memory.clone();
        orphaned.set(Path::new("/e/a"), None);
        assert_eq!(orphaned.orphans(&["/".into()]), [Path::new("/e/a/b")]);
        // A watched file's directory is not remembered itself.
        assert!(orphaned.orphans(&["/e/a/b".into()]).is_empty());
        let mut few = memory.clone();
        few.keep_below(&["/e/a".into(), "/f".into()]);
        let mut kept: Vec<_> = few.iter().map(|(path, _)| path).collect();
        kept.sort();
        assert_eq!(kept, ["/e/a", "/e/a/b", "/e/a/b/c", "/f"].map(PathBuf::from));
        assert_eq!(few.len(), 4);
        for path in paths {
            assert_eq!(memory.get(Path::new(path)), Some(stamp));
            memory.set(Path::new(path), None);
            assert_eq!(memory.get(Path::new(path)), None);
        }
        assert!(memory.is_empty() && memory.directories.is_empty());
    }
}
