//! Edits as an overlay's upper directory: shown above a state, they are there before its first
//! process, and nothing of the state is written to.
//!
//! The directory holds what hostile readings say, links among it: every step into it stays
//! beneath it and follows no link.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, chownat, fchmod, fchown,
    mkdirat, mknodat, openat2, setxattr, symlinkat, unlinkat,
};
use rustix::io::Errno;
use umbra_api::blob::Blob;
use umbra_drift::attributes::{Kind, all_xattrs, parse_id, parse_mode};
use umbra_drift::config::Attribute;
use umbra_drift::reading::{Content, Reading, Value};

use crate::scene::Place;

/// What the kernel keeps for itself, and what nobody may set on a file.
const XATTRS_KEPT: [&[u8]; 2] = [b"trusted.", b"security.selinux"];

/// Writes what `edits` make of their places into the empty directory `dir`, which becomes
/// `like` the machine's own top; returns, for those that could not be written, why.
pub(crate) fn write<'a>(
    dir: &Path,
    like: &Reading,
    edits: impl IntoIterator<Item = (&'a [u8], &'a Place, &'a Reading)>,
) -> std::io::Result<Vec<(&'a [u8], String)>> {
    let top = open_top(dir)?;
    let mut not_written = Vec::new();
    if let Reading::Present(value) = like
        && let Err(why) = dress(top.as_fd(), Kind::Directory, value)
    {
        not_written.push((&b"/"[..], why));
    }
    for (path, place, to) in edits {
        if let Err(why) = put(top.as_fd(), place, to) {
            not_written.push((path, why));
        }
    }
    Ok(not_written)
}

fn open_top(dir: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::empty())?)
}

fn put(top: BorrowedFd<'_>, place: &Place, to: &Reading) -> Result<(), String> {
    match to {
        Reading::Unreadable { why } => Err(format!("nobody knows what it says: {why}")),
        Reading::Absent if place.found == Reading::Absent => {
            // Another edit may have gone to the same place by another name.
            match parent(top, place, false)? {
                Some(parent) => remove(parent.as_fd(), &place.name),
                None => Ok(()),
            }
        }
        Reading::Absent => {
            let Some(parent) = parent(top, place, true)? else { return Ok(()) };
            remove(parent.as_fd(), &place.name)?;
            let name = OsStr::from_bytes(&place.name);
            // What overlayfs takes for "nothing is here any more".
            mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0).map_err(refused)
        }
        Reading::Present(value) => {
            let whole = completed(value, &place.found)?;
            let parent = parent(top, place, true)?.ok_or("its directory cannot be made")?;
            make(parent.as_fd(), &place.name, &whole)
        }
    }
}

/// A value with everything it leaves open as it was found.
fn completed(value: &Value, found: &Reading) -> Result<Value, String> {
    let mut whole = value.clone();
    let found = found.value();
    if whole.attributes.is_empty()
        && let Some(found) = found
    {
        whole.attributes.clone_from(&found.attributes);
    }
    let is_file = matches!(kind_of(&whole)?, Kind::File);
    let kept = found.and_then(|found| found.content.as_ref());
    whole.content = match whole.content.take() {
        Some(Content::Bytes(bytes)) => Some(Content::Bytes(bytes)),
        _ if !is_file => None,
        Some(digest) => match kept {
            Some(kept) if kept.same(&digest) => Some(kept.clone()),
            _ => return Err("only a digest of it is known".to_owned()),
        },
        None => Some(kept.ok_or("nobody knows what is in it")?.clone()),
    };
    Ok(whole)
}

fn kind_of(value: &Value) -> Result<Kind, String> {
    match value.attributes.get(&Attribute::Type) {
        Some(word) => Kind::read(word).ok_or_else(|| "nobody knows what it is".to_owned()),
        None if value.attributes.contains_key(&Attribute::Link) => Ok(Kind::Link),
        None if value.content.is_some() => Ok(Kind::File),
        None => Err("nobody knows what it is".to_owned()),
    }
}

/// The directory a place is in, made with what it is like where the layer does not have it yet;
/// `None` where it is neither there nor wanted.
fn parent(top: BorrowedFd<'_>, place: &Place, wanted: bool) -> Result<Option<OwnedFd>, String> {
    let mut at = top.try_clone_to_owned().map_err(|error| error.to_string())?;
    for (name, like) in &place.parents {
        at = match open_dir(at.as_fd(), name) {
            Ok(dir) => dir,
            Err(Errno::NOENT) if wanted => {
                match like {
                    Reading::Present(value) if kind_of(value) == Ok(Kind::Directory) => {
                        make(at.as_fd(), name, value)?;
                    }
                    Reading::Absent => make(at.as_fd(), name, &plain_directory())?,
                    _ => return Err("it lies in something that is no directory".to_owned()),
                }
                open_dir(at.as_fd(), name).map_err(refused)?
            }
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err("it lies in something that another change removes".to_owned());
            }
            Err(error) => return Err(refused(error)),
        };
    }
    Ok(Some(at))
}

fn open_dir(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(at, OsStr::from_bytes(name), flags, Mode::empty(), resolve)
}

fn plain_directory() -> Value {
    let attributes = BTreeMap::from([
        (Attribute::Type, Kind::Directory.blob()),
        (Attribute::Mode, Blob(b"0755".to_vec())),
    ]);
    Value { content: None, attributes }
}

/// Takes away what an earlier edit made here; a directory stays, for what is in it.
fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), String> {
    match unlinkat(parent, OsStr::from_bytes(name), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err("another change puts something into it".to_owned()),
        Err(error) => Err(refused(error)),
    }
}

fn make(parent: BorrowedFd<'_>, name: &[u8], value: &Value) -> Result<(), String> {
    let kind = kind_of(value)?;
    let path = OsStr::from_bytes(name);
    match kind {
        Kind::Directory => match mkdirat(parent, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {
                let dir = open_dir(parent, name).map_err(refused)?;
                dress(dir.as_fd(), kind, value)
            }
            Err(error) => Err(refused(error)),
        },
        Kind::File => {
            remove(parent, name)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let flags = flags | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, path, flags, Mode::RUSR | Mode::WUSR);
            let mut file = File::from(fd.map_err(refused)?);
            let bytes = value.content.as_ref().and_then(Content::bytes).unwrap_or_default();
            file.write_all(bytes).map_err(|error| error.to_string())?;
            dress(file.as_fd(), kind, value)
        }
        Kind::Link => {
            remove(parent, name)?;
            let target = value.attributes.get(&Attribute::Link).ok_or("it leads nowhere")?;
            symlinkat(OsStr::from_bytes(&target.0), parent, path).map_err(refused)?;
            let (owner, group) = owners(value)?;
            chownat(parent, path, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(refused)
        }
        Kind::Fifo => {
            remove(parent, name)?;
            mknodat(parent, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(refused)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fifo = rustix::fs::openat(parent, path, flags, Mode::empty()).map_err(refused)?;
            dress(fifo.as_fd(), kind, value)
        }
        Kind::Socket | Kind::Block | Kind::Character => {
            Err("sockets and devices are not made in shadows".to_owned())
        }
    }
}

/// Owner first: the kernel takes rights and capabilities away with it.
fn dress(fd: BorrowedFd<'_>, kind: Kind, value: &Value) -> Result<(), String> {
    let (owner, group) = owners(value)?;
    let default = if kind == Kind::Directory { 0o755 } else { 0o644 };
    let mode = match value.attributes.get(&Attribute::Mode) {
        Some(mode) => parse_mode(mode).ok_or("nobody can read its mode")?,
        None => default,
    };
    let mode = Mode::from_raw_mode(mode);
    // Whatever the descriptor is good for: one of a pipe is only a place.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    if kind == Kind::Fifo {
        rustix::fs::chown(&*path, Some(owner), Some(group)).map_err(refused)?;
        rustix::fs::chmod(&*path, mode).map_err(refused)?;
    } else {
        fchown(fd, Some(owner), Some(group)).map_err(refused)?;
        fchmod(fd, mode).map_err(refused)?;
    }
    let xattrs = all_xattrs(&value.attributes).ok_or("nobody can read its attributes")?;
    for (name, bytes) in xattrs {
        if XATTRS_KEPT.iter().any(|kept| name.starts_with(kept)) {
            continue;
        }
        let shown = umbra_state::escape::escape(&name).to_string();
        setxattr(&*path, name, &bytes, XattrFlags::empty())
            .map_err(|error| format!("its attribute {shown}: {}", refused(error)))?;
    }
    Ok(())
}

fn owners(value: &Value) -> Result<(Uid, Gid), String> {
    let id = |attribute: Attribute| match value.attributes.get(&attribute) {
        Some(id) => parse_id(id).ok_or("nobody can read its owner"),
        None => Ok(0),
    };
    Ok((Uid::from_raw(id(Attribute::Owner)?), Gid::from_raw(id(Attribute::Group)?)))
}

fn refused(error: Errno) -> String {
    format!("the kernel refused: {}", std::io::Error::from(error))
}
