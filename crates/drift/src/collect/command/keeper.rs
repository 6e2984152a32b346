//! The keeper of a program, and the way from it to the program: system calls only.
//!
//! Both run in a copy of a process that had threads, where a lock may be held for ever: nothing
//! here allocates, locks or panics. User and group are set by the kernel's own calls, since the
//! C library's signal the threads it believes to be there.

use super::start::{Ends, Plan, Root, raw_clone};

/// Arguments and environment as the kernel wants them.
pub(super) struct Lists<'a> {
    pub(super) argv: &'a [*const libc::c_char],
    pub(super) environment: &'a [*const libc::c_char],
}

/// What became of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// It ended with this status, as `waitpid` gives it.
    Ended(i32),
    /// It did not begin: at this stage, with this error.
    Failed(Stage, i32),
}

/// On the way to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A process for it.
    Process,
    /// The directory as its root.
    Root,
    /// The user it runs as.
    User,
    /// The program itself.
    Program,
}

/// The program's own exit, by which the keeper learns the stage it failed in.
const STAGES: [Stage; 4] = [Stage::Process, Stage::Root, Stage::User, Stage::Program];

impl Report {
    fn bytes(self) -> [u8; 8] {
        let (first, second) = match self {
            Self::Ended(status) => (-1, status),
            Self::Failed(stage, error) => (stage as i32, error),
        };
        let mut bytes = [0; 8];
        for (to, from) in
            bytes.iter_mut().zip(first.to_ne_bytes().into_iter().chain(second.to_ne_bytes()))
        {
            *to = from;
        }
        bytes
    }

    pub(super) fn read(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        let second = i32::from_ne_bytes([e, f, g, h]);
        let stage = usize::try_from(i32::from_ne_bytes([a, b, c, d])).ok();
        match stage.and_then(|stage| STAGES.get(stage)) {
            Some(stage) => Self::Failed(*stage, second),
            None => Self::Ended(second),
        }
    }
}

/// Runs the plan's program until it ends or the hold is given up, ends all that came of it,
/// reports, and ends.
pub(super) fn keep(plan: &Plan, lists: &Lists<'_>, ends: Ends, own_processes: bool) -> ! {
    let report = kept(plan, lists, ends, own_processes);
    let bytes = report.bytes();
    // SAFETY: the buffer is valid for its length; a report nobody waits for is lost.
    unsafe {
        libc::write(ends.report, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(0)
    }
}

fn kept(plan: &Plan, lists: &Lists<'_>, ends: Ends, own_processes: bool) -> Report {
    // SAFETY: plain system calls on numbers.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        // Signals meant for the collector's process group or typed at its terminal are not for
        // the keeper, which must outlive what it keeps.
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    if let Some(root) = &plan.root
        && let Err(error) = enter(root)
    {
        return Report::Failed(Stage::Root, error);
    }
    let program = raw_clone(0);
    if program == 0 {
        let (stage, error) = become_program(plan, lists, ends);
        let bytes = Report::Failed(stage, error).bytes();
        // SAFETY: as in `keep`.
        unsafe {
            libc::write(ends.report, bytes.as_ptr().cast(), bytes.len());
            libc::_exit(127)
        }
    }
    // SAFETY: the keeper has no use for these; their readers wait for the last one to go.
    unsafe {
        libc::close(ends.output);
        libc::close(ends.errors);
        libc::close(ends.null);
        close_others(ends.report, ends.hold);
    }
    if program < 0 {
        return Report::Failed(Stage::Process, -program);
    }
    let status = wait(program, ends.hold);
    if !own_processes {
        end_children();
    }
    Report::Ended(status)
}

/// Closes what the keeper inherited besides these two: other pipes' ends among it, whose
/// readers would wait for this keeper.
///
/// # Safety
/// Nothing in this process may own a descriptor any more.
unsafe fn close_others(one: i32, other: i32) {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, i32::MAX)] {
        if first <= last {
            // SAFETY: a plain system call on numbers.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// The program's status when it has ended, or was ended because the hold was given up.
fn wait(program: i32, hold: i32) -> i32 {
    let mut status = 0;
    // SAFETY: a plain system call on numbers.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, program, 0) } as i32;
    let mut both = [
        libc::pollfd { fd: hold, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: handle, events: libc::POLLIN, revents: 0 },
    ];
    // Nothing is ever written to the hold, so any event there is its end. Without a handle the
    // collector's patience ends the program.
    // SAFETY: the array is valid for its length.
    while unsafe { libc::poll(both.as_mut_ptr(), both.len() as libc::nfds_t, -1) } < 0
        && errno() == libc::EINTR
    {}
    // SAFETY: plain system calls; the program is our child and not waited for before.
    unsafe {
        libc::kill(program, libc::SIGKILL);
        while libc::waitpid(program, &raw mut status, 0) < 0 && errno() == libc::EINTR {}
    }
    status
}

/// Ends everything that is left below this process. The orphans of what is ended become its
/// children, so this goes on until there is none.
fn end_children() {
    let path = c"/proc/thread-self/children";
    // What multiplies faster than it is ended is given up in the end, rather than never.
    for _ in 0..100_000 {
        let mut text = [0u8; 4096];
        // SAFETY: the path is a C string; the buffer is valid for its length; the descriptor is
        // closed once.
        let count = unsafe {
            let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return;
            }
            let count = libc::read(file, text.as_mut_ptr().cast(), text.len());
            libc::close(file);
            count
        };
        let listed = usize::try_from(count).ok().and_then(|count| text.get(..count));
        let mut number = 0i32;
        for byte in listed.unwrap_or_default() {
            if byte.is_ascii_digit() {
                number = number.saturating_mul(10).saturating_add(i32::from(byte - b'0'));
                continue;
            }
            if number > 1 {
                // SAFETY: plain system calls; only our own children are listed.
                unsafe { libc::kill(number, libc::SIGKILL) };
            }
            number = 0;
        }
        // SAFETY: no status is asked for.
        if unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } < 0 && errno() == libc::ECHILD {
            return;
        }
    }
}

/// From a copy of the collector to the program; returns only what went wrong.
fn become_program(plan: &Plan, lists: &Lists<'_>, ends: Ends) -> (Stage, i32) {
    // SAFETY: plain system calls on numbers and on C strings that outlive them; the lists end
    // with a null pointer.
    unsafe {
        libc::setsid();
        for (from, to) in [(ends.null, 0), (ends.output, 1), (ends.errors, 2)] {
            // A pipe's end may have one of these numbers itself.
            if from == to {
                libc::fcntl(from, libc::F_SETFD, 0);
            } else if libc::dup2(from, to) < 0 {
                return (Stage::Process, errno());
            }
        }
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let none = [0u64; 1];
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            none.as_ptr(),
            std::ptr::null_mut::<u64>(),
            8,
        );
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::umask(0o077);
        if libc::chdir(c"/".as_ptr()) < 0 {
            return (Stage::Root, errno());
        }
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return (Stage::User, errno());
        }
        if plan.root.is_some() && drop_capabilities() < 0 {
            return (Stage::User, errno());
        }
        if let Some(identity) = &plan.identity {
            let (groups, uid, gid) = (&identity.groups, identity.uid, identity.gid);
            if libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) < 0
                || libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
                || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0
            {
                return (Stage::User, errno());
            }
        }
        let mut error = libc::ENOENT;
        for candidate in &plan.candidates {
            libc::execve(candidate.as_ptr(), lists.argv.as_ptr(), lists.environment.as_ptr());
            // A program that is there and refused says more than one that is missing.
            if errno() != libc::ENOENT && errno() != libc::ENOTDIR {
                error = errno();
            }
        }
        (Stage::Program, error)
    }
}

/// Leaves a program, whoever runs it, no capability but to read and search.
fn drop_capabilities() -> i32 {
    const DAC_READ_SEARCH: i32 = 2;
    for capability in 0..64 {
        if capability != DAC_READ_SEARCH {
            // SAFETY: a plain system call on numbers; there are fewer capabilities than 64.
            let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            if dropped < 0 && errno() != libc::EINVAL {
                return -1;
            }
        }
    }
    0
}

/// Makes the directory this process's root: a read-only copy of its mount, with nothing of the
/// machine's own mounts left.
fn enter(root: &Root) -> Result<(), i32> {
    #[repr(C)]
    #[derive(Default)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const RDONLY: u64 = 0x1;
    const NOSUID: u64 = 0x2;
    const NODEV: u64 = 0x4;
    const PRIVATE: u64 = 1 << 18;
    const OPEN_TREE_CLONE: i32 = 1;
    const FROM_EMPTY: i32 = 0x4;
    const TO_EMPTY: i32 = 0x40;
    let empty = c"";
    let attributes =
        MountAttr { set: RDONLY | NOSUID | NODEV, propagation: PRIVATE, ..MountAttr::default() };
    let check = |result: i64| if result < 0 { Err(errno()) } else { Ok(result as i32) };
    // SAFETY: system calls on descriptors and C strings that outlive them; the struct is laid
    // out as `struct mount_attr`.
    unsafe {
        let whole = libc::MS_REC | libc::MS_PRIVATE;
        let none = std::ptr::null();
        check(i64::from(libc::mount(none, c"/".as_ptr(), none, whole, std::ptr::null())))?;
        // The descriptor is one of the machine's namespace; the path must lead to the same.
        let path = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let here = check(i64::from(libc::open(root.path.as_ptr(), path)))?;
        if identity(here)? != identity(root.fd)? {
            return Err(libc::ESTALE);
        }
        let flags = OPEN_TREE_CLONE | libc::AT_EMPTY_PATH | libc::O_CLOEXEC;
        let tree = check(libc::syscall(libc::SYS_open_tree, here, empty.as_ptr(), flags))?;
        let size = std::mem::size_of::<MountAttr>();
        check(libc::syscall(
            libc::SYS_mount_setattr,
            tree,
            empty.as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size,
        ))?;
        let both = FROM_EMPTY | TO_EMPTY;
        let (from, to) = (empty.as_ptr(), empty.as_ptr());
        check(libc::syscall(libc::SYS_move_mount, tree, from, here, to, both))?;
        check(i64::from(libc::fchdir(tree)))?;
        let top = c".".as_ptr();
        check(libc::syscall(libc::SYS_pivot_root, top, top))?;
        check(i64::from(libc::umount2(top, libc::MNT_DETACH)))?;
        // Many programs look at themselves; a root without the directory does without.
        let proc = c"proc".as_ptr();
        let fences = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        libc::mount(proc, c"/proc".as_ptr(), proc, fences, std::ptr::null());
    }
    Ok(())
}

/// Device and inode.
fn identity(fd: i32) -> Result<(u64, u64), i32> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills the struct, and all its zero bytes are valid before.
    unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) < 0 {
            return Err(errno());
        }
        let stat = stat.assume_init();
        Ok((stat.st_dev, stat.st_ino))
    }
}

pub(super) fn errno() -> i32 {
    // SAFETY: the C library's place for this thread's error is always valid.
    unsafe { *libc::__errno_location() }
}
