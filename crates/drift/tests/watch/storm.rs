//! More events than can be followed up: nothing is lost, and a receipt says what was.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use umbra_drift::watch::{Lost, Memory, Mode, Options};

use crate::support::{Watched, directory};
use crate::trial;

const FILES: usize = 20_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("storm::a_small_backlog_becomes_a_scan", small_backlog),
        trial("storm::the_kernels_overflow_becomes_a_scan", overflow),
    ]
}

fn small_backlog() {
    let lost = storm(|options| options.backlog_max = 500);
    assert!(matches!(lost, Lost::Exactly(events) if events > 0), "{lost:?}");
}

fn overflow() {
    // 16,384 events by default.
    let lost = storm(|options| options.unlimited_queue = false);
    assert_eq!(lost, Lost::Unknown);
}

/// Creates, changes and deletes while nobody reads; what the receipt says was lost.
#[track_caller]
fn storm(limit: impl Fn(&mut Options)) -> Lost {
    let (_keep, root) = directory();
    fs::create_dir(root.join("old")).expect("directory");
    for number in 0..100 {
        fs::write(root.join("old").join(number.to_string()), "1").expect("file");
    }
    let mut options = Watched::options(&root);
    limit(&mut options);
    let mut watched = Watched::with(options, Memory::default());
    let before = watched.receipts[0].to;
    let path = |number: usize| root.join(format!("{}/{number}", number % 16));
    for directory in 0..16 {
        fs::create_dir(root.join(directory.to_string())).expect("directory");
    }
    for number in 0..FILES {
        fs::write(path(number), "1").expect("file");
    }
    for number in (0..FILES).step_by(10) {
        fs::remove_file(path(number)).expect("removal");
    }
    fs::remove_dir_all(root.join("old")).expect("removal");

    let expected: HashSet<_> = (0..FILES).filter(|number| number % 10 != 0).map(path).collect();
    let there = |watched: &Watched| {
        let found = watched.changes.iter().filter(|change| change.stamp.is_some());
        found
            .filter(|change| expected.contains(&change.path))
            .map(|change| &change.path)
            .collect::<HashSet<_>>()
            .len()
    };
    watched.until(|watched| watched.receipts.len() > 1);
    while watched.listen(std::time::Duration::from_millis(300)) {}
    assert_eq!(there(&watched), expected.len());
    let gone = |change: &&umbra_drift::watch::Change| {
        change.stamp.is_none() && change.path.starts_with(root.join("old"))
    };
    assert_eq!(watched.changes.iter().filter(gone).count(), 101);
    // What is remembered is what is there.
    for (path, stamp) in watched.watcher.memory().iter() {
        let now = umbra_drift::watch::Stamp::of(rustix::fs::CWD, &path).expect("still there");
        assert!(now.differs(&stamp).is_empty(), "{path:?}");
    }
    assert_eq!(watched.watcher.memory().len(), expected.len() + 17);

    let receipts = || watched.receipts[1..].iter();
    assert!(receipts().all(|receipt| receipt.mode == Mode::Scan && receipt.entries_unread == 0));
    assert!(receipts().all(|receipt| receipt.from.is_some_and(|from| from < receipt.to)));
    assert!(receipts().all(|receipt| receipt.to > before));
    assert!(Path::exists(&root));
    watched.receipts[1].lost_events
}
