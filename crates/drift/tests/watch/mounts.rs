//! Filesystems without marks, and mounts over what is watched.

use std::fs;

use libtest_mimic::Trial;
use umbra_drift::watch::{Mechanism, Seen, What};

use crate::support::{Mounted, Watched, directory};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("mounts::overlayfs_falls_back_to_inotify", overlay),
        trial("mounts::a_tmpfs_is_marked", tmpfs),
        trial("mounts::btrfs_subvolumes_fall_back_to_inotify", btrfs),
        trial("mounts::a_bind_mount_over_a_watched_file_is_seen", bind),
        trial("mounts::views_of_the_kernel_are_to_be_polled", views),
    ]
}

fn overlay() {
    let (_keep, base) = directory();
    for name in ["lower/sub", "upper", "work", "merged"] {
        fs::create_dir_all(base.join(name)).expect("directory");
    }
    fs::write(base.join("lower/sub/f"), "1").expect("file");
    let at = |name: &str| base.join(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    let merged = base.join("merged");
    let _mount = match Mounted::new("overlay", &merged, &options) {
        Ok(mount) => mount,
        Err(error) => return println!("skipped: no overlay can be mounted here: {error}"),
    };
    let mut watched = Watched::new(&merged);
    assert_eq!(watched.coverage[0].kind, "overlay");
    let Mechanism::Inotify { watches, unwatched, why } = watched.coverage[0].by else {
        panic!("{:?}", watched.coverage)
    };
    assert_eq!((watches, unwatched, why), (3, 0, rustix::io::Errno::OPNOTSUPP));

    fs::write(merged.join("sub/f"), "22").expect("write");
    assert!(matches!(watched.change(&merged.join("sub/f")).what, What::Changed(_)));
    // A tree that appears at once is seen to its leaves.
    fs::create_dir_all(merged.join("a/b/c")).expect("directory");
    fs::write(merged.join("a/b/c/f"), "1").expect("file");
    assert_eq!(watched.change(&merged.join("a/b/c/f")).what, What::Appeared);
    fs::rename(merged.join("a"), merged.join("z")).expect("rename");
    watched.change(&merged.join("z/b/c/f"));
    fs::write(merged.join("z/b/c/f"), "22").expect("write");
    assert!(matches!(watched.change(&merged.join("z/b/c/f")).what, What::Changed(_)));
    fs::remove_file(merged.join("sub/f")).expect("removal");
    assert_eq!(watched.change(&merged.join("sub/f")).what, What::Vanished);
}

fn tmpfs() {
    let (_keep, base) = directory();
    let _mount = Mounted::new("tmpfs", &base, "size=1m").expect("tmpfs");
    let mut watched = Watched::new(&base);
    assert!(matches!(watched.coverage[0].by, Mechanism::Fanotify(_)), "{:?}", watched.coverage);
    fs::write(base.join("f"), "1").expect("file");
    assert_eq!(watched.change(&base.join("f")).what, What::Appeared);
}

fn btrfs() {
    let known = fs::read_to_string("/proc/filesystems").expect("filesystems");
    let makes = std::process::Command::new("mkfs.btrfs").arg("--version").output().is_ok();
    if !makes || !known.contains("btrfs") {
        return println!("skipped: this machine cannot make a btrfs (btrfs-progs, kernel module)");
    }
    let (_keep, base) = directory();
    let image = base.join("image");
    let file = fs::File::create(&image).expect("image");
    file.set_len(256 << 20).expect("size");
    let at = base.join("at");
    fs::create_dir(&at).expect("directory");
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let status = std::process::Command::new(program).args(arguments).status();
        assert!(status.expect("program").success(), "{program}");
    };
    run("mkfs.btrfs", &["-q".as_ref(), image.as_ref()]);
    run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()]);
    let _mount = Mounted::adopt(&at);
    let volume = at.join("volume");
    run("btrfs", &["subvolume".as_ref(), "create".as_ref(), volume.as_ref()]);
    let mut watched = Watched::new(&volume);
    assert!(
        matches!(watched.coverage[0].by, Mechanism::Inotify { why: rustix::io::Errno::XDEV, .. }),
        "{:?}",
        watched.coverage
    );
    fs::write(volume.join("f"), "1").expect("file");
    assert_eq!(watched.change(&volume.join("f")).what, What::Appeared);
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
