//! How a filesystem of some size is divided: groups, and what of them is taken before any file.
//!
//! Tables of sixteen groups lie together at the beginning of the first of them, so that little
//! stands between the blocks of large files.

use std::ops::Range;

use super::{BLOCK, FIRST_INODE, GROUP, INODE_BYTES};

/// Groups whose tables lie together.
pub(super) const FLEX: u64 = 16;
pub(super) const LOG_FLEX: u8 = FLEX.ilog2() as u8;

/// Bytes of a group's descriptor.
pub(super) const DESCRIPTOR_BYTES: usize = 64;
const DESCRIPTORS: u64 = BLOCK / DESCRIPTOR_BYTES as u64;

/// Inodes of a block of their table.
const INODES: u64 = BLOCK / INODE_BYTES as u64;
/// One inode for 16 KiB, as usual, and for half as much where there are many small files.
const INODES_MIN: u64 = GROUP * BLOCK / 16_384;
const INODES_MAX: u64 = 2 * INODES_MIN;

/// Block numbers of one block, and so the most descriptor blocks that growing may add.
const ADDRESSES: u64 = BLOCK / 4;

/// How often as large it may grow while it is mounted.
const GROWTH: u64 = 1024;

/// What a last group that is not whole has at least beside its tables.
const TAIL_MIN: u64 = 256;

/// Where what is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// How many blocks there are.
    pub(crate) blocks: u64,
    pub(super) groups: u64,
    pub(super) inodes_per_group: u64,
    pub(super) descriptor_blocks: u64,
    /// Blocks for descriptors of groups that are added later.
    pub(super) spare_blocks: u64,
    pub(super) journal_blocks: u64,
}

impl Geometry {
    /// That of at most `blocks`, for so many inodes; `None` if they are too few for those.
    pub(crate) fn new(blocks: u64, inodes: u64) -> Option<Self> {
        let whole = Self::divided(blocks, inodes)?;
        let last = whole.groups - 1;
        let (range, taken) = (whole.range(last), whole.taken(last));
        let tail = range.end - range.start;
        if tail >= taken.end - taken.start + TAIL_MIN {
            return Some(whole);
        }
        // A last group that its own tables would fill is left away.
        Self::divided(blocks - tail, inodes)
    }

    fn divided(blocks: u64, inodes: u64) -> Option<Self> {
        let groups = blocks.div_ceil(GROUP);
        if groups == 0 {
            return None;
        }
        let wanted = inodes + inodes / 4 + u64::from(FIRST_INODE);
        let per_group = wanted.div_ceil(groups).next_multiple_of(INODES);
        let inodes_per_group = per_group.clamp(INODES_MIN, INODES_MAX);
        if inodes_per_group * groups < inodes + u64::from(FIRST_INODE) {
            return None;
        }
        let descriptor_blocks = groups.div_ceil(DESCRIPTORS);
        let grown = (blocks * GROWTH).min(u64::from(u32::MAX)).div_ceil(GROUP);
        let spare_blocks = grown.div_ceil(DESCRIPTORS).saturating_sub(descriptor_blocks);
        Some(Self {
            blocks,
            groups,
            inodes_per_group,
            descriptor_blocks,
            spare_blocks: spare_blocks.min(ADDRESSES - descriptor_blocks.min(ADDRESSES)),
            journal_blocks: journal_blocks(blocks),
        })
    }

    /// With fewer blocks there are too few groups for so many inodes.
    pub(crate) fn blocks_for(inodes: u64) -> u64 {
        let groups = (inodes + inodes / 4 + u64::from(FIRST_INODE)).div_ceil(INODES_MAX);
        (groups - 1) * GROUP + 1
    }

    /// How many blocks it takes for itself, about.
    pub(crate) fn overhead(&self) -> u64 {
        let kept: u64 = self.kept().iter().map(|range| range.end - range.start).sum();
        kept + self.journal_blocks + 1
    }

    /// The blocks of a group.
    pub(super) fn range(&self, group: u64) -> Range<u64> {
        group * GROUP..((group + 1) * GROUP).min(self.blocks)
    }

    /// What is taken before any file, in order and apart.
    pub(super) fn kept(&self) -> Vec<Range<u64>> {
        (0..self.groups).map(|group| self.taken(group)).filter(|taken| !taken.is_empty()).collect()
    }

    /// What is taken of one group: copies of the superblock with all descriptors, tables.
    fn taken(&self, group: u64) -> Range<u64> {
        let start = group * GROUP;
        let tables = self.tables_start(group);
        let mut end = tables;
        if group.is_multiple_of(FLEX) {
            end += self.together(group) * (2 + self.table_blocks());
        }
        start..end
    }

    /// Whether a group's bitmap may be left to the kernel: nothing of other groups is in it.
    pub(super) fn keeps_only_own(&self, group: u64) -> bool {
        !group.is_multiple_of(FLEX)
    }

    /// Where in a group what follows the superblock and the descriptors begins.
    fn tables_start(&self, group: u64) -> u64 {
        let copies = 1 + self.descriptor_blocks + self.spare_blocks;
        group * GROUP + if has_superblock(group) { copies } else { 0 }
    }

    /// How many groups have their tables where this one has.
    fn together(&self, group: u64) -> u64 {
        (self.groups - leader(group)).min(FLEX)
    }

    /// The block with a group's block bitmap.
    pub(super) fn block_bitmap(&self, group: u64) -> u64 {
        self.tables_start(leader(group)) + group % FLEX
    }

    /// The block with a group's inode bitmap.
    pub(super) fn inode_bitmap(&self, group: u64) -> u64 {
        self.tables_start(leader(group)) + self.together(group) + group % FLEX
    }

    /// Where a group's inodes are.
    pub(super) fn inode_table(&self, group: u64) -> u64 {
        let bitmaps = 2 * self.together(group);
        self.tables_start(leader(group)) + bitmaps + group % FLEX * self.table_blocks()
    }

    /// Blocks of a group's table of inodes.
    fn table_blocks(&self) -> u64 {
        self.inodes_per_group / INODES
    }

    /// The groups with a copy of the superblock, the first not among them.
    pub(super) fn backups(&self) -> impl Iterator<Item = u64> + use<> {
        (1..self.groups).filter(|&group| has_superblock(group))
    }
}

fn leader(group: u64) -> u64 {
    group - group % FLEX
}

/// The first two and the powers of three, five and seven.
pub(super) fn has_superblock(group: u64) -> bool {
    let is_power = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || is_power(3) || is_power(5) || is_power(7)
}

/// As large as mke2fs makes it.
fn journal_blocks(blocks: u64) -> u64 {
    match blocks {
        0..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        _ => 32_768,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_groups_have_superblocks() {
        let have: Vec<u64> = (0..60).filter(|&group| has_superblock(group)).collect();
        assert_eq!(have, [0, 1, 3, 5, 7, 9, 25, 27, 49]);
    }

    #[track_caller]
    fn check(blocks: u64, inodes: u64) {
        let it = Geometry::new(blocks, inodes).unwrap();
        let kept = it.kept();
        assert!(kept.windows(2).all(|pair| pair[0].end <= pair[1].start), "apart: {kept:?}");
        for (index, range) in kept.iter().enumerate() {
            assert!(range.end <= it.blocks, "{index}: {range:?} of {}", it.blocks);
        }
        for group in 0..it.groups {
            let table = it.inode_table(group);
            for block in [
                it.block_bitmap(group),
                it.inode_bitmap(group),
                table,
                table + it.table_blocks() - 1,
            ] {
                assert!(kept.iter().any(|range| range.contains(&block)), "group {group}");
            }
        }
        assert!(it.inodes_per_group * it.groups >= inodes + 11);
    }

    #[test]
    fn tables_are_where_nothing_else_is() {
        for blocks in [5000, GROUP, GROUP + 10, GROUP + 5000, 16 * GROUP + 3, 17 * GROUP, 1 << 24] {
            check(blocks, 1000);
        }
        check(Geometry::blocks_for(1_000_000) + GROUP, 1_000_000);
    }

    #[test]
    fn too_many_inodes_are_refused() {
        assert!(Geometry::new(GROUP, INODES_MAX).is_none());
        assert!(Geometry::new(0, 1).is_none());
    }

    #[test]
    fn a_tail_that_holds_nothing_is_left_away() {
        assert_eq!(Geometry::new(GROUP + 10, 100).unwrap().blocks, GROUP);
        assert_eq!(Geometry::new(GROUP + 9000, 100).unwrap().blocks, GROUP + 9000);
    }
}
