//! Namespaces, the network and the kernel's watchers.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;

use umbra_store::overlay::support::kernel_version;

use super::system::tool;
use super::{Found, Probe, is_root, needs_root, probe};

/// What Debian 13 has; below it some mounts take a detour.
const KERNEL: (u32, u32) = (6, 12);

pub(super) fn probes() -> Vec<Probe> {
    vec![
        probe(
            "kernel",
            version(),
            "states are mounted through loop devices (from 6.5) or written out as directories",
            "use Linux 6.12 or later",
        ),
        probe(
            "user namespaces",
            namespace(libc::CLONE_NEWUSER),
            "root in a shadow is root on this machine, less its rights",
            "sysctl user.max_user_namespaces=10000",
        ),
        probe(
            "network namespaces",
            root_namespace(libc::CLONE_NEWNET),
            "no isolated shadows",
            "use a kernel with CONFIG_NET_NS",
        ),
        probe(
            "pid and mount namespaces",
            root_namespace(libc::CLONE_NEWPID | libc::CLONE_NEWNS),
            "no isolated shadows",
            "use a kernel with CONFIG_PID_NS, outside a restricted container",
        ),
        probe("bridge", bridge(), "shadows have no network but loopback", "modprobe bridge veth"),
        probe(
            "locked bridge ports",
            if kernel_version() >= (5, 18) {
                Ok("known to this kernel".to_owned())
            } else {
                Err("not known to this kernel".to_owned())
            },
            "a shadow can send frames in another shadow's name",
            "use Linux 5.18 or later",
        ),
        probe(
            "nftables",
            nftables(),
            "shadows have no network but loopback",
            "apt-get install nftables",
        ),
        probe(
            "seccomp",
            seccomp(),
            "no shadows: their system calls could not be filtered",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        probe(
            "fanotify",
            fanotify(),
            "umbra watch and drift polling look at files instead of being told",
            "run as root on a kernel with CONFIG_FANOTIFY",
        ),
    ]
}

fn version() -> Found {
    let (major, minor) = kernel_version();
    let detail = format!("Linux {major}.{minor}");
    if (major, minor) >= KERNEL { Ok(detail) } else { Err(detail) }
}

fn root_namespace(kinds: i32) -> Found {
    if is_root() { namespace(kinds) } else { needs_root() }
}

/// Tries in a process of its own, which ends at once.
fn namespace(kinds: i32) -> Found {
    // SAFETY: the child of this possibly threaded process makes system calls only, none of
    // which returns to code that could take a lock.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(format!("fork: {}", io::Error::last_os_error())),
        // SAFETY: as above.
        0 => unsafe {
            let code = if libc::unshare(kinds) == 0 { 0 } else { *libc::__errno_location() };
            libc::_exit(code)
        },
        pid => match wait(pid) {
            Some(0) => Ok("can be made".to_owned()),
            Some(code) => Err(io::Error::from_raw_os_error(code).to_string()),
            None => Err("the attempt was killed".to_owned()),
        },
    }
}

fn wait(pid: i32) -> Option<i32> {
    let pid = rustix::process::Pid::from_raw(pid)?;
    let options = rustix::process::WaitOptions::empty();
    let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), options));
    waited.ok()?.and_then(|(_, status)| status.exit_status())
}

/// Made in a network namespace of its own, so that it is nobody's for a moment either.
fn bridge() -> Found {
    if !is_root() {
        return needs_root();
    }
    std::thread::spawn(|| {
        // SAFETY: only this thread, which ends with this closure, moves.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
            .map_err(|error| format!("a network namespace: {}", io::Error::from(error)))?;
        crate::sandbox::try_bridge()
            .map(|()| "can be made".to_owned())
            .map_err(|error| error.to_string())
    })
    .join()
    .unwrap_or_else(|_| Err("the attempt failed".to_owned()))
}

fn nftables() -> Found {
    let version = tool("nft", "--version")?;
    if !is_root() {
        return Err(format!("{version}; not tried: needs root"));
    }
    let listed = Command::new("nft").args(["-c", "add", "table", "inet", "umbra_probe"]).output();
    match listed {
        Ok(output) if output.status.success() => Ok(version),
        Ok(output) => {
            let said = umbra_state::escape::escape(output.stderr.trim_ascii()).to_string();
            Err(format!("{version}; the kernel refuses a table: {said}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn seccomp() -> Found {
    let path = "/proc/sys/kernel/seccomp/actions_avail";
    let actions = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    if actions.split_whitespace().any(|action| action == "errno") {
        Ok("filters can refuse calls".to_owned())
    } else {
        Err(format!("filters can only: {}", actions.trim()))
    }
}

fn fanotify() -> Found {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_REPORT_DFID_NAME;
    // SAFETY: plain call; the descriptor it returns is owned by nobody else.
    let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
    if fd < 0 {
        return Err(io::Error::last_os_error().to_string());
    }
    // SAFETY: it was just opened.
    let group = unsafe { OwnedFd::from_raw_fd(fd) };
    let mask = libc::FAN_CREATE | libc::FAN_ONDIR;
    // SAFETY: the path is a C string.
    let marked = unsafe {
        libc::fanotify_mark(
            std::os::fd::AsRawFd::as_raw_fd(&group),
            libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
            mask,
            libc::AT_FDCWD,
            c"/".as_ptr(),
        )
    };
    if marked == 0 {
        Ok("a whole filesystem can be watched".to_owned())
    } else {
        Err(format!("watching a whole filesystem: {}", io::Error::last_os_error()))
    }
}
