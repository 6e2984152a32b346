//! Where an init waits for its root: everything of a view that does not depend on what is
//! shown, made ahead, with nothing of the host left in sight.
//!
//! A user namespace may mount /proc and /sys only where it sees the host's, and half of the time
//! a view takes goes into these and /dev: so they are made here, and moved into the root when it
//! comes.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2, symlinkat};
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, move_mount,
};

use crate::sandbox::wire::{Doing, Failure};
use umbra_guest::mounts::{
    DEV_LINKS, DEVICES, attach, copy_of, make_dir, make_file, mount_point, new_mount, not_placed,
    read_only,
};

/// Files of /proc that are the machine's business. In a user namespace the kernel refuses them
/// by itself; hiding them costs nothing and covers both cases.
const PROC_HIDDEN: [&str; 6] =
    ["kcore", "keys", "kmsg", "sysrq-trigger", "timer_list", "latency_stats"];

/// Directories of /proc through which a kernel is configured.
const PROC_READ_ONLY: [&str; 5] = ["sys", "irq", "bus", "fs", "acpi"];

/// Where the root is attached before it is entered.
const ROOT: &str = "/root";

/// Leaves the host for a root of the init's own that has nothing but /proc, /sys and /dev.
pub(super) fn enter() -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private".to_owned())?;
    let inert = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let small = |size| [("mode", "0755"), ("size", size), ("nr_inodes", "4k")];
    let proc = new_mount("proc", &[], inert)?;
    let sys = new_sys(inert)?;
    // The devices in it are mounts of their own: a node made here is not a device.
    let dev = new_mount("tmpfs", &small("4m"), inert)?;
    let host_device = |name: &str| copy_of(&Path::new("/dev").join(name));
    let devices = DEVICES.map(host_device).into_iter().collect::<Result<Vec<_>, _>>()?;
    let masks = PROC_HIDDEN.map(|_| host_device("null"));
    let masks = masks.into_iter().collect::<Result<Vec<_>, _>>()?;
    leave_host(&new_mount("tmpfs", &small("64k"), inert)?)?;
    make_dir(ROOT);
    for (name, source) in [("/proc", Some(proc)), ("/sys", sys), ("/dev", Some(dev))] {
        if let Some(source) = source {
            make_dir(name);
            attach(&source, name)?;
        }
    }
    hide_in_proc(&masks)?;
    fill_dev(&devices)
}

/// Goes on to the root a view shows, taking /proc, /sys and /dev along.
///
/// Nothing below the root is trusted: the host is out of sight already, and mounts are attached
/// to directories of its own only.
pub(super) fn leave(root: &OwnedFd) -> Result<(), Failure> {
    attach(root, ROOT)?;
    rustix::process::fchdir(root).doing(|| "enter the root".to_owned())?;
    for name in ["proc", "sys", "dev"] {
        // A view without a network namespace of its own has no /sys.
        if rustix::fs::stat(format!("/{name}")).is_ok() {
            place(name)?;
        }
    }
    enter_current_dir()
}

/// sysfs shows the network namespace's own devices; without one of its own the kernel refuses
/// the mount, and the view goes without.
fn new_sys(inert: MountAttrFlags) -> Result<Option<OwnedFd>, Failure> {
    match new_mount("sysfs", &[], inert | MountAttrFlags::MOUNT_ATTR_RDONLY) {
        Ok(sys) => Ok(Some(sys)),
        Err(failure) if failure.errno == libc::EPERM => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn leave_host(antechamber: &OwnedFd) -> Result<(), Failure> {
    let doing = || "leave the host".to_owned();
    // The keeper left this process in its scratch directory, whose path root of the user
    // namespace may have no right to walk.
    let here = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(antechamber, "", CWD, "", here).doing(doing)?;
    rustix::process::fchdir(antechamber).doing(doing)?;
    enter_current_dir()
}

/// Makes the current directory, a mount's top, `/` and detaches what was `/` before: from here
/// on no path leads there.
fn enter_current_dir() -> Result<(), Failure> {
    let doing = || "make it the root".to_owned();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let former = openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::empty()).doing(doing)?;
    rustix::process::pivot_root(".", ".").doing(doing)?;
    rustix::process::fchdir(&former).doing(doing)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).doing(doing)?;
    rustix::process::chdir("/").doing(doing)
}

/// Moves a mount to the directory of the same name at the top of the root, which is the current
/// directory.
fn place(name: &str) -> Result<(), Failure> {
    let target = mount_point(CWD, name)?;
    let there = MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(CWD, format!("/{name}"), &target, "", there).doing(|| not_placed(name))
}

/// Files a kernel does not have need no hiding; one that is there and cannot be hidden is a
/// failure.
fn hide_in_proc(masks: &[OwnedFd]) -> Result<(), Failure> {
    for (name, mask) in PROC_HIDDEN.iter().zip(masks) {
        let path = format!("/proc/{name}");
        if rustix::fs::stat(&*path).is_ok() {
            attach(mask, &path)?;
        }
    }
    for name in PROC_READ_ONLY {
        let path = format!("/proc/{name}");
        if rustix::fs::stat(&*path).is_ok() {
            read_only(&path).doing(|| format!("make {path} read-only"))?;
        }
    }
    Ok(())
}

fn fill_dev(devices: &[OwnedFd]) -> Result<(), Failure> {
    for (name, device) in DEVICES.iter().zip(devices) {
        let path = format!("/dev/{name}");
        make_file(&path).doing(|| format!("make {path}"))?;
        attach(device, &path)?;
    }
    for (target, name) in DEV_LINKS {
        symlinkat(target, CWD, format!("/dev/{name}")).doing(|| format!("link /dev/{name}"))?;
    }
    for name in ["/dev/pts", "/dev/shm"] {
        mkdirat(CWD, name, Mode::from_raw_mode(0o755)).doing(|| format!("make {name}"))?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    rustix::mount::mount("devpts", "/dev/pts", "devpts", flags, options)
        .doing(|| "mount /dev/pts".to_owned())
}
