//! A Debian system leaves as disks, which hold exactly its state and boot on both firmwares.

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::thread::UnshareFlags;
use support::debian;
use support::machine::{Firmware, Machine, missing};
use tempfile::TempDir;
use umbra_disk::{Format, write};
use umbra_state::{StateId, Tree, diff};
use umbra_store::{CaptureOptions, Store};

/// Where the root partition begins.
const ROOT_AT: u64 = 66 << 20;

/// Where a machine writes when it runs.
const WRITTEN: [&[u8]; 5] = [b"", b"etc", b"run", b"tmp", b"var"];

#[test]
fn a_debian_system_boots_from_its_disks() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: a Debian root needs root to be made");
    }
    if let Some(missing) = missing() {
        return println!("skipped: needs {missing}");
    }
    own_mounts();
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(&folder.path().join("store")).expect("a store");
    let (state, tree) = debian_state(&store, folder.path());
    let raw = folder.path().join("disk.raw");
    let qcow2 = folder.path().join("disk.qcow2");
    for (path, format) in [(&raw, Format::Raw), (&qcow2, Format::Qcow2)] {
        let file = create(path);
        let report = write(&store, state, &file, format, None).expect("a disk");
        assert!(report.warnings.is_empty(), "{report:?}");
    }
    assert_same_disks(&raw, &qcow2);
    assert_valid(&raw, &folder);
    let at = folder.path().join("at");
    fs::create_dir(&at).expect("made");
    assert_eq!(captured(&store, &raw, &at, "ro"), tree, "the root partition is the state");

    let mut bios = Machine::boot(Firmware::Bios, &raw, "raw", folder.path());
    let mut uefi = Machine::boot(Firmware::Uefi, &qcow2, "qcow2", folder.path());
    bios.await_ready();
    uefi.await_ready();
    drop((bios, uefi));
    let ran = captured(&store, &raw, &at, "rw");
    let delta = diff(&tree, &ran);
    assert!(!delta.is_empty(), "it ran");
    for change in &delta.changes {
        let top = change.path.split(|&byte| byte == b'/').next().unwrap_or_default();
        assert!(WRITTEN.contains(&top), "{change}");
    }
}

fn create(path: &Path) -> File {
    File::create_new(path).expect("a fresh file")
}

fn debian_state(store: &Store, folder: &Path) -> (StateId, Tree) {
    let root = folder.join("root");
    debian::make(&root, debian::BOOTABLE).expect("a Debian root");
    debian::configure_network(&root);
    let tree = store.capture_dir(&root, &CaptureOptions::default()).expect("captured");
    fs::remove_dir_all(&root).expect("removed");
    (store.put(&tree).expect("kept"), tree)
}

/// The tree of a disk's root partition, as the kernel shows it.
fn captured(store: &Store, disk: &Path, at: &PathBuf, access: &str) -> Tree {
    let options = format!("loop,{access},offset={ROOT_AT}");
    run(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(disk).arg(at));
    let tree = store.capture_dir(at, &CaptureOptions::default());
    unmount(at, UnmountFlags::empty()).expect("unmounted");
    tree.expect("captured")
}

/// QEMU's own reader finds the same in both.
fn assert_same_disks(raw: &Path, qcow2: &Path) {
    run(Command::new("qemu-img").args(["check", "-q"]).arg(qcow2));
    let compare = ["compare", "-q", "-f", "raw", "-F", "qcow2"];
    run(Command::new("qemu-img").args(compare).arg(raw).arg(qcow2));
}

/// Other people's readers find no fault with the table and the filesystems.
fn assert_valid(raw: &Path, folder: &TempDir) {
    let listed = run(Command::new("partx").args(["--show", "--noheadings", "-o", "NAME"]).arg(raw));
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["bios", "esp", "root"]);
    let parts = [("esp", 2, 64, vec!["fsck.fat", "-n"]), ("root", 66, 0, vec!["e2fsck", "-fn"])];
    for (name, skip, count, check) in parts {
        let part = folder.path().join(name);
        let mut copy = Command::new("dd");
        copy.args(["bs=1M", "conv=sparse", "status=none", &format!("skip={skip}")]);
        if count > 0 {
            copy.arg(format!("count={count}"));
        }
        run(copy.arg(format!("if={}", raw.display())).arg(format!("of={}", part.display())));
        run(Command::new(check[0]).args(&check[1..]).arg(&part));
        fs::remove_file(&part).expect("removed");
    }
}

/// Runs a program that must succeed; gives what it says.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// Gives this thread mounts of its own, which end with it.
fn own_mounts() {
    // SAFETY: no memory or descriptors are shared less than before; only the working directory
    // becomes the thread's own, and this test uses absolute paths.
    let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) };
    unshared.expect("a mount namespace");
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).expect("private mounts");
}
