//! Reading files into the store: whole directory trees, and overlay upper directories on top of
//! a tree that is known.
//!
//! Everything goes through directory descriptors and `O_NOFOLLOW`: no path is ever resolved, so
//! none can lead outside, and none can be too long. File contents become objects on the way.
//!
//! ```text
//!   walk (dir.rs, upper.rs)      lists directories, reads theirs and decides what is read
//!     -> intake.rs               threads that read leaves (leaf.rs) as soon as there are many
//!     -> draft.rs                builds the tree when all are read
//! ```

mod dir;
mod draft;
mod ids;
mod intake;
mod leaf;
mod open;
mod upper;
mod xattr;

use std::io;
use std::path::{Path, PathBuf};

use umbra_state::Tree;
use umbra_state::escape::escape;

use crate::error::StoreError;
use crate::lock::Lock;
use crate::stack::deep;
use crate::store::Store;

pub use ids::IdShift;
pub(crate) use xattr::{escape_mark, of_file as xattrs_of};

/// How a capture reads.
#[derive(Debug, Clone, Default)]
pub struct CaptureOptions {
    /// How ids on disk become ids of the state.
    pub ids: IdShift,
    /// Paths relative to the captured directory. A directory among them is captured as an empty
    /// one; anything else is left out.
    pub skip: Vec<PathBuf>,
    /// Whether to capture what is mounted below the directory. If not, what the mounts cover is
    /// captured instead (or, without the privilege to look there, an empty directory with the
    /// metadata of what is mounted).
    pub cross_mounts: bool,
}

/// What a capture found.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Everything that was read.
    pub tree: Tree,
    /// What was left out, in order of paths.
    pub skipped: Vec<Skipped>,
}

/// Something a capture left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Where, relative to the captured directory.
    pub path: Vec<u8>,
    /// Why.
    pub reason: SkipReason,
}

/// Why a capture left something out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// [`CaptureOptions::skip`] names it.
    Asked,
    /// Something else is mounted there.
    Mount,
}

/// Why a directory could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The filesystem refused.
    #[error("{doing} /{}", escape(path))]
    Io {
        /// What was being done, as a fragment after "failed to".
        doing: &'static str,
        /// Where, relative to the captured directory.
        path: Vec<u8>,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The store could not take what was read.
    #[error("keep the content of /{} in the store", escape(path))]
    Store {
        /// Where, relative to the captured directory.
        path: Vec<u8>,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// Somebody wrote to a file each time it was read.
    #[error("read /{} at rest: it changed during each of {attempts} attempts", escape(path))]
    Changing {
        /// Where, relative to the captured directory.
        path: Vec<u8>,
        /// How often it was tried.
        attempts: u32,
    },
    /// An id on disk has no counterpart in the state.
    #[error("map the owner of /{}: id {id} is outside the range {} + {}", escape(path), shift.base, shift.count)]
    Id {
        /// Where, relative to the captured directory.
        path: Vec<u8>,
        /// The id on disk.
        id: u32,
        /// The range.
        shift: IdShift,
    },
    /// An overlay's mark that no overlay writes.
    #[error("understand the overlay at /{}: {why}", escape(path))]
    Overlay {
        /// Where, relative to the upper directory.
        path: Vec<u8>,
        /// What is wrong.
        why: &'static str,
    },
    /// Too many nested directories.
    #[error("capture /{}: it is more than {} directories deep", escape(path), crate::DEPTH_MAX)]
    Deep {
        /// Where, relative to the captured directory.
        path: Vec<u8>,
    },
}

impl Store {
    /// Reads a directory tree exactly and keeps its contents. Like [`Store::capture`], for
    /// callers that know nothing is left out; if something is, it is logged.
    pub fn capture_dir(&self, dir: &Path, options: &CaptureOptions) -> Result<Tree, CaptureError> {
        let Capture { tree, skipped } = self.capture(dir, options)?;
        let mounts = skipped.iter().filter(|skipped| skipped.reason == SkipReason::Mount).count();
        if mounts > 0 {
            tracing::warn!(dir = %dir.display(), mounts, "mounted filesystems were not captured");
        }
        Ok(tree)
    }

    /// Reads a directory tree exactly and keeps its contents: every type of file, mode, owner,
    /// time to the nanosecond, extended attribute, hard link and hole, the directory itself
    /// included. Says what it left out.
    ///
    /// A file that is written to meanwhile is read again, and reported if it does not come to
    /// rest. Needs /proc, and the privilege to read everything there is.
    pub fn capture(&self, dir: &Path, options: &CaptureOptions) -> Result<Capture, CaptureError> {
        let _lock = self.ingest_lock()?;
        deep(|| dir::capture(&self.inner, dir, options))
    }

    /// Reads the upper directory of an overlay whose lower layers show `parent`: the tree the
    /// overlay shows. Costs what changed: directories that did not change stay shared with
    /// `parent`, and nothing of them is read.
    ///
    /// The overlay is unmounted or at rest. All names of a hard-linked file that was written to
    /// are in the upper directory, or the overlay was mounted with `index=on` and the name that
    /// was written to is still where it was.
    pub fn capture_upper(&self, parent: &Tree, upper: &Path) -> Result<Tree, CaptureError> {
        self.capture_upper_with(parent, upper, IdShift::default())
    }

    /// See [`Store::capture_upper`]; for an upper directory written through a map of ids.
    pub fn capture_upper_with(
        &self,
        parent: &Tree,
        upper: &Path,
        ids: IdShift,
    ) -> Result<Tree, CaptureError> {
        let _lock = self.ingest_lock()?;
        deep(|| upper::capture(&self.inner, parent, upper, ids))
    }

    fn ingest_lock(&self) -> Result<Lock, CaptureError> {
        Lock::shared(&self.inner.root)
            .map_err(|source| CaptureError::Store { path: Vec::new(), source })
    }
}
