//! A FAT32 filesystem with a few files in it, for firmware to read.
//!
//! Made to Microsoft's FAT specification, 1.03. Names are the short ones; all times are the
//! first that FAT knows, 1980-01-01, so that equal files make equal bytes.

use std::io;

use crate::medium::{Bytes, Medium};

const SECTOR: u64 = 512;
/// Sectors before the first table: boot sector, its information, and copies of both.
const RESERVED: u64 = 32;
const BACKUP_SECTOR: u64 = 6;
const TABLES: u64 = 2;
const ROOT_CLUSTER: u32 = 2;
/// A volume with fewer is taken for FAT16, whatever it says.
const CLUSTERS_MIN: u64 = 65_525;
const MEDIA: u8 = 0xf8;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
const ENTRY: usize = 32;
const DATE: u16 = 1 << 5 | 1;

/// What a directory holds.
pub(crate) enum Entry<'a> {
    File(&'a str, &'a [u8]),
    Dir(&'a str, Vec<Entry<'a>>),
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Self::File(name, _) | Self::Dir(name, _) => name,
        }
    }
}

/// Writes a volume of `bytes` on a medium of zeros. `hidden` is how many sectors of the disk are
/// before it.
pub(crate) fn write(
    medium: &mut dyn Medium,
    bytes: u64,
    hidden: u32,
    serial: u32,
    root: &[Entry<'_>],
) -> io::Result<()> {
    let layout = Layout::of(bytes)?;
    let mut volume = Volume { medium, layout, table: vec![0x0fff_ff00 | u32::from(MEDIA), !0] };
    volume.dir(root, None)?;
    volume.write_tables()?;
    volume.write_boot(hidden, serial)
}

/// A cluster is one sector: the least room in which FAT32 is FAT32.
struct Layout {
    sectors: u64,
    table_sectors: u64,
}

impl Layout {
    fn of(bytes: u64) -> io::Result<Self> {
        let sectors = bytes / SECTOR;
        let table_sectors = (sectors * 4).div_ceil(SECTOR);
        let layout = Self { sectors, table_sectors };
        if sectors > u64::from(u32::MAX) || sectors < layout.first_data() + CLUSTERS_MIN {
            return Err(io::Error::other("the size is none that FAT32 has"));
        }
        Ok(layout)
    }

    fn first_data(&self) -> u64 {
        RESERVED + TABLES * self.table_sectors
    }

    fn clusters(&self) -> u64 {
        self.sectors - self.first_data()
    }

    fn offset(&self, cluster: u32) -> u64 {
        (self.first_data() + u64::from(cluster) - 2) * SECTOR
    }
}

struct Volume<'a> {
    medium: &'a mut dyn Medium,
    layout: Layout,
    /// Each cluster's next one.
    table: Vec<u32>,
}

impl Volume<'_> {
    /// Writes a directory and what is in it; gives its first cluster.
    fn dir(&mut self, entries: &[Entry<'_>], parent: Option<u32>) -> io::Result<u32> {
        let own_entries = if parent.is_some() { 2 } else { 0 };
        let bytes = (own_entries + entries.len()) * ENTRY;
        let cluster = self.chain(bytes.max(1))?;
        let mut listing = Vec::with_capacity(bytes);
        if let Some(parent) = parent {
            // The root is called 0 by those in it.
            let parent = if parent == ROOT_CLUSTER { 0 } else { parent };
            listing.extend(entry(*b".          ", DIRECTORY, cluster, 0));
            listing.extend(entry(*b"..         ", DIRECTORY, parent, 0));
        }
        for it in entries {
            let name = short_name(it.name())?;
            listing.extend(match it {
                Entry::Dir(_, below) => entry(name, DIRECTORY, self.dir(below, Some(cluster))?, 0),
                Entry::File(_, content) => {
                    let first = if content.is_empty() { 0 } else { self.chain(content.len())? };
                    if first != 0 {
                        self.medium.write_at(content, self.layout.offset(first))?;
                    }
                    entry(name, ARCHIVE, first, content.len() as u32)
                }
            });
        }
        self.medium.write_at(&listing, self.layout.offset(cluster))?;
        Ok(cluster)
    }

    /// Takes the next clusters for so many bytes, one after the other.
    fn chain(&mut self, bytes: usize) -> io::Result<u32> {
        let first = self.table.len() as u32;
        let count = (bytes as u64).div_ceil(SECTOR) as u32;
        if u64::from(first + count - 2) > self.layout.clusters() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.table.extend(first + 1..first + count);
        self.table.push(END_OF_CHAIN);
        Ok(first)
    }

    fn write_tables(&mut self) -> io::Result<()> {
        let bytes: Vec<u8> = self.table.iter().flat_map(|next| next.to_le_bytes()).collect();
        for copy in 0..TABLES {
            let sector = RESERVED + copy * self.layout.table_sectors;
            self.medium.write_at(&bytes, sector * SECTOR)?;
        }
        Ok(())
    }

    fn write_boot(&mut self, hidden: u32, serial: u32) -> io::Result<()> {
        let mut sectors = vec![0; 2 * SECTOR as usize];
        let (boot, information) = sectors.split_at_mut(SECTOR as usize);
        write_boot_sector(Bytes(boot), &self.layout, hidden, serial);
        let used = self.table.len() as u64 - 2;
        let mut to = Bytes(information);
        to.put(0, b"RRaA");
        to.put(484, b"rrAa");
        to.u32(488, (self.layout.clusters() - used) as u32);
        to.u32(492, self.table.len() as u32);
        to.u16(510, 0xaa55);
        self.medium.write_at(&sectors, 0)?;
        self.medium.write_at(&sectors, BACKUP_SECTOR * SECTOR)
    }
}

fn write_boot_sector(mut to: Bytes<'_>, layout: &Layout, hidden: u32, serial: u32) {
    to.put(0, &[0xeb, 0x58, 0x90]);
    to.put(3, b"UMBRA   ");
    to.u16(11, SECTOR as u16);
    to.put(13, &[1]);
    to.u16(14, RESERVED as u16);
    to.put(16, &[TABLES as u8]);
    to.put(21, &[MEDIA]);
    // The geometry of a disk of long ago, which some readers want to see.
    to.u16(24, 32);
    to.u16(26, 64);
    to.u32(28, hidden);
    to.u32(32, layout.sectors as u32);
    to.u32(36, layout.table_sectors as u32);
    to.u32(44, ROOT_CLUSTER);
    to.u16(48, 1);
    to.u16(50, BACKUP_SECTOR as u16);
    to.put(64, &[0x80, 0, 0x29]);
    to.u32(67, serial);
    to.put(71, b"NO NAME    FAT32   ");
    to.u16(510, 0xaa55);
}

const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;

fn entry(name: [u8; 11], attributes: u8, cluster: u32, size: u32) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    let mut to = Bytes(&mut bytes);
    to.put(0, &name);
    to.put(11, &[attributes]);
    to.u16(16, DATE);
    to.u16(18, DATE);
    to.u16(20, (cluster >> 16) as u16);
    to.u16(24, DATE);
    to.u16(26, cluster as u16);
    to.u32(28, size);
    bytes
}

/// `NAME.EXT` as it stands in a directory.
fn short_name(name: &str) -> io::Result<[u8; 11]> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = |part: &str, most| {
        part.len() <= most && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    if stem.is_empty() || !fits(stem, 8) || !fits(extension, 3) {
        return Err(io::Error::other(format!("{name:?} is no short name")));
    }
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    Ok(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_ones() {
        assert_eq!(short_name("BOOTX64.EFI").unwrap(), *b"BOOTX64 EFI");
        assert_eq!(short_name("EFI").unwrap(), *b"EFI        ");
        for name in ["", "lower", "TOOLONGAME", "A.LONG", ".X", "A.B.C", "A B"] {
            assert!(short_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_fat32_is_refused() {
        assert!(Layout::of(16 << 20).is_err());
        assert!(Layout::of(64 << 20).is_ok());
        assert!(Layout::of(4 << 40).is_err());
    }
}
