//! A state written out as an ordinary directory tree.
//!
//! Everything is made relative to an open directory and nothing that exists is followed or
//! overwritten, so nothing can appear outside. A directory's metadata is set when everything in
//! it is done: making an entry changes the time, and an ACL would be inherited.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, SeekFrom, Timespec, Timestamps, Uid,
    XattrFlags, chownat, copy_file_range, fchmod, fchown, fsetxattr, fstat, ftruncate, futimens,
    linkat, mkdirat, mknodat, openat, seek, setxattr, symlinkat, utimensat,
};
use rustix::io::Errno;
use umbra_state::escape::escape;
use umbra_state::tree::push_name;
use umbra_state::{Content, Dir, Leaf, LinkId, Meta, Mtime, Node, StateId};

use crate::bytes::{fill, write_at};
use crate::capture::escape_mark;
use crate::error::StoreError;
use crate::lock::Lock;
use crate::stack::deep;
use crate::store::{Inner, Store};

/// From this depth on a directory is closed while a child is written.
const OPEN_DEPTH_MAX: usize = 48;

/// Why a state could not be written out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The state could not be read.
    #[error("read the state to write out")]
    Store(#[source] StoreError),
    /// The target has something in it.
    #[error("write into {}: it is not empty", .0.display())]
    NotEmpty(std::path::PathBuf),
    /// The filesystem refused.
    #[error("{doing} /{}", escape(path))]
    Io {
        /// What was being done, as a fragment after "failed to".
        doing: &'static str,
        /// Where, relative to the target.
        path: Vec<u8>,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

impl Store {
    /// Writes a state into an existing empty directory, exactly: types, contents with their
    /// holes, modes, owners, attributes, hard links and times, the directory's own included.
    /// Needs root for owners and devices. After an error the directory holds a part.
    pub fn export_dir(&self, id: StateId, dir: &Path) -> Result<(), ExportError> {
        self.write_out(id, dir, Names::AsTheyAre)
    }

    /// Like [`Store::export_dir`], with attributes named as `names` says.
    pub(crate) fn write_out(
        &self,
        id: StateId,
        dir: &Path,
        names: Names,
    ) -> Result<(), ExportError> {
        let _lock = Lock::shared(&self.inner.root).map_err(ExportError::Store)?;
        let tree = self.load(id).map_err(ExportError::Store)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(CWD, dir, flags, Mode::empty()).map_err(at(b"", "open the target"))?;
        if !is_empty(&top).map_err(at(b"", "list the target"))? {
            return Err(ExportError::NotEmpty(dir.to_owned()));
        }
        deep(|| {
            let root = top.try_clone().map_err(|source| ExportError::Io {
                doing: "open the target",
                path: Vec::new(),
                source,
            })?;
            let mut writer =
                Writer { store: &self.inner, names, root, path: Vec::new(), links: HashMap::new() };
            writer.dir(top, &tree.root, 0).map(drop)
        })
    }
}

/// How a written-out state's extended attributes are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// As in the state.
    AsTheyAre,
    /// As in a layer of an overlay, which shows them as in the state.
    ForLayers,
}

impl Names {
    fn of<'a>(self, name: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::AsTheyAre => Cow::Borrowed(name),
            Self::ForLayers => escape_mark(name),
        }
    }
}

struct Writer<'a> {
    store: &'a Inner,
    names: Names,
    root: OwnedFd,
    path: Vec<u8>,
    /// The first name of each hard-linked inode.
    links: HashMap<LinkId, Vec<u8>>,
}

impl Writer<'_> {
    /// Fills an open directory; gives it back, since it may have been reopened.
    fn dir(&mut self, mut fd: OwnedFd, dir: &Dir, depth: usize) -> Result<OwnedFd, ExportError> {
        for (name, node) in &dir.entries {
            let parent_len = self.path.len();
            push_name(&mut self.path, name);
            match node {
                Node::Dir(child) => fd = self.child(fd, name, child, depth)?,
                Node::Leaf(leaf) => self.leaf(&fd, name, leaf)?,
            }
            self.path.truncate(parent_len);
        }
        self.dir_meta(&fd, &dir.meta).map_err(self.failed("set the metadata of"))?;
        Ok(fd)
    }

    fn child(
        &mut self,
        fd: OwnedFd,
        name: &[u8],
        dir: &Dir,
        depth: usize,
    ) -> Result<OwnedFd, ExportError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        mkdirat(&fd, name, Mode::RWXU).map_err(self.failed("make directory"))?;
        let child = openat(&fd, name, flags, Mode::empty()).map_err(self.failed("open"))?;
        if depth < OPEN_DEPTH_MAX {
            self.dir(child, dir, depth + 1)?;
            return Ok(fd);
        }
        let before = fstat(&fd).map_err(self.failed("look at"))?;
        drop(fd);
        let child = self.dir(child, dir, depth + 1)?;
        let fd = openat(&child, "..", flags, Mode::empty()).map_err(self.failed("leave"))?;
        let after = fstat(&fd).map_err(self.failed("leave"))?;
        if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino) {
            return Err(self.failed("leave")(Errno::STALE));
        }
        Ok(fd)
    }

    fn leaf(&mut self, dir: &OwnedFd, name: &[u8], leaf: &Leaf) -> Result<(), ExportError> {
        if let Some(link) = leaf.link {
            if let Some(first) = self.links.get(&link) {
                return self.link(first, dir, name).map_err(self.failed("make hard link"));
            }
            self.links.insert(link, self.path.clone());
        }
        match &leaf.content {
            Content::Inline(_) | Content::Object { .. } => self.file(dir, name, leaf),
            _ => self.special(dir, name, leaf).map_err(self.failed("make")),
        }
    }

    fn link(&self, first: &[u8], dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut names = first.split(|&byte| byte == b'/').peekable();
        let mut from = None;
        while let Some(step) = names.next() {
            let fd = from.as_ref().unwrap_or(&self.root);
            if names.peek().is_none() {
                return linkat(fd, step, dir, name, AtFlags::empty());
            }
            from = Some(openat(fd, step, flags, Mode::empty())?);
        }
        Err(Errno::NOENT)
    }

    fn file(&self, dir: &OwnedFd, name: &[u8], leaf: &Leaf) -> Result<(), ExportError> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(self.failed("make file"))?;
        match &leaf.content {
            Content::Object { digest, size } => {
                let object = self.store.open_object(*digest, &self.path);
                let object = object.map_err(ExportError::Store)?;
                copy(&object, &file, *size)
            }
            Content::Inline(bytes) => write_at(&file, bytes, 0),
            _ => Ok(()),
        }
        .map_err(self.failed("write the content of"))?;
        self.file_meta(&file, &leaf.meta).map_err(self.failed("set the metadata of"))
    }

    fn special(&self, dir: &OwnedFd, name: &[u8], leaf: &Leaf) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(leaf.meta.mode.into());
        let node = |kind, device| mknodat(dir, name, kind, mode, device);
        match &leaf.content {
            Content::Symlink(target) => symlinkat(&**target, dir, name)?,
            Content::Char(number) => node(FileType::CharacterDevice, *number)?,
            Content::Block(number) => node(FileType::BlockDevice, *number)?,
            Content::Fifo => node(FileType::Fifo, 0)?,
            Content::Socket => node(FileType::Socket, 0)?,
            Content::Inline(_) | Content::Object { .. } => return Err(Errno::INVAL),
        }
        let meta = &leaf.meta;
        chownat(dir, name, owner(meta).0, owner(meta).1, AtFlags::SYMLINK_NOFOLLOW)?;
        if !matches!(leaf.content, Content::Symlink(_)) {
            // Again: the mask and the change of owner took bits away.
            rustix::fs::chmodat(dir, name, mode, AtFlags::empty())?;
        }
        if !meta.xattrs.is_empty() {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(dir, name, flags, Mode::empty())?;
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            for (name, value) in &meta.xattrs {
                setxattr(&path, &*self.names.of(name), value, XattrFlags::empty())?;
            }
        }
        utimensat(dir, name, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn dir_meta(&self, fd: &OwnedFd, meta: &Meta) -> Result<(), Errno> {
        if self.path.is_empty() {
            // The target was there before; what it has too much goes.
            for name in crate::capture::xattrs_of(fd)?.into_keys() {
                if !meta.xattrs.contains_key(&name) {
                    rustix::fs::fremovexattr(fd, &*name)?;
                }
            }
        }
        self.file_meta(fd, meta)
    }

    /// In this order: a change of owner takes mode bits and capabilities away, the time comes
    /// last.
    fn file_meta(&self, fd: &OwnedFd, meta: &Meta) -> Result<(), Errno> {
        fchown(fd, owner(meta).0, owner(meta).1)?;
        fchmod(fd, Mode::from_raw_mode(meta.mode.into()))?;
        for (name, value) in &meta.xattrs {
            fsetxattr(fd, &*self.names.of(name), value, XattrFlags::empty())?;
        }
        futimens(fd, &times(meta.mtime))
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(Errno) -> ExportError + use<> {
        at(&self.path, doing)
    }
}

fn at(path: &[u8], doing: &'static str) -> impl FnOnce(Errno) -> ExportError + use<> {
    let path = path.to_vec();
    move |error| ExportError::Io { doing, path, source: error.into() }
}

fn owner(meta: &Meta) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

fn times(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.sec, tv_nsec: i64::from(mtime.nsec) },
    }
}

/// Copies `size` bytes and the holes among them: shared where the filesystem can, else inside
/// the kernel, else by hand.
fn copy(from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<(), Errno> {
    if fstat(from)?.st_size as u64 != size {
        return Err(Errno::IO);
    }
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    ftruncate(to, size)?;
    let mut offset = 0;
    while offset < size {
        offset = match seek(from, SeekFrom::Data(offset)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => offset,
            Err(error) => return Err(error),
        };
        let end = seek(from, SeekFrom::Hole(offset)).unwrap_or(size).min(size);
        copy_range(from, to, offset, end)?;
        offset = end.max(offset + 1);
    }
    Ok(())
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<(), Errno> {
    let (mut read_at, mut written_at) = (start, start);
    while read_at < end {
        let length = usize::try_from(end - read_at).unwrap_or(1 << 30);
        match copy_file_range(from, Some(&mut read_at), to, Some(&mut written_at), length) {
            Ok(0) => return Err(Errno::IO),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_by_hand(from, to, read_at, end);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<(), Errno> {
    let mut buffer = vec![0; 256 << 10];
    let mut offset = start;
    while offset < end {
        let want = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
        let length = fill(from, &mut buffer[..want], offset)?;
        if length == 0 {
            return Err(Errno::IO);
        }
        write_at(to, &buffer[..length], offset)?;
        offset += length as u64;
    }
    Ok(())
}

fn is_empty(dir: &OwnedFd) -> Result<bool, Errno> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    let mut listing = RawDir::new(dir, &mut buffer);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(false);
        }
    }
    Ok(true)
}
