//! The ways of older kernels and of other filesystems, taken on this machine: layers attached
//! and named by path, images through loop devices, states written out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use support::overlay::Overlay;
use support::{Temp, assert_same, mount_at};
use tempfile::TempDir;
use umbra_store::corpus;
use umbra_store::overlay::support::ImageSupport;
use umbra_store::overlay::{Base, Layers, Mounter, Naming, attach};
use umbra_store::{Store, StoreOptions, SyncPolicy};

/// Writes, stacks a layer and writes again.
#[track_caller]
fn write_twice(mut overlay: Overlay) {
    let root = overlay.merged();
    overlay.check();
    fs::rename(root.join("links"), root.join("moved")).unwrap();
    fs::write(root.join("contents/twin-a"), "no twin any more").unwrap();
    overlay.next_layer();
    fs::remove_dir_all(root.join("names")).unwrap();
    overlay.check();
}

fn fill(lower: &Path) {
    corpus::make(lower).unwrap();
}

#[test]
fn layers_named_by_path_show_the_same() {
    need_root!();
    write_twice(Overlay::over_in(Temp::new(), Mounter::with(Naming::Paths), fill));
}

/// EROFS reads no files of a memory filesystem: they go through a loop device.
#[test]
fn a_store_in_memory_shows_its_images() {
    need_root!();
    let point = TempDir::new().unwrap();
    let _memory = mount_at("tmpfs", point.path(), "mode=0755,size=256m").unwrap();
    let folder = TempDir::new_in(point.path()).unwrap();
    write_twice(Overlay::over_in(Temp::in_folder(folder), Mounter::new(), fill));
}

#[test]
fn a_state_written_out_shows_the_same() {
    need_root!();
    let temp = Temp::new();
    let source = temp.dir("source");
    fill(&source);
    let tree = temp.capture(&source);
    let shown_by = Some(ImageSupport::Checkout);
    let options = StoreOptions { shown_by, sync: SyncPolicy::Never, ..StoreOptions::default() };
    let store = Store::open_with(&temp.folder.path().join("store"), options).unwrap();
    let id = store.put(&tree).unwrap();
    let base = store.base(id).unwrap();
    assert!(matches!(base, Base::Checkout(_)), "{base:?}");
    assert_eq!(store.base(id).unwrap(), base, "written once");
    for naming in [Naming::Descriptors, Naming::Paths] {
        let (at, scratch) = (temp.dir(&format!("{naming:?}")), temp.dir(&format!("s-{naming:?}")));
        let layers = Layers::of(base.clone());
        let root = Mounter::with(naming).mount(&layers, None, None, &scratch, None).unwrap();
        attach(&root, &at).unwrap();
        let mounted = support::Mounted(at.clone());
        assert_same(&temp.store, &tree, &temp.capture(&at), "written out and shown");
        drop(mounted);
    }
    store.gc(&[id]).unwrap();
    assert_eq!(store.base(id).unwrap(), base);
    let Base::Checkout(dir) = base else { unreachable!() };
    let draft = dir.with_file_name("draft-of-a-killed-process");
    fs::create_dir_all(draft.join("root/etc")).unwrap();
    Store::open(&temp.folder.path().join("store")).unwrap();
    assert!(dir.exists() && !draft.exists(), "a new start clears up");
    assert!(dir.exists());
    store.gc(&[]).unwrap();
    assert!(!dir.exists(), "it goes with its state");
}
