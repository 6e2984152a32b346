//! Where readings are taken: this machine, or a directory that is the root of one.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::CollectError;

/// A root, and whether it is that of the running machine.
#[derive(Debug)]
pub struct Place {
    root: OwnedFd,
    path: PathBuf,
    machine: bool,
}

impl Place {
    /// This machine.
    ///
    /// # Errors
    /// Its root cannot be opened.
    pub fn machine() -> Result<Self, CollectError> {
        Self::open("/".into(), true)
    }

    /// The root directory of a machine that does not run, or not here.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn directory(path: &Path) -> Result<Self, CollectError> {
        let real = fs::canonicalize(path)
            .map_err(|source| CollectError::Place { path: path.to_owned(), source })?;
        Self::open(real, false)
    }

    fn open(path: PathBuf, machine: bool) -> Result<Self, CollectError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, &path, flags, Mode::empty()) {
            Ok(root) => Ok(Self { root, path, machine }),
            Err(error) => Err(CollectError::Place { path, source: error.into() }),
        }
    }

    /// Whether a kernel and services run there that can be asked.
    pub fn is_machine(&self) -> bool {
        self.machine
    }

    /// Its root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The path as it is inside; `None` if it lies elsewhere.
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.path).ok().map(|below| Path::new("/").join(below))
    }

    /// The path of what lies at `path` inside, as this machine has it.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }
}
