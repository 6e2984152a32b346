//! What is in a directory now, read at once and sorted by name.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;

use super::stamp::Stamp;

/// Paths longer than the kernel takes are not reached by anybody else either.
const PATH_MAX: usize = 4095;

/// What is in a directory, sorted by name.
pub(super) struct Names {
    fd: OwnedFd,
    names: Vec<u8>,
    /// Where a name begins and ends.
    entries: Vec<(usize, usize, Stamp)>,
    /// Entries that could not be looked at.
    pub(super) unread: u64,
    /// The end of the directory was reached.
    whole: bool,
}

impl Names {
    pub(super) fn read(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())?;
        let mut names = Self { names: Vec::new(), entries: Vec::new(), unread: 0, whole: true, fd };
        let prefix = path.as_os_str().len() + 1;
        for entry in Dir::read_from(&names.fd)? {
            let Ok(entry) = entry else {
                names.whole = false;
                names.unread += 1;
                break;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match Stamp::of(&names.fd, name) {
                Ok(stamp) if prefix + name.count_bytes() <= PATH_MAX => {
                    let start = names.names.len();
                    names.names.extend_from_slice(name.to_bytes());
                    names.entries.push((start, names.names.len(), stamp));
                }
                Err(Errno::NOENT) => {}
                _ => names.unread += 1,
            }
        }
        let Self { names: bytes, entries, .. } = &mut names;
        entries.sort_unstable_by(|one, two| bytes[one.0..one.1].cmp(&bytes[two.0..two.1]));
        // A directory that changes while it is read may show a name twice.
        entries.dedup_by(|two, one| bytes[one.0..one.1] == bytes[two.0..two.1]);
        Ok(names)
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Stamp)> {
        self.entries.iter().map(|(start, end, stamp)| (&self.names[*start..*end], *stamp))
    }

    /// Whether `name`, which was not among the names, is really not there.
    pub(super) fn lacks(&self, name: &[u8]) -> bool {
        self.whole && Stamp::of(&self.fd, OsStr::from_bytes(name)) == Err(Errno::NOENT)
    }
}

/// A directory's path with one name after the other.
pub(super) struct Joined {
    bytes: Vec<u8>,
    prefix: usize,
}

impl Joined {
    pub(super) fn new(directory: &Path) -> Self {
        let mut bytes = directory.as_os_str().as_bytes().to_vec();
        if bytes != b"/" {
            bytes.push(b'/');
        }
        Self { prefix: bytes.len(), bytes }
    }

    pub(super) fn with(&mut self, name: &[u8]) -> &Path {
        self.bytes.truncate(self.prefix);
        self.bytes.extend_from_slice(name);
        Path::new(OsStr::from_bytes(&self.bytes))
    }
}
