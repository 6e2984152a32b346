//! Whether a package manager is at work: what it has installed may not be in its lists yet, what
//! is put back it would change, and what it reads would change under it. Its locks are looked at,
//! never taken.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{Flock, FlockType, fcntl_getlk};

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

/// A package manager at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtWork {
    /// Its name.
    pub program: &'static str,
    /// The lock it holds, and its process where that is known.
    pub lock: String,
}

/// The package manager that is at work in the system with this root, if one is.
pub fn at_work(root: BorrowedFd<'_>) -> Option<AtWork> {
    for (program, path) in LOCKS {
        let Some(file) = find(root, path, OFlags::RDONLY) else { continue };
        // One that this process may not ask about tells nothing.
        if let Ok(Some(lock)) = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)) {
            let holder = lock.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
            return Some(AtWork { program, lock: format!("/{path}{holder}") });
        }
    }
    let (program, path) = MARK;
    find(root, path, OFlags::PATH).map(|_| AtWork { program, lock: format!("/{path}") })
}

fn find(root: BorrowedFd<'_>, path: &str, access: OFlags) -> Option<OwnedFd> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), resolve).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::collect::Place;

    #[test]
    fn a_lock_of_another_process_is_seen() {
        let root = tempfile::tempdir().expect("directory");
        let dpkg = root.path().join("var/lib/dpkg");
        std::fs::create_dir_all(&dpkg).expect("directories");
        let place = Place::directory(root.path()).expect("place");
        assert!(at_work(place.root()).is_none(), "there is no lock");
        std::fs::write(dpkg.join("lock"), "").expect("lock");
        assert!(at_work(place.root()).is_none(), "nobody holds it");

        let hold = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, \
                    fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()";
        let mut holder = Command::new("python3")
            .args(["-c", hold])
            .arg(dpkg.join("lock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut said = String::new();
        let mut out = BufReader::new(holder.stdout.take().expect("standard output"));
        out.read_line(&mut said).expect("it says that it holds it");
        let found = at_work(place.root()).expect(&said);
        assert_eq!(found.program, "dpkg");
        drop(holder.stdin.take());
        holder.wait().expect("it ends");
        assert!(at_work(place.root()).is_none(), "it is done");
    }

    #[test]
    fn what_lies_at_a_locks_path_is_not_waited_for() {
        let root = tempfile::tempdir().expect("directory");
        let dpkg = root.path().join("var/lib/dpkg");
        std::fs::create_dir_all(&dpkg).expect("directories");
        let fifo = dpkg.join("lock");
        let status = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(status.success());
        let place = Place::directory(root.path()).expect("place");
        assert!(at_work(place.root()).is_none());
    }
}
