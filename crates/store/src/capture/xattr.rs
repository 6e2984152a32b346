//! Extended attributes of an open file, and overlayfs's own among them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{fgetxattr, flistxattr, getxattr, listxattr};
use rustix::io::Errno;

/// The kernel's bounds (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LIST_MAX: usize = 1 << 16;
const VALUE_MAX: usize = 1 << 16;

pub(crate) type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Reads the value of a name into a buffer.
type Get<'a> = &'a mut dyn FnMut(&[u8], &mut [u8]) -> Result<usize, Errno>;

/// Attributes of a file that is open for reading.
pub(crate) fn of_file(file: &OwnedFd) -> Result<Xattrs, Errno> {
    read(&mut |buffer| flistxattr(file, buffer), &mut |name, buffer| fgetxattr(file, name, buffer))
}

/// Attributes of anything that is open as a path only. Its magic link leads to it itself, also
/// if it is a symbolic link.
pub(crate) fn of_path(file: &OwnedFd) -> Result<Xattrs, Errno> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    read(&mut |buffer| listxattr(&path, buffer), &mut |name, buffer| getxattr(&path, name, buffer))
}

fn read(
    list: &mut dyn FnMut(&mut [u8]) -> Result<usize, Errno>,
    get: Get<'_>,
) -> Result<Xattrs, Errno> {
    let mut names = [0u8; 512];
    let mut large = Vec::new();
    let names = match list(&mut names) {
        Ok(length) => &names[..length],
        Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        Err(Errno::RANGE) => {
            large.resize(LIST_MAX, 0);
            let length = list(&mut large)?;
            &large[..length]
        }
        Err(error) => return Err(error),
    };
    let mut xattrs = Xattrs::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if let Some(value) = value(name, get)? {
            xattrs.insert(name.into(), value);
        }
    }
    Ok(xattrs)
}

/// One value; `None` if it is gone by now, or listed but kept from everyone.
fn value(name: &[u8], get: Get<'_>) -> Result<Option<Box<[u8]>>, Errno> {
    let mut value = [0u8; 256];
    match get(name, &mut value) {
        Ok(length) => Ok(Some(value[..length].into())),
        Err(Errno::RANGE) => {
            let mut value = vec![0; VALUE_MAX];
            let length = get(name, &mut value)?;
            value.truncate(length);
            Ok(Some(value.into()))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What overlayfs noted on a file of an upper directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// A directory that hides what is below it.
    pub(super) opaque: bool,
    /// A directory in which empty files may be marked as deletions.
    pub(super) holds_marked_whiteouts: bool,
    /// An empty file that means a deletion, in such a directory.
    pub(super) whiteout: bool,
    /// Where in the lower layers this came from.
    pub(super) redirect: Option<Box<[u8]>>,
    /// A file whose content is still in the lower layers.
    pub(super) metacopy: bool,
    /// A hard-linked file that was copied up with all its names (`index=on`).
    pub(super) indexed: bool,
}

const PREFIX: &[u8] = b"trusted.overlay.";
const ESCAPED: &[u8] = b"trusted.overlay.overlay.";

/// The name under which a layer holds an attribute, so that overlayfs shows it instead of
/// taking it for a mark of its own (Linux 6.8; older ones hide it).
pub(crate) fn escape_mark(name: &[u8]) -> Cow<'_, [u8]> {
    match name.strip_prefix(PREFIX) {
        Some(rest) => Cow::Owned([ESCAPED, rest].concat()),
        None => Cow::Borrowed(name),
    }
}

/// Takes overlayfs's own attributes out of those of an upper file, and undoes the escape of
/// those that users set under its names.
pub(super) fn split_marks(xattrs: Xattrs) -> (Xattrs, Marks) {
    let mut marks = Marks::default();
    let mut kept = Xattrs::new();
    for (name, value) in xattrs {
        if let Some(rest) = name.strip_prefix(ESCAPED) {
            kept.insert([PREFIX, rest].concat().into(), value);
        } else if let Some(own) = name.strip_prefix(PREFIX) {
            match own {
                b"opaque" if *value == *b"y" => marks.opaque = true,
                b"opaque" if *value == *b"x" => marks.holds_marked_whiteouts = true,
                b"whiteout" => marks.whiteout = true,
                b"redirect" => marks.redirect = Some(value),
                b"metacopy" => marks.metacopy = true,
                b"nlink" => marks.indexed = true,
                // origin, impure, upper, uuid, protattr: about the copy, not about the file.
                _ => {}
            }
        } else {
            kept.insert(name, value);
        }
    }
    (kept, marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(pairs: &[(&str, &str)]) -> Xattrs {
        pairs
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect()
    }

    #[test]
    fn marks_leave_and_escaped_names_come_back_one_level() {
        let (kept, marks) = split_marks(xattrs(&[
            ("trusted.overlay.opaque", "y"),
            ("trusted.overlay.origin", "o"),
            ("trusted.overlay.redirect", "/a"),
            ("trusted.overlay.overlay.opaque", "y"),
            ("trusted.overlay.overlay.overlay.x", "z"),
            ("user.a", "b"),
        ]));
        let expected =
            [("trusted.overlay.opaque", "y"), ("trusted.overlay.overlay.x", "z"), ("user.a", "b")];
        assert_eq!(kept, xattrs(&expected));
        let redirect = Some(b"/a".as_slice().into());
        assert_eq!(marks, Marks { opaque: true, redirect, ..Marks::default() });
    }

    #[test]
    fn an_x_only_announces_marked_whiteouts() {
        let (_, marks) = split_marks(xattrs(&[("trusted.overlay.opaque", "x")]));
        assert!(!marks.opaque && marks.holds_marked_whiteouts);
    }
}
