//! The corpus of hard cases, through every way in and out of the store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use support::{Mounted, Temp, assert_same, mount_at};
use umbra_state::{Content, Node};
use umbra_store::overlay::{Layers, Mounter, attach};
use umbra_store::{CaptureOptions, SkipReason, corpus};

#[test]
fn corpus_comes_back_as_it_was_put() {
    need_root!();
    let temp = Temp::new();
    let source = temp.dir("source");
    corpus::make(&source).unwrap();
    let captured = temp.capture(&source);
    assert!(captured.entry_count() > 150, "{} entries", captured.entry_count());
    let id = temp.store.put(&captured).unwrap();
    assert_eq!(temp.store.state_id(&captured).unwrap(), id);
    let loaded = temp.store.load(id).unwrap();
    assert_same(&temp.store, &captured, &loaded, "loaded");
    assert_eq!(temp.store.put(&loaded).unwrap(), id);
    assert_same(&temp.store, &captured, &temp.capture(&source), "captured twice");
    assert!(temp.store.fsck().unwrap().is_clean());
}

#[test]
fn corpus_survives_being_written_out() {
    need_root!();
    let temp = Temp::new();
    let (source, copy) = (temp.dir("source"), temp.dir("copy"));
    corpus::make(&source).unwrap();
    let captured = temp.capture(&source);
    let id = temp.store.put(&captured).unwrap();
    temp.store.export_dir(id, &copy).unwrap();
    assert_same(&temp.store, &captured, &temp.capture(&copy), "written out");
    for name in ["sparse", "only-a-hole"] {
        let blocks = fs::metadata(copy.join("contents").join(name)).unwrap().blocks();
        assert!(blocks <= 64, "{name} takes {blocks} blocks");
    }
    assert!(temp.store.export_dir(id, &copy).is_err(), "the target is no longer empty");
}

#[test]
fn corpus_looks_the_same_when_mounted() {
    need_root!();
    let temp = Temp::new();
    let (source, root) = (temp.dir("source"), temp.dir("root"));
    corpus::make(&source).unwrap();
    let captured = temp.capture(&source);
    let id = temp.store.put(&captured).unwrap();
    let layers = Layers::of(temp.store.base(id).unwrap());
    let mount = Mounter::new().mount(&layers, None, None, &temp.dir("scratch"), None).unwrap();
    attach(&mount, &root).unwrap();
    let _mounted = Mounted(root.clone());
    assert_same(&temp.store, &captured, &temp.capture(&root), "mounted");
    let blocks = fs::metadata(root.join("contents/sparse")).unwrap().blocks();
    assert!(blocks <= 64, "the holes are gone: {blocks} blocks");
}

#[test]
fn holes_reach_an_object_that_was_dense_first() {
    let temp = Temp::new();
    let dir = temp.dir("dir");
    let mut bytes = vec![0; 1 << 20];
    bytes[..4].copy_from_slice(b"data");
    fs::write(dir.join("dense"), &bytes).unwrap();
    let dense = temp.capture(&dir);
    let object = |tree: &umbra_state::Tree, name: &str| match tree.get(name.as_bytes()) {
        Some(Node::Leaf(leaf)) => match leaf.content {
            Content::Object { digest, .. } => {
                let hex = digest.to_string();
                temp.store.objects_dir().join(&hex[..2]).join(&hex[2..])
            }
            _ => panic!("not an object"),
        },
        _ => panic!("not a leaf"),
    };
    let path = object(&dense, "dense");
    assert!(fs::metadata(&path).unwrap().blocks() >= 2048);
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 0).unwrap();
    let both = temp.capture(&dir);
    assert_eq!(object(&both, "sparse"), path);
    assert!(fs::metadata(&path).unwrap().blocks() <= 16);
    assert!(temp.store.fsck().unwrap().is_clean());
}

#[test]
fn a_huge_hole_costs_nothing() {
    let temp = Temp::new();
    let dir = temp.dir("dir");
    fs::File::create(dir.join("huge")).unwrap().set_len(4 << 40).unwrap();
    let tree = temp.capture(&dir);
    let id = temp.store.put(&tree).unwrap();
    assert_eq!(temp.store.load(id).unwrap(), tree);
}

#[test]
fn mounts_are_left_out_and_named_unless_asked_for() {
    need_root!();
    let temp = Temp::new();
    let dir = temp.dir("dir");
    for name in ["proc", "data", "skipped"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    fs::write(dir.join("data/covered"), "below the mount").unwrap();
    fs::write(dir.join("skipped/inside"), "x").unwrap();
    fs::write(dir.join("left-out"), "x").unwrap();
    let bare = temp.capture(&dir);
    let _tmpfs = mount_at("tmpfs", &dir.join("data"), "size=1m").unwrap();
    fs::write(dir.join("data/mounted"), "above").unwrap();

    let plain = temp.store.capture(&dir, &CaptureOptions::default()).unwrap();
    assert_same(&temp.store, &bare, &plain.tree, "what the mount covers");
    let skipped: Vec<_> = plain.skipped.iter().map(|s| (s.path.as_slice(), s.reason)).collect();
    assert_eq!(skipped, [(&b"data"[..], SkipReason::Mount)]);

    let skip = ["skipped", "left-out", "proc"].map(Into::into).to_vec();
    let options = CaptureOptions { cross_mounts: true, skip, ..CaptureOptions::default() };
    let across = temp.store.capture(&dir, &options).unwrap();
    assert!(across.tree.get(b"data/mounted").is_some());
    assert!(across.tree.get(b"left-out").is_none());
    match across.tree.get(b"skipped") {
        Some(Node::Dir(dir)) => assert!(dir.entries.is_empty()),
        other => panic!("{other:?}"),
    }
    let skipped: Vec<_> = across.skipped.iter().map(|s| (s.path.as_slice(), s.reason)).collect();
    let asked = |path| (path, SkipReason::Asked);
    assert_eq!(skipped, [asked(&b"left-out"[..]), asked(b"proc"), asked(b"skipped")]);
}
