//! The kernel calls no library wraps, for single-threaded processes that fork.

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, with the child's id.
    Parent(i32),
}

/// Forks with further `CLONE_*` flags (namespaces, `CLONE_PARENT`).
///
/// The launcher, keepers and inits call this; none of them has a second thread, so the child
/// may run ordinary code.
pub fn fork(flags: i32) -> io::Result<Fork> {
    if flags == 0 {
        // An init has given up clone3, which system call filters cannot look into.
        // SAFETY: this process has one thread.
        return match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(Fork::Child),
            pid => Ok(Fork::Parent(pid)),
        };
    }
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    let exit_signal = if flags & libc::CLONE_PARENT == 0 { libc::SIGCHLD } else { 0 };
    let args =
        CloneArgs { flags: flags as u64, exit_signal: exit_signal as u64, ..CloneArgs::default() };
    // SAFETY: the struct is laid out as `struct clone_args` (version 0, 64 bytes) and outlives
    // the call; without CLONE_VM and a stack the child continues here on a copy of this one.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of::<CloneArgs>())
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid as i32)),
    }
}

/// Ends this process without running destructors or exit handlers of the process it was
/// forked from.
pub fn exit(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Sets the ids with which this process touches files; what it may do stays as it is only with
/// the securebit `NO_SETUID_FIXUP`.
pub fn set_filesystem_ids(id: u32) {
    // SAFETY: plain system calls without pointers; they cannot fail visibly.
    unsafe {
        libc::setfsgid(id);
        libc::setfsuid(id);
    }
}

/// Becomes these ids, real, effective and saved, with these supplementary groups.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: `groups` is valid for its length for the time of the call.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: plain system calls without pointers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(uid, uid, uid) })
}

/// Replaces this process; returns only on failure.
pub fn exec(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: both arrays end in a null pointer and their strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Gives `fd` a number that the program knows it by, open across exec.
///
/// # Errors
/// The kernel's.
pub fn become_number(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: dup2 closes what stood there: a standard descriptor, which nothing here uses by
    // value, or one of a process that does nothing but exec from here on; a descriptor already in
    // place only loses close-on-exec.
    let result = unsafe {
        if fd.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, 0)
        } else {
            libc::dup2(fd.as_raw_fd(), number)
        }
    };
    check(if result < 0 { -1 } else { 0 })
}

/// Gives all signals their default action and blocks none, as a started program expects.
pub fn reset_signals() {
    // SAFETY: SIG_DFL is a valid action for every signal that has one; an empty mask is
    // initialised by sigemptyset before use.
    unsafe {
        for signal in 1..=31 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Lets the kernel reap children by itself.
pub fn ignore_children() {
    // SAFETY: ignoring a signal runs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Blocks SIGCHLD and returns a descriptor that becomes readable at each.
pub fn child_signals() -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the set is initialised before use; the new descriptor is owned by nobody else.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd.min(0))?;
        Ok(std::os::fd::OwnedFd::from_raw_fd(fd))
    }
}

/// Closes all descriptors from this number on.
pub fn close_from(first: i32) -> io::Result<()> {
    // SAFETY: called once, first thing in the launcher's life, when nothing owns any of them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    check(result as i32)
}

/// How willingly the kernel ends this process and its future children when memory is short:
/// -1000 never, 1000 first.
pub fn set_oom_score(score: &str) -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", score)
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
