//! What the store's tests share: stores in temporary folders, mounts that end with a test.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod overlay;

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, unmount};
use rustix::thread::UnshareFlags;
use tempfile::TempDir;
use umbra_state::{Delta, Tree, diff};
use umbra_store::{CaptureOptions, Store, StoreOptions, SyncPolicy};

/// A store that vanishes with the test.
pub struct Temp {
    pub store: Store,
    pub folder: TempDir,
}

impl Temp {
    pub fn new() -> Self {
        Self::in_folder(TempDir::new().expect("a temporary folder"))
    }

    pub fn in_folder(folder: TempDir) -> Self {
        Self { store: open(&folder.path().join("store")), folder }
    }

    /// A fresh folder beside the store.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).expect("a fresh folder");
        path
    }

    pub fn capture(&self, dir: &Path) -> Tree {
        self.store.capture_dir(dir, &CaptureOptions::default()).expect("a capture")
    }
}

/// Opens a store that never syncs.
pub fn open(root: &Path) -> Store {
    let options = StoreOptions { sync: SyncPolicy::Never, ..StoreOptions::default() };
    Store::open_with(root, options).expect("a store")
}

/// Fails with the differing paths if two trees are not the same state.
#[track_caller]
pub fn assert_same(store: &Store, a: &Tree, b: &Tree, what: &str) {
    let delta = diff(a, b);
    assert!(delta.is_empty(), "{what}:\n{}", listed(&delta));
    let id = |tree| store.state_id(tree).expect("an id");
    assert_eq!(id(a), id(b), "{what}: no difference found, but the ids differ");
}

fn listed(delta: &Delta) -> String {
    let shown = delta.changes.iter().take(30).map(|change| {
        let metas =
            (change.before.as_ref().map(|n| n.meta()), change.after.as_ref().map(|n| n.meta()));
        format!("{change}\n    {metas:?}\n")
    });
    shown.collect()
}

/// Gives this thread, and those it starts, mounts of their own: nobody else sees or keeps what
/// a test mounts, and it ends with the test's process at the latest.
pub fn own_mounts() {
    // SAFETY: a new mount namespace shares no memory or descriptors less than before; only the
    // working directory becomes the thread's own, and tests use absolute paths.
    let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) };
    unshared.expect("a mount namespace");
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).expect("private mounts");
}

/// A mount that ends when dropped.
pub struct Mounted(pub PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Mounts what `options` say at an existing folder.
pub fn mount_at(kind: &str, at: &Path, options: &str) -> std::io::Result<Mounted> {
    let options = CString::new(options)?;
    mount("none", at, kind, MountFlags::empty(), Some(options.as_c_str()))?;
    Ok(Mounted(at.to_owned()))
}

/// Why a test cannot run here; prints it.
pub fn skipped(reason: &str) {
    println!("skipped: {reason}");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns from a test that needs root, saying so.
#[macro_export]
macro_rules! need_root {
    () => {
        if !support::is_root() {
            support::skipped("needs root");
            return;
        }
        support::own_mounts();
    };
}
