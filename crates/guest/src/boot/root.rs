//! A state's root, as the host shares it, with the kernel's filesystems in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount};

use crate::failure::{Doing, Failure};
use crate::mounts::{attach, copy_of, mount, mount_point, new_mount, new_mount_with, not_placed};
use crate::order::{ROOT_DISK, Root, SHARE_TAG};

/// Where the host's directory is.
const SHARE: &str = "/share";
/// Where a root is put together.
const VIEW: &str = "/view";

/// The root, attached at a place of its own.
pub(super) fn attach_view(root: &Root) -> Result<OwnedFd, Failure> {
    match root {
        Root::Shared(name) => attach(&shared(name)?, VIEW)?,
        Root::Disk => attach(&on_disk()?, VIEW)?,
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(VIEW, flags, Mode::empty()).doing(|| format!("open {VIEW}"))
}

fn shared(name: &str) -> Result<OwnedFd, Failure> {
    if name.is_empty() || name.contains(['/', '.']) {
        return Err(Failure::new("show what has no name", &Errno::INVAL.into()));
    }
    let place = Path::new(SHARE).join(name);
    if !place.exists() {
        // With the first view; later ones appear where it is mounted.
        mount("virtiofs", SHARE, &[("source", SHARE_TAG)])?;
    }
    copy_of(&place)
}

/// The disk's files, with what is written to them in memory.
fn on_disk() -> Result<OwnedFd, Failure> {
    mount("tmpfs", SHARE, &[("mode", "0700")])?;
    for dir in ["lower", "upper", "work"] {
        let made = mkdirat(CWD, Path::new(SHARE).join(dir), Mode::from_raw_mode(0o755));
        made.doing(|| format!("make {SHARE}/{dir}"))?;
    }
    let disk = find_disk()?;
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let files = new_mount_with("erofs", &[("source", &disk)], &["ro"], read_only)?;
    attach(&files, &format!("{SHARE}/lower"))?;
    let dir = |name: &str| format!("{SHARE}/{name}");
    let (lower, upper, work) = (dir("lower"), dir("upper"), dir("work"));
    let options = [
        ("source", "umbra"),
        ("lowerdir", lower.as_str()),
        ("upperdir", upper.as_str()),
        ("workdir", work.as_str()),
    ];
    new_mount("overlay", &options, MountAttrFlags::empty())
}

/// The device whose serial number says that a root is on it.
fn find_disk() -> Result<String, Failure> {
    let none = || Failure::new("find the disk with the root", &Errno::NODEV.into());
    let disks = std::fs::read_dir("/sys/block").doing(|| "list disks".to_owned())?;
    let is_root = |name: &String| {
        let serial = std::fs::read_to_string(format!("/sys/block/{name}/serial"));
        serial.is_ok_and(|serial| serial.trim_end() == ROOT_DISK)
    };
    let mut names = disks.flatten().filter_map(|disk| disk.file_name().into_string().ok());
    names.find(is_root).map(|name| format!("/dev/{name}")).ok_or_else(none)
}

/// Attaches a new filesystem to the directory of this name at the top of a root.
pub(super) fn place(
    root: &OwnedFd,
    name: &str,
    kind: &str,
    options: &[(&str, &str)],
) -> Result<OwnedFd, Failure> {
    let target = mount_point(root, name)?;
    let made = new_mount(kind, options, MountAttrFlags::empty())?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(made.as_fd(), "", &target, "", both).doing(|| not_placed(name))?;
    Ok(made)
}

/// Makes the view this process's root. The first root a kernel has cannot be exchanged, so it is
/// covered.
pub(super) fn enter() -> Result<(), Failure> {
    let doing = || "enter the view".to_owned();
    rustix::process::chdir(VIEW).doing(doing)?;
    move_mount(CWD, ".", CWD, "/", MoveMountFlags::empty()).doing(doing)?;
    rustix::process::chroot(".").doing(doing)?;
    rustix::process::chdir("/").doing(doing)
}
