//! Filesystems that cannot be marked as a whole, and watching without privileges.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use umbra_drift::watch::who::Known;
use umbra_drift::watch::{Mechanism, Seen, What};

use crate::support::{Mounted, Watched, directory, writers};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("ladder::an_overlay_is_marked_by_directory_and_says_who", overlay),
        trial("ladder::programs_of_an_overlay_are_known", overlay_programs),
        trial("ladder::a_single_file_of_an_overlay", overlay_file),
        trial("ladder::a_btrfs_subvolume_is_marked_by_directory", btrfs),
        trial("ladder::xfs_is_marked_as_a_whole", xfs),
        trial("ladder::without_privileges_inotify_watches", unprivileged),
    ]
}

struct Overlay {
    merged: PathBuf,
    _mount: Mounted,
    _keep: tempfile::TempDir,
}

/// An overlay with a file in its lower layer; says why if there is none.
fn mounted_overlay() -> Option<Overlay> {
    let (keep, base) = directory();
    for name in ["lower/sub", "upper", "work", "merged"] {
        fs::create_dir_all(base.join(name)).expect("directory");
    }
    fs::write(base.join("lower/sub/f"), "1").expect("file");
    let at = |name: &str| base.join(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    let merged = base.join("merged");
    match Mounted::new("overlay", &merged, &options) {
        Ok(mount) => Some(Overlay { merged, _mount: mount, _keep: keep }),
        Err(error) => {
            println!("skipped: no overlay can be mounted here: {error}");
            None
        }
    }
}

fn overlay() {
    let Some(Overlay { merged, .. }) = &mounted_overlay() else { return };
    let mut watched = Watched::new(merged);
    assert_eq!(watched.coverage[0].kind, "overlay");
    match watched.coverage[0].by {
        Mechanism::Directories { watches, unwatched, why, .. } => {
            assert_eq!((watches, unwatched, why), (2, 0, Errno::OPNOTSUPP));
        }
        // Before Linux 6.6.
        Mechanism::Inotify { why, .. } => {
            println!("skipped: this kernel's overlays have no handles ({why})");
            return;
        }
        ref other => panic!("{other:?}"),
    }
    every_change_below(&mut watched, merged, true);
    // None of it was a gap.
    assert_eq!(watched.receipts.len(), 1, "{:?}", watched.receipts);
}

/// Changes of files and trees; `sub/f` is there.
fn every_change_below(watched: &mut Watched, top: &Path, who: bool) {
    let shell = |script: &str| {
        let status = Command::new("sh").args(["-c", script]).current_dir(top).status();
        assert!(status.expect("shell").success());
    };
    let by_shell = |change: &umbra_drift::watch::Change| {
        let known = writers(change).iter().any(|name| ["sh", "dash", "bash"].contains(&&name[..]));
        assert_eq!(known, who, "{change:#?}");
    };
    // From the lower layer, if there is one: the directory is copied up.
    shell("echo 22 > sub/f");
    let change = watched.change(&top.join("sub/f"));
    assert!(matches!(change.what, What::Changed(_)), "{change:?}");
    by_shell(&change);
    shell("echo 333 > sub/f");
    by_shell(&watched.change(&top.join("sub/f")));
    // A tree that appears at once is seen to its leaves.
    fs::create_dir_all(top.join("a/b/c")).expect("directory");
    fs::write(top.join("a/b/c/f"), "1").expect("file");
    assert_eq!(watched.change(&top.join("a/b/c/f")).what, What::Appeared);
    while watched.listen(std::time::Duration::from_millis(200)) {}
    shell("echo 22 > a/b/c/f");
    by_shell(&watched.change(&top.join("a/b/c/f")));
    fs::rename(top.join("a"), top.join("z")).expect("rename");
    watched.change(&top.join("z/b/c/f"));
    while watched.listen(std::time::Duration::from_millis(200)) {}
    shell("echo 333 > z/b/c/f");
    by_shell(&watched.change(&top.join("z/b/c/f")));
    shell("echo 1 > z/new && mv z/new z/b/renamed");
    by_shell(&watched.change(&top.join("z/b/renamed")));
    fs::remove_file(top.join("sub/f")).expect("removal");
    assert_eq!(watched.change(&top.join("sub/f")).what, What::Vanished);
    fs::remove_dir_all(top.join("z")).expect("removal");
    assert_eq!(watched.change(&top.join("z/b/c/f")).what, What::Vanished);
}

fn overlay_programs() {
    let Some(Overlay { merged, .. }) = &mounted_overlay() else { return };
    // A program that lies on the overlay itself, and is gone when it is asked about.
    let shell = fs::canonicalize("/bin/sh").expect("shell");
    let program = merged.join("program");
    fs::copy(shell, &program).expect("program");
    let mut watched = Watched::new(merged);
    if !matches!(watched.coverage[0].by, Mechanism::Directories { .. }) {
        return println!("skipped: this kernel's overlays have no handles");
    }
    for number in 0..20 {
        let file = merged.join(number.to_string());
        let status = Command::new(&program).args(["-c", "echo 1 > \"$0\""]).arg(&file).status();
        assert!(status.expect("program").success());
    }
    watched.until(|watched| watched.changes.len() >= 20);
    for change in watched.changes.iter().filter(|change| change.path != program) {
        let Seen::Events(chain) = &change.seen else { panic!("{change:?}") };
        let writer = chain.writers.last().expect("writer");
        assert_eq!((writer.program.exe.as_ref(), writer.known), (Some(&program), Known::Replayed));
    }
}

fn overlay_file() {
    let Some(Overlay { merged, .. }) = &mounted_overlay() else { return };
    let file = merged.join("sub/f");
    let mut watched = Watched::new(&file);
    fs::write(merged.join("sub/beside"), "1").expect("file");
    fs::write(merged.join("sub/f.new"), "22").expect("file");
    fs::rename(merged.join("sub/f.new"), &file).expect("rename");
    assert!(matches!(watched.change(&file).what, What::Changed(_)));
    assert!(watched.changes.is_empty());
    fs::remove_file(&file).expect("removal");
    assert_eq!(watched.change(&file).what, What::Vanished);
}

/// A filesystem made of a file, mounted; says why if there is none.
fn loop_mounted(kind: &str) -> Option<(tempfile::TempDir, PathBuf, Mounted)> {
    let known = fs::read_to_string("/proc/filesystems").expect("filesystems");
    let make = format!("mkfs.{kind}");
    if Command::new(&make).arg("-V").output().is_err() || !known.contains(kind) {
        println!("skipped: this machine cannot make {kind} ({make}, kernel module)");
        return None;
    }
    let (keep, base) = directory();
    let (image, at) = (base.join("image"), base.join("at"));
    fs::File::create(&image).expect("image").set_len(320 << 20).expect("size");
    fs::create_dir(&at).expect("directory");
    let run = |program: &str, arguments: &[&Path]| {
        let output = Command::new(program).args(arguments).output().expect("program");
        assert!(output.status.success(), "{program}: {output:?}");
    };
    run(&make, &["-q".as_ref(), &image]);
    run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &at]);
    let mount = Mounted::adopt(&at);
    Some((keep, at, mount))
}

fn btrfs() {
    let Some((_keep, at, _mount)) = &loop_mounted("btrfs") else { return };
    let volume = at.join("volume");
    let made = Command::new("btrfs").args(["subvolume", "create"]).arg(&volume).output();
    assert!(made.expect("btrfs").status.success());
    fs::create_dir(volume.join("sub")).expect("directory");
    fs::write(volume.join("sub/f"), "1").expect("file");
    let mut watched = Watched::new(&volume);
    match watched.coverage[0].by {
        Mechanism::Directories { why: Errno::XDEV, unwatched: 0, .. } => {
            every_change_below(&mut watched, &volume, true);
        }
        // Before Linux 6.8.
        Mechanism::Inotify { why: Errno::XDEV, .. } => {
            every_change_below(&mut watched, &volume, false);
        }
        ref other => panic!("{other:?}"),
    }
}

fn xfs() {
    let Some((_keep, at, _mount)) = &loop_mounted("xfs") else { return };
    fs::create_dir(at.join("sub")).expect("directory");
    fs::write(at.join("sub/f"), "1").expect("file");
    let mut watched = Watched::new(at);
    assert!(matches!(watched.coverage[0].by, Mechanism::Fanotify(_)), "{:?}", watched.coverage);
    every_change_below(&mut watched, at, true);
}

fn unprivileged() {
    let (_keep, root) = directory();
    fs::create_dir(root.join("sub")).expect("directory");
    fs::write(root.join("sub/f"), "1").expect("file");
    // Capabilities are a thread's own.
    let thread = std::thread::spawn(move || {
        let mut sets = capabilities(None).expect("capabilities");
        sets.effective.remove(CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, sets).expect("fewer capabilities");
        for unlimited_queue in [true, false] {
            let mut options = Watched::options(&root);
            options.unlimited_queue = unlimited_queue;
            let mut watched = Watched::with(options, Default::default());
            let by = &watched.coverage[0].by;
            assert!(matches!(by, Mechanism::Inotify { why: Errno::PERM, .. }), "{by:?}");
            every_change_below(&mut watched, &root, false);
            fs::create_dir_all(root.join("sub")).expect("directory");
            fs::write(root.join("sub/f"), "1").expect("file");
        }
    });
    thread.join().expect("watched");
}
