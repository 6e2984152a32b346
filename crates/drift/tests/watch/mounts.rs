//! Mounts over and below what is watched.

use std::fs;

use libtest_mimic::Trial;
use umbra_drift::watch::{Mechanism, Seen, What};

use crate::support::{Mounted, Watched, directory};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("mounts::a_tmpfs_is_marked", tmpfs),
        trial("mounts::a_bind_mount_of_what_is_outside_is_watched", bound_inside),
        trial("mounts::views_below_a_root_are_not_looked_into", views_below),
        trial("mounts::a_bind_mount_over_a_watched_file_is_seen", bind),
        trial("mounts::views_of_the_kernel_are_to_be_polled", views),
    ]
}

fn tmpfs() {
    let (_keep, base) = directory();
    let _mount = Mounted::new("tmpfs", &base, "size=1m").expect("tmpfs");
    let mut watched = Watched::new(&base);
    assert!(matches!(watched.coverage[0].by, Mechanism::Fanotify(_)), "{:?}", watched.coverage);
    fs::write(base.join("f"), "1").expect("file");
    assert_eq!(watched.change(&base.join("f")).what, What::Appeared);
}

fn bind() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    fs::write(root.join("f"), "right").expect("file");
    fs::write(outside.join("f"), "wrong!").expect("file");
    let mut watched = Watched::new(&root);
    let mount = Mounted::bind(&outside.join("f"), &root.join("f"));
    let change = watched.change(&root.join("f"));
    assert!(matches!((change.what, change.seen), (What::Changed(_), Seen::Mount)));
    assert_eq!(change.stamp.expect("stamp").size, 6);
    drop(mount);
    assert_eq!(watched.change(&root.join("f")).stamp.expect("stamp").size, 5);
}

fn views() {
    let watched = Watched::new("/proc/sys/vm".as_ref());
    assert_eq!(watched.coverage[0].by, Mechanism::Polled { why: rustix::io::Errno::OPNOTSUPP });
}

fn bound_inside() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    fs::create_dir(root.join("inside")).expect("directory");
    let _mount = Mounted::bind(&outside, &root.join("inside"));
    let mut watched = Watched::new(&root);
    // The event names the directory that both paths lead to.
    fs::write(outside.join("f"), "1").expect("file");
    assert_eq!(watched.change(&root.join("inside/f")).what, What::Appeared);
}

fn views_below() {
    let (_keep, root) = directory();
    fs::create_dir(root.join("proc")).expect("directory");
    let _mount = Mounted::new("proc", &root.join("proc"), "").expect("proc");
    let watched = Watched::new(&root);
    assert_eq!(watched.watcher.memory().len(), 2);
    assert!(watched.coverage.iter().any(|one| matches!(one.by, Mechanism::Polled { .. })));
}
