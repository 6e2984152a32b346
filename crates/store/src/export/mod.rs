//! States leaving the store in other shapes.

mod dir;
mod layer;
mod oci;
mod tar;

pub use dir::ExportError;
pub(crate) use dir::Names;
pub use oci::{Lineage, Made};
