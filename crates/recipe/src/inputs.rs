//! The files on the building machine that a step reads: listed, and digested for the cache.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use sha2::{Digest as _, Sha256};
use umbra_state::Digest;
use umbra_state::escape::escape;

use crate::files::{ReadError, open_beside};
use crate::formats;
use crate::recipe::{Action, Step};

/// What a step reads on the building machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Everything it reads, parents before children, in byte order of names; a step that
    /// reads nothing has none.
    pub files: Vec<Input>,
    /// Digest of all names, types, contents and (unless the step sets them) modes.
    pub digest: Digest,
}

/// One thing a step reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its path below the step's source; empty for the source itself.
    pub path: PathBuf,
    /// Permission bits on disk.
    pub mode: u32,
    /// What it is.
    pub kind: InputKind,
}

/// What an [`Input`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// SHA-256 of its bytes.
        digest: Digest,
    },
    /// A symbolic link, which is not followed.
    Symlink {
        /// Where it points, as it says.
        target: PathBuf,
    },
}

/// Why the files a step reads cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum InputsError {
    /// The source cannot be opened.
    #[error("open `{}` below the recipe's directory", escape(path.as_os_str().as_bytes()))]
    Open {
        /// The source as the recipe names it.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// Something below the source cannot be read.
    #[error("read `{}`", escape(path.as_os_str().as_bytes()))]
    Read {
        /// Its path below the recipe's directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something below the source is neither file, directory nor symbolic link.
    #[error("copy `{}`, which is neither a file nor a directory nor a link", escape(path.as_os_str().as_bytes()))]
    Special {
        /// Its path below the recipe's directory.
        path: PathBuf,
    },
    /// The source leads out of the recipe's directory.
    #[error("accept the source `{}`, which leads out of the recipe's directory", escape(path.as_os_str().as_bytes()))]
    Outside {
        /// The source as the recipe names it.
        path: PathBuf,
    },
    /// There is too much below the source.
    #[error("list `{}`, which holds more than {ENTRIES_MAX} names or {DEPTH_MAX} levels", escape(path.as_os_str().as_bytes()))]
    TooMuch {
        /// The source as the recipe names it.
        path: PathBuf,
    },
}

const ENTRIES_MAX: usize = 1_000_000;
const DEPTH_MAX: usize = 200;

impl Step {
    /// Walks what the step reads. `base_dir` is the recipe's directory; the source may not
    /// lead out of it, and symbolic links below the source are listed as links.
    pub fn inputs(&self, base_dir: &Path) -> Result<Inputs, InputsError> {
        let Action::Copy(copy) = &self.action else {
            return Ok(Inputs { files: Vec::new(), digest: digest_of(&[], true) });
        };
        let source = PathBuf::from(&copy.src);
        if (formats::BESIDE.check)(&copy.src).is_err() {
            return Err(InputsError::Outside { path: source });
        }
        let mut walk = Walk { source: &source, files: Vec::new() };
        walk.source(base_dir)?;
        let digest = digest_of(&walk.files, copy.mode.is_none());
        Ok(Inputs { files: walk.files, digest })
    }
}

struct Walk<'s> {
    source: &'s Path,
    files: Vec<Input>,
}

impl Walk<'_> {
    fn source(&mut self, base_dir: &Path) -> Result<(), InputsError> {
        let opened = open_beside(base_dir, self.source, OFlags::PATH | OFlags::NOFOLLOW);
        let fd = opened.map_err(|source| match source {
            ReadError::Escapes => InputsError::Outside { path: self.source.to_owned() },
            source => InputsError::Open { path: self.source.to_owned(), source },
        })?;
        let kind = rustix::fs::fstat(&fd).map_err(|errno| self.read_error(Path::new(""), errno))?;
        if FileType::from_raw_mode(kind.st_mode) == FileType::Symlink {
            return self.symlink(&fd, c"", Path::new(""), kind.st_mode);
        }
        let reopened = open_beside(base_dir, self.source, OPEN | OFlags::NOFOLLOW)
            .map_err(|source| InputsError::Open { path: self.source.to_owned(), source })?;
        self.opened(reopened, PathBuf::new(), 0)
    }

    /// Records what an open descriptor is, and walks on below a directory.
    fn opened(&mut self, fd: OwnedFd, path: PathBuf, depth: usize) -> Result<(), InputsError> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.read_error(&path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let (size, digest) =
                    hash(File::from(fd)).map_err(|source| self.io_error(&path, source))?;
                self.add(path, stat.st_mode, InputKind::File { size, digest })
            }
            FileType::Directory => {
                self.add(path.clone(), stat.st_mode, InputKind::Directory)?;
                self.directory(&fd, &path, depth)
            }
            _ => Err(InputsError::Special { path: self.source.join(path) }),
        }
    }

    fn directory(&mut self, fd: &OwnedFd, path: &Path, depth: usize) -> Result<(), InputsError> {
        if depth >= DEPTH_MAX {
            return Err(InputsError::TooMuch { path: self.source.to_owned() });
        }
        for name in self.names(fd, path)? {
            let child = path.join(OsStr::from_bytes(name.to_bytes()));
            let stat = statat(fd, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| self.read_error(&child, errno))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => self.symlink(fd, &name, &child, stat.st_mode)?,
                FileType::RegularFile | FileType::Directory => {
                    let opened = openat(fd, &name, OPEN | OFlags::NOFOLLOW, Mode::empty())
                        .map_err(|errno| self.read_error(&child, errno))?;
                    self.opened(opened, child, depth + 1)?;
                }
                _ => return Err(InputsError::Special { path: self.source.join(child) }),
            }
        }
        Ok(())
    }

    /// The names in a directory, in byte order.
    fn names(&self, fd: &OwnedFd, path: &Path) -> Result<Vec<CString>, InputsError> {
        let mut names = Vec::new();
        let entries = Dir::read_from(fd).map_err(|errno| self.read_error(path, errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| self.read_error(path, errno))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
            if self.files.len() + names.len() > ENTRIES_MAX {
                return Err(InputsError::TooMuch { path: self.source.to_owned() });
            }
        }
        names.sort();
        Ok(names)
    }

    fn symlink(
        &mut self,
        directory: &OwnedFd,
        name: &std::ffi::CStr,
        path: &Path,
        mode: u32,
    ) -> Result<(), InputsError> {
        let target = readlinkat(directory.as_fd(), name, Vec::new())
            .map_err(|errno| self.read_error(path, errno))?;
        let target = PathBuf::from(OsStr::from_bytes(target.to_bytes()));
        self.add(path.to_owned(), mode, InputKind::Symlink { target })
    }

    fn add(&mut self, path: PathBuf, mode: u32, kind: InputKind) -> Result<(), InputsError> {
        if self.files.len() >= ENTRIES_MAX {
            return Err(InputsError::TooMuch { path: self.source.to_owned() });
        }
        self.files.push(Input { path, mode: mode & 0o7777, kind });
        Ok(())
    }

    fn read_error(&self, path: &Path, errno: rustix::io::Errno) -> InputsError {
        self.io_error(path, errno.into())
    }

    fn io_error(&self, path: &Path, source: std::io::Error) -> InputsError {
        InputsError::Read { path: self.source.join(path), source }
    }
}

/// Not blocking: a pipe put in a file's place must not hold the build.
const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn hash(mut file: File) -> std::io::Result<(u64, Digest)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, Digest::new(hasher.finalize().into()))),
            length => {
                hasher.update(&buffer[..length]);
                size += length as u64;
            }
        }
    }
}

/// Every field is of fixed length or preceded by its length, so that no two lists of files
/// look alike.
fn digest_of(files: &[Input], modes_count: bool) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"umbra inputs 1\n");
    for file in files {
        let path = file.path.as_os_str().as_bytes();
        hasher.update((path.len() as u64).to_le_bytes());
        hasher.update(path);
        let mode = if modes_count { file.mode } else { 0 };
        hasher.update(mode.to_le_bytes());
        match &file.kind {
            InputKind::Directory => hasher.update([0]),
            InputKind::File { size, digest } => {
                hasher.update([1]);
                hasher.update(size.to_le_bytes());
                hasher.update(digest.as_bytes());
            }
            InputKind::Symlink { target } => {
                let target = target.as_os_str().as_bytes();
                hasher.update([2]);
                hasher.update((target.len() as u64).to_le_bytes());
                hasher.update(target);
            }
        }
    }
    Digest::new(hasher.finalize().into())
}
