//! A state's image: composefs metadata (EROFS), and what composefs would lose.
//!
//! ```text
//!   EROFS image, format V1 (n blocks of 4096 bytes, n in its superblock)
//!   | only if something would be lost:
//!   | "umbraX01" | u64 length | side record of that length | zeros up to a whole block
//! ```
//!
//! The kernel and composefs read the first part alone. The id of the state is the fs-verity
//! digest of the whole file, so the side record is part of it. Most states have none.
//! `docs/adr/0001-states-on-composefs.md` lists what goes there and why.

mod decode;
mod encode;
mod side;
#[cfg(test)]
mod tests;

use umbra_state::{Mtime, Tree};

use crate::error::StoreError;

/// The bytes of a tree's image. Equal trees give equal bytes, whatever their link numbers.
pub(crate) fn encode(tree: &Tree) -> Result<Vec<u8>, StoreError> {
    crate::stack::deep(|| {
        let (filesystem, side) = encode::filesystem(tree)?;
        let mut image = encode::erofs(filesystem)?;
        side.append_to(&mut image);
        Ok(image)
    })
}

/// The tree of an image; the exact inverse of [`encode`].
pub(crate) fn decode(image: &[u8]) -> Result<Tree, String> {
    crate::stack::deep(|| {
        let (erofs, side) = side::split(image)?;
        side.restore(decode::tree(erofs)?)
    })
}

/// A time whose fraction is one.
fn checked(time: Mtime) -> Result<Mtime, String> {
    match time.nsec {
        0..1_000_000_000 => Ok(time),
        nsec => Err(format!("it has a time with {nsec} nanoseconds")),
    }
}
