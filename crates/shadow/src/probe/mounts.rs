//! Overlays, images and what the store's filesystem offers, tried in a mount namespace of a
//! thread's own.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen};
use umbra_store::overlay::support::{ImageSupport, image_support};

use super::{Found, Probe, is_root, needs_root, probe};

pub(super) fn probes(store: &Path) -> Vec<Probe> {
    let tried = if is_root() { try_all(store) } else { None };
    let Tried { features, data_only, idmap } = tried.unwrap_or_else(|| Tried {
        features: needs_root(),
        data_only: needs_root(),
        idmap: needs_root(),
    });
    vec![
        probe(
            "overlay features",
            features,
            "no builds: chmod would copy whole files, directories could not be renamed, hard \
             links would break",
            "use a kernel with CONFIG_OVERLAY_FS and a store on ext4, xfs or btrfs",
        ),
        probe(
            "overlay data-only layers",
            data_only,
            "states are written out as directories, which takes time and room",
            "use Linux 6.5 or later",
        ),
        probe(
            "id-mapped mounts",
            idmap,
            "no user namespaces over the store: root in a shadow is root on this machine",
            "keep the store on ext4, xfs or btrfs, with Linux 5.12 or later",
        ),
        probe(
            "erofs images",
            erofs(store),
            "states are written out as directories, which takes time and room",
            "use a kernel with CONFIG_EROFS_FS (Debian's has it as a module: modprobe erofs)",
        ),
        probe(
            "fs-verity",
            verity(store),
            "objects are verified by umbra fsck only, not at every read",
            "keep the store on ext4 (tune2fs -O verity) or btrfs",
        ),
    ]
}

struct Tried {
    features: Found,
    data_only: Found,
    idmap: Found,
}

/// A directory for trying, removed when dropped.
struct Attempt(PathBuf);

impl Attempt {
    fn make(store: &Path) -> io::Result<Self> {
        let dir = store.join(format!(
            ".umbra-probe-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir(&dir)?;
        Ok(Self(dir))
    }

    fn dir(&self, name: &str) -> io::Result<String> {
        let dir = self.0.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir.to_string_lossy().into_owned())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Nothing can be done about it, and nothing in it matters.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn try_all(store: &Path) -> Option<Tried> {
    let attempt = Attempt::make(store).ok()?;
    let tried = Tried {
        features: features(&attempt)
            .map(|()| "metacopy, redirect_dir and index work".to_owned())
            .map_err(|error| error.to_string()),
        data_only: data_only(&attempt)
            .map(|()| "known to this kernel".to_owned())
            .map_err(|error| error.to_string()),
        idmap: idmap(&attempt)
            .map(|()| "work on this filesystem".to_owned())
            .map_err(|error| error.to_string()),
    };
    Some(tried)
}

fn overlay(options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "umbra-probe")?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(context)
}

/// A mount that is never attached ends with its descriptor.
fn features(attempt: &Attempt) -> io::Result<()> {
    let (lower, upper, work) = (attempt.dir("lower")?, attempt.dir("upper")?, attempt.dir("work")?);
    overlay(&[
        ("metacopy", "on"),
        ("redirect_dir", "on"),
        ("index", "on"),
        ("lowerdir", &lower),
        ("upperdir", &upper),
        ("workdir", &work),
    ])?;
    Ok(())
}

fn data_only(attempt: &Attempt) -> io::Result<()> {
    let (lower, data) = (attempt.dir("lower")?, attempt.dir("data")?);
    let layers = format!("{lower}::{data}");
    overlay(&[("metacopy", "on"), ("redirect_dir", "on"), ("lowerdir", &layers)])?;
    Ok(())
}

fn idmap(attempt: &Attempt) -> io::Result<()> {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let dir = attempt.dir("lower")?;
    let namespace = crate::sandbox::try_user_namespace()?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, dir, clone)?;
    umbra_store::overlay::support::map_ids(&mount, &namespace)
}

fn erofs(store: &Path) -> Found {
    let listed = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = listed.lines().any(|line| line.split_whitespace().last() == Some("erofs"));
    let how = match image_support() {
        ImageSupport::Direct if is_in_memory(store) => {
            "files are mounted through loop devices, since the store is in memory"
        }
        ImageSupport::Direct => "files are mounted directly",
        ImageSupport::Loop => "files are mounted through loop devices",
        ImageSupport::Checkout => return Err("this kernel is too old for them".to_owned()),
    };
    if known {
        return Ok(how.to_owned());
    }
    if is_root() && fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).is_ok() {
        return Ok(how.to_owned());
    }
    Err("the kernel has no erofs".to_owned())
}

/// Whether a directory is on tmpfs, whose files EROFS cannot read.
fn is_in_memory(dir: &Path) -> bool {
    const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
    rustix::fs::statfs(dir).is_ok_and(|stat| stat.f_type == TMPFS_MAGIC)
}

/// Enables it on a small file that is removed again.
fn verity(store: &Path) -> Found {
    if !is_root() {
        return needs_root();
    }
    let attempt = Attempt::make(store).map_err(|error| error.to_string())?;
    let path = attempt.0.join("file");
    let written = fs::File::create(&path).and_then(|mut file| file.write_all(b"verity"));
    written.map_err(|error| error.to_string())?;
    let file = fs::File::open(&path).map_err(|error| error.to_string())?;
    enable_verity(&file)
        .map(|()| "works on the store's filesystem".to_owned())
        .map_err(|error| format!("the store's filesystem: {error}"))
}

/// `struct fsverity_enable_arg` of the kernel's `linux/fsverity.h`.
#[repr(C)]
#[derive(Default)]
struct EnableArgument {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    sig_size: u32,
    reserved1: u32,
    sig: u64,
    reserved2: [u64; 11],
}

fn enable_verity(file: &fs::File) -> io::Result<()> {
    const ENABLE: u64 = 0x4080_6685;
    let argument =
        EnableArgument { version: 1, hash_algorithm: 1, block_size: 4096, ..Default::default() };
    // SAFETY: the argument has the layout the request expects and outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), ENABLE as _, &raw const argument) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
