//! A program that is run for each document; the desktop's is one.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use umbra_state::escape::escape;

use super::{Document, Sink, SinkError};
use crate::config::Severity;

/// How long a program may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a program with the document on its input.
///
/// It has arrived when the program ends with 0. What it prints is not read. It is ended with all
/// it started when it takes too long.
#[derive(Debug)]
pub struct Command {
    argv: Vec<String>,
    timeout: Duration,
}

impl Command {
    /// The program and its arguments; no shell reads them.
    pub fn new(argv: Vec<String>) -> Self {
        Self { argv, timeout: TIMEOUT }
    }

    /// The same with another limit of time.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Sink for Command {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        let variables = [
            ("UMBRA_ALERT_ID", document.id.as_str()),
            ("UMBRA_ALERT_SEVERITY", document.severity.as_str()),
            ("UMBRA_ALERT_TITLE", document.title.as_str()),
        ];
        run(&self.argv, &variables, &document.body.0, self.timeout)
    }
}

/// Shows notifications on the desktop this process belongs to.
#[derive(Debug)]
pub struct Desktop {
    program: String,
}

impl Desktop {
    /// By `notify-send`.
    ///
    /// # Errors
    /// It is not installed.
    pub fn new() -> Result<Self, SinkError> {
        let places = ["/usr/bin/notify-send", "/usr/local/bin/notify-send"];
        let found = places.into_iter().find(|place| Path::new(place).exists());
        let program = found.ok_or_else(|| SinkError::Unavailable {
            what: "the desktop".to_owned(),
            why: "notify-send is not installed".to_owned(),
        })?;
        Ok(Self::with(program))
    }

    /// By another program that takes the same arguments.
    pub fn with(program: &str) -> Self {
        Self { program: program.to_owned() }
    }
}

impl Sink for Desktop {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        let urgency = match document.severity {
            Severity::Critical => "critical",
            Severity::High | Severity::Medium => "normal",
            Severity::Low => "low",
        };
        let argv = [
            self.program.clone(),
            "--app-name=umbra".to_owned(),
            format!("--urgency={urgency}"),
            "--category=system".to_owned(),
            "--".to_owned(),
            document.title.clone(),
            String::from_utf8_lossy(&document.body.0).into_owned(),
        ];
        run(&argv, &[], b"", TIMEOUT)
    }
}

fn run(
    argv: &[String],
    variables: &[(&str, &str)],
    input: &[u8],
    timeout: Duration,
) -> Result<(), SinkError> {
    let Some((program, arguments)) = argv.split_first() else {
        let why = "it has no name".to_owned();
        return Err(SinkError::Unavailable { what: "the program".to_owned(), why });
    };
    let name = escape(program.as_bytes()).to_string();
    let failed = |source| SinkError::Unreachable { to: name.clone(), source };
    let mut command = std::process::Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    // A pipe could fill up before the program reads; and to wait for that would be another wait.
    command.stdin(memory(input).map_err(failed)?).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.process_group(0).spawn().map_err(failed)?;
    match wait(&mut child, timeout).map_err(failed)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("status {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "no status".to_owned(),
            };
            Err(SinkError::Ended { program: name, how })
        }
        None => {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            Err(SinkError::TooSlow { to: name, timeout_ms })
        }
    }
}

/// A file in memory that holds `bytes`, to be read from its beginning.
fn memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("document", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// How it ended; `None` if it had not in time, and was ended. It is reaped in either case.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let in_time = ends_within(child, timeout);
    if !matches!(in_time, Ok(true)) {
        // Not reaped yet, so that the number is still its own.
        if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
    let status = child.wait()?;
    in_time.map(|in_time| in_time.then_some(status))
}

fn ends_within(child: &Child, timeout: Duration) -> io::Result<bool> {
    let Some(pid) = Pid::from_raw(child.id().cast_signed()) else { return Ok(true) };
    let fd = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
