//! Turns a freshly cloned process into a view's init: a root with /proc, /sys and /dev as a
//! container's programs expect them, and nothing of the host left in sight.
//!
//! Nothing below the new root is trusted: it is entered and the host detached first, so that a
//! symbolic link in it can only lead back into it, and mounts are attached afterwards.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::{end_with_parent, init, sys};
use crate::sandbox::wire::{self, Bind, Doing, Failure, InitHello, ViewSpec};

/// What an init starts from.
pub(super) struct Surroundings<'a> {
    pub(super) view: &'a ViewSpec,
    /// The root, attached nowhere yet.
    pub(super) mount: OwnedFd,
    pub(super) userns: Option<BorrowedFd<'a>>,
    pub(super) netns: Option<BorrowedFd<'a>>,
}

/// Host devices every view has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links every view has in /dev.
const DEV_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Files of /proc that are the machine's business. In a user namespace the kernel refuses them
/// by itself; hiding them costs nothing and covers both cases.
const PROC_HIDDEN: [&str; 6] =
    ["kcore", "keys", "kmsg", "sysrq-trigger", "timer_list", "latency_stats"];

/// Directories of /proc through which a kernel is configured.
const PROC_READ_ONLY: [&str; 5] = ["sys", "irq", "bus", "fs", "acpi"];

/// Never returns: sets the view up, says so, and serves until it is killed.
pub(super) fn become_init(surroundings: &Surroundings<'_>, socket: &OwnedFd) -> ! {
    if let Err(failure) = set_up(surroundings) {
        let _ = wire::send(socket, &InitHello::Failed(failure), &[]);
        sys::exit(1)
    }
    let code = match wire::send(socket, &InitHello::Up, &[])
        .and_then(|()| init::serve(socket, surroundings.view.profile))
    {
        Ok(()) => 0,
        Err(_) => 1,
    };
    sys::exit(code)
}

fn set_up(surroundings: &Surroundings<'_>) -> Result<(), Failure> {
    end_with_parent().doing(|| "follow the keeper's end".to_owned())?;
    let view = surroundings.view;
    let sources = Sources::open(&view.binds)?;
    enter_root(&surroundings.mount)?;
    place_at(&sources.proc, "proc")?;
    hide_in_proc(sources.masks)?;
    if let Some(sys) = &sources.sys {
        place_at(sys, "sys")?;
    }
    place_at(&sources.dev, "dev")?;
    fill_dev(&sources.devices, view.shm_bytes_max)?;
    for (bind, source) in view.binds.iter().zip(sources.binds) {
        let placed = place_bind(bind, source);
        if bind.required {
            placed?;
        }
    }
    rustix::system::sethostname(view.hostname.as_bytes())
        .doing(|| "set the host name".to_owned())?;
    Ok(())
}

/// Every mount a view needs, opened while the host is still in sight and attached after it is
/// not: while the old root lies upon the new one, `..` at the top of a planted link would lead
/// to the host, and a user namespace may mount /proc and /sys only where it sees the host's.
struct Sources {
    proc: OwnedFd,
    sys: Option<OwnedFd>,
    dev: OwnedFd,
    devices: Vec<OwnedFd>,
    masks: Vec<OwnedFd>,
    binds: Vec<OwnedFd>,
}

impl Sources {
    fn open(binds: &[Bind]) -> Result<Self, Failure> {
        let private = rustix::mount::MountPropagationFlags::PRIVATE
            | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).doing(|| "make mounts private".to_owned())?;
        let inert = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self {
            proc: new_mount("proc", &[], inert)?,
            sys: new_sys(inert)?,
            // The devices in it are mounts of their own: a node made here is not a device.
            dev: new_mount(
                "tmpfs",
                &[("mode", "0755"), ("size", "4m"), ("nr_inodes", "4k")],
                inert,
            )?,
            devices: DEVICES.iter().map(|name| host_device(name)).collect::<Result<_, _>>()?,
            masks: PROC_HIDDEN.iter().map(|_| host_device("null")).collect::<Result<_, _>>()?,
            binds: open_binds(binds)?,
        })
    }
}

fn new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let doing = || format!("make a {kind} mount");
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).doing(doing)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).doing(doing)?;
    }
    fsconfig_create(&context).doing(doing)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing(doing)
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

fn host_device(name: &str) -> Result<OwnedFd, Failure> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, format!("/dev/{name}"), clone).doing(|| format!("open the host's /dev/{name}"))
}

/// Makes the mount `/` and detaches the host's old root: from here on no path leads out.
fn enter_root(mount: &OwnedFd) -> Result<(), Failure> {
    let doing = || "enter the new root".to_owned();
    let host = openat2(
        CWD,
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )
    .doing(doing)?;
    // The keeper left this process in its scratch directory, whose path root of the user
    // namespace may have no right to walk.
    let here = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount.as_fd(), "", CWD, "", here).doing(doing)?;
    rustix::process::fchdir(mount).doing(doing)?;
    rustix::process::pivot_root(".", ".").doing(doing)?;
    rustix::process::fchdir(&host).doing(doing)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).doing(doing)?;
    rustix::process::chdir("/").doing(doing)
}

/// Mounts over a directory at the top of the root. A state in which that is a link or a file
/// is refused: what programs would find at the name is not what was mounted.
fn place_at(source: &OwnedFd, name: &str) -> Result<(), Failure> {
    let doing = || format!("mount /{name}: the state must have a directory or nothing there");
    make_dir(name);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let target = openat2(CWD, name, flags, Mode::empty(), resolve).doing(doing)?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(source, "", &target, "", empty).doing(doing)
}

/// Files a kernel does not have need no hiding; one that is there and cannot be hidden is a
/// failure.
fn hide_in_proc(masks: Vec<OwnedFd>) -> Result<(), Failure> {
    for (name, mask) in PROC_HIDDEN.iter().zip(masks) {
        let path = format!("/proc/{name}");
        if rustix::fs::stat(&*path).is_ok() {
            attach(&mask, &path)?;
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

fn fill_dev(devices: &[OwnedFd], shm_bytes_max: u64) -> Result<(), Failure> {
    for (name, device) in DEVICES.iter().zip(devices) {
        let path = format!("/dev/{name}");
        make_file(&path).doing(|| format!("make {path}"))?;
        attach(device, &path)?;
    }
    for (target, name) in DEV_LINKS {
        symlinkat(target, CWD, format!("/dev/{name}")).doing(|| format!("link /dev/{name}"))?;
    }
    let dir = |name: &str| {
        mkdirat(CWD, name, Mode::from_raw_mode(0o755)).doing(|| format!("make {name}"))
    };
    dir("/dev/pts")?;
    dir("/dev/shm")?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    rustix::mount::mount("devpts", "/dev/pts", "devpts", flags, options)
        .doing(|| "mount /dev/pts".to_owned())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = CString::new(format!("mode=1777,size={shm_bytes_max}")).unwrap_or_default();
    rustix::mount::mount("shm", "/dev/shm", "tmpfs", flags, &*options)
        .doing(|| "mount /dev/shm".to_owned())
}

fn open_binds(binds: &[Bind]) -> Result<Vec<OwnedFd>, Failure> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    binds
        .iter()
        .map(|bind| {
            open_tree(CWD, &bind.source, clone)
                .doing(|| format!("open {} to show it inside", bind.source.display()))
        })
        .collect()
}

fn place_bind(bind: &Bind, source: OwnedFd) -> Result<(), Failure> {
    let doing = || format!("show {} at {}", bind.source.display(), bind.target);
    let is_dir = rustix::fs::statat(&source, "", AtFlags::EMPTY_PATH)
        .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
        .doing(doing)?;
    make_parents(&bind.target);
    if is_dir {
        make_dir(&bind.target);
    } else if rustix::fs::stat(&*bind.target).is_err() {
        make_file(&bind.target).doing(doing)?;
    }
    attach(&source, &bind.target)?;
    restrict(&bind.target, bind.read_only).doing(doing)
}

fn attach(source: &OwnedFd, target: &str) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(source.as_fd(), "", CWD, target, flags).doing(|| format!("mount over {target}"))
}

fn read_only(target: &str) -> io::Result<()> {
    rustix::mount::mount_bind(target, target)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount_remount(target, MountFlags::BIND | flags, "")?)
}

/// No host directory shown inside serves as a place for device nodes: a build step may make
/// them, and they would be the host's.
fn restrict(target: &str, read_only: bool) -> io::Result<()> {
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    Ok(rustix::mount::mount_remount(target, flags, "")?)
}

fn make_parents(path: &str) {
    for (at, _) in path.match_indices('/').skip(1) {
        make_dir(&path[..at]);
    }
}

/// Existing is fine; anything else shows at the mount that follows.
fn make_dir(path: &str) {
    let _ = mkdirat(CWD, path, Mode::from_raw_mode(0o755));
}

fn make_file(path: &str) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
    Ok(())
}
