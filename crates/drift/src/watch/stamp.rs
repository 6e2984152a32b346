//! What is remembered of an entry to tell whether it changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bitflags::bitflags;
use rustix::fs::{AtFlags, Statx, StatxFlags, statx};
use rustix::io::Errno;

/// An entry's identity and metadata; `ctime` cannot be set by programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Device, as (major, minor).
    pub device: (u32, u32),
    /// Inode.
    pub inode: u64,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of the content: seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Last change of anything.
    pub ctime: (i64, u32),
}

bitflags! {
    /// A set of [`Stamp`] fields.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Fields: u8 {
        /// Another inode, or another filesystem.
        const IDENTITY = 1;
        /// Another kind of file.
        const KIND = 2;
        /// Permissions.
        const MODE = 4;
        /// Owner or group.
        const OWNER = 8;
        /// Size.
        const SIZE = 16;
        /// Modification time.
        const MTIME = 32;
        /// Change time.
        const CTIME = 64;
    }
}

impl Stamp {
    /// The entry `name` in `directory` itself, not what it links to.
    ///
    /// # Errors
    /// What `statx` fails with.
    pub fn of(directory: impl AsFd, name: impl rustix::path::Arg) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        statx(directory, name, flags, StatxFlags::BASIC_STATS).map(|status| Self::from(&status))
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// What differs.
    pub fn differs(&self, other: &Self) -> Fields {
        let fields = [
            ((self.device, self.inode) != (other.device, other.inode), Fields::IDENTITY),
            ((self.mode ^ other.mode) & libc::S_IFMT != 0, Fields::KIND),
            ((self.mode ^ other.mode) & !libc::S_IFMT != 0, Fields::MODE),
            ((self.uid, self.gid) != (other.uid, other.gid), Fields::OWNER),
            (self.size != other.size, Fields::SIZE),
            (self.mtime != other.mtime, Fields::MTIME),
            (self.ctime != other.ctime, Fields::CTIME),
        ];
        fields.into_iter().filter(|(differs, _)| *differs).map(|(_, field)| field).collect()
    }

    /// Whether it changed at `moment` or later.
    pub fn changed_since(&self, moment: SystemTime) -> bool {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Ok(seconds) = u64::try_from(self.ctime.0) else { return false };
        Duration::new(seconds, self.ctime.1.min(999_999_999)) >= since
    }
}

impl From<&Statx> for Stamp {
    fn from(status: &Statx) -> Self {
        Self {
            device: (status.stx_dev_major, status.stx_dev_minor),
            inode: status.stx_ino,
            mode: u32::from(status.stx_mode),
            uid: status.stx_uid,
            gid: status.stx_gid,
            size: status.stx_size,
            mtime: (status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec),
            ctime: (status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec),
        }
    }
}

/// What is remembered of all watched entries.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// By path bytes, so that what lies below a directory is one range.
    entries: BTreeMap<Box<[u8]>, Remembered>,
    /// When the last complete look at everything began; `None`: there was none.
    pub complete: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Remembered {
    pub(super) stamp: Stamp,
    /// The scan that saw it last.
    pub(super) generation: u64,
}

impl Memory {
    /// What is remembered of `path`.
    pub fn get(&self, path: &Path) -> Option<&Stamp> {
        self.entries.get(path.as_os_str().as_bytes()).map(|remembered| &remembered.stamp)
    }

    /// How many entries are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every entry, in the order of its path's bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Stamp)> {
        self.entries
            .iter()
            .map(|(path, remembered)| (Path::new(OsStr::from_bytes(path)), &remembered.stamp))
    }

    pub(super) fn entry(&mut self, path: &[u8]) -> Option<&mut Remembered> {
        self.entries.get_mut(path)
    }

    pub(super) fn insert(&mut self, path: &[u8], stamp: Stamp, generation: u64) {
        self.entries.insert(path.into(), Remembered { stamp, generation });
    }

    pub(super) fn remove(&mut self, path: &Path) -> Option<Stamp> {
        self.entries.remove(path.as_os_str().as_bytes()).map(|remembered| remembered.stamp)
    }

    /// Remember `path` as it is now, or that it is not there.
    pub(super) fn set(&mut self, path: &Path, stamp: Option<Stamp>, generation: u64) {
        match stamp {
            Some(stamp) => self.insert(path.as_os_str().as_bytes(), stamp, generation),
            None => drop(self.remove(path)),
        }
    }

    pub(super) fn newest_generation(&self) -> u64 {
        self.entries.values().map(|remembered| remembered.generation).max().unwrap_or_default()
    }

    /// `top` and what lies below it, where no scan since `generation` has been.
    pub(super) fn unseen(&self, top: &Path, generation: u64) -> Vec<PathBuf> {
        let top = top.as_os_str().as_bytes();
        let mut first = top.to_vec();
        if first != b"/" {
            first.push(b'/');
        }
        // '0' is the byte after '/': the range is exactly what begins with "top/".
        let mut last = first.clone();
        last.pop();
        last.push(b'0');
        let own = self.entries.get_key_value(top);
        let below = self.entries.range::<[u8], _>((
            std::ops::Bound::Included(&first[..]),
            std::ops::Bound::Excluded(&last[..]),
        ));
        own.into_iter()
            .chain(below)
            .filter(|(_, remembered)| remembered.generation < generation)
            .map(|(path, _)| PathBuf::from(OsStr::from_bytes(path)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        let directory = tempfile::tempdir().expect("directory");
        Stamp::of(rustix::fs::CWD, directory.path()).expect("stamp")
    }

    #[test]
    fn each_field_is_told_apart() {
        #[track_caller]
        fn check(edit: impl FnOnce(&mut Stamp), fields: Fields) {
            let one = stamp();
            let mut other = one;
            edit(&mut other);
            assert_eq!(one.differs(&other), fields);
        }
        check(|_| {}, Fields::default());
        check(|stamp| stamp.inode += 1, Fields::IDENTITY);
        check(|stamp| stamp.mode ^= 0o4000, Fields::MODE);
        check(|stamp| stamp.mode ^= libc::S_IFMT, Fields::KIND);
        check(|stamp| stamp.gid += 1, Fields::OWNER);
        check(|stamp| stamp.size += 1, Fields::SIZE);
        check(|stamp| stamp.mtime.1 ^= 1, Fields::MTIME);
        check(|stamp| stamp.ctime.0 += 1, Fields::CTIME);
    }

    #[test]
    fn below_a_directory_is_not_what_begins_like_it() {
        let mut memory = Memory::default();
        for path in ["/e", "/e/a", "/e/a/b", "/e/a-", "/e/a0", "/f"] {
            memory.insert(path.as_bytes(), stamp(), 1);
        }
        let unseen = |top: &str| memory.unseen(Path::new(top), 2).len();
        assert_eq!((unseen("/e/a"), unseen("/e"), unseen("/")), (2, 5, 6));
        assert!(memory.unseen(Path::new("/"), 1).is_empty());
    }
}
