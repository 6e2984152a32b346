//! Refs, collection, checking, and names of states.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use support::{Temp, open};
use umbra_state::{Digest, StateId, Tree};
use umbra_store::{Finding, ResolveError, StoreError};

/// A state with one file of its own content.
fn state(temp: &Temp, name: &str) -> (StateId, Tree) {
    let dir = temp.dir(name);
    fs::write(dir.join("file"), name.repeat(100)).unwrap();
    let tree = temp.capture(&dir);
    (temp.store.put(&tree).unwrap(), tree)
}

#[test]
fn refs_name_states_until_they_are_removed() {
    let temp = Temp::new();
    let ((one, _), (two, _)) = (state(&temp, "one"), state(&temp, "two"));
    let store = &temp.store;
    assert_eq!(store.get_ref("image/web").unwrap(), None);
    store.set_ref("image/web", one).unwrap();
    store.set_ref("build/12/step-3", one).unwrap();
    store.set_ref("image/web", two).unwrap();
    let again = open(&temp.folder.path().join("store"));
    assert_eq!(again.get_ref("image/web").unwrap(), Some(two));
    let expected = [("build/12/step-3".to_owned(), one), ("image/web".to_owned(), two)];
    assert_eq!(again.list_refs().unwrap(), expected.into());
    assert!(store.set_ref("image/web/below", one).is_err(), "a ref is no folder");
    assert!(store.set_ref("image", one).is_err(), "a folder is no ref");
    assert_eq!(store.get_ref("image").unwrap(), None);
    assert_eq!(store.get_ref("image/web/below").unwrap(), None);
    assert!(store.set_ref("../escape", one).is_err());
    let nowhere = StateId(Digest::new([7; 32]));
    assert!(matches!(store.set_ref("x", nowhere), Err(StoreError::NoState(_))));
    assert!(store.remove_ref("image/web").unwrap());
    assert!(!store.remove_ref("image/web").unwrap());
    assert!(!store.remove_ref("build").unwrap(), "a folder is no ref");
    store.set_ref("image", one).unwrap();
    assert!(store.fsck().unwrap().is_clean());
}

#[test]
fn states_are_found_by_ref_id_and_unique_prefix() {
    let temp = Temp::new();
    let (one, _) = state(&temp, "one");
    let store = &temp.store;
    store.set_ref("image/web", one).unwrap();
    let hex = one.to_string();
    for text in ["image/web", &hex, &hex[..6], &hex[..20].to_uppercase()] {
        assert_eq!(store.resolve(text).unwrap(), one, "{text}");
    }
    for text in ["image/other", &hex[..5], "", "..", &"0".repeat(64), "zzzzzzzz"] {
        assert!(matches!(store.resolve(text), Err(ResolveError::Unknown(_))), "{text}");
    }
    // Another state whose id begins alike cannot be made; a listing can.
    let twin = format!("{}{}", &hex[..10], "0".repeat(54));
    symlink("nowhere", temp.folder.path().join("store/repo/images").join(&twin)).unwrap();
    match store.resolve(&hex[..8]) {
        Err(ResolveError::Ambiguous { candidates, .. }) => assert_eq!(candidates.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.resolve(&hex[..12]).unwrap(), one);
}

#[test]
fn collection_keeps_refs_and_what_it_is_told() {
    let temp = Temp::new();
    let store = &temp.store;
    let [(a, _), (b, _), (c, _)] = ["a", "b", "c"].map(|name| state(&temp, name));
    store.set_ref("keep/a", a).unwrap();
    let absent = StateId(Digest::new([9; 32]));
    let planned = store.gc_dry_run(&[b, absent]).unwrap();
    assert!(store.contains(c), "a dry run removes nothing");
    let report = store.gc(&[b, absent]).unwrap();
    assert_eq!(planned, report);
    assert_eq!((report.states_removed.as_slice(), report.states_kept), (&[c][..], 2));
    assert_eq!((report.objects_removed, report.missing.as_slice()), (2, &[absent][..]));
    assert!(report.bytes_freed > 0);
    assert!(store.load(a).is_ok() && store.load(b).is_ok());
    assert!(matches!(store.load(c), Err(StoreError::NoState(_))));
    assert_eq!(store.gc(&[]).unwrap().states_removed, [b]);
    assert!(store.fsck().unwrap().is_clean());
}

#[test]
fn collection_waits_for_who_is_adding() {
    let temp = Temp::new();
    let dir = temp.dir("dir");
    fs::write(dir.join("file"), vec![1; 1000]).unwrap();
    let pin = temp.store.pin().unwrap();
    let tree = temp.capture(&dir);
    let (started, has_started) = std::sync::mpsc::channel();
    let other = temp.store.clone();
    let collector = std::thread::spawn(move || {
        started.send(()).unwrap();
        other.gc(&[]).unwrap()
    });
    has_started.recv().unwrap();
    let id = temp.store.put(&tree).unwrap();
    temp.store.set_ref("kept", id).unwrap();
    drop(pin);
    assert_eq!(collector.join().unwrap().states_removed, []);
    assert_eq!(temp.store.load(id).unwrap(), tree);
}

#[test]
fn a_state_without_its_contents_is_refused() {
    let temp = Temp::new();
    let dir = temp.dir("dir");
    fs::write(dir.join("file"), vec![1; 1000]).unwrap();
    let tree = temp.capture(&dir);
    temp.store.gc(&[]).unwrap();
    match temp.store.put(&tree) {
        Err(StoreError::NoObject { path, .. }) => assert_eq!(path, b"file"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_checker_finds_each_kind_of_damage() {
    let temp = Temp::new();
    let store = &temp.store;
    let [(a, tree), (b, _), (c, _)] = ["a", "b", "c"].map(|name| state(&temp, name));
    let root = temp.folder.path().join("store");
    let object = umbra_state::Tree::get(&tree, b"file").unwrap();
    let umbra_state::Node::Leaf(leaf) = object else { panic!("a file") };
    let umbra_state::Content::Object { digest, .. } = leaf.content else { panic!("an object") };
    let hex = digest.to_string();
    fs::write(store.objects_dir().join(&hex[..2]).join(&hex[2..]), "damaged").unwrap();
    store.set_ref("gone", b).unwrap();
    fs::remove_file(root.join("repo/images").join(b.to_string())).unwrap();
    fs::write(store.image_path(c), "no image").unwrap();
    fs::write(root.join("repo/objects/foreign"), "").unwrap();
    fs::write(root.join("repo/images/refs/not a ref"), "").unwrap();
    fs::write(root.join("journal/tmp-1-2-3"), "half").unwrap();
    let report = store.fsck().unwrap();
    let found = |wanted: &dyn Fn(&Finding) -> bool| report.findings.iter().any(wanted);
    assert!(found(
        &|f| matches!(f, Finding::DamagedObject { name } if name.replace('/', "") == hex)
    ));
    assert!(found(&|f| matches!(f, Finding::MissingObject { id, .. } if *id == a)));
    assert!(found(
        &|f| matches!(f, Finding::DanglingRef { name, id } if name == "gone" && *id == b)
    ));
    assert!(found(&|f| matches!(f, Finding::DamagedState { id, .. } if *id == c)));
    assert!(found(&|f| matches!(f, Finding::Foreign { name } if name == "foreign")));
    assert!(found(&|f| matches!(f, Finding::BadRef { path } if path == b"not a ref")));
    assert!(found(&|f| matches!(f, Finding::Leftover { .. })));
    for finding in &report.findings {
        assert!(finding.to_string().ends_with('.'), "advice: {finding}");
    }
    assert!(matches!(store.load(c), Err(StoreError::Corrupt { .. })));
    // Opening cleans the journal; capturing the content again repairs the object.
    let again = open(&root);
    assert!(!root.join("journal/tmp-1-2-3").exists());
    let repaired = again.capture_dir(&temp.folder.path().join("a"), &Default::default()).unwrap();
    assert_eq!(repaired, tree);
    let left = again.fsck().unwrap().findings;
    assert!(!left.iter().any(|f| matches!(f, Finding::MissingObject { .. })), "{left:?}");
}
