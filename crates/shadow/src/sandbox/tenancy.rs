//! One launcher at a time per owner: what an owner has on the machine beside its directory
//! (bridge, fence, control groups) bears its name, and a killed daemon's launcher removes it
//! while the next daemon may be starting.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

/// How often a tenant is asked whether it has gone.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// The right to the owner's name. It ends with the process at the latest.
pub(super) struct Tenancy {
    file: File,
    path: PathBuf,
}

impl Tenancy {
    /// Waits for a predecessor to go, at most so long.
    pub(super) fn take(owner: &str, wait_max: Duration) -> io::Result<Self> {
        let path = path_of(owner);
        let deadline = Instant::now() + wait_max;
        loop {
            let file = File::create(&path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // A predecessor may have removed the file between the two calls.
                Ok(()) if is_at(&file, &path)? => return Ok(Self { file, path }),
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(ASK_EVERY);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// In a forked process: lets go of what was inherited; the parent's right stays.
    pub(super) fn leave_to_parent(&self) {
        // SAFETY: the forked process never touches this value again, nor runs its destructor.
        unsafe { libc::close(self.file.as_raw_fd()) };
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        // Absent is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what a killed launcher leaves of its tenancy.
pub(super) fn end(owner: &str) {
    let _ = fs::remove_file(path_of(owner));
}

fn path_of(owner: &str) -> PathBuf {
    PathBuf::from(format!("/run/umbra-{owner}.lock"))
}

fn is_at(file: &File, path: &PathBuf) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(there) => Ok(there.ino() == file.metadata()?.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_tenant_and_a_successor_waits() {
        if !rustix::process::geteuid().is_root() {
            // Only root writes to /run; the sandbox tests report that they need it.
            assert!(Tenancy::take("test-0", Duration::ZERO).is_err());
            return;
        }
        let owner = format!("test-{}", std::process::id());
        let first = Tenancy::take(&owner, Duration::ZERO).expect("free");
        assert!(Tenancy::take(&owner, Duration::from_millis(20)).is_err());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Tenancy::take(&owner, Duration::from_secs(10)));
            drop(first);
            drop(second.join().expect("no panic").expect("the first has gone"));
        });
        assert!(!path_of(&owner).exists());
    }
}
