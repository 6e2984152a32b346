//! Packages of a place: which are installed, what their files are like, and whether that is just
//! about to change.

mod lock;
mod manifest;
pub(super) mod status;

pub use lock::{AtWork, at_work};
pub use manifest::{Manifest, PackageFile};
