//! Which kernel boots a state, and which of its modules it needs for that.

use std::path::PathBuf;

/// A module, not compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its name, with `_` for `-`.
    pub(crate) name: String,
    /// The file it is in.
    pub(crate) path: PathBuf,
}
