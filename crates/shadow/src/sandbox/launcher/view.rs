//! Turns a freshly cloned process into a view's init: a root with /proc, /sys and /dev as a
//! container's programs expect them, and nothing of the host left in sight.
//!
//! Nothing below the new root is trusted: it is entered first, so that a symbolic link in it
//! can only lead back into it, and mounts are made afterwards.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2, symlinkat};
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount,
    open_tree,
};

use super::{end_with_parent, init, sys};
use crate::sandbox::wire::{self, Bind, Doing, Failure, InitHello, Profile, ViewSpec};

/// What an init starts from.
pub(super) struct Surroundings<'a> {
    pub(super) view: &'a ViewSpec,
    /// The root, attached nowhere yet.
    pub(super) mount: OwnedFd,
    pub(super) userns: Option<BorrowedFd<'a>>,
    pub(super) netns: Option<BorrowedFd<'a>>,
    pub(super) scratch: &'a Path,
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
    let sources = open_binds(&view.binds)?;
    let host = enter_root(&surroundings.mount, surroundings.scratch)?;
    mount_proc(view.profile)?;
    mount_sys()?;
    mount_dev(&host)?;
    for (bind, source) in view.binds.iter().zip(sources) {
        let placed = place_bind(bind, source);
        if bind.required {
            placed?;
        }
    }
    leave_host(&host)?;
    rustix::system::sethostname(view.hostname.as_bytes())
        .doing(|| "set the host name".to_owned())?;
    Ok(())
}

/// Attaches the root, makes it `/` and returns the host's old root, which is still mounted.
fn enter_root(mount: &OwnedFd, scratch: &Path) -> Result<OwnedFd, Failure> {
    let doing = || "enter the new root".to_owned();
    let host = openat2(
        CWD,
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )
    .doing(doing)?;
    let private = rustix::mount::MountPropagationFlags::PRIVATE
        | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(doing)?;
    move_mount(mount.as_fd(), "", CWD, scratch, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .doing(doing)?;
    rustix::process::chdir(scratch).doing(doing)?;
    rustix::process::pivot_root(".", ".").doing(doing)?;
    Ok(host)
}

fn leave_host(host: &OwnedFd) -> Result<(), Failure> {
    let doing = || "leave the host's root".to_owned();
    rustix::process::fchdir(host).doing(doing)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).doing(doing)?;
    rustix::process::chdir("/").doing(doing)
}

fn mount_proc(profile: Profile) -> Result<(), Failure> {
    make_dir("proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None::<&std::ffi::CStr>)
        .doing(|| "mount /proc".to_owned())?;
    for name in PROC_HIDDEN {
        // Absent on kernels built without the feature.
        let _ = bind_over("/dev/null", &format!("/proc/{name}"));
    }
    for name in PROC_READ_ONLY {
        let _ = read_only(&format!("/proc/{name}"));
    }
    let _ = profile;
    Ok(())
}

/// sysfs shows the network namespace's own devices; without one of its own the kernel refuses
/// the mount, and the view goes without.
fn mount_sys() -> Result<(), Failure> {
    make_dir("sys");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    match rustix::mount::mount("sysfs", "/sys", "sysfs", flags, None::<&std::ffi::CStr>) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(Failure::new("mount /sys", &error.into())),
    }
}

fn mount_dev(host: &OwnedFd) -> Result<(), Failure> {
    make_dir("dev");
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount("dev", "/dev", "tmpfs", flags, c"mode=0755,size=4m,nr_inodes=4k")
        .doing(|| "mount /dev".to_owned())?;
    for name in DEVICES {
        let device = open_tree(
            host,
            format!("dev/{name}"),
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )
        .doing(|| format!("open the host's /dev/{name}"))?;
        make_file(&format!("/dev/{name}")).doing(|| format!("make /dev/{name}"))?;
        attach(&device, &format!("/dev/{name}"))?;
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
    rustix::mount::mount("shm", "/dev/shm", "tmpfs", flags, c"mode=1777,size=64m")
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
    if bind.read_only { read_only_here(&bind.target).doing(doing) } else { Ok(()) }
}

fn attach(source: &OwnedFd, target: &str) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(source.as_fd(), "", CWD, target, flags).doing(|| format!("mount over {target}"))
}

fn bind_over(source: &str, target: &str) -> io::Result<()> {
    Ok(rustix::mount::mount_bind(source, target)?)
}

fn read_only(target: &str) -> io::Result<()> {
    bind_over(target, target)?;
    read_only_here(target)
}

fn read_only_here(target: &str) -> io::Result<()> {
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
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
