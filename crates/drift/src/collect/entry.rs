//! The reading of one path: its content and all its attributes.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlink};
use rustix::io::Errno;

use super::attributes::{self, Failure, TOTAL_MAX};
use super::content::Reader;
use super::place::Place;
use super::secret::Secrecy;
use crate::config::Attribute;
use crate::file::{Reason, locate, relative};
use crate::reading::{Reading, Value};

/// Nothing that lies at a path is waited for, woken or locked.
const QUIETLY: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// What `name` in `directory` says, itself and not what it links to. The listing of the
/// directory says that it is of this kind.
pub(super) fn listed(
    reader: &mut Reader,
    directory: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    keep: Option<&Secrecy>,
) -> Reading {
    if kind != FileType::RegularFile {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        return match openat(directory, name, flags, Mode::empty()) {
            Ok(file) => match fstat(&file) {
                Ok(stat) => silent(&file, &stat, true),
                Err(error) => refused(error),
            },
            Err(error) => refused(error),
        };
    }
    // If another kind has taken its place, that is found out after the opening, which has no
    // effect that outlives it.
    match reader.read(keep, || open_quietly(directory, name, QUIETLY)) {
        Ok(read) => spoken(&read),
        Err(Reason::Refused(Errno::LOOP)) | Err(Reason::Kind(_)) => unreadable(&Reason::Changing),
        Err(Reason::Refused(error)) => refused(error),
        Err(reason) => unreadable(&reason),
    }
}

/// An open directory, or whatever else is open and has no content.
pub(super) fn silent(file: &OwnedFd, stat: &Stat, path_only: bool) -> Reading {
    match attributes::read(file, stat, path_only) {
        Ok(attributes) => Reading::Present(Value { content: None, attributes }),
        Err(failure) => failed(&failure),
    }
}

fn spoken(read: &super::content::Read) -> Reading {
    match attributes::read(&read.file, &read.stat, false) {
        Ok(attributes) => {
            Reading::Present(Value { content: Some(read.content.clone()), attributes })
        }
        Err(failure) => failed(&failure),
    }
}

/// What a path leads to says, with the `link` if the path itself is one.
pub(super) fn followed(
    reader: &mut Reader,
    place: &Place,
    path: &Path,
    secrecy: &Secrecy,
    counts: &[Attribute],
) -> Reading {
    let found = match locate(place.root(), path) {
        Ok(Some(found)) => found,
        Ok(None) => return Reading::Absent,
        Err(reason) => return unreadable(&reason),
    };
    let magic = format!("/proc/self/fd/{}", found.as_raw_fd());
    let hidden =
        secrecy.hides(path) || real_path(place, &found).is_none_or(|real| secrecy.hides(&real));
    let open = || {
        // The magic link is one.
        let flags = QUIETLY.difference(OFlags::NOFOLLOW);
        open_quietly(rustix::fs::CWD, magic.as_bytes(), flags)
    };
    let kind = match fstat(&found) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(error) => return refused(error),
    };
    let read = match kind {
        FileType::RegularFile => reader.read((!hidden).then_some(secrecy), open).map(|read| {
            let reading = spoken(&read);
            (reading, read.file)
        }),
        _ => fstat(&found).map_err(Reason::Refused).map(|stat| {
            let reading = silent(&found, &stat, true);
            (reading, found)
        }),
    };
    let content_counts = counts.contains(&Attribute::Content);
    let mut reading = match read {
        Ok((Reading::Present(value), _)) if value.content.is_none() && content_counts => {
            return unreadable(&Reason::Kind(kind_word(kind)));
        }
        Ok((reading, _)) => reading,
        Err(reason) => return unreadable(&reason),
    };
    if let Reading::Present(value) = &mut reading
        && let Some(target) = link(place, path)
    {
        value.attributes.insert(Attribute::Link, umbra_api::blob::Blob(target));
    }
    reading
}

fn kind_word(kind: FileType) -> crate::file::Kind {
    use crate::file::Kind;
    match kind {
        FileType::Directory => Kind::Directory,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice | FileType::CharacterDevice => Kind::Device,
        _ => Kind::Other,
    }
}

/// Where a path leads if it is a symbolic link itself.
pub(super) fn link(place: &Place, path: &Path) -> Option<Vec<u8>> {
    let (parent, name) = (path.parent()?, path.file_name()?);
    let parent = locate(place.root(), parent).ok().flatten()?;
    let target = rustix::fs::readlinkat(&parent, name, Vec::new()).ok()?;
    Some(target.into_bytes())
}

/// The path by which an open file is reached inside a place.
pub(crate) fn real_path(place: &Place, file: &OwnedFd) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new()).ok()?;
    place.inside(Path::new(&std::ffi::OsString::from_vec(path.into_bytes())))
}

/// Opens what is at `path` itself inside the place, not what it links to.
pub(super) fn parent_of(place: &Place, path: &Path) -> Result<Option<OwnedFd>, Reason> {
    locate(place.root(), relative(path.parent().unwrap_or(Path::new("/"))))
}

/// Opens without touching the access time where that is allowed.
pub(super) fn open_quietly(
    directory: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    match openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

pub(super) fn refused(error: Errno) -> Reading {
    match error {
        Errno::NOENT | Errno::NOTDIR => Reading::Absent,
        error => unreadable(&Reason::Refused(error)),
    }
}

pub(super) fn unreadable(reason: &Reason) -> Reading {
    Reading::Unreadable { why: reason.to_string() }
}

fn failed(failure: &Failure) -> Reading {
    match failure {
        Failure::TooMany => {
            let why = format!("its extended attributes have more than {TOTAL_MAX} bytes");
            Reading::Unreadable { why }
        }
        Failure::Refused(error) => refused(*error),
    }
}
