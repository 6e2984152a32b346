//! More events than can be followed up: nothing is lost, and a receipt says what was.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use umbra_drift::watch::{Lost, Memory, Mode, Occasion, Options, Report, What};

use crate::support::{Watched, directory};
use crate::trial;

const FILES: usize = 20_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("storm::a_small_backlog_becomes_a_scan", small_backlog),
        trial("storm::the_kernels_overflow_becomes_a_scan", overflow),
        trial("storm::stopped_killed_and_mounted_over_nothing_is_lost", || {
            let outcome = crate::soak::run(120_000, 4);
            assert!(outcome.kills > 0 && outcome.mounts > 0 && outcome.files > 1000);
            outcome.check();
        }),
        trial("storm::a_directory_of_many_is_reported_in_parts", many_at_once),
        trial("storm::directories_without_end_become_a_debt", many_directories),
        trial("storm::what_cannot_be_looked_up_is_owed", no_descriptors),
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

fn many_at_once() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    let many = 20_000;
    fs::create_dir(outside.join("many")).expect("directory");
    for number in 0..many {
        fs::write(outside.join("many").join(number.to_string()), "1").expect("file");
    }
    let mut watched = Watched::new(&root);
    fs::rename(outside.join("many"), root.join("many")).expect("rename");
    let found = |watched: &Watched, there: bool| {
        let changes = watched.changes.iter().filter(|change| change.path != root);
        let paths = changes.filter(|change| change.stamp.is_some() == there);
        paths.map(|change| change.path.clone()).collect::<HashSet<_>>().len()
    };
    watched.until(|watched| watched.changes.len() > many);
    while watched.listen(std::time::Duration::from_millis(200)) {}
    assert_eq!(found(&watched, true), many + 1);
    watched.changes.clear();
    fs::rename(root.join("many"), outside.join("back")).expect("rename");
    watched.until(|watched| watched.changes.len() > many);
    while watched.listen(std::time::Duration::from_millis(200)) {}
    assert_eq!(found(&watched, false), many + 1);
    assert_eq!(watched.watcher.memory().len(), 1);
}

fn many_directories() {
    let (_keep, root) = directory();
    let many = 3000;
    for number in 0..many {
        fs::create_dir_all(root.join(number.to_string()).join("below")).expect("directory");
    }
    let mut watched = Watched::new(&root);
    for number in 0..many {
        let (from, to) = (root.join(number.to_string()), root.join(format!("{number}-renamed")));
        fs::rename(from, to).expect("rename");
    }
    watched.until(|watched| watched.receipts.len() > 1);
    while watched.listen(std::time::Duration::from_millis(300)) {}
    let appeared = |change: &&umbra_drift::watch::Change| change.what == What::Appeared;
    assert_eq!(watched.changes.iter().filter(appeared).count(), 2 * many);
    assert_eq!(watched.watcher.memory().len(), 2 * many + 1);
    assert_eq!(watched.receipts[1].occasion, Occasion::Loss);
}

fn no_descriptors() {
    let (_keep, root) = directory();
    let inner = root.join("inner");
    fs::create_dir(&inner).expect("directory");
    let mut options = Watched::options(&root);
    options.verify_every = Some(std::time::Duration::from_secs(1));
    let mut watched = Watched::with(options, Memory::default());
    fs::write(inner.join("f"), "1").expect("file");
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(3), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).expect("limit");
    let heard = watched.watcher.next(std::time::Duration::from_millis(500)).expect("report");
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limits).expect("limit");
    if let Some(Report::Receipt(receipt)) = heard {
        watched.receipts.push(receipt);
    }
    watched.until(|watched| watched.receipts.len() > 1);
    let receipt = &watched.receipts[1];
    // What could not be looked at is counted, and found as soon as it can be.
    assert_eq!(receipt.occasion, Occasion::Loss);
    assert!(matches!(receipt.lost_events, Lost::Exactly(lost) if lost > 0), "{receipt:?}");
    assert!(receipt.entries_unread > 0, "{receipt:?}");
    assert_eq!(watched.change(&inner.join("f")).what, What::Appeared);
}
