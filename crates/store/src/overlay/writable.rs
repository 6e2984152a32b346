//! Where a root keeps what is written to it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::mount::{MountError, clone_tree, new_memory, step};

/// An upper and a work directory, seen through one mount that is attached nowhere.
pub struct Writable {
    pub(super) place: OwnedFd,
    pub(super) upper: OsString,
    pub(super) work: OsString,
}

impl Writable {
    /// Two directories on disk. Both exist, are empty and lie in one parent directory, on a
    /// filesystem that takes `trusted.*` extended attributes; `upper` becomes the delta.
    pub fn dirs(upper: &Path, work: &Path) -> Result<Self, MountError> {
        let (Some(parent), Some(name), Some(work_name)) =
            (upper.parent(), upper.file_name(), work.file_name())
        else {
            return Err(step(|| format!("write to {}", upper.display()))(io::Error::from(
                rustix::io::Errno::INVAL,
            )));
        };
        let place = clone_tree(parent)?;
        Ok(Self { place, upper: name.to_owned(), work: work_name.to_owned() })
    }

    /// Memory, freed with the last mount that uses it; at most so many bytes, or half the
    /// machine's.
    pub fn memory(bytes_max: Option<u64>) -> Result<Self, MountError> {
        let doing = || "make a place for writes".to_owned();
        let size = bytes_max.map_or("50%".to_owned(), |bytes| bytes.to_string());
        let place = new_memory(&[("mode", "0755"), ("size", &size)])?;
        for name in ["upper", "work"] {
            mkdirat(&place, name, Mode::from_raw_mode(0o755)).map_err(step(doing))?;
        }
        Ok(Self { place, upper: "upper".into(), work: "work".into() })
    }

    /// The directory that becomes the delta.
    pub(super) fn open_upper(&self) -> Result<OwnedFd, MountError> {
        self.open(&self.upper)
    }

    /// overlayfs's own directory.
    pub(super) fn open_work(&self) -> Result<OwnedFd, MountError> {
        self.open(&self.work)
    }

    fn open(&self, name: &OsString) -> Result<OwnedFd, MountError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.place, name, flags, Mode::empty())
            .map_err(step(|| format!("open the {} directory", name.to_string_lossy())))
    }
}
