//! The control group that is the top of an image's own system's hierarchy.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use crate::sandbox::cgroup::end_group;
use crate::sandbox::wire::{Doing, Failure};

/// What a system must be able to write in its top group to arrange what is below it.
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

/// Removed with all below it when dropped.
pub(super) struct SystemGroup {
    dir: PathBuf,
}

impl SystemGroup {
    /// Makes the `number`th below the shadow's own group, whose limits hold for it too, and
    /// gives it to root of the user namespace.
    pub(super) fn make(group: &Path, number: u64, ids_base: Option<u32>) -> Result<Self, Failure> {
        let made = Self { dir: group.join(format!("system.{number}")) };
        let doing = || format!("make control group {}", made.dir.display());
        fs::create_dir(&made.dir).doing(doing)?;
        if let Some(base) = ids_base {
            let give = |path: &Path| chown(path, Some(base), Some(base));
            give(&made.dir).doing(doing)?;
            for file in DELEGATED {
                match give(&made.dir.join(file)) {
                    // Groups of threads came later than the rest.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    given => given.doing(doing)?,
                }
            }
        }
        Ok(made)
    }

    /// Moves this process into it.
    pub(super) fn join(&self) -> Result<(), Failure> {
        let doing = || format!("join control group {}", self.dir.display());
        fs::write(self.dir.join("cgroup.procs"), "0").doing(doing)
    }
}

impl Drop for SystemGroup {
    fn drop(&mut self) {
        // What stays goes with the shadow's own group.
        let _ = end_group(&self.dir);
    }
}
