//! Packages of a place: which are installed, and what their files are like.

mod manifest;
pub(super) mod status;

pub use manifest::{Manifest, PackageFile};
