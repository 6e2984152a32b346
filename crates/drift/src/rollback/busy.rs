//! Whether a package manager is at work: it would change what is being put back, and what it
//! reads would change under it. Its locks are looked at, never taken.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::error::Trouble;
use super::place::Root;

/// Locks that are held through fcntl(2).
const LOCKS: [(&str, &str); 6] = [
    ("dpkg", "var/lib/dpkg/lock-frontend"),
    ("dpkg", "var/lib/dpkg/lock"),
    ("apt", "var/cache/apt/archives/lock"),
    ("rpm", "var/lib/rpm/.rpm.lock"),
    ("rpm", "usr/lib/sysimage/rpm/.rpm.lock"),
    ("rpm", "usr/share/rpm/.rpm.lock"),
];

/// A lock that is held by being there.
const MARK: (&str, &str) = ("pacman", "var/lib/pacman/db.lck");

/// Fails if a package manager holds one of its locks.
pub(super) fn check(root: &Root) -> Result<(), Trouble> {
    for (program, path) in LOCKS {
        let Some(file) = find(root, path, OFlags::RDONLY) else { continue };
        // One that this process may not ask about tells nothing.
        if let Ok(Some(lock)) = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)) {
            let holder = lock.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
            return Err(Trouble::Packages { program, lock: format!("/{path}{holder}") });
        }
    }
    let (program, path) = MARK;
    if find(root, path, OFlags::PATH).is_some() {
        return Err(Trouble::Packages { program, lock: format!("/{path}") });
    }
    Ok(())
}

fn find(root: &Root, path: &str, access: OFlags) -> Option<std::os::fd::OwnedFd> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root.as_fd(), Path::new(path), flags, Mode::empty(), resolve).ok()
}
