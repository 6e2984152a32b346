//! A process killed at every step of an ingestion or a collection leaves a store that is old or
//! new, and clean.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, getpid, kill_process};
use support::open;
use umbra_state::StateId;
use umbra_store::{CaptureOptions, FaultPoints, Store, StoreOptions};

/// Set for the child: the folder to work in, and at which point to die (0: none).
const FOLDER: &str = "UMBRA_TEST_CRASH_FOLDER";
const POINT: &str = "UMBRA_TEST_CRASH_POINT";

const KILLED: i32 = 9;

/// What a child does; runs as a test of its own when nobody told it to.
#[test]
fn child() {
    let (Ok(folder), Ok(point)) = (std::env::var(FOLDER), std::env::var(POINT)) else {
        return support::skipped("this is the other tests' child process");
    };
    let point: u32 = point.parse().unwrap();
    let passed = AtomicU32::new(0);
    let faults = FaultPoints::new(move |_| {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 == point {
            let me: Pid = getpid();
            kill_process(me, Signal::KILL).unwrap();
        }
    });
    let folder = Path::new(&folder);
    let options = StoreOptions { faults, ..StoreOptions::default() };
    let store = Store::open_with(&folder.join("store"), options).unwrap();
    if folder.join("collect").exists() {
        store.gc(&[]).unwrap();
        return;
    }
    let tree = store.capture_dir(&folder.join("new"), &CaptureOptions::default()).unwrap();
    let id = store.put(&tree).unwrap();
    store.set_ref("image/web", id).unwrap();
}

/// Runs the child until it dies at a point; whether it did, and did not run to its end.
fn dies_at(folder: &Path, point: u32) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(POINT, point.to_string())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() || status.signal() == Some(KILLED), "{status}");
    status.signal() == Some(KILLED)
}

/// A folder with an old state behind the ref and files for a new one.
fn prepare(folder: &Path) -> StateId {
    for (name, byte) in [("old", b'o'), ("new", b'n')] {
        fs::create_dir(folder.join(name)).unwrap();
        for (file, size) in [("large", 100_000), ("middle", 5000), ("small", 10)] {
            fs::write(folder.join(name).join(file), vec![byte; size]).unwrap();
        }
        fs::write(folder.join(name).join("same"), vec![b's'; 3000]).unwrap();
    }
    let store = open(&folder.join("store"));
    let tree = store.capture_dir(&folder.join("old"), &CaptureOptions::default()).unwrap();
    let id = store.put(&tree).unwrap();
    store.set_ref("image/web", id).unwrap();
    id
}

fn assert_clean(store: &Store) {
    let report = store.fsck().unwrap();
    assert!(report.leftovers_checked && report.is_clean(), "{report:?}");
}

#[test]
fn an_ingestion_killed_anywhere_leaves_the_old_or_the_new() {
    let mut outcomes = BTreeMap::new();
    for point in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let old = prepare(folder.path());
        let died = dies_at(folder.path(), point);
        let store = open(&folder.path().join("store"));
        assert_clean(&store);
        let now = store.get_ref("image/web").unwrap().unwrap();
        let tree = store.load(now).unwrap();
        let options = CaptureOptions::default();
        let from = folder.path().join(if now == old { "old" } else { "new" });
        assert_eq!(tree, store.capture_dir(&from, &options).unwrap());
        *outcomes.entry((died, now == old)).or_insert(0) += 1;
        // What the dead process began can be finished, and what it left can be collected.
        assert!(!dies_at(folder.path(), 0));
        store.gc(&[]).unwrap();
        assert_clean(&store);
        assert_eq!(store.states().unwrap(), [store.get_ref("image/web").unwrap().unwrap()]);
        if !died {
            break;
        }
    }
    // It died before the ref changed, and after; and ran through in the end.
    assert!(outcomes[&(true, true)] >= 8, "{outcomes:?}");
    assert!(outcomes[&(true, false)] >= 1, "{outcomes:?}");
    assert_eq!(outcomes[&(false, false)], 1, "{outcomes:?}");
}

#[test]
fn a_collection_killed_anywhere_keeps_what_is_named() {
    let mut deaths = 0;
    for point in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let kept = prepare(folder.path());
        let store = open(&folder.path().join("store"));
        let options = CaptureOptions::default();
        let tree = store.capture_dir(&folder.path().join("new"), &options).unwrap();
        store.put(&tree).unwrap();
        fs::write(folder.path().join("collect"), "").unwrap();
        drop(store);
        let died = dies_at(folder.path(), point);
        let store = open(&folder.path().join("store"));
        assert_clean(&store);
        store.gc(&[]).unwrap();
        assert_clean(&store);
        assert_eq!(store.states().unwrap(), [kept]);
        store.load(kept).unwrap();
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 4, "{deaths}");
}
