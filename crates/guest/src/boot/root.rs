//! A state's root, as the host shares it, with the kernel's filesystems in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount};

use crate::failure::{Doing, Failure};
use crate::mounts::{attach, copy_of, mount, new_mount};
use crate::order::SHARE_TAG;

/// Where the host's directory is.
const SHARE: &str = "/share";
/// Where a root is put together.
const VIEW: &str = "/view";

/// The root called `dir`, attached at a place of its own.
pub(super) fn attach_view(dir: &str) -> Result<OwnedFd, Failure> {
    if dir.is_empty() || dir.contains(['/', '.']) {
        return Err(Failure::new("show what has no name", &Errno::INVAL.into()));
    }
    if !Path::new(SHARE).join(dir).exists() {
        // Mounted with the first view; a machine that was copied has it from before.
        let _ = rustix::mount::unmount(SHARE, UnmountFlags::DETACH);
        mount("virtiofs", SHARE, &[("source", SHARE_TAG)])?;
    }
    attach(&copy_of(&Path::new(SHARE).join(dir))?, VIEW)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(VIEW, flags, Mode::empty()).doing(|| format!("open {VIEW}"))
}

/// Attaches a filesystem to the directory of this name at the top of a root. A state in which that
/// is a link or a file is refused: what programs would find there is not what was mounted.
pub(super) fn place(
    root: &OwnedFd,
    name: &str,
    kind: &str,
    options: &[(&str, &str)],
) -> Result<OwnedFd, Failure> {
    let doing = || format!("mount /{name}: the state must have a directory or nothing there");
    // Existing is fine; anything else shows below.
    let _ = mkdirat(root, name, Mode::from_raw_mode(0o755));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let target = openat2(root, name, flags, Mode::empty(), resolve).doing(doing)?;
    let made = new_mount(kind, options, rustix::mount::MountAttrFlags::empty())?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(made.as_fd(), "", &target, "", both).doing(doing)?;
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
