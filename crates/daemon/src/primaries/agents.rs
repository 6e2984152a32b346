//! Agents as the daemon knows them: two ends of a line, and whoever is at the other.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an agent has to end once nobody speaks with it any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts agents.
pub trait Agents: Send + Sync {
    /// Starts one.
    ///
    /// # Errors
    /// It cannot be started.
    fn start(&self) -> io::Result<Agent>;
}

/// An agent that was started.
pub struct Agent {
    /// What is said to it.
    pub to: Box<dyn Write + Send>,
    /// What it says.
    pub from: Box<dyn BufRead + Send>,
    /// Waits for its end, once `to` is closed.
    pub ended: Box<dyn FnOnce() + Send>,
}

/// Agents that are processes of this machine.
#[derive(Debug, Clone)]
pub struct Processes {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Agents for Processes {
    fn start(&self) -> io::Result<Agent> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's signals are for the daemon, which ends its agents in order.
            .process_group(0)
            .spawn()?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = (to, from) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Agent {
            to: Box::new(to),
            from: Box::new(BufReader::new(from)),
            ended: Box::new(move || end(child)),
        })
    }
}

fn end(mut child: Child) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    tracing::warn!(pid = child.id(), "an agent does not end and is killed");
    let killed = child.kill().and_then(|()| child.wait());
    if let Err(error) = killed {
        tracing::error!(%error, "an agent could not be killed");
    }
}
