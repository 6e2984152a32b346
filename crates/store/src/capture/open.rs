//! Open directories, their paths for messages, and their entries.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, openat, statat};
use rustix::io::Errno;
use umbra_state::tree::push_name;

use super::CaptureError;

/// From this depth on a directory is closed while a child is walked, and found again through
/// the child's `..`, so that deep trees do not use up descriptors.
pub(super) const OPEN_DEPTH_MAX: usize = 48;

/// A directory that is being walked.
#[derive(Debug)]
pub(super) struct OpenDir {
    pub(super) fd: OwnedFd,
    /// Where it is; `None` for the top.
    pub(super) path: Option<Arc<Step>>,
    pub(super) depth: usize,
    pub(super) stat: Stat,
}

/// One step of a path. Steps are shared, so a path costs its last name.
#[derive(Debug)]
pub(super) struct Step {
    parent: Option<Arc<Step>>,
    name: Box<[u8]>,
}

/// A name in a directory and what kind of thing it is, if the listing says so.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Box<[u8]>,
    pub(super) kind: FileType,
}

impl OpenDir {
    /// Takes an open directory as the top of a walk.
    pub(super) fn top(fd: OwnedFd) -> Result<Self, CaptureError> {
        let stat = fstat(&fd).map_err(at(None, b"", "look at"))?;
        Ok(Self { fd, path: None, depth: 0, stat })
    }

    /// Opens a child that is a directory.
    pub(super) fn child(&self, name: &[u8]) -> Result<Self, CaptureError> {
        let failed = |doing| at(self.path.as_ref(), name, doing);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open_quietly(&self.fd, name, flags).map_err(failed("open"))?;
        let stat = fstat(&fd).map_err(failed("look at"))?;
        let path = Some(Arc::new(Step { parent: self.path.clone(), name: name.into() }));
        let depth = self.depth + 1;
        if depth > crate::DEPTH_MAX {
            return Err(CaptureError::Deep { path: full_path(path.as_ref(), b"") });
        }
        Ok(Self { fd, path, depth, stat })
    }

    /// Opens the parent again, from a child that was walked.
    pub(super) fn parent_again(
        child: &Self,
        path: Option<Arc<Step>>,
        stat: Stat,
    ) -> Result<Self, CaptureError> {
        let failed = |doing| at(path.as_ref(), b"", doing);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&child.fd, "..", flags, Mode::empty()).map_err(failed("reopen"))?;
        let found = fstat(&fd).map_err(failed("look at"))?;
        if (found.st_dev, found.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(CaptureError::Changing {
                path: full_path(path.as_ref(), b""),
                attempts: 1,
            });
        }
        Ok(Self { fd, path, depth: child.depth - 1, stat })
    }

    /// All entries in byte order of names, each with its type.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, CaptureError> {
        let failed = |doing| at(self.path.as_ref(), b"", doing);
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut listing = RawDir::new(&self.fd, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(failed("list"))?;
            let name: &CStr = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            entries.push(Entry { name: name.to_bytes().into(), kind: entry.file_type() });
        }
        for entry in entries.iter_mut().filter(|entry| entry.kind == FileType::Unknown) {
            let stat = statat(&self.fd, &*entry.name, AtFlags::SYMLINK_NOFOLLOW).map_err(at(
                self.path.as_ref(),
                &entry.name,
                "look at",
            ))?;
            entry.kind = FileType::from_raw_mode(stat.st_mode);
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The path of a name in here, for messages.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        full_path(self.path.as_ref(), name)
    }
}

/// Opens without touching the access time where that is allowed.
pub(super) fn open_quietly(dir: &OwnedFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    match openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(dir, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Turns an OS error into a [`CaptureError`] about `name` in the directory at `dir`.
pub(super) fn at(
    dir: Option<&Arc<Step>>,
    name: &[u8],
    doing: &'static str,
) -> impl FnOnce(Errno) -> CaptureError {
    let (dir, name) = (dir.cloned(), Box::<[u8]>::from(name));
    move |error| CaptureError::Io {
        doing,
        path: full_path(dir.as_ref(), &name),
        source: error.into(),
    }
}

fn full_path(dir: Option<&Arc<Step>>, name: &[u8]) -> Vec<u8> {
    let mut steps = Vec::new();
    let mut next = dir;
    while let Some(step) = next {
        steps.push(&*step.name);
        next = step.parent.as_ref();
    }
    let mut path = Vec::new();
    for step in steps.into_iter().rev() {
        push_name(&mut path, step);
    }
    if !name.is_empty() {
        push_name(&mut path, name);
    }
    path
}
