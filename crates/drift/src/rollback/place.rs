//! Paths below a root, none of whose parts may be a link: what lies outside is out of reach,
//! whatever somebody swaps in while a rollback runs.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use super::error::{Trouble, shown, system};

/// Where the primary's files are.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
}

/// A name in a directory that is open.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) dir: OwnedFd,
    pub(super) name: OsString,
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(system("open the root", path))?;
        Ok(Self { fd })
    }

    /// The place of a relative path; its directory must be there.
    pub(super) fn spot(&self, path: &Path) -> Result<Spot, Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let dir = self.dir(path.parent().unwrap_or(Path::new("")))?;
        Ok(Spot { dir, name })
    }

    /// A directory by its relative path.
    pub(super) fn dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.fd, path, flags, Mode::empty(), resolve)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An absolute path as one below the root.
pub(super) fn relative(path: &Path) -> Result<PathBuf, Trouble> {
    let unfit = || Trouble::Unfit { path: shown(path), why: "it is no absolute path".to_owned() };
    let below = path.strip_prefix("/").map_err(|_| unfit())?;
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if below.as_os_str().is_empty() || !plain {
        return Err(unfit());
    }
    // Doubled separators and such are left behind.
    Ok(below.components().collect())
}

/// A path that means the open file itself, whatever its kind.
pub(super) fn by_descriptor(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens what a name means without reading it or following it.
pub(super) fn hold(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
