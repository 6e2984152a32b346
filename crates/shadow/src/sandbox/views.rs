//! The directories a shadow's views write to: a fresh pair for each view, the former one removed
//! once nothing uses it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::ShadowError;

/// Where one view writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WritablePaths {
    pub(super) upper: PathBuf,
    pub(super) work: PathBuf,
}

/// The numbered view directories of one shadow.
pub(super) struct Views {
    dir: PathBuf,
    number: u64,
}

impl Views {
    /// For a shadow that owns `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, number: 0 }
    }

    /// Makes the next pair.
    pub(super) fn next(&mut self) -> Result<WritablePaths, ShadowError> {
        self.number += 1;
        make_writable(&self.dir.join(self.number.to_string()))
    }

    /// Removes the pair before the current one.
    pub(super) fn remove_former(&self) {
        let former = self.dir.join((self.number - 1).to_string());
        // It is removed with the shadow at the latest.
        if let Err(error) = remove(&former) {
            tracing::warn!(path = %former.display(), %error, "could not remove a former view");
        }
    }

    /// Removes the shadow's directory.
    pub(super) fn remove_all(&self) -> Result<(), ShadowError> {
        remove(&self.dir).map_err(|source| ShadowError::System {
            doing: format!("remove {}", self.dir.display()),
            source,
        })
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

/// Removes a directory; its absence is fine.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
