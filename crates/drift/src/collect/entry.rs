//! The reading of one path: its content and all its attributes.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlink, readlinkat};
use rustix::io::Errno;
use umbra_api::blob::Blob;

use super::attributes::{self, Failure, TOTAL_MAX};
use super::content::{Read, Reader};
use super::place::Place;
use super::secret::Secrecy;
use crate::config::Attribute;
use crate::file::{Reason, kind_of, locate};
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
        Ok(read) => spoken(read),
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

fn spoken(read: Read) -> Reading {
    match attributes::read(&read.file, &read.stat, false) {
        Ok(attributes) => Reading::Present(Value { content: Some(read.content), attributes }),
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
    let stat = match fstat(&found) {
        Ok(stat) => stat,
        Err(error) => return refused(error),
    };
    let mut reading = match kind_of(&stat) {
        Some(kind) if counts.contains(&Attribute::Content) => {
            return unreadable(&Reason::Kind(kind));
        }
        Some(_) => silent(&found, &stat, true),
        None => {
            let hidden = secrecy.hides(path)
                || real_path(place, &found).is_none_or(|real| secrecy.hides(&real));
            let magic = format!("/proc/self/fd/{}", found.as_raw_fd());
            // The magic link is one, and leads to what was found whatever its name is by now.
            let flags = QUIETLY.difference(OFlags::NOFOLLOW);
            let open = || open_quietly(CWD, magic.as_bytes(), flags);
            match reader.read((!hidden).then_some(secrecy), open) {
                Ok(read) => spoken(read),
                Err(reason) => return unreadable(&reason),
            }
        }
    };
    if let Reading::Present(value) = &mut reading
        && let Some(target) = link(place, path)
    {
        value.attributes.insert(Attribute::Link, Blob(target));
    }
    reading
}

/// Where a path leads if it is a symbolic link itself.
pub(super) fn link(place: &Place, path: &Path) -> Option<Vec<u8>> {
    let (parent, name) = (path.parent()?, path.file_name()?);
    let parent = locate(place.root(), parent).ok().flatten()?;
    let target = readlinkat(&parent, name, Vec::new()).ok()?;
    Some(target.into_bytes())
}

/// The path by which an open file is reached inside a place.
pub(crate) fn real_path(place: &Place, file: &OwnedFd) -> Option<PathBuf> {
    let path = readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new()).ok()?;
    place.inside(Path::new(&OsString::from_vec(path.into_bytes())))
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
