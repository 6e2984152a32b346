//! Ids of a view's files as they are called inside: a shadow whose users are mapped elsewhere
//! shows other numbers to this machine, in owners, in access control lists and in capabilities.

/// The list that a directory gives to what is made in it.
pub(crate) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Entries of an access control list that name somebody: `ACL_USER` and `ACL_GROUP`.
const NAMING_TAGS: [u16; 2] = [0x02, 0x08];
/// `struct vfs_cap_data` with and without the root it belongs to (linux/capability.h).
const CAPS_2: u32 = 0x0200_0000;
const CAPS_3: u32 = 0x0300_0000;
const CAPS_REVISION: u32 = 0xff00_0000;
const CAPS_2_BYTES: usize = 20;

/// An owner or group.
pub(crate) fn inside(base: u32, id: u32) -> u32 {
    id.checked_sub(base).unwrap_or(id)
}

/// An access control list: a version of four bytes, then a tag, rights and an id each.
pub(crate) fn acl_inside(base: u32, acl: &[u8]) -> Vec<u8> {
    let mut acl = acl.to_vec();
    let Some((_, entries)) = acl.split_at_mut_checked(4) else { return acl };
    for entry in entries.chunks_exact_mut(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        if NAMING_TAGS.contains(&tag) {
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            entry[4..].copy_from_slice(&inside(base, id).to_le_bytes());
        }
    }
    acl
}

/// Capabilities: those that belong to the shadow's root belong to root, inside.
pub(crate) fn caps_inside(base: u32, caps: &[u8]) -> Vec<u8> {
    let word = |at: usize| {
        let bytes = caps.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    match (word(0), word(CAPS_2_BYTES)) {
        (Some(magic), Some(root)) if magic & CAPS_REVISION == CAPS_3 && root == base => {
            let magic = (magic & !CAPS_REVISION) | CAPS_2;
            [&magic.to_le_bytes(), &caps[4..CAPS_2_BYTES]].concat()
        }
        _ => caps.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shifted_where_there_are_any() {
        assert_eq!((inside(100_000, 100_033), inside(100_000, 7)), (33, 7));
        let entry =
            |tag: u16, id: u32| [&tag.to_le_bytes()[..], &[6, 0], &id.to_le_bytes()].concat();
        let list = |id| [vec![2, 0, 0, 0], entry(1, u32::MAX), entry(2, id), entry(8, id)].concat();
        assert_eq!(acl_inside(100_000, &list(100_033)), list(33));
        for broken in [&b""[..], b"abc", b"\x02\0\0\0\x02"] {
            assert_eq!(acl_inside(100_000, broken), broken);
        }
    }

    #[test]
    fn capabilities_of_the_shadows_root_are_roots() {
        let body = [7u8; 16];
        let of =
            |root: u32| [&0x0300_0001u32.to_le_bytes()[..], &body, &root.to_le_bytes()].concat();
        let plain = [&0x0200_0001u32.to_le_bytes()[..], &body].concat();
        assert_eq!(caps_inside(100_000, &of(100_000)), plain);
        assert_eq!(caps_inside(100_000, &of(5)), of(5));
        assert_eq!(caps_inside(100_000, &plain), plain);
        assert_eq!(caps_inside(100_000, b"x"), b"x");
    }
}
