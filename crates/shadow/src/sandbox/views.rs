//! Where views write: a new place for every view, the former one removed once nothing uses it.
//!
//! Memory is the place of choice: it is gone with the view whatever happens, counts against the
//! shadow's memory limit, and makes a view three times as fast as a journalling filesystem.

use std::fs;
use std::path::{Path, PathBuf};

use umbra_store::overlay::support::kernel_version;

use super::grounds::OwnedDir;
use super::wire::Writes;
use crate::error::ShadowError;

/// Where one view writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WritablePaths {
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

/// Where the views of one shadow write, one after the other.
pub(crate) struct Views {
    memory_bytes_max: Option<u64>,
    number: u64,
}

impl Views {
    /// For a shadow with this memory limit.
    pub(crate) fn new(memory_bytes_max: Option<u64>) -> Self {
        Self { memory_bytes_max, number: 0 }
    }

    /// A place for the next view: in memory where the kernel's memory filesystem can be an
    /// overlay's upper layer in every respect, else below `dir`.
    pub(crate) fn next(&mut self, dir: &OwnedDir) -> Result<Writes, ShadowError> {
        let roomy = self.memory_bytes_max.is_none_or(|limit| limit >= MEMORY_LIMIT_MIN);
        if roomy && memory_serves() {
            return Ok(Writes::Memory { bytes_max: self.memory_bytes_max.map(|limit| limit / 2) });
        }
        self.number += 1;
        let WritablePaths { upper, work } = make_writable(&self.path(dir, self.number))?;
        Ok(Writes::Dirs { upper, work })
    }

    /// The size of a view's /dev/shm. Files in memory cannot be taken back by ending processes,
    /// so together they must stay below the limit: whoever fills them is told the disk is full,
    /// where at the limit everything would be killed.
    pub(crate) fn shm_bytes_max(&self) -> u64 {
        self.memory_bytes_max.map_or(SHM_BYTES_MAX, |limit| SHM_BYTES_MAX.min(limit / 4))
    }

    /// Removes the pair before the current one.
    pub(crate) fn remove_former(&self, dir: &OwnedDir) {
        if let Some(former) = self.number.checked_sub(1) {
            dir.sweep(&self.path(dir, former));
        }
    }

    fn path(&self, dir: &OwnedDir, number: u64) -> PathBuf {
        dir.path().join(number.to_string())
    }
}

/// The size of /dev/shm where nothing speaks against it.
pub(crate) const SHM_BYTES_MAX: u64 = 64 << 20;

/// A shadow with less memory than this writes to disk: what it keeps in files would soon be all
/// it has.
const MEMORY_LIMIT_MIN: u64 = 256 << 20;

/// tmpfs takes maps of ids since Linux 6.3 and `user.*` attributes since 6.6.
fn memory_serves() -> bool {
    kernel_version() >= (6, 6)
}

/// Makes an empty upper and work directory below `dir`.
pub(crate) fn make_writable(dir: &Path) -> Result<WritablePaths, ShadowError> {
    let paths = WritablePaths { upper: dir.join("upper"), work: dir.join("work") };
    for path in [&paths.upper, &paths.work] {
        fs::create_dir_all(path).map_err(|source| ShadowError::System {
            doing: format!("make {}", path.display()),
            source,
        })?;
    }
    Ok(paths)
}
