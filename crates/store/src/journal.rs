//! What must be known after a crash: half-made files, and whether data may not have reached
//! the disk.
//!
//! * `tmp-*` and `ref-*` are files on their way to their final name. Nobody owns them once
//!   nobody holds the lock.
//! * `unsynced-BOOT-PID` says that a process wrote objects since the last `syncfs`. Found after
//!   a reboot, it means that the objects written since may be truncated, and they are verified.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, openat, syncfs, unlinkat};
use rustix::io::Errno;

use crate::error::{StoreError, io_error};
use crate::store::{Inner, SyncPolicy};

/// The journal folder as one process uses it.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) dir: OwnedFd,
    /// Counts writes; even before the first since a sync means the marker is absent.
    writes: AtomicU64,
    marked: std::sync::Mutex<bool>,
    names: AtomicU64,
}

impl Journal {
    pub(crate) fn open(dir: OwnedFd) -> Self {
        Self { dir, writes: AtomicU64::new(0), marked: false.into(), names: AtomicU64::new(0) }
    }

    /// A name nobody else uses.
    pub(crate) fn fresh_name(&self, kind: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_nanos());
        format!("{kind}-{}-{clock:x}-{number}", std::process::id())
    }

    /// To be called before an object gets its name.
    pub(crate) fn note_write(&self) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let mut marked = self.marked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !*marked {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(&self.dir, marker(), flags, Mode::from_raw_mode(0o600))
                .map_err(io_error("note unsynced data in the store's journal"))?;
            *marked = true;
        }
        Ok(())
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let before = self.writes.load(Ordering::SeqCst);
        syncfs(&self.dir).map_err(io_error("bring the store's data to the disk"))?;
        let mut marked = self.marked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *marked && self.writes.load(Ordering::SeqCst) == before {
            match unlinkat(&self.dir, marker(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => *marked = false,
                Err(error) => return Err(io_error("clear the store's journal")(error)),
            }
        }
        Ok(())
    }
}

/// Cleans up after whoever was interrupted. The caller holds the lock alone.
pub(crate) fn recover(inner: &Inner) -> Result<(), StoreError> {
    let folder = inner.root.join("journal");
    let mut oldest_lost: Option<i64> = None;
    let mut markers = Vec::new();
    for name in names(&folder)? {
        let path = folder.join(OsStr::from_bytes(&name));
        if name.starts_with(b"tmp-") || name.starts_with(b"ref-") {
            fs::remove_file(&path).map_err(io_error(format!("remove {}", path.display())))?;
        } else if let Some(of) = name.strip_prefix(b"unsynced-") {
            if !of.starts_with(boot_id().as_bytes()) {
                let since = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.mtime());
                oldest_lost = Some(oldest_lost.map_or(since, |oldest| oldest.min(since)));
                markers.push(path);
            } else if inner.sync != SyncPolicy::Never && !is_alive(of) {
                markers.push(path);
            }
        }
    }
    if let Some(since) = oldest_lost {
        crate::object::remove_damaged_since(inner, since)?;
    }
    if markers.is_empty() {
        return Ok(());
    }
    syncfs(&inner.journal.dir).map_err(io_error("bring the store's data to the disk"))?;
    for path in markers {
        fs::remove_file(&path).map_err(io_error(format!("remove {}", path.display())))?;
    }
    Ok(())
}

/// Names in the journal that a crash left; for the checker.
pub(crate) fn leftovers(root: &Path) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut names = names(&root.join("journal"))?;
    names.retain(|name| name.starts_with(b"tmp-") || name.starts_with(b"ref-"));
    Ok(names)
}

fn names(folder: &Path) -> Result<Vec<Vec<u8>>, StoreError> {
    let failed = || io_error(format!("list {}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        names.push(entry.map_err(failed())?.file_name().as_bytes().to_vec());
    }
    Ok(names)
}

fn marker() -> String {
    format!("unsynced-{}-{}", boot_id(), std::process::id())
}

/// Whether the process named at a marker's end runs (or another by its number: then the marker
/// stays until that one ends, which costs nothing).
fn is_alive(marker: &[u8]) -> bool {
    let pid = marker.rsplit(|&byte| byte == b'-').next().unwrap_or_default();
    Path::new("/proc").join(OsStr::from_bytes(pid)).exists()
}

fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
