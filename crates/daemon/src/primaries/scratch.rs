//! Where rehearsals keep their layers: on another filesystem than the files they are laid over.
//!
//! One overlay cannot have as layers a directory and what lies in it, on one filesystem: the
//! kernel refuses such (`ELOOP`). Whoever rehearses this machine's own `/` has the daemon's state
//! directory in it, so the layers of that go to memory.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// Directories in memory, the first that serves is taken.
const MEMORY: [&str; 2] = ["/run", "/dev/shm"];

/// Directories for layers.
pub(super) struct Scratches {
    /// In the state directory.
    own: PathBuf,
    /// In memory; made when they are needed.
    elsewhere: Vec<PathBuf>,
}

impl Scratches {
    /// With one in the state directory; removes what a killed daemon left in any. No rehearsal
    /// may be under way.
    pub(super) fn open(own: PathBuf) -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let memory = runtime.into_iter().chain(MEMORY.map(PathBuf::from));
        Self::among(own, memory.filter(|dir| dir.is_absolute()).collect())
    }

    fn among(own: PathBuf, memory: Vec<PathBuf>) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
        umbra_rehearse::remove_remains(&own)?;
        // Daemons with other state directories have others.
        let status = own.metadata()?;
        let name = format!("umbra-rehearsals-{:x}-{:x}", status.dev(), status.ino());
        let elsewhere: Vec<PathBuf> = memory.into_iter().map(|dir| dir.join(&name)).collect();
        for dir in elsewhere.iter().filter(|dir| is_ours(dir)) {
            umbra_rehearse::remove_remains(dir)?;
            // Another's file in it keeps it, which does no harm.
            let _ = std::fs::remove_dir(dir);
        }
        Ok(Self { own, elsewhere })
    }

    /// The one in the state directory.
    pub(super) fn own(&self) -> &Path {
        &self.own
    }

    /// One that can be laid over the files below `root`; `None` if all lie among them.
    pub(super) fn beside(&self, root: &Path) -> io::Result<Option<PathBuf>> {
        let root = root.canonicalize()?;
        if !holds(&root, &self.own)? {
            return Ok(Some(self.own.clone()));
        }
        let made = self.elsewhere.iter().find(|dir| {
            let beside =
                dir.parent().is_some_and(|parent| holds(&root, parent).is_ok_and(|is| !is));
            beside && (make(dir).is_ok() || is_ours(dir))
        });
        Ok(made.cloned())
    }
}

impl Drop for Scratches {
    fn drop(&mut self) {
        for dir in self.elsewhere.iter().filter(|dir| is_ours(dir)) {
            // Not empty where a rehearsal could not clear up: that is for the next daemon.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

fn make(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(dir)
}

/// Whether it is a directory nobody else can have put anything into.
fn is_ours(dir: &Path) -> bool {
    let Ok(status) = dir.symlink_metadata() else { return false };
    status.is_dir() && status.uid() == geteuid().as_raw() && status.mode() & 0o077 == 0
}

/// Whether a place lies in a directory, on its filesystem.
fn holds(dir: &Path, place: &Path) -> io::Result<bool> {
    let place = place.canonicalize()?;
    Ok(place.starts_with(dir) && dir.metadata()?.dev() == place.metadata()?.dev())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn layers_lie_beside_the_files_they_are_laid_over() {
        let (machine, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own = machine.path().join("state/rehearsals");
        let within = machine.path().join("run");
        std::fs::create_dir(&within).unwrap();
        let among = vec![within, memory.path().to_owned()];
        let scratches = Scratches::among(own.clone(), among).expect("open");
        let other = tempfile::tempdir().unwrap();
        assert_eq!(scratches.beside(other.path()).unwrap(), Some(own.clone()));
        let found = scratches.beside(machine.path()).unwrap().expect("one in memory");
        assert!(found.starts_with(memory.path()) && is_ours(&found));
        assert_eq!(scratches.beside(machine.path()).unwrap(), Some(found.clone()), "again");

        // What a killed daemon left goes with the next.
        std::fs::create_dir(found.join("rehearsal-x")).unwrap();
        let among = vec![memory.path().to_owned()];
        let scratches = Scratches::among(own, among).expect("open");
        assert!(!found.exists());

        // Somebody else was there first.
        std::fs::create_dir(&found).unwrap();
        std::fs::set_permissions(&found, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(scratches.beside(machine.path()).unwrap(), None);
    }
}
