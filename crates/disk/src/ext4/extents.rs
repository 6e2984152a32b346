//! Where a file's blocks are: a tree of extents whose root is in the inode.

use super::{BLOCK_BYTES, Run};
use crate::crc::crc32c;
use crate::medium::Bytes;

/// Bytes of the root.
pub(super) const ROOT_BYTES: usize = 60;
/// Blocks of one extent.
const LENGTH_MAX: u64 = 32_768;
const HEADER: usize = 12;
const ENTRY: usize = 12;
const IN_ROOT: usize = (ROOT_BYTES - HEADER) / ENTRY;
const IN_BLOCK: usize = (BLOCK_BYTES - HEADER - 4) / ENTRY;

/// A file's extents under way, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Extents {
    all: Vec<Extent>,
    /// Blocks that hold data.
    pub(super) blocks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// Its first block, counted in the file.
    logical: u64,
    run: Run,
}

/// A tree of extents, ready to be written.
#[derive(Debug)]
pub(super) struct ExtentTree {
    /// For the inode.
    pub(super) root: [u8; ROOT_BYTES],
    /// The blocks of the tree itself: which, and with what in them.
    pub(super) nodes: Vec<(u64, Vec<u8>)>,
}

impl Extents {
    /// Adds blocks that the file has from `logical` on.
    pub(super) fn add(&mut self, mut logical: u64, mut run: Run) {
        self.blocks += run.blocks;
        while run.blocks > 0 {
            let last = self.all.last_mut().filter(|last| {
                last.logical + last.run.blocks == logical
                    && last.run.start + last.run.blocks == run.start
                    && last.run.blocks < LENGTH_MAX
            });
            let taken = match last {
                Some(last) => {
                    let taken = run.blocks.min(LENGTH_MAX - last.run.blocks);
                    last.run.blocks += taken;
                    taken
                }
                None => {
                    let taken = run.blocks.min(LENGTH_MAX);
                    let run = Run { start: run.start, blocks: taken };
                    self.all.push(Extent { logical, run });
                    taken
                }
            };
            logical += taken;
            run = Run { start: run.start + taken, blocks: run.blocks - taken };
        }
    }

    /// Makes the tree, of blocks that `take` gives; `None` if it gives none. `seed` is the
    /// inode's, for checksums.
    pub(super) fn tree(
        self,
        seed: u32,
        mut take: impl FnMut() -> Option<u64>,
    ) -> Option<ExtentTree> {
        let mut nodes = Vec::new();
        let mut depth = 0;
        let mut level: Vec<(u64, [u8; ENTRY])> =
            self.all.iter().map(|extent| (extent.logical, leaf(extent))).collect();
        while level.len() > IN_ROOT {
            let mut above = Vec::new();
            for entries in level.chunks(IN_BLOCK) {
                let block = take()?;
                let mut bytes = vec![0; BLOCK_BYTES];
                fill(&mut bytes, entries, IN_BLOCK, depth);
                let end = BLOCK_BYTES - 4;
                let sum = crc32c(seed, &bytes[..end]);
                Bytes(&mut bytes).u32(end, sum);
                nodes.push((block, bytes));
                above.push((entries[0].0, index(entries[0].0, block)));
            }
            level = above;
            depth += 1;
        }
        let mut root = [0; ROOT_BYTES];
        fill(&mut root, &level, IN_ROOT, depth);
        Some(ExtentTree { root, nodes })
    }
}

fn fill(bytes: &mut [u8], entries: &[(u64, [u8; ENTRY])], most: usize, depth: u16) {
    let mut to = Bytes(bytes);
    to.u16(0, 0xf30a);
    to.u16(2, entries.len() as u16);
    to.u16(4, most as u16);
    to.u16(6, depth);
    for (place, (_, entry)) in entries.iter().enumerate() {
        to.put(HEADER + place * ENTRY, entry);
    }
}

fn leaf(extent: &Extent) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    let mut to = Bytes(&mut bytes);
    to.u32(0, extent.logical as u32);
    to.u16(4, extent.run.blocks as u16);
    to.u16(6, (extent.run.start >> 32) as u16);
    to.u32(8, extent.run.start as u32);
    bytes
}

fn index(logical: u64, block: u64) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    let mut to = Bytes(&mut bytes);
    to.u32(0, logical as u32);
    to.u32(4, block as u32);
    to.u16(8, (block >> 32) as u16);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(extents: Extents) -> ExtentTree {
        let mut next = 1_000_000;
        let take = || {
            next += 1;
            Some(next)
        };
        extents.tree(0, take).unwrap()
    }

    fn header(bytes: &[u8]) -> (u16, u16) {
        let number = |at| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        (number(2), number(6))
    }

    #[test]
    fn neighbours_are_one_extent() {
        let mut extents = Extents::default();
        extents.add(0, Run { start: 100, blocks: 5 });
        extents.add(5, Run { start: 105, blocks: 5 });
        extents.add(20, Run { start: 110, blocks: 1 });
        assert_eq!(extents.all.len(), 2);
        assert_eq!(extents.blocks, 11);
        assert_eq!(header(&tree(extents).root), (2, 0));
    }

    #[test]
    fn a_long_run_is_divided() {
        let mut extents = Extents::default();
        extents.add(0, Run { start: 100, blocks: 3 * LENGTH_MAX });
        assert_eq!(extents.all.len(), 3);
        assert_eq!(extents.all[2].logical, 2 * LENGTH_MAX);
    }

    #[track_caller]
    fn check_depth(count: u64, depth: u16, nodes: usize) {
        let mut extents = Extents::default();
        for at in 0..count {
            extents.add(2 * at, Run { start: 2 * at, blocks: 1 });
        }
        let tree = tree(extents);
        assert_eq!(header(&tree.root).1, depth, "{count} extents");
        assert_eq!(tree.nodes.len(), nodes, "{count} extents");
    }

    #[test]
    fn a_tree_is_as_deep_as_it_must_be() {
        check_depth(0, 0, 0);
        check_depth(4, 0, 0);
        check_depth(5, 1, 1);
        check_depth(4 * IN_BLOCK as u64, 1, 4);
        check_depth(4 * IN_BLOCK as u64 + 1, 2, 6);
    }
}
