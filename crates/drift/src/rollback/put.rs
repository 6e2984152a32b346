//! Making a file with its attributes, before it has its name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chmod, chownat, mkdirat, mknodat,
    openat, removexattr, setxattr, symlinkat,
};
use rustix::io::Errno;

use super::error::{Trouble, shown, system};
use super::look::{self, Seen};
use super::place::{Spot, by_descriptor, hold};
use crate::attributes::{ACL_NAME, CAPS_NAME, Kind, Xattrs, all_xattrs, parse_id, parse_mode};
use crate::config::Attribute;
use crate::reading::Value;

/// Labels that the kernel gives where nobody asks for another.
const LABEL_NAME: &[u8] = b"security.selinux";

/// Makes a file of `kind` with `content` and the attributes of `value`, and looks at it again.
/// Nothing may have the name. `path` is for messages.
pub(super) fn make(
    spot: &Spot,
    kind: Kind,
    content: &mut dyn Read,
    value: &Value,
    path: &Path,
) -> Result<Seen, Trouble> {
    let (dir, name) = (&spot.dir, &*spot.name);
    let failed = |error| system("write the new version of", path)(error);
    match kind {
        Kind::File => {
            // Nobody else may read it before its owner and mode say who may.
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(dir, name, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
            io::copy(content, &mut File::from(file)).map_err(|source| Trouble::System {
                doing: format!("write the new version of {}", shown(path)),
                source,
            })?;
        }
        Kind::Directory => mkdirat(dir, name, Mode::from_raw_mode(0o700)).map_err(failed)?,
        Kind::Fifo => {
            let mode = Mode::from_raw_mode(0o600);
            mknodat(dir, name, FileType::Fifo, mode, 0).map_err(failed)?;
        }
        Kind::Link => {
            let to = value.attributes.get(&Attribute::Link);
            let to = to.map_or(OsStr::new(""), |to| OsStr::from_bytes(&to.0));
            symlinkat(to, dir, name).map_err(failed)?;
        }
        Kind::Socket | Kind::Block | Kind::Character => {
            let why = format!("a {} cannot be put back", kind.as_str());
            return Err(Trouble::Unfit { path: shown(path), why });
        }
    }
    let held = hold(dir.as_fd(), name).map_err(failed)?;
    dress(held.as_fd(), value, path)?;
    let seen = look::look(spot).map_err(failed)?.ok_or_else(|| failed(Errno::NOENT))?;
    wears(&seen.value, value, path)?;
    Ok(seen)
}

/// Gives an open file its attributes. The order matters: a new owner clears capabilities and
/// set-user-id, a new mode the control list's mask.
pub(super) fn dress(file: BorrowedFd<'_>, value: &Value, path: &Path) -> Result<(), Trouble> {
    let attributes = &value.attributes;
    let id = |attribute| attributes.get(&attribute).and_then(parse_id);
    let owner = id(Attribute::Owner).map(Uid::from_raw);
    let group = id(Attribute::Group).map(Gid::from_raw);
    chownat(file, "", owner, group, AtFlags::EMPTY_PATH)
        .map_err(system("give an owner to", path))?;
    let by_descriptor = by_descriptor(file);
    if let Some(mode) = attributes.get(&Attribute::Mode).and_then(parse_mode) {
        let mode = Mode::from_raw_mode(mode);
        chmod(&*by_descriptor, mode).map_err(system("give a mode to", path))?;
    }
    let unfit = || Trouble::Unfit {
        path: shown(path),
        why: "its extended attributes are not written as any are".to_owned(),
    };
    let wanted = all_xattrs(attributes).ok_or_else(unfit)?;
    let has = look::xattrs(file).map_err(system("read the attributes of", path))?;
    for name in has.keys().filter(|name| !wanted.contains_key(*name) && *name != LABEL_NAME) {
        removexattr(&*by_descriptor, OsStr::from_bytes(name))
            .map_err(system("take an attribute from", path))?;
    }
    for (name, content) in in_order(&wanted) {
        if has.get(name) != Some(content) || name == CAPS_NAME.as_bytes() {
            let doing = format!("set {} of", String::from_utf8_lossy(name));
            setxattr(&*by_descriptor, OsStr::from_bytes(name), content, XattrFlags::empty())
                .map_err(system(&doing, path))?;
        }
    }
    Ok(())
}

/// The control list first, capabilities last.
fn in_order(xattrs: &Xattrs) -> impl Iterator<Item = (&[u8], &Vec<u8>)> {
    let rank = |name: &[u8]| match name {
        name if name == ACL_NAME.as_bytes() => 0,
        name if name == CAPS_NAME.as_bytes() => 2,
        _ => 1,
    };
    let mut all: Vec<_> = xattrs.iter().map(|(name, value)| (name.as_slice(), value)).collect();
    all.sort_by_key(|(name, _)| rank(name));
    all.into_iter()
}

/// Whether a file has the attributes it was given.
fn wears(seen: &Value, wanted: &Value, path: &Path) -> Result<(), Trouble> {
    let parts = [
        (Attribute::Mode, "mode"),
        (Attribute::Owner, "owner"),
        (Attribute::Group, "group"),
        (Attribute::Link, "target"),
        (Attribute::Acl, "access control list"),
        (Attribute::Caps, "capabilities"),
    ];
    for (attribute, what) in parts {
        let set = |blob: &&umbra_api::blob::Blob| !blob.0.is_empty();
        let given = wanted.attributes.get(&attribute).filter(set);
        if given.is_some() && seen.attributes.get(&attribute) != given {
            return Err(Trouble::NotTaken { path: shown(path), what });
        }
    }
    Ok(())
}
