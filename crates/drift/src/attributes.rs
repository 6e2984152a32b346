//! How the attributes of a path are written in a [`Value`](crate::reading::Value): one encoding
//! for those who read them and those who put them back.
//!
//! | attribute | written as |
//! |---|---|
//! | type | one of the words of [`Kind`]; of a device with its numbers, such as `block 8:0` |
//! | mode | the permission bits as four octal digits, such as `0644` or `4755`; a link has none |
//! | owner, group | the number, decimal |
//! | link | where the link leads, its bytes |
//! | acl | the bytes of the extended attribute `system.posix_acl_access` |
//! | caps | the bytes of `security.capability` |
//! | xattr | every other extended attribute, [`encode_xattrs`] |
//!
//! A path without an access control list, without capabilities or without further extended
//! attributes has no such entry. A directory's default list (`system.posix_acl_default`) and
//! labels (`security.selinux`) are further extended attributes.

use std::collections::BTreeMap;

use rustix::fs::{major, makedev, minor};
use umbra_api::blob::Blob;

use crate::config::Attribute;

/// The access control list of a path.
pub const ACL_NAME: &str = "system.posix_acl_access";
/// The list a directory gives to what is made in it.
pub const DEFAULT_ACL_NAME: &str = "system.posix_acl_default";
/// What a program may do beyond its user.
pub const CAPS_NAME: &str = "security.capability";

/// The permission bits with set-user-id, set-group-id and sticky.
const MODE_MAX: u32 = 0o7777;

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A pipe with a name.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    Block,
    /// A character device.
    Character,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::File, "file"),
    (Kind::Directory, "directory"),
    (Kind::Link, "link"),
    (Kind::Fifo, "fifo"),
    (Kind::Socket, "socket"),
    (Kind::Block, "block"),
    (Kind::Character, "character"),
];

impl Kind {
    /// By the type bits of a mode; `None` for what no kernel says.
    pub fn of_mode(mode: u32) -> Option<Self> {
        use rustix::fs::FileType;
        Some(match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::BlockDevice => Self::Block,
            FileType::CharacterDevice => Self::Character,
            _ => return None,
        })
    }

    /// What its [`Attribute::Type`] says, with numbers or without.
    pub fn read(blob: &Blob) -> Option<Self> {
        let word = blob.0.split(|byte| *byte == b' ').next()?;
        let (kind, word) = *KINDS.iter().find(|(_, known)| known.as_bytes() == word)?;
        (word.len() == blob.0.len() || parse_device(blob).is_some()).then_some(kind)
    }

    /// Whether it is a device.
    pub fn is_device(self) -> bool {
        matches!(self, Self::Block | Self::Character)
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// For [`Attribute::Type`] of what is no device.
    pub fn blob(self) -> Blob {
        Blob(self.as_str().as_bytes().to_vec())
    }
}

/// Writes what lies at a path, for [`Attribute::Type`]; of a device with its number, which is
/// `st_rdev` of stat(2).
pub fn encode_type(kind: Kind, device: u64) -> Blob {
    if !kind.is_device() {
        return kind.blob();
    }
    Blob(format!("{} {}:{}", kind.as_str(), major(device), minor(device)).into_bytes())
}

/// The number of a device by its [`Attribute::Type`]; `None` for what is none, or has none.
pub fn parse_device(blob: &Blob) -> Option<u64> {
    let text = std::str::from_utf8(&blob.0).ok()?;
    let (word, numbers) = text.split_once(' ')?;
    let is_device = KINDS.iter().any(|(kind, known)| kind.is_device() && *known == word);
    let (major, minor) = numbers.split_once(':')?;
    let device = makedev(number(major)?, number(minor)?);
    is_device.then_some(device)
}

/// A number as it is written: no sign, nothing before it.
fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

/// Writes the permission bits of a mode.
pub fn encode_mode(mode: u32) -> Blob {
    Blob(format!("{:04o}", mode & MODE_MAX).into_bytes())
}

/// The permission bits; `None` for what is none.
pub fn parse_mode(blob: &Blob) -> Option<u32> {
    let text = std::str::from_utf8(&blob.0).ok()?;
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = u32::from_str_radix(text, 8).ok()?;
    (digits && mode <= MODE_MAX).then_some(mode)
}

/// Writes a user's or group's number.
pub fn encode_id(id: u32) -> Blob {
    Blob(id.to_string().into_bytes())
}

/// A user's or group's number; `None` for what is none. The greatest number is no id: to the
/// kernel it says "leave as it is".
pub fn parse_id(blob: &Blob) -> Option<u32> {
    let text = std::str::from_utf8(&blob.0).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|id| *id != u32::MAX)
}

/// Extended attributes by name.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes extended attributes: for each in the order of names its name, a zero byte, how long its
/// value is as four bytes (little endian), and its value.
pub fn encode_xattrs(xattrs: &Xattrs) -> Blob {
    let mut bytes = Vec::new();
    for (name, value) in xattrs {
        bytes.extend_from_slice(name);
        bytes.push(0);
        // The kernel's limit is 64 KiB.
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    Blob(bytes)
}

/// The extended attributes; `None` for bytes that [`encode_xattrs`] does not write.
pub fn decode_xattrs(blob: &Blob) -> Option<Xattrs> {
    let mut xattrs = Xattrs::new();
    let mut rest = blob.0.as_slice();
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == 0)?;
        let (name, after) = (&rest[..end], &rest[end + 1..]);
        let (length, after) = after.split_first_chunk::<4>()?;
        let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let in_order = xattrs.last_key_value().is_none_or(|(last, _)| last.as_slice() < name);
        if name.is_empty() || !in_order {
            return None;
        }
        xattrs.insert(name.to_vec(), value.to_vec());
        rest = after;
    }
    Some(xattrs)
}

/// Puts all extended attributes of a path where they belong: list, capabilities, the rest.
pub fn insert_xattrs(mut xattrs: Xattrs, into: &mut BTreeMap<Attribute, Blob>) {
    for (name, attribute) in [(ACL_NAME, Attribute::Acl), (CAPS_NAME, Attribute::Caps)] {
        if let Some(value) = xattrs.remove(name.as_bytes()) {
            into.insert(attribute, Blob(value));
        }
    }
    if !xattrs.is_empty() {
        into.insert(Attribute::Xattr, encode_xattrs(&xattrs));
    }
}

/// All extended attributes a path has by its attributes; `None` if they cannot be read.
pub fn all_xattrs(attributes: &BTreeMap<Attribute, Blob>) -> Option<Xattrs> {
    let rest = attributes.get(&Attribute::Xattr);
    let mut xattrs = rest.map_or_else(|| Some(Xattrs::new()), decode_xattrs)?;
    for (name, attribute) in [(ACL_NAME, Attribute::Acl), (CAPS_NAME, Attribute::Caps)] {
        if let Some(value) = attributes.get(&attribute).filter(|value| !value.0.is_empty()) {
            xattrs.insert(name.as_bytes().to_vec(), value.0.clone());
        }
    }
    Some(xattrs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn mode(text: &str, expected: Option<u32>) {
        assert_eq!(parse_mode(&Blob(text.into())), expected, "{text}");
    }

    #[test]
    fn modes_are_octal() {
        mode("0644", Some(0o644));
        mode("4755", Some(0o4755));
        mode("644", Some(0o644));
        for wrong in ["", "0888", "+644", "10000", "-1", "0o644", "00000644", " 0644"] {
            mode(wrong, None);
        }
        assert_eq!(encode_mode(0o100_640).0, b"0640");
    }

    #[test]
    fn kinds_have_words() {
        for (kind, word) in KINDS {
            assert_eq!((kind.as_str(), Kind::read(&kind.blob())), (word, Some(kind)));
        }
        assert_eq!(Kind::of_mode(0o120_777), Some(Kind::Link));
        assert_eq!((Kind::of_mode(0), Kind::read(&Blob(b"File".into()))), (None, None));
    }

    #[test]
    fn devices_have_numbers() {
        let disk = encode_type(Kind::Block, makedev(8, 17));
        assert_eq!(disk.0, b"block 8:17");
        assert_eq!(
            (Kind::read(&disk), parse_device(&disk)),
            (Some(Kind::Block), Some(makedev(8, 17)))
        );
        assert_eq!(encode_type(Kind::File, makedev(8, 17)), Kind::File.blob());
        assert_eq!(Kind::read(&Blob(b"block".into())), Some(Kind::Block));
        for wrong in [
            "block",
            "file 1:2",
            "block 1",
            "block 1:",
            "block :2",
            "block 1:2:3",
            "block  1:2",
            "block +1:2",
            "block 01:2",
            "block 1:4294967296",
            "block 1:2 ",
            "character1:2",
        ] {
            let blob = Blob(wrong.into());
            assert_eq!(parse_device(&blob), None, "{wrong}");
            assert_eq!(Kind::read(&blob).is_some(), wrong == "block", "{wrong}");
        }
    }

    #[test]
    fn ids_are_decimal() {
        assert_eq!(parse_id(&Blob(b"33".into())), Some(33));
        assert_eq!(parse_id(&encode_id(65534)), Some(65534));
        for wrong in [&b""[..], b"+1", b"-1", b"4294967295", b"4294967296", b"root", b"\xff"] {
            assert_eq!(parse_id(&Blob(wrong.into())), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_attributes_is_refused() {
        for wrong in [
            &b"name"[..],
            b"name\0",
            b"name\0\x01\0\0\0",
            b"name\0\xff\xff\xff\xff",
            b"\0\0\0\0\0",
            b"b\0\0\0\0\0a\0\0\0\0\0",
            b"a\0\0\0\0\0a\0\0\0\0\0",
        ] {
            assert_eq!(decode_xattrs(&Blob(wrong.into())), None, "{wrong:?}");
        }
    }

    fn xattrs() -> impl Strategy<Value = Xattrs> {
        let name = proptest::collection::vec(1u8.., 1..20);
        let value = proptest::collection::vec(any::<u8>(), 1..40);
        proptest::collection::btree_map(name, value, 0..6)
    }

    proptest! {
        #[test]
        fn attributes_round_trip(mut xattrs in xattrs(), acl: Option<u8>, caps: Option<u8>) {
            prop_assert_eq!(decode_xattrs(&encode_xattrs(&xattrs)), Some(xattrs.clone()));
            for (name, value) in [(ACL_NAME, acl), (CAPS_NAME, caps)] {
                if let Some(value) = value {
                    xattrs.insert(name.into(), vec![value]);
                }
            }
            let mut attributes = BTreeMap::new();
            insert_xattrs(xattrs.clone(), &mut attributes);
            prop_assert_eq!(all_xattrs(&attributes), Some(xattrs));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let blob = Blob(bytes);
            if let Some(xattrs) = decode_xattrs(&blob) {
                prop_assert_eq!(encode_xattrs(&xattrs), blob);
            }
        }

        #[test]
        fn devices_round_trip(major: u32, minor: u32) {
            for kind in [Kind::Block, Kind::Character] {
                let blob = encode_type(kind, makedev(major, minor));
                prop_assert_eq!(Kind::read(&blob), Some(kind));
                prop_assert_eq!(parse_device(&blob), Some(makedev(major, minor)));
            }
        }

        #[test]
        fn modes_and_ids_round_trip(bits in 0u32..=MODE_MAX, id in 0..u32::MAX) {
            prop_assert_eq!(parse_mode(&encode_mode(bits)), Some(bits));
            prop_assert_eq!(parse_id(&encode_id(id)), Some(id));
        }
    }
}
