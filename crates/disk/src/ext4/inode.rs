//! One inode as it is on the disk.

use umbra_state::{Content, Meta, Mtime};

use super::attributes::INODE_END;
use super::directory::Kind;
use super::extents::ROOT_BYTES;
use super::{BLOCK, INODE_BYTES};
use crate::crc::crc32c;
use crate::medium::Bytes;

/// Its blocks are found by a tree of extents.
pub(super) const BY_EXTENTS: u32 = 0x8_0000;

/// Links of an inode that ext4 counts.
pub(super) const LINKS_MAX: u32 = 65_000;

/// What an inode says.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
    pub(super) links: u32,
    pub(super) size: u64,
    /// Blocks it has, those with attributes and extents included.
    pub(super) blocks: u64,
    pub(super) flags: u32,
    /// The root of its extents, a short link's target, or a device's number.
    pub(super) map: [u8; ROOT_BYTES],
    pub(super) attribute_block: u64,
    /// For its end; may be empty.
    pub(super) attributes: Vec<u8>,
}

impl Inode {
    /// One with nothing in it.
    pub(super) fn new(kind: Kind, meta: &Meta, links: u32) -> Self {
        Self {
            kind,
            mode: meta.mode & 0o7777,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            links,
            size: 0,
            blocks: 0,
            flags: 0,
            map: [0; ROOT_BYTES],
            attribute_block: 0,
            attributes: Vec::new(),
        }
    }

    /// The inode's bytes. `seed` is from [`seed`].
    pub(super) fn bytes(&self, seed: u32) -> [u8; INODE_BYTES] {
        let mut bytes = [0; INODE_BYTES];
        let mut to = Bytes(&mut bytes);
        let sectors = self.blocks * (BLOCK / 512);
        let (time, time_extra) = time(self.mtime);
        to.u16(0, format_bits(self.kind) | self.mode);
        to.u16(2, self.uid as u16);
        to.u32(4, self.size as u32);
        for at in [8, 12, 16, 144] {
            to.u32(at, time);
        }
        to.u16(24, self.gid as u16);
        to.u16(26, self.links as u16);
        to.u32(28, sectors as u32);
        to.u32(32, self.flags);
        to.put(40, &self.map);
        to.u32(104, self.attribute_block as u32);
        to.u32(108, (self.size >> 32) as u32);
        to.u16(116, (sectors >> 32) as u16);
        to.u16(118, (self.attribute_block >> 32) as u16);
        to.u16(120, (self.uid >> 16) as u16);
        to.u16(122, (self.gid >> 16) as u16);
        to.u16(128, (INODE_END - 128) as u16);
        for at in [132, 136, 140, 148] {
            to.u32(at, time_extra);
        }
        to.put(INODE_END, &self.attributes);
        let sum = crc32c(seed, &bytes);
        let mut to = Bytes(&mut bytes);
        to.u16(124, sum as u16);
        to.u16(130, (sum >> 16) as u16);
        bytes
    }
}

/// What the checksums of an inode and of its blocks begin with. Its generation is 0.
pub(super) fn seed(filesystem_seed: u32, number: u32) -> u32 {
    crc32c(crc32c(filesystem_seed, &number.to_le_bytes()), &[0; 4])
}

/// What directories call such a content.
pub(super) fn kind_of(content: &Content) -> Kind {
    match content {
        Content::Inline(_) | Content::Object { .. } => Kind::File,
        Content::Symlink(_) => Kind::Symlink,
        Content::Char(_) => Kind::Char,
        Content::Block(_) => Kind::Block,
        Content::Fifo => Kind::Fifo,
        Content::Socket => Kind::Socket,
    }
}

fn format_bits(kind: Kind) -> u16 {
    match kind {
        Kind::Fifo => 0o010_000,
        Kind::Char => 0o020_000,
        Kind::Dir => 0o040_000,
        Kind::Block => 0o060_000,
        Kind::File => 0o100_000,
        Kind::Symlink => 0o120_000,
        Kind::Socket => 0o140_000,
    }
}

/// Whether ext4 can say this time: 34 bits of seconds.
pub(super) fn has_time(time: Mtime) -> bool {
    let first = i64::from(i32::MIN);
    (first..first + (1 << 34)).contains(&time.sec)
}

/// The low 32 bits as a signed number; how often these went round, and nanoseconds.
fn time(time: Mtime) -> (u32, u32) {
    let low = time.sec as i32;
    let rounds = (time.sec - i64::from(low)) >> 32 & 3;
    (low as u32, time.nsec << 2 | rounds as u32)
}

/// A device's number in the older of two ways where it can; `None` if in neither.
pub(super) fn device(number: u64) -> Option<[u8; ROOT_BYTES]> {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let mut map = [0; ROOT_BYTES];
    let mut to = Bytes(&mut map);
    if major < 1 << 8 && minor < 1 << 8 {
        to.u32(0, major << 8 | minor);
    } else if major < 1 << 12 && minor < 1 << 20 {
        to.u32(4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    } else {
        return None;
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_time(sec: i64, expected: Option<(u32, u32)>) {
        let it = Mtime { sec, nsec: 5 };
        assert_eq!(has_time(it).then(|| time(it)), expected, "{sec}");
    }

    #[test]
    fn times_have_34_bits() {
        check_time(0, Some((0, 20)));
        check_time(-1, Some((u32::MAX, 20)));
        check_time(1 << 31, Some((1 << 31, 21)));
        check_time(1 << 32, Some((0, 21)));
        check_time((1 << 34) - (1 << 31) - 1, Some((0x7fff_ffff, 23)));
        check_time((1 << 34) - (1 << 31), None);
        check_time(-(1 << 31) - 1, None);
    }

    #[test]
    fn devices_have_numbers_of_two_sizes() {
        let map = |major, minor| device(rustix::fs::makedev(major, minor));
        assert_eq!(map(1, 3).unwrap()[..8], [3, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(map(259, 0x12345).unwrap()[..8], [0, 0, 0, 0, 0x45, 0x03, 0x31, 0x12]);
        assert!(map(1 << 12, 0).is_none());
        assert!(map(0, 1 << 20).is_none());
    }
}
