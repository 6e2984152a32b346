use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const RELEASE: &str = "6.1.0-57-cloud-amd64";

/// What the kernels of these tests must have, and may.
const SOME: [Wanted; 3] = [
    Wanted { name: "virtio_pci", required: true },
    Wanted { name: "ext4", required: true },
    Wanted { name: "erofs", required: false },
];

/// A root with a kernel, its modules packed as `pack` does it.
fn root_with(release: &str, ending: &str, pack: impl Fn(&[u8]) -> Vec<u8>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    add_kernel(dir.path(), release, ending, pack);
    dir
}

fn add_kernel(root: &Path, release: &str, ending: &str, pack: impl Fn(&[u8]) -> Vec<u8>) {
    let modules = root.join("usr/lib/modules").join(release);
    fs::create_dir_all(modules.join("kernel/virtio")).expect("made");
    fs::create_dir_all(root.join("boot")).expect("made");
    if !root.join("lib").exists() {
        symlink("usr/lib", root.join("lib")).expect("made");
    }
    let write = |path: PathBuf, bytes: &[u8]| fs::write(path, bytes).expect("written");
    write(root.join(format!("boot/vmlinuz-{release}")), &image::fake(release));
    write(modules.join("modules.order"), b"kernel/virtio/virtio.ko\nkernel/virtio/virtio_pci.ko\n");
    write(modules.join("modules.builtin"), b"kernel/fs/ext4/ext4.ko\n");
    for (name, info) in [("virtio", "depends=\0"), ("virtio_pci", "depends=virtio\0")] {
        let path = modules.join(format!("kernel/virtio/{name}.ko{ending}"));
        write(path, &pack(&modinfo::fake(info)));
    }
}

fn shelf() -> (tempfile::TempDir, Shelf) {
    let dir = tempfile::tempdir().expect("a directory");
    let shelf = Shelf::open(dir.path()).expect("a shelf");
    (dir, shelf)
}

fn found(root: &Path) -> Result<Option<Kernel>, KernelError> {
    let (_dir, shelf) = shelf();
    of_root(File::open(root).expect("opened").as_fd(), &shelf, &SOME)
}

#[track_caller]
fn check_refused(root: &Path, word: &str) {
    let error = found(root).expect_err("it cannot be used");
    let text = umbra_state::chain(&error);
    assert!(text.contains(word), "{text}");
}

#[test]
fn an_images_own_kernel_is_kept_with_its_modules_unpacked() {
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).expect("packed");
    let plain = |bytes: &[u8]| bytes.to_vec();
    let roots = [root_with(RELEASE, "", plain), root_with(RELEASE, ".zst", zstd)];
    let (_dir, shelf) = shelf();
    let kernels = roots.each_ref().map(|root| {
        let root = File::open(root.path()).expect("opened");
        of_root(root.as_fd(), &shelf, &SOME).expect("read").expect("a kernel")
    });
    assert_eq!(kernels[0], kernels[1], "the same kernel is kept once, however it is packed");
    let kernel = &kernels[0];
    assert_eq!(kernel.release, RELEASE);
    let names: Vec<&str> = kernel.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["virtio", "virtio_pci"]);
    let bytes = fs::read(&kernel.modules[1].path).expect("read");
    assert_eq!(bytes, modinfo::fake("depends=virtio\0"));
    let everyone = fs::metadata(&kernel.image).expect("there").permissions().mode() & 0o777;
    assert_eq!(everyone, 0o644);
}

#[test]
fn the_newest_whose_modules_are_there_is_taken() {
    let plain = |bytes: &[u8]| bytes.to_vec();
    let root = root_with("6.1.0-9-amd64", "", plain);
    add_kernel(root.path(), "6.1.0-10-amd64", "", plain);
    fs::write(root.path().join("boot/vmlinuz-6.2.0"), image::fake("6.2.0")).expect("written");
    let release = |root: &Path| found(root).expect("read").map(|kernel| kernel.release);
    assert_eq!(release(root.path()).as_deref(), Some("6.1.0-10-amd64"));
    add_kernel(root.path(), "6.1.0-8-cloud-amd64", "", plain);
    assert_eq!(release(root.path()).as_deref(), Some("6.1.0-10-amd64"));
    let small = File::open(root.path()).expect("opened");
    let small = newest(Root(small.as_fd()), true).expect("read").expect("a kernel");
    assert_eq!(small.release, "6.1.0-8-cloud-amd64");
    // As a package of Debian 13 is unpacked.
    fs::remove_file(root.path().join("lib")).expect("removed");
    assert_eq!(release(root.path()).as_deref(), Some("6.1.0-10-amd64"));
    let none = tempfile::tempdir().expect("a directory");
    assert_eq!(release(none.path()), None);
}

#[test]
fn a_kernel_that_cannot_be_used_says_why() {
    let plain = |bytes: &[u8]| bytes.to_vec();
    let at = |root: &tempfile::TempDir, path: &str| root.path().join(path);
    let modules = format!("usr/lib/modules/{RELEASE}");

    let bare = root_with(RELEASE, "", plain);
    fs::write(at(&bare, &format!("{modules}/modules.order")), "").expect("written");
    fs::write(at(&bare, &format!("{modules}/modules.builtin")), "").expect("written");
    check_refused(bare.path(), &format!("kernel {RELEASE}: it has no module virtio_pci, ext4"));

    let torn = root_with(RELEASE, "", plain);
    fs::write(at(&torn, &format!("{modules}/kernel/virtio/virtio.ko")), "x").expect("written");
    check_refused(torn.path(), "virtio: it is no module");

    let gone = root_with(RELEASE, "", plain);
    fs::remove_file(at(&gone, &format!("{modules}/kernel/virtio/virtio.ko"))).expect("removed");
    check_refused(gone.path(), "kernel/virtio/virtio.ko");

    let other = root_with(RELEASE, "", plain);
    fs::write(at(&other, &format!("boot/vmlinuz-{RELEASE}")), "MZ").expect("written");
    check_refused(other.path(), "no Linux kernel for x86");

    let bomb = root_with(RELEASE, ".zst", |_| {
        let mut packed = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        let zeros = io::Read::take(io::repeat(0), unpack::BYTES_MAX + 1);
        io::copy(&mut { zeros }, &mut packed).expect("packed");
        packed.finish().expect("packed")
    });
    check_refused(bomb.path(), "virtio_pci.ko.zst of a kernel: file too large");
}

#[test]
fn nothing_of_this_machine_passes_for_an_images_kernel() {
    let root = root_with(RELEASE, "", <[u8]>::to_vec);
    let outside = tempfile::tempdir().expect("a directory");
    let target = outside.path().join("vmlinuz");
    fs::write(&target, image::fake(RELEASE)).expect("written");
    let path = root.path().join(format!("boot/vmlinuz-{RELEASE}"));
    fs::remove_file(&path).expect("removed");
    symlink(&target, &path).expect("made");
    assert_eq!(found(root.path()).expect("read"), None);
}

#[test]
fn a_named_kernel_has_its_modules_beside_it() {
    let root = root_with(RELEASE, "", <[u8]>::to_vec);
    let (_dir, shelf) = shelf();
    let path = root.path().join(format!("boot/vmlinuz-{RELEASE}"));
    let named = choose(Some(&path), None, &shelf, &SOME).expect("a kernel");
    assert_eq!((named.kernel.release.as_str(), named.source), (RELEASE, Source::Named));
    let lonely = root.path().join("lonely");
    fs::write(&lonely, image::fake("9.9.9-none")).expect("written");
    let error = choose(Some(&lonely), None, &shelf, &SOME).expect_err("no modules");
    assert!(error.to_string().contains("lib/modules/9.9.9-none"), "{error}");
    choose(Some(Path::new("/nowhere/vmlinuz")), None, &shelf, &SOME).expect_err("nothing there");
}

#[test]
fn an_image_comes_before_this_machine() {
    let root = root_with(RELEASE, "", <[u8]>::to_vec);
    let (_dir, shelf) = shelf();
    let fd = File::open(root.path()).expect("opened");
    let found = choose(None, Some(fd.as_fd()), &shelf, &SOME).expect("a kernel");
    assert_eq!(found.source, Source::Image);
    assert!(found.passed_over.is_empty());
}

/// Programs in a directory that stand for apt's, with the package they fetch.
fn fake_apt(dir: &Path, cache: &str, get: &str) -> Places {
    for (name, script) in [("apt-cache", cache), ("apt-get", get)] {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    }
    Places::only(&[dir, Path::new("/usr/bin")])
}

#[test]
fn the_distributions_kernel_is_fetched_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = root_with(RELEASE, "", <[u8]>::to_vec);
    fs::create_dir(root.path().join("DEBIAN")).expect("made");
    let control = "Package: k\nVersion: 1\nArchitecture: amd64\nMaintainer: a\nDescription: b\n";
    fs::write(root.path().join("DEBIAN/control"), control).expect("written");
    let package = dir.path().join("k.package");
    let built = std::process::Command::new("dpkg-deb")
        .args(["-b", "--root-owner-group"])
        .args([root.path(), &package])
        .output()
        .expect("dpkg-deb");
    assert!(built.status.success(), "{built:?}");
    let cache = format!(
        "case \"$3\" in linux-image-cloud-amd64) echo 'Depends: linux-image-{RELEASE} (= 1)';; \
         *) echo 'Depends: kmod';; esac"
    );
    let get = format!(
        "[ \"$*\" = 'download linux-image-{RELEASE}' ] || exit 7\n\
         echo once >> {0}/fetched\ncp {1} k.deb",
        dir.path().display(),
        package.display()
    );
    let places = fake_apt(dir.path(), &cache, &get);
    let (_shelf_dir, shelf) = shelf();
    let kernels: Vec<Kernel> = std::thread::scope(|scope| {
        let fetch = || fetched(&shelf, &SOME, &places).expect("a kernel");
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(fetch)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ended")).collect()
    });
    assert_eq!(kernels[0].release, RELEASE);
    assert!(kernels.iter().all(|kernel| *kernel == kernels[0]));
    assert_eq!(fs::read_to_string(dir.path().join("fetched")).expect("read"), "once\n");
    let names = fs::read_dir(kernels[0].image.parent().expect("a directory")).expect("listed");
    assert_eq!(names.count(), 4, "the kernel, its release and two modules");
}

#[test]
fn a_kernel_that_cannot_be_fetched_says_what_to_do() {
    #[track_caller]
    fn check(cache: &str, get: &str, word: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        let places = fake_apt(dir.path(), cache, get);
        let (shelf_dir, shelf) = shelf();
        let error = fetched(&shelf, &SOME, &places).expect_err("none is fetched");
        let text = umbra_state::chain(&error);
        assert!(text.contains(word) && text.contains("--kernel"), "{text}");
        let left: Vec<_> = fs::read_dir(shelf_dir.path()).expect("listed").collect();
        assert_eq!(left.len(), 1, "the lock alone: {left:?}");
    }
    let known = "case \"$3\" in *cloud*) echo 'Depends: linux-image-1.0';; esac";
    check("echo 'E: none' >&2; exit 100", "exit 1", "apt-get update");
    check(known, "echo 'E: no\u{1b}[2J network' >&2; exit 100", "no\\u{1b}[2J network");
    check(known, "exit 0", "no kernel with modules");
    let (_shelf_dir, shelf) = shelf();
    let none = fetched(&shelf, &SOME, &Places::only(&[])).expect_err("no apt");
    assert!(umbra_state::chain(&none).contains("Debian package apt"));
}
