//! What is remembered outlives the watcher.

use std::fs;

use libtest_mimic::Trial;
use umbra_drift::watch::{Memory, Occasion, Seen, What};
use umbra_state::Digest;

use crate::support::{Watched, directory};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("restart::what_changed_since_the_memory_was_saved", since_saved),
        trial("restart::what_became_again_what_is_remembered_is_reported", doubted),
        trial("restart::a_damaged_memory_is_none_and_said_so", damaged),
        trial("restart::a_new_root_is_no_news", new_root),
    ]
}

fn since_saved() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    let file = outside.join("memory");
    for name in ["changed", "removed", "kept"] {
        fs::write(root.join(name), "1").expect("file");
    }
    let mut first = Watched::new(&root);
    fs::write(root.join("seen"), "1").expect("file");
    first.change(&root.join("seen"));
    while first.listen(std::time::Duration::ZERO) {}
    assert!(first.watcher.save(&file).expect("saved"));
    fs::write(root.join("changed"), "22").expect("write");
    first.change(&root.join("changed"));
    let head = first.receipts[0].chain_hash;
    assert!(first.receipts[0].follows(&Digest::new([0; 32])));
    // Killed: nothing of this watcher is saved any more.
    drop(first);
    fs::remove_file(root.join("removed")).expect("removal");
    fs::write(root.join("new"), "1").expect("file");

    let loaded = Memory::load(&file);
    assert!(loaded.refused.is_none());
    let again = Watched::with(Watched::options(&root), loaded.memory);
    let receipt = &again.receipts[0];
    assert_eq!(receipt.occasion, Occasion::Restart);
    assert!(receipt.follows(&head), "the sequence goes on");
    let what = |name: &str| {
        let mut changes = again.changes.iter();
        let change = changes.find(|change| change.path == root.join(name))?;
        let Seen::Scan { since } = change.seen else { panic!("{change:?}") };
        assert_eq!(since, receipt.from);
        Some(change.what)
    };
    assert!(matches!(what("changed"), Some(What::Changed(_))));
    assert_eq!(what("removed"), Some(What::Vanished));
    assert_eq!(what("new"), Some(What::Appeared));
    // It was seen before, but so shortly that its content must be looked at.
    assert_eq!(what("seen"), Some(What::Unsure));
}

fn doubted() {
    let (_keep, root) = directory();
    let (there, gone) = (root.join("there"), root.join("gone"));
    fs::write(&there, "1").expect("file");
    let mut memory = Watched::new(&root).watcher.memory().clone();
    // Both were reported after the memory was saved, and are as they were before.
    memory.doubt(&there);
    memory.doubt(&gone);
    let watched = Watched::with(Watched::options(&root), memory);
    let what = |path: &std::path::PathBuf| {
        let change = watched.changes.iter().find(|change| change.path == *path).expect("change");
        (change.what == What::Vanished, change.stamp.is_some())
    };
    assert_eq!((what(&there), what(&gone)), ((false, true), (true, false)));
}

fn damaged() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    let file = outside.join("memory");
    fs::write(root.join("f"), "1").expect("file");
    assert!(Watched::new(&root).watcher.save(&file).expect("saved"));
    let mut bytes = fs::read(&file).expect("bytes");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("damage");
    let loaded = Memory::load(&file);
    assert!(loaded.refused.is_some());
    let watched = Watched::with(Watched::options(&root), loaded.memory);
    assert!(watched.changes.is_empty());
    let receipt = &watched.receipts[0];
    assert!(matches!(receipt.occasion, Occasion::MemoryRefused(_)), "{receipt:?}");
    assert_eq!((receipt.from, receipt.entries_verified), (None, 2));
}

fn new_root() {
    let (_keep, one) = directory();
    let (_other, two) = directory();
    for root in [&one, &two] {
        fs::write(root.join("f"), "1").expect("file");
    }
    let memory = Watched::new(&one).watcher.memory().clone();
    fs::write(one.join("new"), "1").expect("file");
    let mut options = Watched::options(&one);
    options.roots.push(two.clone());
    let watched = Watched::with(options, memory);
    assert!(watched.changes.iter().any(|change| change.path == one.join("new")));
    assert!(!watched.changes.iter().any(|change| change.path.starts_with(&two)));
    assert_eq!(watched.watcher.memory().len(), 5);
    // What is watched no more is remembered no more.
    let memory = watched.watcher.memory().clone();
    let watched = Watched::with(Watched::options(&two), memory);
    assert_eq!(watched.watcher.memory().len(), 2);
    assert!(watched.changes.iter().all(|change| change.path.starts_with(&two)));
}
