//! Disks of a small system that nothing has to boot: what is refused, what is the same each
//! time, and what happens when there is no room.

#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "../../store/tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use support::{Temp, mount_at};
use umbra_disk::{DiskError, Format, Report, write};
use umbra_state::{Dir, Mtime, Node, StateId, Tree, chain};

struct Ground(Temp);

impl Ground {
    fn new() -> Self {
        Self(Temp::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.folder.path().join(name)
    }

    /// The state of a small system after `change`.
    fn state(&self, change: impl FnOnce(&Path)) -> StateId {
        let root = self.path("root");
        for dir in ["boot", "etc", "usr/sbin", "usr/lib/systemd"] {
            fs::create_dir_all(root.join(dir)).expect("made");
        }
        symlink("usr/sbin", root.join("sbin")).expect("linked");
        symlink("/usr/lib/systemd/systemd", root.join("usr/sbin/init")).expect("linked");
        fs::write(root.join("usr/lib/systemd/systemd"), "init").expect("written");
        fs::write(root.join("boot/vmlinuz-6.1.0-9"), kernel()).expect("written");
        fs::write(root.join("boot/initrd.img-6.1.0-9"), vec![7; 100_000]).expect("written");
        fs::write(root.join("etc/fstab"), "# UNCONFIGURED\n").expect("written");
        change(&root);
        let tree = self.0.capture(&root);
        fs::remove_dir_all(&root).expect("removed");
        // Times of files are of the state too.
        let tree = Tree { root: without_times(&tree.root).into() };
        self.0.store.put(&tree).expect("kept")
    }

    fn write(
        &self,
        name: &str,
        state: StateId,
        format: Format,
        size: Option<u64>,
    ) -> Result<Report, DiskError> {
        let file = File::create(self.path(name)).expect("a file");
        write(&self.0.store, state, &file, format, size)
    }
}

fn without_times(dir: &Dir) -> Dir {
    let mut dir = dir.clone();
    dir.meta.mtime = Mtime::default();
    for node in dir.entries.values_mut() {
        match node {
            Node::Dir(child) => *child = without_times(child).into(),
            Node::Leaf(leaf) => std::sync::Arc::make_mut(leaf).meta.mtime = Mtime::default(),
        }
    }
    dir
}

/// For the partitions before the root and little more.
const TOO_SMALL: u64 = 70 << 20;

/// Small, for tests that read all of it.
const SMALL: Option<u64> = Some(100 << 20);

/// The beginning of a kernel for PCs.
fn kernel() -> Vec<u8> {
    let mut kernel = vec![1; 5000];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x236] = 0x3f;
    kernel
}

#[track_caller]
fn check_refused(change: impl FnOnce(&Path), expected: &str) {
    let ground = Ground::new();
    let state = ground.state(change);
    let refused = ground.write("disk", state, Format::Raw, None).expect_err("refused");
    let said = chain(&refused);
    assert!(said.contains(expected), "{said}");
}

fn remove(root: &Path, name: &str) {
    fs::remove_file(root.join(name)).expect("removed");
}

#[test]
fn what_cannot_boot_is_refused_with_what_to_add() {
    check_refused(|root| remove(root, "boot/vmlinuz-6.1.0-9"), "linux-image-cloud-amd64");
    check_refused(|root| fs::remove_dir_all(root.join("boot")).expect("removed"), "no kernel");
    check_refused(|root| remove(root, "boot/initrd.img-6.1.0-9"), "package initramfs-tools");
    check_refused(|root| remove(root, "usr/lib/systemd/systemd"), "package systemd-sysv");
    let other = |root: &Path| {
        fs::write(root.join("boot/vmlinuz-6.1.0-9"), vec![1; 5000]).expect("written");
    };
    check_refused(other, "vmlinuz-6.1.0-9 is none");
}

#[test]
fn the_newest_kernel_with_an_initrd_is_taken() {
    let ground = Ground::new();
    let state = ground.state(|root| {
        fs::write(root.join("boot/vmlinuz-6.1.0-10"), kernel()).expect("written");
    });
    ground.write("disk", state, Format::Raw, SMALL).expect("a disk");
    let disk = fs::read(ground.path("disk")).expect("read");
    let holds = |text: &str| disk.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("set kernel=/boot/vmlinuz-6.1.0-9\n"), "the other has no initial RAM disk");
}

#[test]
fn the_same_state_makes_the_same_disk() {
    let made = |format| {
        let ground = Ground::new();
        let state = ground.state(|_| {});
        ground.write("disk", state, format, SMALL).expect("a disk");
        (state, fs::read(ground.path("disk")).expect("read"))
    };
    for format in [Format::Raw, Format::Qcow2] {
        let (first, second) = (made(format), made(format));
        assert_eq!(first.0, second.0);
        assert!(first.1 == second.1, "{format:?}");
    }
}

#[test]
fn a_disk_has_the_size_that_was_asked_for_and_takes_little_room() {
    let ground = Ground::new();
    let state = ground.state(|_| {});
    let size = 40 << 30;
    for (format, name) in [(Format::Raw, "raw"), (Format::Qcow2, "qcow2")] {
        let report = ground.write(name, state, format, Some(size)).expect("a disk");
        assert_eq!(report.bytes, size);
        let on_disk = fs::metadata(ground.path(name)).expect("there").blocks() * 512;
        assert!(on_disk < 32 << 20, "{name}: {on_disk}");
    }
    assert_eq!(fs::metadata(ground.path("raw")).expect("there").len(), size);
    let small = ground.write("small", state, Format::Raw, Some(TOO_SMALL)).expect_err("refused");
    assert!(matches!(small, DiskError::TooSmall { .. }), "{small:?}");
    let large = ground.write("large", state, Format::Raw, Some(u64::MAX)).expect_err("refused");
    assert!(matches!(large, DiskError::TooLarge(_)), "{large:?}");
}

#[test]
fn the_least_size_that_is_named_is_enough() {
    let ground = Ground::new();
    let state = ground.state(|_| {});
    let small = ground.write("small", state, Format::Raw, Some(TOO_SMALL)).expect_err("refused");
    let DiskError::TooSmall { needed, .. } = small else { panic!("{small:?}") };
    assert!(needed < 100 << 20, "{needed}");
    ground.write("least", state, Format::Raw, Some(needed)).expect("a disk");
}

#[test]
fn what_fstab_says_otherwise_is_told() {
    let ground = Ground::new();
    let state = ground.state(|root| {
        fs::write(root.join("etc/fstab"), "/dev/sda1 / ext4 defaults 0 1\n").expect("written");
    });
    let report = ground.write("disk", state, Format::Raw, None).expect("a disk");
    assert!(report.warnings[0].contains("has / on /dev/sda1"), "{report:?}");
}

#[test]
fn a_full_disk_is_told() {
    need_root!();
    let ground = Ground::new();
    let state = ground.state(|root| {
        let noise: Vec<u8> =
            (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(root.join("usr/large"), noise).expect("written");
    });
    let _small = mount_at("tmpfs", &ground.0.dir("small"), "size=4m").expect("mounted");
    for format in [Format::Raw, Format::Qcow2] {
        let refused = ground.write("small/disk", state, format, None).expect_err("refused");
        assert!(chain(&refused).contains("No space left on device"), "{}", chain(&refused));
    }
}
