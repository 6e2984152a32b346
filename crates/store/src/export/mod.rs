//! States leaving the store in other shapes.

mod dir;
mod oci;
mod tar;

pub use dir::ExportError;
pub(crate) use dir::Names;
