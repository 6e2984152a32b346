//! A Debian system leaves as disks, which hold exactly its state and boot on both firmwares.

#[path = "../../../agent/tests/systemd/debian.rs"]
mod debian;
mod machine;
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "../../../store/tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use machine::{Firmware, Machine, missing};
use rustix::mount::{UnmountFlags, unmount};
use support::{Temp, assert_same};
use umbra_disk::{Format, write};
use umbra_state::{StateId, Tree, diff};

/// Of a system that boots by itself, and a web server.
const PACKAGES: &str = "systemd-sysv,dbus,udev,linux-image-cloud-amd64,initramfs-tools,nginx-light";

/// Where the root partition begins.
const ROOT_AT: u64 = 66 << 20;

/// Where a machine writes when it runs.
const WRITTEN: [&[u8]; 5] = [b"", b"etc", b"run", b"tmp", b"var"];

#[test]
fn a_debian_system_boots_from_its_disks() {
    need_root!();
    if let Some(missing) = missing() {
        return support::skipped(&format!("needs {missing}"));
    }
    let temp = Temp::new();
    let folder = temp.folder.path();
    let (state, tree) = debian_state(&temp);
    let (raw, qcow2) = (folder.join("disk.raw"), folder.join("disk.qcow2"));
    for (path, format) in [(&raw, Format::Raw), (&qcow2, Format::Qcow2)] {
        let file = File::create_new(path).expect("a fresh file");
        let report = write(&temp.store, state, &file, format, None).expect("a disk");
        assert!(report.warnings.is_empty(), "{report:?}");
    }
    assert_same_disks(&raw, &qcow2);
    assert_valid(&raw, folder);
    let at = temp.dir("at");
    assert_same(&temp.store, &tree, &captured(&temp, &raw, &at, "ro"), "the root partition");

    let mut bios = Machine::boot(Firmware::Bios, &raw, "raw", folder);
    let mut uefi = Machine::boot(Firmware::Uefi, &qcow2, "qcow2", folder);
    bios.await_ready();
    uefi.await_ready();
    drop((bios, uefi));
    let ran = captured(&temp, &raw, &at, "rw");
    let delta = diff(&tree, &ran);
    assert!(!delta.is_empty(), "it ran");
    for change in &delta.changes {
        let top = change.path.split(|&byte| byte == b'/').next().unwrap_or_default();
        assert!(WRITTEN.contains(&top), "{change}");
    }
}

fn debian_state(temp: &Temp) -> (StateId, Tree) {
    let root = temp.folder.path().join("root");
    debian::make(&root, "minbase", PACKAGES).expect("a Debian root");
    configure_network(&root);
    let tree = temp.capture(&root);
    fs::remove_dir_all(&root).expect("removed");
    (temp.store.put(&tree).expect("kept"), tree)
}

/// Has it ask for an address on whatever network card it finds.
fn configure_network(root: &Path) {
    let network = "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n";
    fs::write(root.join("etc/systemd/network/80-dhcp.network"), network).expect("written");
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).expect("made");
    let unit = "/lib/systemd/system/systemd-networkd.service";
    symlink(unit, wants.join("systemd-networkd.service")).expect("enabled");
}

/// The tree of a disk's root partition, as the kernel shows it.
fn captured(temp: &Temp, disk: &Path, at: &Path, access: &str) -> Tree {
    let options = format!("loop,{access},offset={ROOT_AT}");
    run(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(disk).arg(at));
    let tree = temp.capture(at);
    unmount(at, UnmountFlags::empty()).expect("unmounted");
    tree
}

/// QEMU's own reader finds the same in both.
fn assert_same_disks(raw: &Path, qcow2: &Path) {
    run(Command::new("qemu-img").args(["check", "-q"]).arg(qcow2));
    let compare = ["compare", "-q", "-f", "raw", "-F", "qcow2"];
    run(Command::new("qemu-img").args(compare).arg(raw).arg(qcow2));
}

/// Other people's readers find no fault with the table and the filesystems.
fn assert_valid(raw: &Path, folder: &Path) {
    let listed = run(Command::new("partx").args(["--show", "--noheadings", "-o", "NAME"]).arg(raw));
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["bios", "esp", "root"]);
    let parts = [("esp", 2, 64, vec!["fsck.fat", "-n"]), ("root", 66, 0, vec!["e2fsck", "-fn"])];
    for (name, skip, count, check) in parts {
        let part = folder.join(name);
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
