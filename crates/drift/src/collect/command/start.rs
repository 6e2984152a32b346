//! From a program to a keeper that runs it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};

use super::keeper;

/// How long a keeper that was told to stop is waited for.
const STOP_MAX: Duration = Duration::from_secs(2);

/// All the keeper needs: between the clone and the program nothing may be allocated.
#[derive(Debug)]
pub(super) struct Plan {
    /// Files to execute, tried in order.
    pub(super) candidates: Vec<CString>,
    pub(super) argv: Vec<CString>,
    pub(super) environment: Vec<CString>,
    /// Whom to become; `None` to stay.
    pub(super) identity: Option<Identity>,
    /// The root directory to run in; `None` for the machine's.
    pub(super) root: Option<Root>,
}

/// A root directory: its path, and what was found there when the place was opened.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: CString,
    pub(super) fd: RawFd,
}

/// A user with all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

/// A running keeper.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
    /// What became of the program, 8 bytes of [`keeper::Report`].
    pub(super) report: OwnedFd,
    /// The keeper stops as soon as this is closed.
    pub(super) hold: Option<OwnedFd>,
    keeper: i32,
}

/// The keeper's ends of the pipes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) null: RawFd,
    pub(super) output: RawFd,
    pub(super) errors: RawFd,
    pub(super) report: RawFd,
    pub(super) hold: RawFd,
}

/// Starts a keeper.
///
/// # Errors
/// No process, pipe or namespace was to be had.
pub(super) fn start(plan: &Plan) -> io::Result<Started> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let ((output, output_end), (errors, errors_end)) = (pipe()?, pipe()?);
    let ((report, report_end), (hold_end, hold)) = (pipe()?, pipe()?);
    let null = std::fs::File::open("/dev/null")?;
    let ends = Ends {
        null: null.as_raw_fd(),
        output: output_end.as_raw_fd(),
        errors: errors_end.as_raw_fd(),
        report: report_end.as_raw_fd(),
        hold: hold_end.as_raw_fd(),
    };
    let argv = pointers(&plan.argv);
    let environment = pointers(&plan.environment);
    let lists = keeper::Lists { argv: &argv, environment: &environment };
    let inside = libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    // On the machine a namespace only makes the end surer; in a directory it is the fence.
    let keeper = match plan.root {
        Some(_) => clone(inside, plan, &lists, ends, true)?,
        None => match clone(libc::CLONE_NEWPID, plan, &lists, ends, true) {
            Ok(keeper) => keeper,
            Err(_) => clone(0, plan, &lists, ends, false)?,
        },
    };
    Ok(Started { output, errors, report, hold: Some(hold), keeper })
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

fn clone(
    flags: i32,
    plan: &Plan,
    lists: &keeper::Lists<'_>,
    ends: Ends,
    own_processes: bool,
) -> io::Result<i32> {
    match raw_clone(flags) {
        // The child of a process with threads: only system calls from here on.
        0 => keeper::keep(plan, lists, ends, own_processes),
        pid if pid < 0 => Err(io::Error::from_raw_os_error(-pid)),
        pid => Ok(pid),
    }
}

/// `fork` with namespaces, without what the C library does around it; the child must make no
/// calls but to the kernel. The child's id, 0 in it, or the error's number negated.
pub(super) fn raw_clone(flags: i32) -> i32 {
    // `clone3` is what containers most often refuse.
    // SAFETY: without CLONE_VM and a stack the child continues here on a copy of this process;
    // no other argument is asked for by these flags.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) };
    if pid < 0 { -keeper::errno() } else { pid as i32 }
}

impl Started {
    /// Tells the keeper to stop, and waits until it has. One that cannot, since the kernel holds
    /// what it keeps, is left to end by itself.
    pub(super) fn finish(mut self) {
        self.hold = None;
        let Some(keeper) = Pid::from_raw(self.keeper) else { return };
        let deadline = Instant::now() + STOP_MAX;
        if let Ok(handle) = pidfd_open(keeper, PidfdFlags::empty()) {
            while let Some(left) = deadline.checked_duration_since(Instant::now()) {
                let mut ended = [PollFd::new(&handle, PollFlags::IN)];
                match poll(&mut ended, Timespec::try_from(left).ok().as_ref()) {
                    Err(Errno::INTR) => {}
                    _ => break,
                }
            }
        }
        while matches!(waitpid(Some(keeper), WaitOptions::NOHANG), Err(Errno::INTR)) {}
    }
}

/// What the keeper reported, read from its pipe.
pub(super) fn reported(pipe: &OwnedFd) -> Option<keeper::Report> {
    let mut bytes = [0u8; 8];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(pipe, rest) {
            Ok(0) => return None,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(keeper::Report::read(bytes))
}
