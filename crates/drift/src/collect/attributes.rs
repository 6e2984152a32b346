//! The attributes of a path besides its content, as bytes.
//!
//! | attribute | its bytes |
//! |---|---|
//! | type | `file`, `directory`, `link`, `fifo`, `socket`, `block MAJOR:MINOR`, `char MAJOR:MINOR` |
//! | mode | permission bits in octal, four digits; none for links, which have no meaningful ones |
//! | owner, group | the number in decimal |
//! | acl | [`pairs`] of `system.posix_acl_access` and, of directories, `system.posix_acl_default` |
//! | caps | the value of `security.capability` |
//! | xattr | [`pairs`] of all others |
//! | link | where it leads, as it is written |
//!
//! An attribute a path does not have is not there.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{
    FileType, Stat, fgetxattr, flistxattr, getxattr, listxattr, major, minor, readlinkat,
};
use rustix::io::Errno;
use umbra_api::blob::Blob;

use crate::config::Attribute;

/// Attributes by what they are.
pub(super) type Attributes = BTreeMap<Attribute, Blob>;

/// The access control list of a path.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// What a directory gives to what is made in it.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const CAPABILITY: &[u8] = b"security.capability";

/// The kernel's bounds (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`), and one for all values of a path.
const LIST_MAX: usize = 1 << 16;
const VALUE_MAX: usize = 1 << 16;
pub(super) const TOTAL_MAX: usize = 1 << 18;

/// Why attributes are not known.
#[derive(Debug)]
pub(super) enum Failure {
    /// They take more than [`TOTAL_MAX`] bytes.
    TooMany,
    /// The kernel refused.
    Refused(Errno),
}

/// What an open file has; one opened as a path only, if `path_only`.
pub(super) fn read(file: &OwnedFd, stat: &Stat, path_only: bool) -> Result<Attributes, Failure> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mut attributes = of_stat(stat, kind);
    if kind == FileType::Symlink {
        let target = readlinkat(file, c"", Vec::new()).map_err(Failure::Refused)?;
        attributes.insert(Attribute::Link, Blob(target.into_bytes()));
    }
    let extended = if path_only {
        // The magic link leads to the thing itself, also if that is a symbolic link.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        xattrs(&|into| listxattr(&path, into), &|name, into| getxattr(&path, name, into))
    } else {
        xattrs(&|into| flistxattr(file, into), &|name, into| fgetxattr(file, name, into))
    }?;
    sort_in(extended, &mut attributes);
    Ok(attributes)
}

fn of_stat(stat: &Stat, kind: FileType) -> Attributes {
    let device =
        |word: &str| format!("{word} {}:{}", major(stat.st_rdev), minor(stat.st_rdev)).into_bytes();
    let word = match kind {
        FileType::RegularFile => b"file".to_vec(),
        FileType::Directory => b"directory".to_vec(),
        FileType::Symlink => b"link".to_vec(),
        FileType::Fifo => b"fifo".to_vec(),
        FileType::Socket => b"socket".to_vec(),
        FileType::BlockDevice => device("block"),
        FileType::CharacterDevice => device("char"),
        _ => b"other".to_vec(),
    };
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Type, Blob(word));
    if kind != FileType::Symlink {
        let mode = format!("{:04o}", stat.st_mode & 0o7777);
        attributes.insert(Attribute::Mode, Blob(mode.into_bytes()));
    }
    attributes.insert(Attribute::Owner, Blob(stat.st_uid.to_string().into_bytes()));
    attributes.insert(Attribute::Group, Blob(stat.st_gid.to_string().into_bytes()));
    attributes
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

fn sort_in(mut extended: Xattrs, attributes: &mut Attributes) {
    if extended.is_empty() {
        return;
    }
    if let Some(caps) = extended.remove(CAPABILITY) {
        attributes.insert(Attribute::Caps, Blob(caps));
    }
    let acl: Vec<_> = [ACL_ACCESS, ACL_DEFAULT]
        .into_iter()
        .filter_map(|name| Some((name, extended.remove(name)?)))
        .collect();
    if !acl.is_empty() {
        attributes.insert(Attribute::Acl, Blob(join(acl.iter().map(|(n, v)| (*n, &v[..])))));
    }
    if !extended.is_empty() {
        let all = extended.iter().map(|(name, value)| (&name[..], &value[..]));
        attributes.insert(Attribute::Xattr, Blob(join(all)));
    }
}

type List<'a> = &'a dyn Fn(&mut [u8]) -> Result<usize, Errno>;
type Get<'a> = &'a dyn Fn(&[u8], &mut [u8]) -> Result<usize, Errno>;

fn xattrs(list: List<'_>, get: Get<'_>) -> Result<Xattrs, Failure> {
    let mut found = Xattrs::new();
    let mut short = [0u8; 512];
    let mut long = Vec::new();
    let names = match list(&mut short) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(found),
        Ok(length) => short.get(..length),
        Err(Errno::RANGE) => {
            long.resize(LIST_MAX, 0);
            let length = list(&mut long).map_err(Failure::Refused)?;
            long.get(..length)
        }
        Err(error) => return Err(Failure::Refused(error)),
    };
    let mut total = 0;
    for name in names.unwrap_or_default().split(|byte| *byte == 0) {
        if name.is_empty() {
            continue;
        }
        let Some(value) = value(name, get).map_err(Failure::Refused)? else { continue };
        total += name.len() + value.len();
        if total > TOTAL_MAX {
            return Err(Failure::TooMany);
        }
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

/// One value; `None` if it is gone by now, or listed but kept from everyone.
fn value(name: &[u8], get: Get<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let mut short = [0u8; 256];
    match get(name, &mut short) {
        Ok(length) => Ok(short.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::RANGE) => {
            let mut long = vec![0; VALUE_MAX];
            let length = get(name, &mut long)?;
            long.truncate(length);
            Ok(Some(long))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names and values in one text: of each the name, a zero byte, the value's length as four
/// little-endian bytes, and the value.
fn join<'a>(all: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in all {
        bytes.extend_from_slice(name);
        bytes.push(0);
        // The kernel gives no value longer than [`VALUE_MAX`].
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// The names and values of the attributes `acl` and `xattr`, sorted by name; `None` if these
/// bytes are no such list.
pub fn pairs(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let (name, rest) = bytes.split_at_checked(end)?;
        let (length, rest) = rest.get(1..)?.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        all.push((name, value));
        bytes = rest;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_are_what_was_joined(
            all in prop::collection::btree_map("[a-z.]{1,9}", any::<Vec<u8>>(), 0..5),
        ) {
            let joined = join(all.iter().map(|(name, value)| (name.as_bytes(), &value[..])));
            let back = pairs(&joined).expect("pairs");
            let expected: Vec<(&[u8], &[u8])> =
                all.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = pairs(&bytes);
        }
    }
}
