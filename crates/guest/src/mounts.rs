//! Small steps with mounts that inits take.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree,
};

use crate::failure::{Doing, Failure};

/// A new filesystem, attached nowhere.
pub fn new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    new_mount_with(kind, options, &[], attributes)
}

/// Likewise, with options that have no value.
///
/// # Errors
/// The kernel's.
pub fn new_mount_with(
    kind: &str,
    options: &[(&str, &str)],
    flags: &[&str],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let doing = || format!("make a {kind} mount");
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).doing(doing)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).doing(doing)?;
    }
    for flag in flags {
        fsconfig_set_flag(&context, *flag).doing(doing)?;
    }
    fsconfig_create(&context).doing(doing)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing(doing)
}

/// Mounts a new filesystem at a path.
///
/// # Errors
/// The kernel's.
pub fn mount(kind: &str, target: &str, options: &[(&str, &str)]) -> Result<(), Failure> {
    let attributes = MountAttrFlags::empty();
    attach(&new_mount(kind, options, attributes)?, target)
}

/// A copy of what is at a path, attached nowhere.
pub fn copy_of(path: &Path) -> Result<OwnedFd, Failure> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, clone).doing(|| format!("open {} to show it inside", path.display()))
}

/// Attaches a mount that is attached nowhere, or moves one.
pub fn attach(source: &OwnedFd, target: &str) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(source.as_fd(), "", CWD, target, flags).doing(|| format!("mount over {target}"))
}

/// Makes what is at a path unchangeable, by a mount of its own.
pub fn read_only(target: &str) -> io::Result<()> {
    rustix::mount::mount_bind(target, target)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount_remount(target, MountFlags::BIND | flags, "")?)
}

/// No host directory shown inside serves as a place for device nodes: a build step may make
/// them, and they would be the host's.
pub fn restrict(target: &str, read_only: bool) -> io::Result<()> {
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    Ok(rustix::mount::mount_remount(target, flags, "")?)
}

/// Devices every view has in /dev.
pub const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links every view has there.
pub const DEV_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// The directory of this name at the top of a state, made where there is nothing, to mount
/// something over. A state in which that is a link or a file is refused: what programs would find
/// at the name is not what was mounted.
///
/// # Errors
/// It is something else.
pub fn mount_point(root: impl AsFd, name: &str) -> Result<OwnedFd, Failure> {
    // Existing is fine; anything else shows below.
    let _ = mkdirat(&root, name, Mode::from_raw_mode(0o755));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    openat2(root, name, flags, Mode::empty(), resolve).doing(|| not_placed(name))
}

/// What fails where something cannot be mounted over a [`mount_point`].
pub fn not_placed(name: &str) -> String {
    format!("mount /{name}: the state must have a directory or nothing there")
}

/// Makes the directories above a path.
pub fn make_parents(path: &str) {
    for (at, _) in path.match_indices('/').skip(1) {
        make_dir(&path[..at]);
    }
}

/// Existing is fine; anything else shows at the mount that follows.
pub fn make_dir(path: &str) {
    let _ = mkdirat(CWD, path, Mode::from_raw_mode(0o755));
}

/// Makes an empty file where there is none.
pub fn make_file(path: &str) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
    Ok(())
}
