//! Flags that forbid changes (`chattr +i`, `+a`), taken off for one change and put back.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::error::{Trouble, system};
use super::look;
use super::place::{Spot, hold};

/// A directory that may be changed as long as this lives.
#[derive(Debug)]
pub(super) struct Unlocked<'a> {
    dir: &'a OwnedFd,
    locks: u32,
}

impl<'a> Unlocked<'a> {
    /// Takes the flags off; `locks` are those it had before the rollback.
    pub(super) fn directory(dir: &'a OwnedFd, locks: u32, path: &Path) -> Result<Self, Trouble> {
        if locks != 0 {
            set(dir, locks, false).map_err(system("unlock the directory of", path))?;
        }
        Ok(Self { dir, locks })
    }
}

impl Drop for Unlocked<'_> {
    fn drop(&mut self) {
        if self.locks != 0 {
            // A directory that cannot be locked again was not locked a moment ago either.
            let _ = set(self.dir, self.locks, true);
        }
    }
}

/// Takes a file's flags off or puts them on, if it is there.
pub(super) fn file(spot: &Spot, locks: u32, on: bool, path: &Path) -> Result<(), Trouble> {
    if locks == 0 {
        return Ok(());
    }
    let held = match hold(spot.dir.as_fd(), &spot.name) {
        Ok(held) => held,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(system("unlock", path)(error)),
    };
    match look::reopen(held.as_fd()) {
        Ok(file) => set(&file, locks, on).map_err(system("unlock", path)),
        // What has no flags has none to change.
        Err(_) => Ok(()),
    }
}

fn set(file: &OwnedFd, locks: u32, on: bool) -> Result<(), Errno> {
    let locks = IFlags::from_bits_retain(locks);
    let now = ioctl_getflags(file)?;
    let then = if on { now | locks } else { now - locks };
    if then == now { Ok(()) } else { ioctl_setflags(file, then) }
}
