//! Doors to parsers that are no part of this crate's interface, for the fuzz targets.

use umbra_state::Tree;

use crate::error::StoreError;
use crate::image;

/// The tree of an image.
pub fn decode(image: &[u8]) -> Result<Tree, String> {
    image::decode(image)
}

/// The image of a tree.
pub fn encode(tree: &Tree) -> Result<Vec<u8>, StoreError> {
    image::encode(tree)
}
