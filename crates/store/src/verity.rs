//! The fs-verity digest (SHA-256, 4 KiB blocks, no salt) of bytes as they stream by.
//!
//! The library's own hasher reads every byte. This one takes a run of zero blocks as a
//! number, so that the digest of a sparse file costs what its data costs: a hole of
//! terabytes is a handful of ready-made subtree hashes.

use composefs::digest::{Digest as _, FixedOutputReset as _, Sha256};
use umbra_state::Digest;

/// Bytes per block of the Merkle tree.
pub(crate) const BLOCK: usize = 4096;

const HASH: usize = 32;
/// Hashes per block, as a power of two: 4096 / 32.
const FANOUT_BITS: u32 = 7;

/// A digest in the making. Feed blocks in order; only the last may be short.
pub(crate) struct Hasher {
    sha: Sha256,
    /// The unfinished hash block of each level, lowest first.
    levels: Vec<Vec<u8>>,
    /// The root hash of a subtree of zeros by its height, 0 for one data block.
    zeros: Vec<[u8; HASH]>,
    bytes: u64,
}

/// The digest of bytes in memory.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.add(bytes);
    hasher.finish()
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { sha: Sha256::new(), levels: Vec::new(), zeros: Vec::new(), bytes: 0 }
    }

    /// Takes the next bytes: whole blocks, unless these are the last.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            let hash = self.hash_block(block);
            self.push(0, hash);
        }
        self.bytes += bytes.len() as u64;
    }

    /// Takes `length` zero bytes: whole blocks, unless these are the last.
    pub(crate) fn add_zeros(&mut self, length: u64) {
        let mut blocks = length.div_ceil(BLOCK as u64);
        while blocks > 0 {
            let mut height = 0;
            while self.levels.get(height).is_none_or(Vec::is_empty)
                && blocks >> (FANOUT_BITS * (height as u32 + 1)) > 0
            {
                height += 1;
            }
            let hash = self.zero_tree(height);
            self.push(height, hash);
            blocks -= 1 << (FANOUT_BITS * height as u32);
        }
        self.bytes += length;
    }

    /// The digest of everything taken.
    pub(crate) fn finish(mut self) -> Digest {
        let root = self.root();
        // struct fsverity_descriptor
        let mut descriptor = [0u8; 256];
        descriptor[0] = 1; // version
        descriptor[1] = 1; // SHA-256
        descriptor[2] = 12; // log2 of the block size
        descriptor[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        descriptor[16..48].copy_from_slice(&root);
        self.sha.update(descriptor);
        Digest::new(self.sha.finalize())
    }

    fn push(&mut self, height: usize, hash: [u8; HASH]) {
        while self.levels.len() <= height {
            self.levels.push(Vec::with_capacity(BLOCK));
        }
        self.levels[height].extend_from_slice(&hash);
        if self.levels[height].len() == BLOCK {
            let block = std::mem::take(&mut self.levels[height]);
            let hash = self.hash_block(&block);
            self.push(height + 1, hash);
        }
    }

    fn root(&mut self) -> [u8; HASH] {
        let levels = std::mem::take(&mut self.levels);
        let top = levels.len().saturating_sub(1);
        let mut carried: Option<[u8; HASH]> = None;
        for (height, mut block) in levels.into_iter().enumerate() {
            if let Some(hash) = carried.take() {
                block.extend_from_slice(&hash);
            }
            carried = match block.len() {
                0 => None,
                HASH if height == top => block.try_into().ok(),
                _ => Some(self.hash_block(&block)),
            };
        }
        carried.unwrap_or_default()
    }

    fn zero_tree(&mut self, height: usize) -> [u8; HASH] {
        while self.zeros.len() <= height {
            let hash = match self.zeros.last() {
                None => self.hash_block(&[]),
                Some(below) => {
                    let block = below.repeat(1 << FANOUT_BITS);
                    self.hash_block(&block)
                }
            };
            self.zeros.push(hash);
        }
        self.zeros[height]
    }

    /// Hashes a block, filled up with zeros.
    fn hash_block(&mut self, block: &[u8]) -> [u8; HASH] {
        self.sha.update(block);
        if block.len() < BLOCK {
            self.sha.update(&ZEROS[block.len()..]);
        }
        self.sha.finalize_reset()
    }
}

static ZEROS: [u8; BLOCK] = [0; BLOCK];

#[cfg(test)]
mod tests {
    use composefs::fsverity::{FsVerityHashValue as _, Sha256HashValue, compute_verity};

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8]) {
        let expected = compute_verity::<Sha256HashValue>(bytes).to_hex();
        assert_eq!(digest(bytes).to_string(), expected, "{} bytes", bytes.len());
    }

    #[test]
    fn agrees_with_the_library_at_every_edge_of_the_tree() {
        let bytes: Vec<u8> = (0..257 * BLOCK).map(|i| ((i * 31) >> 3) as u8).collect();
        for blocks in [0, 1, 2, 127, 128, 129, 255, 256] {
            for extra in [-1i64, 0, 1] {
                check(&bytes[..(blocks * BLOCK as i64 + extra).max(0) as usize]);
            }
        }
        check(&[5; 128 * 128 * BLOCK + 1]);
    }

    #[test]
    fn zero_runs_count_as_the_zeros_they_are() {
        for (before, zeros, after) in
            [(0, 1, 0), (1, 300, 3), (128, 128, 1), (3, 128 * 128 + 5, 2), (128, 128 * 128, 0)]
        {
            let data = |blocks: usize| vec![7u8; blocks * BLOCK];
            let mut hasher = Hasher::new();
            hasher.add(&data(before));
            hasher.add_zeros((zeros * BLOCK) as u64);
            hasher.add(&data(after));
            let flat = [data(before), vec![0; zeros * BLOCK], data(after)].concat();
            assert_eq!(hasher.finish(), digest(&flat), "{before} {zeros} {after}");
        }
        let mut hasher = Hasher::new();
        hasher.add_zeros(5000);
        assert_eq!(hasher.finish(), digest(&[0; 5000]));
    }

    #[test]
    fn an_enormous_hole_is_immediate() {
        let mut hasher = Hasher::new();
        hasher.add_zeros(1 << 60);
        assert_eq!(hasher.bytes, 1 << 60);
        hasher.finish();
    }
}
