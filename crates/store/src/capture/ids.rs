//! Ids as a user namespace shows them, wherever a file's metadata holds one.

use std::collections::BTreeMap;

/// Subtracts a base from every owner, also inside ACLs and file capabilities: for trees that
/// were written through a map of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdShift {
    /// The id on disk that stands for 0.
    pub base: u32,
    /// How many ids follow it. Ids outside are an error.
    pub count: u32,
}

impl Default for IdShift {
    /// Ids stay as they are.
    fn default() -> Self {
        Self { base: 0, count: u32::MAX }
    }
}

const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
const CAPABILITY: &[u8] = b"security.capability";

/// Tags of ACL entries that name a user or a group.
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;

/// Revision of a capability, in the highest byte of its first number.
const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;

impl IdShift {
    /// The state's id for one on disk; the id itself as an error if it is out of range.
    pub(crate) fn apply(self, id: u32) -> Result<u32, u32> {
        if self == Self::default() {
            return Ok(id);
        }
        id.checked_sub(self.base).filter(|id| *id < self.count).ok_or(id)
    }

    /// Shifts the ids in ACLs and capabilities. What does not look like one stays as it is.
    pub(crate) fn apply_to_xattrs(
        self,
        xattrs: &mut BTreeMap<Box<[u8]>, Box<[u8]>>,
    ) -> Result<(), u32> {
        if self == Self::default() {
            return Ok(());
        }
        for name in ACLS {
            if let Some(value) = xattrs.get_mut(name) {
                self.apply_to_acl(value)?;
            }
        }
        if let Some(value) = xattrs.get_mut(CAPABILITY)
            && let Some(shifted) = self.apply_to_capability(value)?
        {
            *value = shifted;
        }
        Ok(())
    }

    /// An ACL is a u32 version and entries of u16 tag, u16 permissions, u32 id.
    fn apply_to_acl(self, value: &mut [u8]) -> Result<(), u32> {
        let Some(entries) = value.get_mut(4..) else { return Ok(()) };
        for entry in entries.chunks_exact_mut(8) {
            let tag = u16::from_le_bytes([entry[0], entry[1]]);
            if tag == ACL_USER || tag == ACL_GROUP {
                let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
                entry[4..].copy_from_slice(&self.apply(id)?.to_le_bytes());
            }
        }
        Ok(())
    }

    /// A capability of revision 3 ends in the user that is root where it counts. For user 0 it
    /// is one of revision 2, which lacks that number.
    fn apply_to_capability(self, value: &[u8]) -> Result<Option<Box<[u8]>>, u32> {
        let Ok(bytes) = <[u8; 24]>::try_from(value) else { return Ok(None) };
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let (magic, root) = (number(0), number(20));
        if magic & REVISION_MASK != REVISION_3 {
            return Ok(None);
        }
        let mut shifted = bytes.to_vec();
        match self.apply(root)? {
            0 => {
                let magic = magic & !REVISION_MASK | REVISION_2;
                shifted[..4].copy_from_slice(&magic.to_le_bytes());
                shifted.truncate(20);
            }
            id => shifted[20..].copy_from_slice(&id.to_le_bytes()),
        }
        Ok(Some(shifted.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIFT: IdShift = IdShift { base: 100_000, count: 65_536 };

    fn shifted(name: &[u8], value: &[u8]) -> Result<Vec<u8>, u32> {
        let mut xattrs = BTreeMap::from([(Box::from(name), Box::from(value))]);
        SHIFT.apply_to_xattrs(&mut xattrs)?;
        Ok(xattrs[name].to_vec())
    }

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    #[test]
    fn owners_move_by_the_base_and_nothing_else_fits() {
        assert_eq!(SHIFT.apply(100_000), Ok(0));
        assert_eq!(SHIFT.apply(165_535), Ok(65_535));
        assert_eq!(SHIFT.apply(165_536), Err(165_536));
        assert_eq!(SHIFT.apply(0), Err(0));
        assert_eq!(IdShift::default().apply(u32::MAX), Ok(u32::MAX));
    }

    #[test]
    fn acls_name_shifted_users_and_groups() {
        let entry = |tag: u32, id: u32| [tag | 7 << 16, id];
        let acl = |user, group| {
            let entries = [entry(1, u32::MAX), entry(2, user), entry(8, group), entry(0x10, 9)];
            numbers(&[&[2][..], &entries.concat()].concat())
        };
        let name = b"system.posix_acl_access";
        assert_eq!(shifted(name, &acl(101_000, 100_033)), Ok(acl(1000, 33)));
        assert_eq!(shifted(name, &acl(1000, 100_033)), Err(1000));
        assert_eq!(shifted(name, b"odd"), Ok(b"odd".to_vec()));
    }

    #[test]
    fn capabilities_of_the_namespace_root_become_plain() {
        let name = b"security.capability";
        let v3 = |root| numbers(&[0x0300_0001, 0x400, 0, 0, 0, root]);
        assert_eq!(shifted(name, &v3(100_000)), Ok(numbers(&[0x0200_0001, 0x400, 0, 0, 0])));
        assert_eq!(shifted(name, &v3(100_007)), Ok(v3(7)));
        let v2 = numbers(&[0x0200_0001, 0x400, 0, 0, 0]);
        assert_eq!(shifted(name, &v2), Ok(v2));
    }
}
