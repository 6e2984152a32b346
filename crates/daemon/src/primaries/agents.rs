//! Agents as the daemon knows them: two ends of a line, and whoever is at the other.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use umbra_drift::remote::Remote;

use super::ssh::Ssh;

/// How often it is looked whether a process has ended.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// Starts agents.
pub trait Agents: Send + Sync {
    /// Starts one on this machine, or on the one that `at` leads to. Takes as long as networks
    /// take, but not longer once `cancelled` is set.
    ///
    /// # Errors
    /// It cannot be started.
    fn start(&self, at: Option<&Remote>, cancelled: &AtomicBool) -> io::Result<Agent>;
}

/// An agent that was started.
pub struct Agent {
    /// What is said to it.
    pub to: Box<dyn Write + Send>,
    /// What it says.
    pub from: Box<dyn BufRead + Send>,
    /// How it is ended.
    pub leash: Arc<dyn Leash>,
    /// Where it is on another machine.
    pub there: Option<There>,
}

/// An agent's program on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// Where.
    pub path: String,
    /// How many bytes were copied for it, if it was not there yet.
    pub copied_bytes: Option<u64>,
}

/// What ends an agent.
pub trait Leash: Send + Sync {
    /// Waits so long for its end, once nobody says anything to it any more, and then ends it
    /// whatever it does. Idempotent.
    fn end(&self, patience: Duration);

    /// What it complained of beside its line; asked for when the line has ended.
    fn complaint(&self) -> Option<String>;
}

/// Agents that are processes of this machine, or are spoken to by one.
#[derive(Debug, Clone)]
pub struct Processes {
    /// The program of those that watch this machine.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How those of other machines are started.
    pub ssh: Ssh,
}

impl Agents for Processes {
    fn start(&self, at: Option<&Remote>, cancelled: &AtomicBool) -> io::Result<Agent> {
        if let Some(remote) = at {
            return self.ssh.start(remote, cancelled);
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let mut child = started(&mut command)?;
        let (to, from) = ends(&mut child)?;
        Ok(Agent { to, from, leash: Arc::new(Process::new(child)), there: None })
    }
}

/// Starts a process whose input and output are pipes.
pub(super) fn started(command: &mut Command) -> io::Result<Child> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A terminal's signals are for the daemon, which ends its agents in order.
        .process_group(0)
        .spawn()
}

/// The ends of its pipes.
pub(super) fn ends(
    child: &mut Child,
) -> io::Result<(Box<dyn Write + Send>, Box<dyn BufRead + Send>)> {
    match (child.stdin.take(), child.stdout.take()) {
        (Some(to), Some(from)) => Ok((Box::new(to), Box::new(BufReader::new(from)))),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// A process on a leash.
pub(super) struct Process(Mutex<Child>);

impl Process {
    pub(super) fn new(child: Child) -> Self {
        Self(Mutex::new(child))
    }

    fn has_ended(&self) -> bool {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(child.try_wait(), Ok(None))
    }
}

impl Leash for Process {
    fn end(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while !self.has_ended() {
            if Instant::now() < until {
                std::thread::sleep(LOOK);
                continue;
            }
            let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tracing::warn!(pid = child.id(), "an agent does not end and is killed");
            let killed = child.kill().and_then(|()| child.wait());
            if let Err(error) = killed {
                tracing::error!(%error, "an agent could not be killed");
            }
            return;
        }
    }

    /// It complains where the daemon does.
    fn complaint(&self) -> Option<String> {
        None
    }
}
