//! What lies at a place: by what it can be recognised, its attributes, a digest of its content.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, IFlags, Mode, OFlags, StatxAttributes, StatxFlags, getxattr, ioctl_getflags,
    listxattr, makedev, open, readlinkat, statx,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_state::Digest;

use super::place::{Spot, by_descriptor, hold};
use crate::attributes::{Kind, Xattrs, encode_id, encode_mode, encode_type, insert_xattrs};
use crate::config::Attribute;
use crate::reading::{Content, Value};

/// What tells whether a file is still the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stamp {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) bytes: u64,
    pub(super) changed: (i64, u32),
    pub(super) written: (i64, u32),
}

/// What lies at a place.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    pub(super) kind: Kind,
    /// With the content's digest, if it has content, and all attributes.
    pub(super) value: Value,
    /// How many names it has.
    pub(super) names: u32,
    /// Whether something is mounted right there.
    pub(super) is_mount: bool,
    /// Flags that forbid changes.
    pub(super) flags: u32,
}

impl Stamp {
    /// The same file with the same bytes; it may have been renamed.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.ino, self.bytes, self.written) == (other.ino, other.bytes, other.written)
    }
}

/// Looks at a place; `None` if nothing is there.
pub(super) fn look(spot: &Spot) -> Result<Option<Seen>, Errno> {
    match hold(spot.dir.as_fd(), &spot.name) {
        Ok(held) => look_at(&held).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// By what a place can be recognised; `None` if nothing is there.
pub(super) fn stamp(spot: &Spot) -> Result<Option<Stamp>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match statx(&spot.dir, &*spot.name, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => Ok(Some(stamp_of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn stamp_of(stat: &rustix::fs::Statx) -> Stamp {
    Stamp {
        dev: makedev(stat.stx_dev_major, stat.stx_dev_minor),
        ino: stat.stx_ino,
        bytes: stat.stx_size,
        changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        written: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
    }
}

fn look_at(held: &OwnedFd) -> Result<Seen, Errno> {
    let stat = statx(held, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    let mode = u32::from(stat.stx_mode);
    let kind = Kind::of_mode(mode).ok_or(Errno::NOTSUP)?;
    let device = makedev(stat.stx_rdev_major, stat.stx_rdev_minor);
    let mut value = Value { content: None, attributes: Default::default() };
    let attributes = &mut value.attributes;
    attributes.insert(Attribute::Type, encode_type(kind, device));
    attributes.insert(Attribute::Owner, encode_id(stat.stx_uid));
    attributes.insert(Attribute::Group, encode_id(stat.stx_gid));
    match kind {
        Kind::Link => {
            let to = readlinkat(held, "", Vec::new())?;
            attributes.insert(Attribute::Link, Blob(to.into_bytes()));
        }
        _ => drop(attributes.insert(Attribute::Mode, encode_mode(mode))),
    }
    insert_xattrs(xattrs(held.as_fd())?, attributes);
    let mut flags = 0;
    if matches!(kind, Kind::File | Kind::Directory) {
        let file = reopen(held.as_fd())?;
        flags = locks(file.as_fd());
        if kind == Kind::File {
            value.content = Some(digest(&mut file.into())?);
        }
    }
    Ok(Seen {
        stamp: stamp_of(&stat),
        kind,
        value,
        names: stat.stx_nlink,
        is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        flags,
    })
}

/// A regular file or directory, opened to be read.
pub(super) fn reopen(held: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(by_descriptor(held), flags, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile | FileType::Directory => Ok(file),
        _ => Err(Errno::INVAL),
    }
}

/// The flags that forbid changes; none where the filesystem has no flags.
pub(super) fn locks(file: BorrowedFd<'_>) -> u32 {
    let flags = ioctl_getflags(file).unwrap_or(IFlags::empty());
    (flags & (IFlags::IMMUTABLE | IFlags::APPEND)).bits()
}

fn digest(file: &mut File) -> Result<Content, Errno> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let length = file
            .read(&mut buffer)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        bytes += length as u64;
    }
    Ok(Content::Digest { blake3: Digest::new(*hasher.finalize().as_bytes()), bytes })
}

/// The kernel's limit of a list of names and of a value.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// All extended attributes of an open file of any kind.
pub(super) fn xattrs(held: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
    let path = by_descriptor(held);
    let mut names = vec![0u8; XATTR_BYTES_MAX];
    let length = match listxattr(&*path, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::PERM) => 0,
        Err(error) => return Err(error),
    };
    let mut xattrs = Xattrs::new();
    let mut value = vec![0u8; if length == 0 { 0 } else { XATTR_BYTES_MAX }];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match getxattr(&*path, name, &mut value[..]) {
            Ok(length) => drop(xattrs.insert(name.to_vec(), value[..length].to_vec())),
            // Gone since, or a name the kernel lists and does not tell.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(xattrs)
}
