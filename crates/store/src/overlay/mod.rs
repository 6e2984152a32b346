//! Putting a state's pieces together as one mounted root.
//!
//! A root is a stack: finished overlay upper directories of recent build steps on top, the
//! composefs image of an ingested state below, its objects as a data-only layer at the bottom.
//!
//! ```text
//!   upperdir   what this root writes (absent: read-only)
//!   lowerdir   step 5's upper : step 4's upper : image of state 3 :: objects
//! ```
//!
//! The overlay is mounted with `metacopy=on,redirect_dir=on,index=on`: a chmod copies no data,
//! a directory of a lower layer can be renamed, and writing one name of a hard-linked file does
//! not break the link. `volatile` drops every sync of the upper layer, which is thrown away
//! after a crash anyway.
//!
//! Layers are handed to overlayfs as mounts that are attached nowhere. Kernels before 6.15 want
//! them attached: for a moment they are, in a scratch directory. See [`support`] for what kernels
//! without data-only layers (6.5) get.

mod attached;
mod images;
mod links;
mod mount;
mod moves;
mod root_metadata;
pub mod support;
mod writable;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use images::Images;
pub use links::{SettleError, settle_links};
pub use mount::{MountError, Mounter, Naming, attach};
pub use writable::Writable;

/// How many finished upper directories a root may stack before it must be flattened: every
/// further one makes each failing lookup slower (1.4 microseconds a layer).
pub const UPPERS_MAX: usize = 16;

/// What a root shows, newest first. It holds paths only, so that it can be sent to the
/// process that mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layers {
    /// Overlay upper directories that are no longer written to, newest first.
    pub uppers: Vec<PathBuf>,
    /// The ingested state below them.
    pub base: Option<Base>,
}

/// An ingested state as the mounting process finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The state's composefs image over the store's objects.
    Image {
        /// The composefs image (EROFS metadata).
        image: PathBuf,
        /// The directory of content objects the image refers to.
        objects: PathBuf,
    },
    /// An ordinary directory, which a root never writes to: a state written out, for kernels
    /// without file-backed EROFS or data-only layers, or a machine's own.
    Checkout(PathBuf),
}

impl Layers {
    /// A root that shows one ingested state.
    pub fn of(base: Base) -> Self {
        Self { uppers: Vec::new(), base: Some(base) }
    }

    /// The same root with one more finished upper directory on top.
    pub fn with_upper(&self, upper: PathBuf) -> Self {
        let uppers = std::iter::once(upper).chain(self.uppers.iter().cloned()).collect();
        Self { uppers, base: self.base.clone() }
    }
}
