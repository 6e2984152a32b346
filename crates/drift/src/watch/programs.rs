//! Executions on filesystems whose files cannot be found by handle.
//!
//! Such a filesystem (an overlay, as every container has) takes no filesystem mark, but a
//! mark of the mount does, if its group reports open files instead of handles. That is a
//! queue of its own: it is read after changes were taken from theirs and before they are
//! followed up, so that whoever executed before a change is known by then.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::fanotify;
use super::who::ProcessRef;

/// Each event comes with an open file: not many at once.
const BUFFER: usize = 4096;

/// Marks of mounts.
#[derive(Debug)]
pub struct Programs {
    fd: OwnedFd,
    marked: HashSet<u64>,
}

impl Programs {
    /// Nothing is marked yet.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`.
    pub fn open(unlimited: bool) -> Result<Self, Errno> {
        let queue = if unlimited { libc::FAN_UNLIMITED_QUEUE } else { 0 };
        let fd = fanotify::open(queue | libc::FAN_REPORT_PIDFD).or_else(|error| match error {
            Errno::INVAL => fanotify::open(queue),
            error => Err(error),
        })?;
        Ok(Self { fd, marked: HashSet::new() })
    }

    /// Deliver executions of files of the mount numbered `mount`, which `at` lies on.
    ///
    /// # Errors
    /// `EPERM`, or what this kind of filesystem refuses with.
    pub fn mark(&mut self, mount: u64, at: BorrowedFd<'_>) -> Result<(), Errno> {
        if !self.marked.contains(&mount) {
            fanotify::mark(&self.fd, libc::FAN_MARK_MOUNT, libc::FAN_OPEN_EXEC, at)?;
            self.marked.insert(mount);
        }
        Ok(())
    }

    /// Only these mounts are still there; the kernel removed the marks of others.
    pub fn keep(&mut self, mounts: &HashSet<u64>) {
        self.marked.retain(|mount| mounts.contains(mount));
    }

    /// Take everything that is queued, in its order.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn read(&self, mut on: impl FnMut(&ProcessRef, PathBuf)) -> Result<(), Errno> {
        let mut buffer = [0; BUFFER];
        loop {
            let length = fanotify::read(&self.fd, &mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            fanotify::records(&buffer[..length], |record| {
                // What is lost here is only who, which is said where it is not known.
                if let Ok((_, process, Some(file))) = record
                    && let Some(path) = path_of(&file)
                {
                    on(&process, path);
                }
            });
        }
    }
}

impl AsFd for Programs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn path_of(file: &OwnedFd) -> Option<PathBuf> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new()).ok()?.into_bytes();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(&path).to_vec();
    Some(PathBuf::from(OsString::from_vec(path))).filter(|path| path.is_absolute())
}
