//! What others do costs little, and never hides what is watched.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use umbra_drift::watch::What;

use crate::support::{Mounted, Watched, directory};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("cost::a_busy_directory_elsewhere_is_ignored", busy_elsewhere),
        trial("cost::an_ignored_directory_that_moves_in_is_watched", moves_in),
        trial("cost::beside_and_above_what_is_watched_nothing_is_ignored", beside),
    ]
}

fn write(directory: &Path, files: usize) {
    for number in 0..files {
        fs::write(directory.join(number.to_string()), "1").expect("file");
    }
}

/// Write what makes a directory be ignored; whether it is.
fn is_ignored(watched: &mut Watched, directory: &Path) -> bool {
    write(directory, 1000);
    while watched.listen(std::time::Duration::from_millis(100)) {}
    watched.watcher.ignored().iter().any(|ignored| ignored == directory)
}

fn busy_elsewhere() {
    // A filesystem on which nobody else works.
    let (_keep, base) = directory();
    let _mount = Mounted::new("tmpfs", &base, "").expect("tmpfs");
    let (root, outside) = (base.join("root"), base.join("outside"));
    for directory in [&root, &outside] {
        fs::create_dir(directory).expect("directory");
    }
    let mut watched = Watched::new(&root);
    if !is_ignored(&mut watched, &outside) {
        return println!("skipped: this kernel cannot ignore directories (Linux 6.0)");
    }
    let before = watched.watcher.statistics().records;
    write(&outside, 5000);
    fs::write(root.join("f"), "1").expect("file");
    watched.change(&root.join("f"));
    // Executions are delivered still, from everywhere.
    let records = watched.watcher.statistics().records - before;
    assert!(records < 2500, "{records}");
    // Renames are no matter of cost.
    fs::rename(outside.join("1"), root.join("moved")).expect("rename");
    assert_eq!(watched.change(&root.join("moved")).what, What::Appeared);
}

fn moves_in() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    let busy = outside.join("above/busy");
    fs::create_dir_all(&busy).expect("directory");
    let mut watched = Watched::new(&root);
    if !is_ignored(&mut watched, &busy) {
        return println!("skipped: this kernel cannot ignore directories (Linux 6.0)");
    }
    fs::rename(outside.join("above"), root.join("in")).expect("rename");
    fs::write(root.join("in/busy/at-once"), "1").expect("file");
    watched.change(&root.join("in/busy/at-once"));
    assert!(!watched.watcher.ignored().contains(&busy));
    while watched.listen(std::time::Duration::from_millis(100)) {}
    fs::write(root.join("in/busy/later"), "1").expect("file");
    assert_eq!(watched.change(&root.join("in/busy/later")).what, What::Appeared);
}

fn beside() {
    let (_keep, above) = directory();
    let file = above.join("watched/file");
    fs::create_dir_all(above.join("watched")).expect("directory");
    fs::write(&file, "1").expect("file");
    let mut watched = Watched::new(&file);
    for directory in [above.join("watched"), above] {
        assert!(!is_ignored(&mut watched, &directory), "{directory:?}");
    }
    fs::write(&file, "22").expect("write");
    assert!(matches!(watched.change(&file).what, What::Changed(_)));
}
