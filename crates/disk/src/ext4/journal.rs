//! The journal: an empty one, which the kernel begins to fill at the first mount.

use super::BLOCK_BYTES;

/// Its first block. Unlike all else in the filesystem its numbers have the high byte first.
pub(super) fn superblock(blocks: u64) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_BYTES];
    let mut put = |at: usize, value: u32| {
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    };
    put(0, 0xc03b_3998);
    // A superblock of the second version.
    put(4, 4);
    put(12, BLOCK_BYTES as u32);
    put(16, blocks as u32);
    // The log begins after this block, with transaction 1, and there is none to replay.
    put(20, 1);
    put(24, 1);
    put(64, 1);
    bytes
}
