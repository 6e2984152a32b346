//! What is written last: bitmaps, group descriptors, and the superblock with its copies.

use std::io;

use super::geometry::{DESCRIPTOR_BYTES, Geometry, LOG_FLEX};
use super::inodes::Inodes;
use super::space::Space;
use super::{BLOCK, BLOCK_BYTES, FIRST_INODE, GROUP, INODE_BYTES, JOURNAL_INODE};
use crate::crc::crc32c;
use crate::ids::Ids;
use crate::medium::{Bytes, Medium};

/// The kernel makes the inode bitmap of a group without inodes itself.
const NO_INODES: u16 = 1;
/// Likewise the block bitmap of one without blocks in use.
const NO_BLOCKS: u16 = 2;
/// What of the table of inodes is not in use is zeros.
const ZEROED: u16 = 4;

/// Journal; attributes; growing; indexed directories.
const COMPATIBLE: u32 = 0x04 | 0x08 | 0x10 | 0x20;
/// Types in directories; extents; 64 bit; tables apart from their groups.
const INCOMPATIBLE: u32 = 0x02 | 0x40 | 0x80 | 0x200;
/// Few superblocks; large files; huge files; many subdirectories; large inodes; checksums.
const READ_ONLY_COMPATIBLE: u32 = 0x01 | 0x02 | 0x08 | 0x20 | 0x40 | 0x400;

/// What the tables are made of.
pub(super) struct Tables<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) ids: &'a Ids,
    pub(super) seed: u32,
    pub(super) space: &'a Space,
    pub(super) inodes: &'a Inodes<'a>,
    /// The journal's map and size, which superblocks have a copy of.
    pub(super) journal: &'a [u8],
    pub(super) journal_bytes: u64,
}

impl Tables<'_> {
    pub(super) fn write(&self, medium: &mut dyn Medium) -> io::Result<()> {
        let mut descriptors = vec![0; self.geometry.descriptor_blocks as usize * BLOCK_BYTES];
        let (mut free_blocks, mut free_inodes) = (0, 0);
        let slots = descriptors.chunks_exact_mut(DESCRIPTOR_BYTES);
        for (group, slot) in (0..self.geometry.groups).zip(slots) {
            let counted = self.group(group, Bytes(slot), medium)?;
            free_blocks += counted.0;
            free_inodes += counted.1;
        }
        for group in [0].into_iter().chain(self.geometry.backups()) {
            let superblock = self.superblock(group, free_blocks, free_inodes);
            let start = group * GROUP * BLOCK;
            medium.write_at(&superblock, if group == 0 { 1024 } else { start })?;
            medium.write_at(&descriptors, start + BLOCK)?;
        }
        Ok(())
    }

    /// Writes a group's bitmaps and fills in its descriptor; gives its free blocks and inodes.
    fn group(
        &self,
        group: u64,
        mut to: Bytes<'_>,
        medium: &mut dyn Medium,
    ) -> io::Result<(u64, u64)> {
        let geometry = self.geometry;
        let (blocks_at, inodes_at) = (geometry.block_bitmap(group), geometry.inode_bitmap(group));
        let used_inodes = self.used_inodes(group);
        let mut flags = ZEROED;
        let mut blocks_sum = 0;
        if self.is_untouched(group) {
            flags |= NO_BLOCKS;
        } else {
            let bitmap = self.block_bitmap(group);
            blocks_sum = crc32c(self.seed, &bitmap);
            medium.write_at(&bitmap, blocks_at * BLOCK)?;
        }
        let mut inodes_sum = 0;
        if used_inodes == 0 {
            flags |= NO_INODES;
        } else {
            let mut bitmap = vec![0xff; BLOCK_BYTES];
            clear(&mut bitmap, used_inodes..geometry.inodes_per_group);
            inodes_sum = crc32c(self.seed, &bitmap[..geometry.inodes_per_group as usize / 8]);
            medium.write_at(&bitmap, inodes_at * BLOCK)?;
        }
        let free_blocks = self.free_blocks(group);
        let free_inodes = geometry.inodes_per_group - used_inodes;
        let table = geometry.inode_table(group);
        let dirs = self.inodes.dirs[group as usize];
        for (low, high, value) in [(0, 32, blocks_at), (4, 36, inodes_at), (8, 40, table)] {
            to.u32(low, value as u32);
            to.u32(high, (value >> 32) as u32);
        }
        let counts = [(12, 44, free_blocks), (14, 46, free_inodes), (16, 48, dirs)];
        let sums = [(24, 56, blocks_sum.into()), (26, 58, inodes_sum.into())];
        for (low, high, value) in counts.into_iter().chain(sums).chain([(28, 50, free_inodes)]) {
            to.u16(low, value as u16);
            to.u16(high, (value >> 16) as u16);
        }
        to.u16(18, flags);
        let sum = crc32c(crc32c(self.seed, &(group as u32).to_le_bytes()), to.0);
        to.u16(30, sum as u16);
        Ok((free_blocks, free_inodes))
    }

    /// Whether only the group's own copies of the superblock are in it.
    fn is_untouched(&self, group: u64) -> bool {
        self.geometry.keeps_only_own(group)
            && group + 1 < self.geometry.groups
            && !self.space.reaches(group * GROUP)
    }

    fn block_bitmap(&self, group: u64) -> Vec<u8> {
        let range = self.geometry.range(group);
        let mut bitmap = vec![0xff; BLOCK_BYTES];
        clear(&mut bitmap, 0..range.end - range.start);
        for used in self.space.used(range.clone()) {
            set(&mut bitmap, used.start - range.start..used.end - range.start);
        }
        bitmap
    }

    fn free_blocks(&self, group: u64) -> u64 {
        let range = self.geometry.range(group);
        let used = self.space.used(range.clone());
        let used: u64 = used.iter().map(|used| used.end - used.start).sum();
        range.end - range.start - used
    }

    /// Inodes are in use up to the last, one group after the other.
    fn used_inodes(&self, group: u64) -> u64 {
        let before = group * self.geometry.inodes_per_group;
        u64::from(self.inodes.last).saturating_sub(before).min(self.geometry.inodes_per_group)
    }

    fn superblock(&self, group: u64, free_blocks: u64, free_inodes: u64) -> Vec<u8> {
        let geometry = self.geometry;
        let mut bytes = vec![0; 1024];
        let mut to = Bytes(&mut bytes);
        to.u32(0x00, (geometry.inodes_per_group * geometry.groups) as u32);
        // A twentieth is for root, as usual.
        let blocks = [(0x04, geometry.blocks), (0x08, geometry.blocks / 20), (0x0c, free_blocks)];
        for (low, value) in blocks {
            to.u32(low, value as u32);
            to.u32(low + 0x14c, (value >> 32) as u32);
        }
        to.u32(0x10, free_inodes as u32);
        let log_block = BLOCK.ilog2() - 10;
        for (at, value) in [(0x18, log_block), (0x1c, log_block)] {
            to.u32(at, value);
        }
        for at in [0x20, 0x24] {
            to.u32(at, GROUP as u32);
        }
        to.u32(0x28, geometry.inodes_per_group as u32);
        to.u16(0x36, u16::MAX);
        to.u16(0x38, 0xef53);
        // Cleanly unmounted; goes on after errors; of the revision with these features.
        to.u16(0x3a, 1);
        to.u16(0x3c, 1);
        to.u32(0x4c, 1);
        to.u32(0x54, FIRST_INODE);
        to.u16(0x58, INODE_BYTES as u16);
        to.u16(0x5a, group as u16);
        to.u32(0x5c, COMPATIBLE);
        to.u32(0x60, INCOMPATIBLE);
        to.u32(0x64, READ_ONLY_COMPATIBLE);
        to.put(0x68, &self.ids.filesystem.0);
        to.u16(0xce, geometry.spare_blocks as u16);
        to.u32(0xe0, JOURNAL_INODE);
        to.put(0xec, &self.ids.hash_seed.0);
        // Half MD4, and a copy of the journal's inode.
        to.put(0xfc, &[1, 1]);
        to.u16(0xfe, DESCRIPTOR_BYTES as u16);
        // Attributes and access control lists, unless a mount says otherwise.
        to.u32(0x100, 0x0c);
        to.put(0x10c, self.journal);
        to.u32(0x10c + 60, (self.journal_bytes >> 32) as u32);
        to.u32(0x10c + 64, self.journal_bytes as u32);
        to.u16(0x15c, 32);
        to.u16(0x15e, 32);
        // Names are hashed as signed letters.
        to.u32(0x160, 1);
        to.put(0x174, &[LOG_FLEX, 1]);
        let sum = crc32c(!0, &bytes[..1020]);
        Bytes(&mut bytes).u32(1020, sum);
        bytes
    }
}

fn set(bitmap: &mut [u8], bits: std::ops::Range<u64>) {
    for bit in bits {
        bitmap[bit as usize / 8] |= 1 << (bit % 8);
    }
}

fn clear(bitmap: &mut [u8], bits: std::ops::Range<u64>) {
    for bit in bits {
        bitmap[bit as usize / 8] &= !(1 << (bit % 8));
    }
}
