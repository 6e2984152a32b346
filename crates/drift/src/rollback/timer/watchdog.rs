//! A timer that is a process of its own: not a child of whoever armed it, in a session of its
//! own, so that nothing that ends the one ends the other.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Order, Timer, TimerError, command};

/// How long the process may take to say that it waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the process says then.
pub(in crate::rollback) const READY: &str = "ready\n";

/// In the journal: who keeps watch, and since when it runs.
const NAME: &str = "watchdog";

/// Runs a program that keeps watch.
#[derive(Debug)]
pub struct Watchdog {
    argv: Vec<String>,
}

impl Watchdog {
    /// `{journal}` in `argv` stands for the journal.
    pub fn new(argv: Vec<String>) -> Self {
        Self { argv }
    }
}

impl Timer for Watchdog {
    fn name(&self) -> &'static str {
        "watchdog"
    }

    fn arm(&self, order: &Order) -> Result<(), TimerError> {
        let argv = command(&self.argv, &order.journal);
        start(&argv).map_err(TimerError::Process)
    }

    fn disarm(&self, _id: &str, journal: &Path) -> Result<(), TimerError> {
        let Ok(text) = fs::read_to_string(journal.join(NAME)) else { return Ok(()) };
        let known = text.trim().split_once(' ');
        let Some((pid, since)) = known.and_then(|(pid, since)| Some((pid.parse().ok()?, since)))
        else {
            return Ok(());
        };
        // Held first, then recognised: the number may be another's by now.
        let held = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // The one that ends the rollback may be the watchdog itself.
        let own = std::process::id().cast_signed() == pid;
        if let Some(held) = held.filter(|_| !own && started(pid).as_deref() == Some(since)) {
            let _ = pidfd_send_signal(&held, Signal::TERM);
        }
        Ok(())
    }
}

/// Writes down that this process keeps watch.
pub(in crate::rollback) fn sign(journal: &Path) -> io::Result<()> {
    let pid = std::process::id();
    let since = started(pid.cast_signed()).unwrap_or_default();
    fs::write(journal.join(NAME), format!("{pid} {since}\n"))
}

/// When a process began, in the kernel's own measure.
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so count from behind it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

fn start(argv: &[std::ffi::OsString]) -> io::Result<()> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null());
    // SAFETY: between fork and exec only calls are made that may be made there: setsid, fork
    // and _exit; nothing is allocated and no lock is taken.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            match libc::fork() {
                -1 => Err(io::Error::last_os_error()),
                0 => Ok(()),
                _ => libc::_exit(0),
            }
        });
    }
    let mut between = command.spawn()?;
    between.wait()?;
    drop(command);
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    let mut buffer = [0; 64];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let length = reader.read(&mut buffer)?;
        said.extend_from_slice(&buffer[..length]);
        if said == READY.as_bytes() {
            return Ok(());
        }
        if length == 0 || said.len() > READY.len() {
            return Err(io::Error::other("it ended before it waited"));
        }
    }
}
