//! The control group of one view: what it may use of the machine.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Doing, Failure};
use crate::mounts::mount;
use crate::order::View;

const ROOT: &str = "/sys/fs/cgroup";

/// Mounts the hierarchy. Where its controllers are missing, a view that has limits fails.
pub(super) fn prepare() {
    if mount("cgroup2", ROOT, &[]).is_ok() {
        for controller in ["+memory", "+pids"] {
            let _ = fs::write(format!("{ROOT}/cgroup.subtree_control"), controller);
        }
    }
}

/// A group; it goes with this value, once nothing is in it.
pub(super) struct Group(PathBuf);

impl Group {
    /// With what the view may use; `None` where that is everything.
    pub(super) fn make(view: &View) -> Result<Option<Self>, Failure> {
        let memory = view.memory_bytes_max.map(|bytes| ("memory.max", bytes.to_string()));
        let pids = view.pids_max.map(|pids| ("pids.max", pids.to_string()));
        if memory.is_none() && pids.is_none() {
            return Ok(None);
        }
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let group = Self(PathBuf::from(ROOT).join(format!("view-{number}")));
        fs::create_dir(&group.0).doing(|| "make a control group".to_owned())?;
        for (file, value) in [memory, pids].into_iter().flatten() {
            fs::write(group.0.join(file), value).doing(|| format!("set {file}"))?;
        }
        Ok(Some(group))
    }

    /// Puts this process into it.
    pub(super) fn join(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel takes a moment to see that the last process is gone.
        for _ in 0..100 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                _ => return,
            }
        }
    }
}
