//! Starts one command inside a view, with just the rights it is given.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::Serialize;
use serde::de::DeserializeOwned;
use umbra_state::Command;
use umbra_state::command::DEFAULT_PATH;

use crate::run::TerminalSize;
use crate::sys::{self, Fork};
use crate::users::{self, Identity};
use crate::wire;

/// What becomes a command's standard descriptors.
pub enum Standard {
    /// These.
    Streams([OwnedFd; 3]),
    /// This terminal, for all three.
    Terminal(OwnedFd),
}

/// Starts a command and returns its process id once its program runs; otherwise a sentence
/// about what failed.
pub fn spawn(command: &Command, standard: Standard, rights: CapabilitySet) -> Result<i32, String> {
    let prepared = Prepared::new(command)?;
    let started = start_process(|| prepared.become_command(&standard, rights));
    started.map_err(|error| format!("start a process: {error}"))?
}

/// Programs are given descriptors with smaller numbers than this only.
pub const FREE_FD: i32 = 64;

/// Forks a process that `becomes` a program, and returns its id once that runs; or what `becomes`
/// says instead. It may give numbers below [`FREE_FD`] to descriptors.
///
/// # Errors
/// It could not be forked, or not be heard.
pub fn start_process<R: Serialize + DeserializeOwned>(
    becomes: impl FnOnce() -> R,
) -> io::Result<Result<i32, R>> {
    // Closed by a successful exec, so reading ends without an answer; an answer is a failure.
    let (ours, theirs) = wire::pair()?;
    let theirs = rustix::io::fcntl_dupfd_cloexec(theirs, FREE_FD)?;
    match sys::fork(0)? {
        Fork::Child => {
            drop(ours);
            let reason = becomes();
            let _ = wire::send(&theirs, &reason, &[]);
            sys::exit(127)
        }
        Fork::Parent(pid) => {
            drop(theirs);
            Ok(wire::receive::<R>(&ours)?.map_or(Ok(pid), |(reason, _)| Err(reason)))
        }
    }
}

/// A new terminal of this view: the side to read and write, and the side for the command.
pub fn open_terminal(size: TerminalSize) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let name = rustix::pty::ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::openat(CWD, name, flags, Mode::empty())?;
    rustix::termios::tcsetwinsize(&ours, size.winsize())?;
    Ok((ours, theirs))
}

/// A command in the form the kernel takes it, made before the fork.
struct Prepared {
    programs: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    identity: Identity,
}

impl Prepared {
    fn new(command: &Command) -> Result<Self, String> {
        let program = command.argv.first().ok_or("run nothing: the command is empty")?;
        let path = command.env.iter().find(|(key, _)| key == "PATH");
        let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_str());
        let programs = if program.contains('/') {
            vec![text(program)?]
        } else {
            path.split(':')
                .map(|dir| text(&format!("{dir}/{program}")))
                .collect::<Result<_, _>>()?
        };
        let argv = command.argv.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?;
        let env = command.env.iter().map(|(key, value)| text(&format!("{key}={value}")));
        Ok(Self {
            programs,
            argv,
            env: env.collect::<Result<_, _>>()?,
            cwd: text(&command.cwd)?,
            identity: users::resolve(command.user.as_deref())?,
        })
    }

    /// Replaces this process by the command; returns only to say why it could not.
    fn become_command(&self, standard: &Standard, rights: CapabilitySet) -> String {
        match self.set_up(standard, rights) {
            Ok(()) => self.exec(),
            Err(reason) => reason,
        }
    }

    fn set_up(&self, standard: &Standard, rights: CapabilitySet) -> Result<(), String> {
        let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        sys::reset_signals();
        rustix::process::setsid().map_err(|e| said("begin a session")(e.into()))?;
        take_standard(standard).map_err(said("take the standard descriptors"))?;
        rustix::process::chdir(&*self.cwd)
            .map_err(|error| format!("enter directory {}: {error}", self.cwd.to_string_lossy()))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        judge_by_size().map_err(said("set the out-of-memory score"))?;
        limit_rights(rights).map_err(said("drop capabilities"))?;
        let Identity { uid, gid, groups } = &self.identity;
        sys::set_ids(*uid, *gid, groups).map_err(said("become the user"))
    }

    fn exec(&self) -> String {
        let mut refused = None;
        for program in &self.programs {
            let error = sys::exec(program, &self.argv, &self.env);
            // The search goes on past directories without the program, as a shell's does.
            let absent = [libc::ENOENT, libc::ENOTDIR, libc::EACCES];
            match error.raw_os_error() {
                Some(code) if absent.contains(&code) => {
                    if code == libc::EACCES {
                        refused = Some(error);
                    }
                }
                _ => return format!("{}: {error}", program.to_string_lossy()),
            }
        }
        let name = self.argv[0].to_string_lossy();
        match refused {
            Some(error) => format!("{name}: {error}"),
            None => format!("{name}: no such program"),
        }
    }
}

fn take_standard(standard: &Standard) -> io::Result<()> {
    match standard {
        Standard::Streams(streams) => {
            for (number, stream) in (0..).zip(streams) {
                sys::become_number(stream.as_fd(), number)?;
            }
        }
        Standard::Terminal(terminal) => {
            rustix::process::ioctl_tiocsctty(terminal)?;
            for number in 0..3 {
                sys::become_number(terminal.as_fd(), number)?;
            }
        }
    }
    Ok(())
}

fn limit_rights(kept: CapabilitySet) -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?.permitted.intersection(kept);
    let sets =
        CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(())
}

/// Takes back what the launcher granted itself: when memory is short, commands are ended before
/// their init. The file is this process's own only while it counts as dumpable; its rights,
/// greater than any command's, still keep others from tracing it.
pub fn judge_by_size() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
    sys::set_oom_score("0")
}

fn text(value: &str) -> Result<CString, String> {
    CString::new(value).map_err(|_| "pass a NUL byte to a program".to_owned())
}
