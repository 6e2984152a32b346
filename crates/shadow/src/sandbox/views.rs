//! Directories that take what views write: a new pair for every view, the former one removed
//! once nothing uses it.

use std::fs;
use std::path::{Path, PathBuf};

use super::grounds::OwnedDir;
use crate::error::ShadowError;

/// Where one view writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WritablePaths {
    pub(super) upper: PathBuf,
    pub(super) work: PathBuf,
}

/// The numbered view directories of one shadow.
#[derive(Default)]
pub(super) struct Views {
    number: u64,
}

impl Views {
    /// Makes the next pair below `dir`.
    pub(super) fn next(&mut self, dir: &OwnedDir) -> Result<WritablePaths, ShadowError> {
        self.number += 1;
        make_writable(&self.path(dir, self.number))
    }

    /// Removes the pair before the current one.
    pub(super) fn remove_former(&self, dir: &OwnedDir) {
        dir.sweep(&self.path(dir, self.number - 1));
    }

    fn path(&self, dir: &OwnedDir, number: u64) -> PathBuf {
        dir.path().join(number.to_string())
    }
}

/// Makes an empty upper and work directory below `dir`.
pub(super) fn make_writable(dir: &Path) -> Result<WritablePaths, ShadowError> {
    let paths = WritablePaths { upper: dir.join("upper"), work: dir.join("work") };
    for path in [&paths.upper, &paths.work] {
        fs::create_dir_all(path).map_err(|source| ShadowError::System {
            doing: format!("make {}", path.display()),
            source,
        })?;
    }
    Ok(paths)
}
