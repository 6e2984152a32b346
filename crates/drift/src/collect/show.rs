//! Attributes as people read them.

use std::collections::BTreeMap;

use umbra_api::blob::Blob;
use umbra_state::escape::escape;

use super::accounts::{load_group, load_passwd};
use super::place::Place;
use crate::attributes::{DEFAULT_ACL_NAME, decode_xattrs, parse_id, parse_mode};
use crate::config::Attribute;

/// What a place's numbers stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    users: BTreeMap<u32, Vec<u8>>,
    groups: BTreeMap<u32, Vec<u8>>,
}

impl Names {
    /// The names in a place's own files; none where these cannot be read.
    pub fn of(place: &Place) -> Self {
        let users = load_passwd(place).unwrap_or_default();
        let groups = load_group(place).unwrap_or_default();
        // Of two names for one number the first counts, as everywhere.
        Self {
            users: users.into_iter().rev().map(|user| (user.uid, user.name)).collect(),
            groups: groups.into_iter().rev().map(|group| (group.gid, group.name)).collect(),
        }
    }

    fn user(&self, number: u32) -> String {
        named(&self.users, number)
    }

    fn group(&self, number: u32) -> String {
        named(&self.groups, number)
    }
}

fn named(names: &BTreeMap<u32, Vec<u8>>, number: u32) -> String {
    match names.get(&number) {
        Some(name) => format!("{} ({number})", escape(name)),
        None => number.to_string(),
    }
}

/// An attribute's bytes as one printable line.
pub fn show(attribute: Attribute, value: &Blob, names: &Names) -> String {
    let bytes = value.0.as_slice();
    let known = match attribute {
        Attribute::Mode => parse_mode(value).map(mode),
        Attribute::Owner => parse_id(value).map(|number| names.user(number)),
        Attribute::Group => parse_id(value).map(|number| names.group(number)),
        Attribute::Acl => acl(bytes, "", names),
        Attribute::Caps => caps(bytes),
        Attribute::Xattr => xattrs(value, names),
        Attribute::Content | Attribute::Type | Attribute::Link => None,
    };
    known.unwrap_or_else(|| escape(bytes).to_string())
}

/// `0644 (rw-r--r--)`
fn mode(mode: u32) -> String {
    let mut letters = String::new();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    format!("{mode:04o} ({letters})")
}

/// `user::rw-,user:bob (1000):r--,group::r--,mask::r--,other::---`, each behind `prefix`; of
/// `struct posix_acl_xattr_header` and its entries.
fn acl(value: &[u8], prefix: &str, names: &Names) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return None;
    }
    let entry = |entry: &[u8]| {
        let half = |at| Some(u16::from_le_bytes(*entry.get(at..)?.first_chunk::<2>()?));
        let id = u32::from_le_bytes(*entry.get(4..)?.first_chunk::<4>()?);
        let who = match half(0)? {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{}", names.user(id)),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{}", names.group(id)),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let bits = half(2)?;
        let letter = |bit, letter| if bits & bit != 0 { letter } else { '-' };
        Some(format!("{prefix}{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')))
    };
    let entries: Option<Vec<String>> = entries.chunks(8).map(entry).collect();
    Some(entries?.join(","))
}

/// By their numbers, as in `linux/capability.h`.
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// `struct vfs_cap_data`, in the manner of getcap(8): `cap_net_raw=ep`.
fn caps(bytes: &[u8]) -> Option<String> {
    let word = |at| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
    let magic = word(0)?;
    let (permitted, inheritable) = match magic >> 24 {
        1 => (u64::from(word(4)?), u64::from(word(8)?)),
        2 | 3 => {
            let wide = |low, high| Some(u64::from(word(low)?) | u64::from(word(high)?) << 32);
            (wide(4, 12)?, wide(8, 16)?)
        }
        _ => return None,
    };
    let effective = if magic & 1 != 0 { "e" } else { "" };
    let sets = [
        (permitted & inheritable, "ip"),
        (permitted & !inheritable, "p"),
        (inheritable & !permitted, "i"),
    ];
    let listed = sets.into_iter().filter(|(set, _)| *set != 0).map(|(set, letters)| {
        let names = (0..64).filter(|bit| set >> bit & 1 != 0).map(|bit: usize| match CAPABILITIES
            .get(bit)
        {
            Some(name) => format!("cap_{name}"),
            None => bit.to_string(),
        });
        format!("{}={effective}{letters}", names.collect::<Vec<_>>().join(","))
    });
    let mut text = listed.collect::<Vec<_>>().join(" ");
    if magic >> 24 == 3 {
        text.push_str(&format!(" [rootid={}]", word(20)?));
    }
    Some(text)
}

fn xattrs(value: &Blob, names: &Names) -> Option<String> {
    let all = decode_xattrs(value)?.into_iter();
    let shown = all.map(|(name, value)| {
        let list = (name == DEFAULT_ACL_NAME.as_bytes()).then(|| acl(&value, "default:", names));
        let list = list.flatten();
        list.unwrap_or_else(|| format!("{}={}", escape(&name), escape(&value)))
    });
    Some(shown.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attributes::encode_xattrs;

    #[track_caller]
    fn check(attribute: Attribute, bytes: &[u8], expected: &str) {
        let names = Names {
            users: BTreeMap::from([(0, b"root".to_vec()), (1000, b"bob".to_vec())]),
            groups: BTreeMap::from([(0, b"root".to_vec())]),
        };
        assert_eq!(show(attribute, &Blob(bytes.to_vec()), &names), expected);
    }

    #[test]
    fn attributes_are_shown_as_people_know_them() {
        check(Attribute::Mode, b"0644", "0644 (rw-r--r--)");
        check(Attribute::Mode, b"4755", "4755 (rwsr-xr-x)");
        check(Attribute::Mode, b"7000", "7000 (--S--S--T)");
        check(Attribute::Owner, b"0", "root (0)");
        check(Attribute::Owner, b"7", "7");
        check(Attribute::Group, b"0", "root (0)");
        check(Attribute::Type, b"file", "file");
        check(Attribute::Link, b"a\x1b[2J", "a\\u{1b}[2J");
        let caps = [1, 0, 0, 2, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        check(Attribute::Caps, &caps, "cap_net_bind_service,cap_net_raw=ep");
        let mut acl = vec![2, 0, 0, 0];
        acl.extend([1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0]);
        check(Attribute::Acl, &acl, "user::rw-,user:bob (1000):r--");
        check(Attribute::Xattr, b"user.a\0\x01\0\0\0b", "user.a=b");
        let default = (DEFAULT_ACL_NAME.as_bytes().to_vec(), acl);
        let more = (b"user.a".to_vec(), b"b".to_vec());
        let xattrs = encode_xattrs(&BTreeMap::from([default, more]));
        let expected = "default:user::rw-,default:user:bob (1000):r--,user.a=b";
        check(Attribute::Xattr, &xattrs.0, expected);
    }

    #[test]
    fn what_is_none_is_shown_as_it_is() {
        check(Attribute::Mode, b"999", "999");
        check(Attribute::Caps, b"\xff", "\\xff");
        check(Attribute::Acl, b"x", "x");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            for attribute in [Attribute::Mode, Attribute::Acl, Attribute::Caps, Attribute::Xattr] {
                show(attribute, &Blob(bytes.clone()), &Names::default());
            }
        }
    }
}
