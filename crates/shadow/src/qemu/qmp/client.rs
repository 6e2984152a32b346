//! The connection: commands out, answers in, each within a bounded time.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

use super::QmpError;
use super::command::{Capabilities, Command};
use super::message::{self, LINE_BYTES_MAX, Message, Version};

/// QEMU's monitor, ready for commands.
#[derive(Debug)]
pub(crate) struct Qmp {
    lines: Lines,
    version: Version,
    /// Of the last command.
    id: u64,
}

impl Qmp {
    /// The monitor at the other end of a stream.
    pub(crate) fn over(stream: UnixStream, patience: Duration) -> Result<Self, QmpError> {
        let deadline = Instant::now() + patience;
        let mut lines = Lines { stream, read: Vec::new(), searched: 0, broken: false };
        let version = match lines.next(deadline, "its greeting")? {
            Message::Greeting(version) => version,
            _ => return Err(QmpError::Garbled("it begins without a greeting".to_owned())),
        };
        let mut qmp = Self { lines, version, id: 0 };
        qmp.carry_out(&Capabilities {}, None, deadline)?;
        Ok(qmp)
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Has a command carried out and waits for the answer.
    pub(crate) fn execute<C: Command>(
        &mut self,
        command: &C,
        patience: Duration,
    ) -> Result<C::Answer, QmpError> {
        self.carry_out(command, None, Instant::now() + patience)
    }

    /// Like [`Qmp::execute`], for a command that takes a descriptor.
    pub(crate) fn execute_with<C: Command>(
        &mut self,
        command: &C,
        descriptor: BorrowedFd<'_>,
        patience: Duration,
    ) -> Result<C::Answer, QmpError> {
        self.carry_out(command, Some(descriptor), Instant::now() + patience)
    }

    fn carry_out<C: Command>(
        &mut self,
        command: &C,
        descriptor: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> Result<C::Answer, QmpError> {
        self.id += 1;
        let request = json!({ "execute": C::NAME, "arguments": command, "id": self.id });
        self.lines.send(&request, descriptor, deadline, C::NAME)?;
        let value = self.await_answer(C::NAME, deadline)?;
        serde_json::from_value(value).map_err(|error| {
            let why = message::shown(&error.to_string());
            QmpError::Garbled(format!("its answer to {}: {why}", C::NAME))
        })
    }

    fn await_answer(&mut self, name: &'static str, deadline: Instant) -> Result<Value, QmpError> {
        loop {
            match self.lines.next(deadline, name)? {
                Message::Event => {}
                // Of a command that took too long.
                Message::Answer(Some(id), _) if id < self.id => {}
                Message::Answer(Some(id), Ok(value)) if id == self.id => return Ok(value),
                Message::Answer(id, Err(refusal)) if id.is_none_or(|id| id == self.id) => {
                    let message::Refusal { class, description } = refusal;
                    return Err(QmpError::Refused { command: name, class, description });
                }
                _ => {
                    let what = format!("it answers {name} with what was not asked for");
                    return Err(QmpError::Garbled(what));
                }
            }
        }
    }
}

/// Messages over a stream.
#[derive(Debug)]
struct Lines {
    stream: UnixStream,
    /// What was read and is no whole line yet, or more than one.
    read: Vec<u8>,
    /// How much of it is known to have no end of a line.
    searched: usize,
    /// Half a command was written, or what came made no sense: nothing more can be said.
    broken: bool,
}

impl Lines {
    /// The next message. After [`QmpError::Late`] the stream can still be used.
    fn next(&mut self, deadline: Instant, awaited: &'static str) -> Result<Message, QmpError> {
        if self.broken {
            return Err(QmpError::Closed);
        }
        let line = self.line(deadline, awaited);
        let message = line.and_then(|line| {
            message::parse(&line).map_err(|garbled| QmpError::Garbled(garbled.to_string()))
        });
        self.broken = matches!(message, Err(QmpError::Garbled(_)));
        message
    }

    fn line(&mut self, deadline: Instant, awaited: &'static str) -> Result<Vec<u8>, QmpError> {
        loop {
            let new = &self.read[self.searched..];
            if let Some(end) = new.iter().position(|&byte| byte == b'\n') {
                let rest = self.read.split_off(self.searched + end + 1);
                self.searched = 0;
                return Ok(std::mem::replace(&mut self.read, rest));
            }
            self.searched = self.read.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(QmpError::Garbled("a message is too long".to_owned()));
            }
            let left = left(deadline).ok_or(QmpError::Late(awaited))?;
            self.stream.set_read_timeout(Some(left))?;
            let mut piece = [0; 8192];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(QmpError::Closed),
                Ok(count) => self.read.extend_from_slice(&piece[..count]),
                Err(error) if is_passing(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(QmpError::Closed);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(
        &mut self,
        request: &Value,
        descriptor: Option<BorrowedFd<'_>>,
        deadline: Instant,
        name: &'static str,
    ) -> Result<(), QmpError> {
        if self.broken {
            return Err(QmpError::Closed);
        }
        let mut text = request.to_string().into_bytes();
        text.push(b'\n');
        let mut rest = text.as_slice();
        let mut passed = descriptor;
        self.broken = true;
        while !rest.is_empty() {
            let left = left(deadline).ok_or(QmpError::Late(name))?;
            self.stream.set_write_timeout(Some(left))?;
            match send_piece(&self.stream, rest, passed) {
                Ok(count) => {
                    rest = &rest[count..];
                    passed = None;
                }
                Err(error) if is_passing(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Err(QmpError::Closed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.broken = false;
        Ok(())
    }
}

/// The time that is left, if any is.
fn left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

/// Whether to look at the clock and try again.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn send_piece(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let pieces = [IoSlice::new(bytes)];
    Ok(sendmsg(stream, &pieces, &mut ancillary, SendFlags::NOSIGNAL)?)
}
