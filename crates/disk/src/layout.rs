//! Where on a disk the partitions are, and how large a disk a state needs.

use crate::error::DiskError;
use crate::ext4::{BLOCK, Geometry, Plan};
use crate::gpt::{Kind, Partition, SECTOR, usable};
use crate::ids::Ids;

const MIB: u64 = 1 << 20;

/// The largest disk that is made.
pub(crate) const BYTES_MAX: u64 = 2 << 40;

/// Partitions begin and end at whole MiB, as disks and tools like it.
const BIOS_AT: u64 = MIB;
pub(crate) const BIOS_BYTES: u64 = MIB;
const ESP_AT: u64 = BIOS_AT + BIOS_BYTES;
/// Not much more than the least of FAT32.
pub(crate) const ESP_BYTES: u64 = 64 * MIB;
const ROOT_AT: u64 = ESP_AT + ESP_BYTES;
/// For the mirror of the partition table.
const END_BYTES: u64 = MIB;

/// Room that a root has where no size is asked for, beside a quarter of what is in it.
const ROOM: u64 = 512 * MIB;

/// A disk divided.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) bytes: u64,
    pub(crate) bios_at: u64,
    pub(crate) esp_at: u64,
    pub(crate) root_at: u64,
    pub(crate) geometry: Geometry,
}

impl Layout {
    /// The disk for a planned root: of the size that was asked for, or with some room.
    pub(crate) fn new(plan: &Plan<'_>, asked: Option<u64>) -> Result<Self, DiskError> {
        let least = least_blocks(plan);
        let bytes = match asked {
            Some(bytes) if bytes > BYTES_MAX => return Err(DiskError::TooLarge(bytes)),
            Some(bytes) => bytes - bytes % MIB,
            None => disk_bytes(least + least / 4 + ROOM / BLOCK),
        };
        if bytes > BYTES_MAX {
            return Err(DiskError::TooLarge(bytes));
        }
        let root_bytes = bytes.saturating_sub(ROOT_AT + END_BYTES);
        let geometry = Geometry::new(root_bytes / BLOCK, plan.inode_count());
        let geometry = geometry.filter(|geometry| fits(plan, geometry));
        let Some(geometry) = geometry else {
            return Err(DiskError::TooSmall { asked: bytes, needed: disk_bytes(least) });
        };
        Ok(Self { bytes, bios_at: BIOS_AT, esp_at: ESP_AT, root_at: ROOT_AT, geometry })
    }

    /// The disk's size.
    pub(crate) fn sectors(&self) -> u64 {
        self.bytes / SECTOR
    }

    /// The partitions, in the order of their numbers.
    pub(crate) fn partitions(&self, ids: &Ids) -> [Partition; 3] {
        let partition = |kind, id, at: u64, end: u64| {
            let (first, sectors) = (at / SECTOR, (end - at) / SECTOR);
            debug_assert!(usable(self.sectors()).contains(&(first + sectors - 1)));
            Partition { kind, id, first, sectors }
        };
        [
            partition(Kind::BiosBoot, ids.bios, self.bios_at, self.esp_at),
            partition(Kind::Esp, ids.esp, self.esp_at, self.root_at),
            partition(Kind::RootX86, ids.root, self.root_at, self.bytes - END_BYTES),
        ]
    }
}

/// The size of a disk whose root has so many blocks.
fn disk_bytes(root_blocks: u64) -> u64 {
    (ROOT_AT + root_blocks * BLOCK + END_BYTES).next_multiple_of(MIB)
}

/// About the fewest blocks in which the plan has room.
fn least_blocks(plan: &Plan<'_>) -> u64 {
    let inodes = plan.inode_count();
    let mut blocks = Geometry::blocks_for(inodes).max(plan.blocks);
    loop {
        let geometry = Geometry::new(blocks, inodes);
        if geometry.as_ref().is_some_and(|geometry| fits(plan, geometry)) {
            return blocks;
        }
        let wanted = geometry.map_or(0, |geometry| plan.blocks + geometry.overhead());
        blocks = wanted.max(blocks + MIB / BLOCK);
    }
}

fn fits(plan: &Plan<'_>, geometry: &Geometry) -> bool {
    plan.blocks + geometry.overhead() <= geometry.blocks
}
