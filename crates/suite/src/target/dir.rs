//! A target that is a plain directory with canned answers: the fake beside the trait.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use umbra_state::{Command, Exit, Output};

use super::{ProbeError, Target};

/// A directory that plays a shadow. It runs nothing: commands get the answers put in
/// beforehand, and an unknown command is a [`ProbeError`].
#[derive(Debug)]
pub struct DirTarget {
    root: OwnedFd,
    address: Option<IpAddr>,
    answers: Vec<Answer>,
    asked: Mutex<Vec<Command>>,
}

#[derive(Debug)]
struct Answer {
    contained: String,
    output: Output,
}

impl DirTarget {
    /// Opens a directory as a shadow's root.
    pub fn new(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { root, address: None, answers: Vec::new(), asked: Mutex::new(Vec::new()) })
    }

    /// The same with an address.
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// The same, answering every command whose words, joined by spaces, contain `contained`;
    /// earlier answers win.
    pub fn with_answer(self, contained: &str, exit: i32, stdout: &str, stderr: &str) -> Self {
        let output = Output {
            exit: Exit::Code(exit),
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.as_bytes().to_vec(),
            dropped_bytes: 0,
            duration: Duration::from_millis(1),
        };
        self.with_output(contained, output)
    }

    /// Like [`DirTarget::with_answer`], with any output.
    pub fn with_output(mut self, contained: &str, output: Output) -> Self {
        self.answers.push(Answer { contained: contained.to_owned(), output });
        self
    }

    /// Every command it was asked to run, in order.
    pub fn asked(&self) -> Vec<Command> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

impl Target for DirTarget {
    fn run(&self, command: &Command) -> Result<Output, ProbeError> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(command.clone());
        }
        let words = command.argv.join(" ");
        self.answers
            .iter()
            .find(|answer| words.contains(&answer.contained))
            .map(|answer| answer.output.clone())
            .ok_or_else(|| ProbeError::Run {
                command: command.argv.first().cloned().unwrap_or_default(),
                source: "a directory runs nothing".into(),
            })
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
