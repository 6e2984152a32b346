//! Disks of a small system that nothing has to boot: what is refused, what is the same each
//! time, and what happens when there is no room.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;
use tempfile::TempDir;
use umbra_disk::{DiskError, Format, Report, write};
use umbra_state::{StateId, chain};
use umbra_store::{CaptureOptions, Store, StoreOptions, SyncPolicy};

struct Ground {
    folder: TempDir,
    store: Store,
}

impl Ground {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let options = StoreOptions { sync: SyncPolicy::Never, ..StoreOptions::default() };
        let store = Store::open_with(&folder.path().join("store"), options).expect("a store");
        Self { folder, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
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
        let tree = self.store.capture_dir(&root, &CaptureOptions::default()).expect("captured");
        fs::remove_dir_all(&root).expect("removed");
        // Times of files are of the state too.
        self.store.put(&without_times(tree)).expect("kept")
    }

    fn write(
        &self,
        name: &str,
        state: StateId,
        format: Format,
        size: Option<u64>,
    ) -> Result<Report, DiskError> {
        let file = File::create(self.path(name)).expect("a file");
        write(&self.store, state, &file, format, size)
    }
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

fn without_times(mut tree: umbra_state::Tree) -> umbra_state::Tree {
    fn dir(of: &umbra_state::Dir) -> umbra_state::Dir {
        use umbra_state::{Mtime, Node};
        let mut of = of.clone();
        of.meta.mtime = Mtime::default();
        for node in of.entries.values_mut() {
            *node = match node {
                Node::Dir(child) => Node::Dir(dir(child).into()),
                Node::Leaf(leaf) => {
                    let mut leaf = (**leaf).clone();
                    leaf.meta.mtime = Mtime::default();
                    Node::Leaf(leaf.into())
                }
            };
        }
        of
    }
    tree.root = dir(&tree.root).into();
    tree
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
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: mounting needs root");
    }
    own_mounts();
    let ground = Ground::new();
    let state = ground.state(|root| {
        let noise: Vec<u8> =
            (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(root.join("usr/large"), noise).expect("written");
    });
    let small = ground.path("small");
    fs::create_dir(&small).expect("made");
    mount("small", &small, "tmpfs", MountFlags::empty(), Some(c"size=4m")).expect("mounted");
    for format in [Format::Raw, Format::Qcow2] {
        let refused = ground.write("small/disk", state, format, None).expect_err("refused");
        assert!(chain(&refused).contains("No space left on device"), "{}", chain(&refused));
    }
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
