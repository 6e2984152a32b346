//! From the kernel's directory handles to paths.
//!
//! A handle outlives renames, a path does not: resolved paths are kept until a directory
//! of that filesystem is renamed, and then forgotten all at once.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, readlink, statx};
use rustix::io::Errno;

use super::fanotify::last_errno;
use super::record::Place;

/// Directories kept per filesystem, in two halves.
const CACHE_MAX: usize = 16 * 1024;

/// Resolves places of the filesystems it was given a directory of.
#[derive(Debug, Default)]
pub struct Resolver {
    filesystems: HashMap<u64, Filesystem>,
}

#[derive(Debug, Default)]
struct Filesystem {
    /// A directory in each mount whose paths are wanted, by the mount's number. Opened when needed only: an open
    /// one would keep the mount from being removed.
    mounts: BTreeMap<u64, PathBuf>,
    /// What was resolved lately, and before: one path by each mount that leads there.
    young: HashMap<Box<[u8]>, Paths>,
    old: HashMap<Box<[u8]>, Paths>,
}

/// The paths of a directory.
type Paths = Arc<[PathBuf]>;

impl Resolver {
    /// Handles of `fsid` are looked up in `mount`, which `directory` lies in.
    pub fn add(&mut self, fsid: u64, mount: u64, directory: PathBuf) {
        let filesystem = self.filesystems.entry(fsid).or_default();
        filesystem.mounts.entry(mount).or_insert(directory);
        filesystem.forget();
    }

    /// The paths of `place`, one by each known mount; none if it is gone.
    ///
    /// # Errors
    /// Where that could not be found out, as when descriptors have run out.
    pub fn paths(&mut self, place: &Place<'_>) -> Result<Vec<PathBuf>, Errno> {
        let directories = self.directories(place)?;
        let path = |directory: &PathBuf| match place.name {
            Some(name) => directory.join(name),
            None => directory.clone(),
        };
        Ok(directories.iter().map(path).collect())
    }

    /// The paths of the directory of `place`.
    ///
    /// # Errors
    /// As for [`Self::paths`].
    pub fn directories(&mut self, place: &Place<'_>) -> Result<Paths, Errno> {
        let Some(filesystem) = self.filesystems.get_mut(&place.fsid) else {
            return Ok(Arc::default());
        };
        if let Some(known) = filesystem.young.get(place.handle) {
            return Ok(Arc::clone(known));
        }
        let paths = match filesystem.old.remove(place.handle) {
            Some(known) => known,
            None => lookup_in(&filesystem.mounts, place.handle)?.into(),
        };
        if filesystem.young.len() >= CACHE_MAX / 2 {
            filesystem.old = std::mem::take(&mut filesystem.young);
        }
        filesystem.young.insert(place.handle.into(), Arc::clone(&paths));
        Ok(paths)
    }

    /// A directory of `fsid` was renamed or removed: paths below it are others now.
    pub fn forget(&mut self, fsid: u64) {
        if let Some(filesystem) = self.filesystems.get_mut(&fsid) {
            filesystem.forget();
        }
    }
}

impl Filesystem {
    fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

fn lookup_in(mounts: &BTreeMap<u64, PathBuf>, handle: &[u8]) -> Result<Vec<PathBuf>, Errno> {
    let mut paths = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for mount in mounts.values() {
        // Where a mount cannot be looked at, nothing is known of what is there.
        let mount = openat(CWD, mount, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => Errno::NODEV,
            error => error,
        })?;
        match lookup(&mount, handle) {
            Ok(Some(path)) if !paths.contains(&path) => paths.push(path),
            // Gone, or where no path leads.
            Ok(_) | Err(Errno::STALE | Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(paths)
}

/// The path by which the directory is reached now. The kernel also prints paths of
/// directories that are deleted or lie outside of the mount; those lead elsewhere, so a
/// path counts only if it leads to that very directory.
fn lookup(mount: &OwnedFd, handle: &[u8]) -> Result<Option<PathBuf>, Errno> {
    let directory = open_handle(mount, handle)?;
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = PathBuf::from(OsString::from_vec(readlink(link, Vec::new())?.into_bytes()));
    let there = identity(CWD, &path)?;
    let same = path.is_absolute() && there == identity(directory.as_fd(), Path::new(""))?;
    Ok(same.then_some(path))
}

fn identity(at: BorrowedFd<'_>, path: &Path) -> Result<(u32, u32, u64), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let status = statx(at, path, flags, StatxFlags::INO)?;
    Ok((status.stx_dev_major, status.stx_dev_minor, status.stx_ino))
}

fn open_handle(mount: &OwnedFd, handle: &[u8]) -> Result<OwnedFd, Errno> {
    // A `struct file_handle` is two words and up to 128 bytes, aligned like a word.
    let mut aligned = [0u32; 34];
    if handle.len() < 8 || handle.len() > size_of_val(&aligned) {
        return Err(Errno::INVAL);
    }
    for (word, bytes) in aligned.iter_mut().zip(handle.chunks(4)) {
        let mut whole = [0; 4];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u32::from_ne_bytes(whole);
    }
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: `aligned` is a file_handle whose length field the record parser has checked
    // to fit what follows it; the kernel reads no further.
    let fd =
        unsafe { libc::open_by_handle_at(mount.as_raw_fd(), aligned.as_mut_ptr().cast(), flags) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
