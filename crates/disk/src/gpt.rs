//! GUID partition tables, from a list of partitions to the sectors at both ends of a disk.
//!
//! Made to the UEFI specification, 2.10, section 5: a protective MBR, a header with 128 entries
//! after it, and the same mirrored at the end.

use crate::crc::crc32;
use crate::ids::Uuid;
use crate::medium::Bytes;

/// Bytes of a sector. Disks of guests have no others.
pub(crate) const SECTOR: u64 = 512;

/// Sectors at the beginning that a table takes, the MBR included.
const FIRST_SECTORS: u64 = 2 + ENTRY_SECTORS;

/// Sectors at the end that its mirror takes.
const LAST_SECTORS: u64 = 1 + ENTRY_SECTORS;

const ENTRIES: u32 = 128;
const ENTRY_BYTES: u32 = 128;
const ENTRY_SECTORS: u64 = (ENTRIES * ENTRY_BYTES) as u64 / SECTOR;

/// What kind of partition it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Where GRUB's core for BIOS machines is.
    BiosBoot,
    /// Where UEFI firmware looks for a boot loader.
    Esp,
    /// The root of an x86-64 system, as the Discoverable Partitions Specification names it.
    RootX86,
}

impl Kind {
    const fn guid(self) -> Uuid {
        Uuid::from_number(match self {
            Self::BiosBoot => 0x21686148_6449_6e6f_744e_656564454649,
            Self::Esp => 0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b,
            Self::RootX86 => 0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
        })
    }

    /// Bit 59 asks that the filesystem be grown to its partition.
    const fn attributes(self) -> u64 {
        match self {
            Self::RootX86 => 1 << 59,
            Self::BiosBoot | Self::Esp => 0,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::BiosBoot => "bios",
            Self::Esp => "esp",
            Self::RootX86 => "root",
        }
    }
}

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) kind: Kind,
    pub(crate) id: Uuid,
    /// Its first sector.
    pub(crate) first: u64,
    /// How many it has.
    pub(crate) sectors: u64,
}

/// A table, ready to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// For the beginning of the disk. The first 440 bytes are free for a boot loader.
    pub(crate) first: Vec<u8>,
    /// For its last sectors.
    pub(crate) last: Vec<u8>,
}

/// Which sectors of a disk are for partitions.
pub(crate) fn usable(sectors: u64) -> std::ops::Range<u64> {
    FIRST_SECTORS..sectors.saturating_sub(LAST_SECTORS)
}

/// The table of a disk of so many sectors. The partitions lie in what is usable and apart.
pub(crate) fn table(disk: Uuid, sectors: u64, partitions: &[Partition]) -> Table {
    let mut entries = vec![0; (ENTRIES * ENTRY_BYTES) as usize];
    for (slot, partition) in entries.chunks_exact_mut(ENTRY_BYTES as usize).zip(partitions) {
        write_entry(Bytes(slot), partition);
    }
    let header = Header { disk, sectors, entries_crc: crc32(&entries) };
    let last_sector = sectors - 1;
    let front = header.at(1, last_sector, 2);
    let mirror = header.at(last_sector, 1, sectors - LAST_SECTORS);
    Table {
        first: [protective_mbr(sectors), front, entries.clone()].concat(),
        last: [entries, mirror].concat(),
    }
}

struct Header {
    disk: Uuid,
    sectors: u64,
    entries_crc: u32,
}

impl Header {
    /// The header that stands in sector `here`, its other in `there`.
    fn at(&self, here: u64, there: u64, entries: u64) -> Vec<u8> {
        const HEADER_BYTES: u32 = 92;
        let usable = usable(self.sectors);
        let mut sector = vec![0; SECTOR as usize];
        let mut to = Bytes(&mut sector);
        to.put(0, b"EFI PART");
        to.u32(8, 0x0001_0000);
        to.u32(12, HEADER_BYTES);
        to.u64(24, here);
        to.u64(32, there);
        to.u64(40, usable.start);
        to.u64(48, usable.end - 1);
        to.put(56, &self.disk.mixed_endian());
        to.u64(72, entries);
        to.u32(80, ENTRIES);
        to.u32(84, ENTRY_BYTES);
        to.u32(88, self.entries_crc);
        let crc = crc32(&sector[..HEADER_BYTES as usize]);
        Bytes(&mut sector).u32(16, crc);
        sector
    }
}

fn write_entry(mut to: Bytes<'_>, partition: &Partition) {
    to.put(0, &partition.kind.guid().mixed_endian());
    to.put(16, &partition.id.mixed_endian());
    to.u64(32, partition.first);
    to.u64(40, partition.first + partition.sectors - 1);
    to.u64(48, partition.kind.attributes());
    for (index, unit) in partition.kind.label().encode_utf16().enumerate() {
        to.u16(56 + 2 * index, unit);
    }
}

/// One partition over the whole disk, so that tools that know no GPT see no free room.
fn protective_mbr(sectors: u64) -> Vec<u8> {
    let mut sector = vec![0; SECTOR as usize];
    let mut to = Bytes(&mut sector);
    to.put(446, &[0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    to.u32(454, 1);
    to.u32(458, u32::try_from(sectors - 1).unwrap_or(u32::MAX));
    to.u16(510, 0xaa55);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTORS: u64 = 1 << 20;

    fn sample() -> Table {
        let id = Uuid([7; 16]);
        let partitions = [
            Partition { kind: Kind::BiosBoot, id, first: 2048, sectors: 2048 },
            Partition { kind: Kind::RootX86, id, first: 4096, sectors: 100_000 },
        ];
        table(Uuid([9; 16]), SECTORS, &partitions)
    }

    fn number(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[track_caller]
    fn check_header(header: &[u8], here: u64, there: u64, entries_at: u64, entries: &[u8]) {
        assert_eq!(&header[..8], b"EFI PART");
        assert_eq!((number(header, 24), number(header, 32)), (here, there));
        assert_eq!(number(header, 72), entries_at);
        assert_eq!(header[88..92], crc32(entries).to_le_bytes());
        let mut plain = header[..92].to_vec();
        plain[16..20].fill(0);
        assert_eq!(header[16..20], crc32(&plain).to_le_bytes());
    }

    #[test]
    fn both_headers_find_each_other_and_their_entries() {
        let Table { first, last } = sample();
        assert_eq!(first.len() as u64, FIRST_SECTORS * SECTOR);
        assert_eq!(last.len() as u64, LAST_SECTORS * SECTOR);
        let (entries, mirrored) = (&first[1024..], &last[..last.len() - 512]);
        assert_eq!(entries, mirrored);
        check_header(&first[512..1024], 1, SECTORS - 1, 2, entries);
        check_header(&last[last.len() - 512..], SECTORS - 1, 1, SECTORS - 33, mirrored);
    }

    #[test]
    fn an_entry_says_where_and_what() {
        let Table { first, .. } = sample();
        let root = &first[1024 + 128..1024 + 256];
        assert_eq!(root[..4], [0xe3, 0xbc, 0x68, 0x4f]);
        assert_eq!((number(root, 32), number(root, 40)), (4096, 104_095));
        assert_eq!(number(root, 48), 1 << 59, "to be grown");
        assert_eq!(&root[56..64], b"r\0o\0o\0t\0");
        assert!(first[1024 + 256..].iter().all(|&byte| byte == 0), "no third partition");
    }

    #[test]
    fn the_mbr_protects_and_leaves_room_for_a_boot_loader() {
        let Table { first, .. } = sample();
        assert!(first[..440].iter().all(|&byte| byte == 0));
        assert_eq!(first[450], 0xee);
        assert_eq!(first[458..462], (SECTORS as u32 - 1).to_le_bytes());
        assert_eq!(first[510..512], [0x55, 0xaa]);
    }

    #[test]
    fn what_is_usable_keeps_clear_of_the_table() {
        assert_eq!(usable(SECTORS), 34..SECTORS - 33);
        assert!(usable(10).is_empty());
    }
}
