//! The inode that keeps blocks for descriptors of groups to come, so that the filesystem can be
//! grown while it is mounted.
//!
//! Its double indirect block lists those of the first group; each of these lists the same block
//! of every copy.

use std::io;

use super::geometry::Geometry;
use super::{BLOCK, BLOCK_BYTES, GROUP};
use crate::medium::{Bytes, Medium};

/// Block numbers of a block.
const ADDRESSES: u64 = BLOCK / 4;

/// The size that the inode claims: all that twelve direct, the indirect and the double indirect
/// blocks lead to.
pub(super) const SIZE: u64 = (12 + ADDRESSES + ADDRESSES * ADDRESSES) * BLOCK;

/// Where in the inode's map the double indirect block stands.
pub(super) const MAP_AT: usize = 13 * 4;

/// Writes the lists, the upper one to `upper`. Gives the number of blocks the inode has.
pub(super) fn write(geometry: &Geometry, upper: u64, medium: &mut dyn Medium) -> io::Result<u64> {
    let backups: Vec<u64> = geometry.backups().collect();
    let mut list = vec![0; BLOCK_BYTES];
    for spare in 0..geometry.spare_blocks {
        let block = 1 + geometry.descriptor_blocks + spare;
        let place = (geometry.descriptor_blocks + spare) % ADDRESSES;
        Bytes(&mut list).u32(place as usize * 4, block as u32);
        let copies = backups.iter().map(|group| (block + group * GROUP) as u32);
        let copies: Vec<u8> = copies.flat_map(u32::to_le_bytes).collect();
        medium.write_at(&copies, block * BLOCK)?;
    }
    medium.write_at(&list, upper * BLOCK)?;
    Ok(1 + geometry.spare_blocks * (1 + backups.len() as u64))
}
