//! A directory's blocks: names and inode numbers, one after the other.
//!
//! They have no index: the kernel searches them in order, and so does what `mkfs.ext4 -d` makes.

use super::{BLOCK_BYTES, Run};
use crate::crc::crc32c;
use crate::medium::Bytes;

/// The checksum's place, which looks like an unused entry.
const TAIL: usize = 12;
const ROOM: usize = BLOCK_BYTES - TAIL;
const HEADER: usize = 8;

/// One name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    pub(super) kind: Kind,
}

/// What a name stands for, as directories note it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File = 1,
    Dir = 2,
    Char = 3,
    Block = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

/// How many blocks a directory with names of these lengths has.
pub(super) fn blocks(name_lengths: impl Iterator<Item = usize>) -> u64 {
    let (mut blocks, mut used) = (1, entry_bytes(1) + entry_bytes(2));
    for length in name_lengths {
        let bytes = entry_bytes(length);
        if used + bytes > ROOM {
            blocks += 1;
            used = 0;
        }
        used += bytes;
    }
    blocks
}

/// The directory's bytes. `seed` is its inode's, for checksums.
pub(super) fn write<'a>(entries: impl Iterator<Item = Entry<'a>>, seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_BYTES];
    // Where the last entry of the current block begins and ends.
    let (mut last, mut end) = (0, 0);
    for entry in entries {
        let length = entry_bytes(entry.name.len());
        let block = bytes.len() - BLOCK_BYTES;
        if end + length > ROOM {
            close(&mut bytes[block..], last, seed);
            bytes.resize(bytes.len() + BLOCK_BYTES, 0);
            end = 0;
        }
        let block = bytes.len() - BLOCK_BYTES;
        let mut to = Bytes(&mut bytes[block + end..]);
        to.u32(0, entry.inode);
        to.u16(4, length as u16);
        to.put(6, &[entry.name.len() as u8, entry.kind as u8]);
        to.put(HEADER, entry.name);
        (last, end) = (end, end + length);
    }
    let block = bytes.len() - BLOCK_BYTES;
    close(&mut bytes[block..], last, seed);
    bytes
}

/// The last entry reaches to the checksum.
fn close(block: &mut [u8], last: usize, seed: u32) {
    let mut to = Bytes(block);
    to.u16(last + 4, (ROOM - last) as u16);
    to.u16(ROOM + 4, TAIL as u16);
    to.put(ROOM + 7, &[0xde]);
    let sum = crc32c(seed, &block[..ROOM]);
    Bytes(block).u32(ROOM + 8, sum);
}

fn entry_bytes(name: usize) -> usize {
    (HEADER + name).next_multiple_of(4)
}

/// All of a directory's blocks, counted in it.
pub(super) fn whole(bytes: &[u8]) -> Run {
    Run { start: 0, blocks: (bytes.len() / BLOCK_BYTES) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lengths: &[usize]) {
        let names: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![b'n'; length]).collect();
        let own: [&[u8]; 2] = [b".", b".."];
        let all = own.into_iter().chain(names.iter().map(|name| &**name));
        let bytes = write(all.map(|name| Entry { name, inode: 11, kind: Kind::File }), 0);
        assert_eq!(bytes.len() as u64 / 4096, blocks(lengths.iter().copied()), "{lengths:?}");
        let mut found = 0;
        for block in bytes.chunks(BLOCK_BYTES) {
            let mut at = 0;
            while at < ROOM {
                found += 1;
                at += usize::from(u16::from_le_bytes([block[at + 4], block[at + 5]]));
            }
            assert_eq!(at, ROOM, "entries reach to the checksum");
        }
        assert_eq!(found, lengths.len() + 2);
    }

    #[test]
    fn blocks_are_full_of_entries() {
        check(&[]);
        check(&[255; 15]);
        check(&[255; 16]);
        check(&[1; 400]);
        check(&(1..=255).collect::<Vec<_>>());
    }
}
