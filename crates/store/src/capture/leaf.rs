//! Reading one thing that is no directory.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use umbra_state::{Content, Meta, Mtime};

use super::open::{OpenDir, at, open_quietly};
use super::xattr::{self, Marks, Xattrs};
use super::{CaptureError, IdShift};
use crate::bytes::IngestError;
use crate::store::Inner;

/// How often a file that changes is read.
const ATTEMPTS: u32 = 4;

/// What to read.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) dir: Arc<OpenDir>,
    pub(super) name: Box<[u8]>,
    pub(super) kind: FileType,
}

/// What was read.
#[derive(Debug)]
pub(super) struct RawLeaf {
    pub(super) meta: Meta,
    /// `None` if the content is in a lower layer.
    pub(super) content: Option<Content>,
    pub(super) marks: Marks,
    /// Device and inode number, if it has more than one name somewhere.
    pub(super) inode: Option<(u64, u64)>,
}

/// How leaves are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) store: &'a Inner,
    pub(super) ids: IdShift,
    /// Whether overlayfs's attributes are its own (an upper directory) or somebody's data.
    pub(super) is_upper: bool,
}

impl Reader<'_> {
    /// Reads a leaf, again if it changes meanwhile. `buffer` is scratch.
    pub(super) fn read(self, job: &Job, buffer: &mut Vec<u8>) -> Result<RawLeaf, CaptureError> {
        for _ in 0..ATTEMPTS {
            let read = match job.kind {
                FileType::RegularFile => self.read_file(job, buffer)?,
                _ => Some(self.read_special(job)?),
            };
            if let Some(leaf) = read {
                return Ok(leaf);
            }
        }
        Err(CaptureError::Changing { path: job.dir.path_of(&job.name), attempts: ATTEMPTS })
    }

    /// `None` if it changed while it was read.
    fn read_file(self, job: &Job, buffer: &mut Vec<u8>) -> Result<Option<RawLeaf>, CaptureError> {
        let failed = |doing| at(job.dir.path.as_ref(), &job.name, doing);
        // Should it have become a pipe or a terminal meanwhile, opening neither waits nor takes it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match open_quietly(&job.dir.fd, &job.name, flags | OFlags::CLOEXEC) {
            Ok(file) => file,
            Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(failed("open")(error)),
        };
        let before = fstat(&file).map_err(failed("look at"))?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let xattrs = xattr::of_file(&file).map_err(failed("read the attributes of"))?;
        let (xattrs, marks) = self.split(xattrs);
        let mut content = None;
        if !marks.metacopy {
            content = match self.content(&file, &before, buffer) {
                Ok(content) => Some(content),
                Err(IngestError::Changed) => return Ok(None),
                Err(IngestError::Read(source)) => {
                    let path = job.dir.path_of(&job.name);
                    return Err(CaptureError::Io { doing: "read", path, source });
                }
                Err(IngestError::Store(source)) => {
                    return Err(CaptureError::Store { path: job.dir.path_of(&job.name), source });
                }
            };
            let after = fstat(&file).map_err(failed("look at"))?;
            if fingerprint(&before) != fingerprint(&after) {
                return Ok(None);
            }
        }
        self.finish(job, &before, xattrs, marks, content).map(Some)
    }

    fn content(
        self,
        file: &OwnedFd,
        stat: &Stat,
        buffer: &mut Vec<u8>,
    ) -> Result<Content, IngestError> {
        let allocated = (stat.st_blocks as u64).saturating_mul(512);
        self.store.ingest_file(file, stat.st_size as u64, allocated, buffer)
    }

    /// Reads what is never opened: opening a device or a pipe does something.
    fn read_special(self, job: &Job) -> Result<RawLeaf, CaptureError> {
        let failed = |doing| at(job.dir.path.as_ref(), &job.name, doing);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&job.dir.fd, &*job.name, flags, Mode::empty()).map_err(failed("open"))?;
        let stat = fstat(&file).map_err(failed("look at"))?;
        let content = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = readlinkat(&file, "", Vec::new()).map_err(failed("read link"))?;
                Content::Symlink(target.to_bytes().into())
            }
            FileType::CharacterDevice => Content::Char(stat.st_rdev),
            FileType::BlockDevice => Content::Block(stat.st_rdev),
            FileType::Fifo => Content::Fifo,
            FileType::Socket => Content::Socket,
            _ => {
                let path = job.dir.path_of(&job.name);
                return Err(CaptureError::Changing { path, attempts: 1 });
            }
        };
        let xattrs = xattr::of_path(&file).map_err(failed("read the attributes of"))?;
        let (xattrs, marks) = self.split(xattrs);
        self.finish(job, &stat, xattrs, marks, Some(content))
    }

    /// The metadata of a directory, and overlayfs's marks on it.
    pub(super) fn read_dir(self, dir: &OpenDir) -> Result<(Meta, Marks), CaptureError> {
        let failed = at(dir.path.as_ref(), b"", "read the attributes of");
        let (xattrs, marks) = self.split(xattr::of_file(&dir.fd).map_err(failed)?);
        Ok((self.meta(&dir.stat, xattrs, || dir.path_of(b""))?, marks))
    }

    fn split(self, xattrs: Xattrs) -> (Xattrs, Marks) {
        if self.is_upper { xattr::split_marks(xattrs) } else { (xattrs, Marks::default()) }
    }

    fn finish(
        self,
        job: &Job,
        stat: &Stat,
        xattrs: Xattrs,
        marks: Marks,
        content: Option<Content>,
    ) -> Result<RawLeaf, CaptureError> {
        let meta = self.meta(stat, xattrs, || job.dir.path_of(&job.name))?;
        let inode = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
        Ok(RawLeaf { meta, content, marks, inode })
    }

    fn meta(
        self,
        stat: &Stat,
        mut xattrs: Xattrs,
        path: impl Fn() -> Vec<u8>,
    ) -> Result<Meta, CaptureError> {
        let outside = |id| CaptureError::Id { path: path(), id, shift: self.ids };
        self.ids.apply_to_xattrs(&mut xattrs).map_err(outside)?;
        Ok(Meta {
            mode: (stat.st_mode & 0o7777) as u16,
            uid: self.ids.apply(stat.st_uid).map_err(outside)?,
            gid: self.ids.apply(stat.st_gid).map_err(outside)?,
            mtime: Mtime { sec: stat.st_mtime, nsec: stat.st_mtime_nsec as u32 },
            xattrs,
        })
    }
}

/// What differs if somebody wrote to a file between two looks.
fn fingerprint(stat: &Stat) -> [i64; 5] {
    let mtime = [stat.st_mtime, stat.st_mtime_nsec as i64];
    [stat.st_size, mtime[0], mtime[1], stat.st_ctime, stat.st_ctime_nsec as i64]
}
