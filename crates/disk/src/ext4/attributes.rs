//! Extended attributes: those that fit are in the inode, the rest in a block of its own.

use std::collections::BTreeMap;

use umbra_state::escape::escape;

use super::{BLOCK_BYTES, INODE_BYTES};
use crate::crc::crc32c;
use crate::medium::Bytes;

/// Where an inode's own part ends.
pub(super) const INODE_END: usize = 160;
const IN_INODE: usize = INODE_BYTES - INODE_END;
const MAGIC: u32 = 0xea02_0000;
const BLOCK_HEADER: usize = 32;
const ENTRY: usize = 16;

/// The attributes of an inode, as they are written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// For the end of the inode; empty if nothing is there.
    pub(super) in_inode: Vec<u8>,
    /// For a block; its checksum is not set yet.
    pub(super) block: Option<Vec<u8>>,
}

impl Attributes {
    /// Those with these names and values, or why ext4 has no place for them.
    pub(super) fn of(xattrs: &BTreeMap<Box<[u8]>, Box<[u8]>>) -> Result<Self, String> {
        if xattrs.is_empty() {
            return Ok(Self::default());
        }
        let mut all: Vec<Attribute> = xattrs
            .iter()
            .map(|(name, value)| Attribute::of(name, value))
            .collect::<Result<_, _>>()?;
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        let mut room = IN_INODE - 8;
        for attribute in all {
            match room.checked_sub(attribute.bytes()) {
                Some(left) => {
                    room = left;
                    inside.push(attribute);
                }
                None => outside.push(attribute),
            }
        }
        Ok(Self { in_inode: in_inode(&inside), block: block(&outside)? })
    }
}

/// Sets the checksum of a block of attributes that is to be at `place`.
pub(super) fn seal_block(block: &mut [u8], filesystem_seed: u32, place: u64) {
    let sum = crc32c(crc32c(filesystem_seed, &place.to_le_bytes()), block);
    Bytes(block).u32(16, sum);
}

struct Attribute {
    /// Stands for the beginning of the name.
    prefix: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn of(name: &[u8], value: &[u8]) -> Result<Self, String> {
        let refused = || format!("ext4 has no attribute {}", escape(name));
        let (prefix, rest): (u8, &[u8]) = match name {
            b"system.posix_acl_access" => (2, b""),
            b"system.posix_acl_default" => (3, b""),
            _ => [(1, "user."), (4, "trusted."), (6, "security.")]
                .into_iter()
                .find_map(|(prefix, text)| {
                    let rest = name.strip_prefix(text.as_bytes())?;
                    (!rest.is_empty()).then_some((prefix, rest))
                })
                .ok_or_else(refused)?,
        };
        if rest.len() > 255 {
            return Err(refused());
        }
        let value = match prefix {
            2 | 3 => acl(value).ok_or_else(|| format!("{} is no list", escape(name)))?,
            _ => value.to_vec(),
        };
        Ok(Self { prefix, name: rest.to_vec(), value })
    }

    /// How blocks sort them.
    fn order(&self) -> (u8, usize, &[u8]) {
        (self.prefix, self.name.len(), &self.name)
    }

    fn entry_bytes(&self) -> usize {
        (ENTRY + self.name.len()).next_multiple_of(4)
    }

    fn value_bytes(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    fn bytes(&self) -> usize {
        self.entry_bytes() + self.value_bytes()
    }

    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
        self.value.chunks(4).fold(name, |hash, word| {
            let mut padded = [0; 4];
            padded[..word.len()].copy_from_slice(word);
            hash.rotate_left(16) ^ u32::from_le_bytes(padded)
        })
    }
}

fn in_inode(attributes: &[Attribute]) -> Vec<u8> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let mut bytes = vec![0; IN_INODE];
    Bytes(&mut bytes).u32(0, MAGIC);
    // Values are found from the first entry on.
    place(&mut bytes[4..], 0, attributes);
    bytes
}

fn block(attributes: &[Attribute]) -> Result<Option<Vec<u8>>, String> {
    if attributes.is_empty() {
        return Ok(None);
    }
    let needed: usize = attributes.iter().map(Attribute::bytes).sum();
    if BLOCK_HEADER + needed + 4 > BLOCK_BYTES {
        return Err(format!("its attributes take {needed} bytes, more than a block has"));
    }
    let mut bytes = vec![0; BLOCK_BYTES];
    let mut to = Bytes(&mut bytes);
    to.u32(0, MAGIC);
    to.u32(4, 1);
    to.u32(8, 1);
    let hashes = attributes.iter().map(Attribute::hash);
    to.u32(12, hashes.fold(0, |hash: u32, entry| hash.rotate_left(16) ^ entry));
    place(&mut bytes, BLOCK_HEADER, attributes);
    Ok(Some(bytes))
}

/// Entries from `at` on, their values from the end back.
fn place(area: &mut [u8], mut at: usize, attributes: &[Attribute]) {
    let mut values = area.len();
    let mut to = Bytes(area);
    for attribute in attributes {
        values -= attribute.value_bytes();
        let value_at = if attribute.value.is_empty() { 0 } else { values };
        to.put(at, &[attribute.name.len() as u8, attribute.prefix]);
        to.u16(at + 2, value_at as u16);
        to.u32(at + 8, attribute.value.len() as u32);
        to.u32(at + 12, attribute.hash());
        to.put(at + ENTRY, &attribute.name);
        to.put(values, &attribute.value);
        at += attribute.entry_bytes();
    }
}

/// An access control list as ext4 keeps it, of one as programs see it.
fn acl(value: &[u8]) -> Option<Vec<u8>> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let entries = value.strip_prefix(&2u32.to_le_bytes())?;
    if !entries.len().is_multiple_of(8) {
        return None;
    }
    let mut kept = 1u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let whose = matches!(tag, USER | GROUP);
        kept.extend_from_slice(if whose { entry } else { &entry[..4] });
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(xattrs: &[(&str, &[u8])]) -> Result<Attributes, String> {
        let boxed = |(name, value): &(&str, &[u8])| (name.as_bytes().into(), (*value).into());
        Attributes::of(&xattrs.iter().map(boxed).collect())
    }

    #[test]
    fn small_ones_are_in_the_inode() {
        let it = of(&[("security.capability", &[1; 20])]).unwrap();
        assert_eq!(it.in_inode.len(), 96);
        assert!(it.block.is_none());
    }

    #[test]
    fn what_does_not_fit_there_has_a_block() {
        let it = of(&[("user.a", &[1; 10]), ("user.b", &[2; 2000])]).unwrap();
        assert!(!it.in_inode.is_empty());
        let block = it.block.unwrap();
        assert_eq!(block[BLOCK_HEADER..BLOCK_HEADER + 2], [1, 1], "one letter after user.");
        assert!(block[BLOCK_BYTES - 2000..].iter().all(|&byte| byte == 2));
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for (name, size) in [("other.name", 1), ("user.", 1), ("system.data", 1), ("user.a", 4090)]
        {
            assert!(of(&[(name, &vec![0; size])]).is_err(), "{name}");
        }
        let lists: [&[u8]; 3] = [b"", b"\x03\0\0\0", b"\x02\0\0\0\x01"];
        for list in lists {
            assert!(of(&[("system.posix_acl_access", list)]).is_err(), "{list:?}");
        }
    }

    #[test]
    fn a_list_loses_ids_that_mean_nothing() {
        let mut seen = 2u32.to_le_bytes().to_vec();
        seen.extend([1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff]);
        seen.extend([2, 0, 4, 0, 0xe8, 3, 0, 0]);
        assert_eq!(acl(&seen).unwrap(), [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xe8, 3, 0, 0]);
    }
}
