//! What is remembered of an entry to tell whether it changed.

use std::os::fd::AsFd;
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
}
