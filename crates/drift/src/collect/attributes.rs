//! The attributes of a path as the kernel tells them. How they are written stands in
//! [`crate::attributes`]; one a path does not have is not there.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Stat, fgetxattr, flistxattr, getxattr, listxattr, readlinkat};
use rustix::io::Errno;
use umbra_api::blob::Blob;

use crate::attributes::{Kind, Xattrs, encode_id, encode_mode, encode_type, insert_xattrs};
use crate::config::Attribute;

/// Attributes by what they are.
type Attributes = BTreeMap<Attribute, Blob>;

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
    let kind = Kind::of_mode(stat.st_mode).ok_or(Failure::Refused(Errno::NOTSUP))?;
    let mut attributes = of_stat(stat, kind);
    if kind == Kind::Link {
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
    insert_xattrs(extended, &mut attributes);
    Ok(attributes)
}

fn of_stat(stat: &Stat, kind: Kind) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Type, encode_type(kind, stat.st_rdev));
    // The bits of a link mean nothing.
    if kind != Kind::Link {
        attributes.insert(Attribute::Mode, encode_mode(stat.st_mode));
    }
    attributes.insert(Attribute::Owner, encode_id(stat.st_uid));
    attributes.insert(Attribute::Group, encode_id(stat.st_gid));
    attributes
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
