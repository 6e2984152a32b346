//! Every way a file can change.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_drift::watch::{Fields, Kinds, Memory, Seen, What};

use crate::support::{Watched, directory};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("changes::every_way_a_file_changes", every_way_a_file_changes),
        trial("changes::a_renamed_directory_takes_its_files_along", a_renamed_directory),
        trial("changes::what_changed_while_nobody_watched", while_nobody_watched),
        trial("changes::a_write_through_another_link_is_verified", another_link),
        trial("changes::what_comes_and_goes_is_not_reported", comes_and_goes),
        trial("changes::a_single_file", a_single_file),
        trial("changes::files_go_with_the_directory_above_them", two_files_below),
    ]
}

fn every_way_a_file_changes() {
    let (_keep, root) = directory();
    let file = root.join("hosts");
    fs::write(&file, "1\n").expect("file");
    symlink("one", root.join("link")).expect("link");
    let mut watched = Watched::new(&root);
    let changed = |what: What, fields: Fields| match what {
        What::Changed(differs) => assert!(differs.contains(fields), "{differs:?}"),
        other => panic!("{other:?}"),
    };

    let temporary = root.join("hosts.tmp");
    fs::write(&temporary, "22\n").expect("temporary");
    fs::rename(&temporary, &file).expect("rename");
    let change = watched.change(&file);
    changed(change.what, Fields::IDENTITY);
    let Seen::Events(chain) = &change.seen else { panic!("{:?}", change.seen) };
    assert!(chain.kinds.contains(Kinds::RENAME | Kinds::CREATE | Kinds::WRITTEN), "{chain:?}");
    assert!(!watched.changes.iter().any(|change| change.path == temporary));

    fs::write(&file, "333\n").expect("write");
    changed(watched.change(&file).what, Fields::SIZE);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("chmod");
    changed(watched.change(&file).what, Fields::MODE);
    chown(&file, Some(1), Some(1)).expect("chown");
    changed(watched.change(&file).what, Fields::OWNER);

    symlink("two", root.join("new")).expect("link");
    fs::rename(root.join("new"), root.join("link")).expect("swap");
    changed(watched.change(&root.join("link")).what, Fields::IDENTITY);

    fs::remove_file(&file).expect("removal");
    let change = watched.change(&file);
    assert_eq!((change.what, change.stamp), (What::Vanished, None));
}

fn a_renamed_directory() {
    let (_keep, root) = directory();
    fs::create_dir_all(root.join("a/b")).expect("directory");
    fs::write(root.join("a/b/f"), "1").expect("file");
    let mut watched = Watched::new(&root);
    // The path of `b` is known to the resolver before it becomes another.
    fs::write(root.join("a/b/f"), "2").expect("write");
    watched.change(&root.join("a/b/f"));
    fs::rename(root.join("a"), root.join("z")).expect("rename");
    watched.until(|watched| {
        let of = |path: &str, what| {
            let path = root.join(path);
            watched.changes.iter().any(|change| change.path == path && change.what == what)
        };
        of("a/b/f", What::Vanished) && of("z/b/f", What::Appeared)
    });
    watched.changes.clear();
    fs::write(root.join("z/b/f"), "333").expect("write");
    assert!(matches!(watched.change(&root.join("z/b/f")).what, What::Changed(_)));
    fs::remove_dir_all(root.join("z")).expect("removal");
    assert_eq!(watched.change(&root.join("z/b/f")).what, What::Vanished);
}

fn while_nobody_watched() {
    let (_keep, root) = directory();
    fs::write(root.join("changed"), "1").expect("file");
    fs::write(root.join("removed"), "1").expect("file");
    let memory = Watched::new(&root).watcher.memory().clone();
    fs::write(root.join("changed"), "22").expect("write");
    fs::remove_file(root.join("removed")).expect("removal");
    fs::write(root.join("new"), "1").expect("file");
    let watched = Watched::with(Watched::options(&root), memory.clone());
    let what = |name: &str| {
        let path = root.join(name);
        let change = watched.changes.iter().find(|change| change.path == path).expect("change");
        let since = match &change.seen {
            Seen::Scan { since } => *since,
            other => panic!("{other:?}"),
        };
        assert_eq!(since, memory.complete);
        change.what
    };
    assert!(matches!(what("changed"), What::Changed(_)));
    assert_eq!((what("removed"), what("new")), (What::Vanished, What::Appeared));
    let receipt = &watched.receipts[0];
    assert_eq!((receipt.from, receipt.entries_verified), (memory.complete, 4));
    assert!(receipt.to > receipt.from.expect("before"));
}

fn another_link() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    fs::write(root.join("f"), "1").expect("file");
    fs::hard_link(root.join("f"), outside.join("alias")).expect("link");
    let mut options = Watched::options(&root);
    options.verify_every = Some(Duration::from_millis(300));
    let mut watched = Watched::with(options, Memory::default());
    fs::write(outside.join("alias"), "22").expect("write");
    let change = watched.change(&root.join("f"));
    assert!(matches!(change.seen, Seen::Scan { .. }), "{change:?}");
    watched.until(|watched| watched.receipts.len() > 2);
}

fn two_files_below() {
    let (_keep, root) = directory();
    let inner = root.join("inner");
    fs::create_dir(&inner).expect("directory");
    let files = [inner.join("a"), inner.join("b")];
    files.iter().for_each(|file| fs::write(file, "1").expect("file"));
    let mut options = Watched::options(&files[0]);
    options.roots = files.to_vec();
    let mut watched = Watched::with(options, Memory::default());
    fs::rename(&inner, root.join("elsewhere")).expect("rename");
    watched.until(|watched| {
        files.iter().all(|file| watched.changes.iter().any(|change| change.path == *file))
    });
    assert!(watched.changes.iter().all(|change| change.what == What::Vanished));
}

fn comes_and_goes() {
    let (_keep, root) = directory();
    let mut watched = Watched::new(&root);
    fs::write(root.join("transient"), "1").expect("file");
    fs::remove_file(root.join("transient")).expect("removal");
    fs::write(root.join("last"), "1").expect("file");
    watched.change(&root.join("last"));
    while watched.listen(Duration::from_millis(200)) {}
    assert!(!watched.changes.iter().any(|change| change.path.ends_with("transient")));
}

fn a_single_file() {
    let (_keep, root) = directory();
    let file = root.join("resolv.conf");
    fs::write(&file, "1").expect("file");
    let mut watched = Watched::new(&file);
    fs::write(root.join("beside"), "1").expect("file");
    fs::write(&file, "22").expect("write");
    assert!(matches!(watched.change(&file).what, What::Changed(_)));
    assert!(watched.changes.is_empty());
    // It goes with a directory above it.
    let moved = root.with_extension("moved");
    fs::rename(&root, &moved).expect("rename");
    let change = watched.change(&file);
    fs::rename(&moved, &root).expect("rename back");
    assert_eq!(change.what, What::Vanished);
    assert_eq!(watched.change(&file).what, What::Appeared);
}
