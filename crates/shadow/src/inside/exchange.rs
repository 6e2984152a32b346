//! What passes between a running command and its caller: input in, output out, until the
//! command ends or its time is up. One thread, one `poll`.
//!
//! A command's end is what its init says, not the end of its output: a daemon it started may
//! hold the pipes open for as long as it likes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use umbra_state::Exit;

use super::Run;
use crate::error::ShadowError;

/// How long an init may take to say that a killed command has ended.
const DYING_TIME_MAX: Duration = Duration::from_secs(5);

/// How much is still read from each stream after the end: what a pipe can hold.
const REST_BYTES_MAX: usize = 1 << 20;

/// Our ends of a command's standard streams.
pub(super) struct Streams {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// What a command printed on one stream.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) dropped: u64,
}

/// What is exchanged, and within which bounds.
pub(super) struct Exchange<'a> {
    pub(super) stdin: &'a [u8],
    /// Bytes kept of each stream.
    pub(super) limit: u64,
    pub(super) deadline: Option<Instant>,
    pub(super) on_output: &'a (dyn Fn(&[u8]) + Sync),
}

impl Exchange<'_> {
    /// Attends a command to its end; kills it at the deadline.
    pub(super) fn attend(
        mut self,
        run: &Run,
        streams: Streams,
    ) -> Result<(Exit, Kept, Kept), ShadowError> {
        for stream in [&streams.stdin, &streams.stdout, &streams.stderr] {
            without_waiting(stream).map_err(failed)?;
        }
        let mut stdin = Some(File::from(streams.stdin));
        let mut stdout = Stream::new(streams.stdout);
        let mut stderr = Stream::new(streams.stderr);
        let mut timed_out = false;
        let exit = loop {
            self.feed(&mut stdin);
            let ready = wait(run, stdin.as_ref(), &stdout, &stderr, self.deadline)?;
            if ready.run {
                break run.ended()?;
            }
            for (stream, ready) in [(&mut stdout, ready.stdout), (&mut stderr, ready.stderr)] {
                if ready {
                    stream.read(self.limit, self.on_output).map_err(failed)?;
                }
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                if timed_out {
                    return Err(ShadowError::Launcher("a killed command did not end".to_owned()));
                }
                timed_out = true;
                run.kill();
                self.deadline = Some(Instant::now() + DYING_TIME_MAX);
            }
        };
        stdout.read_rest(self.limit, self.on_output).map_err(failed)?;
        stderr.read_rest(self.limit, self.on_output).map_err(failed)?;
        let exit = if timed_out { Exit::TimedOut } else { exit };
        Ok((exit, stdout.kept, stderr.kept))
    }

    /// Writes what the pipe takes, and closes it after the last byte or when nobody reads.
    fn feed(&mut self, stdin: &mut Option<File>) {
        while let Some(pipe) = stdin {
            if self.stdin.is_empty() {
                *stdin = None;
                return;
            }
            match pipe.write(self.stdin) {
                Ok(length) => self.stdin = &self.stdin[length..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A command that does not read all its input is no error.
                Err(_) => *stdin = None,
            }
        }
    }
}

struct Stream {
    pipe: Option<File>,
    kept: Kept,
}

impl Stream {
    fn new(pipe: OwnedFd) -> Self {
        Self { pipe: Some(File::from(pipe)), kept: Kept::default() }
    }

    /// Reads once; returns how much, 0 where there is nothing now or any more.
    fn read(&mut self, limit: u64, on_output: &(dyn Fn(&[u8]) + Sync)) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else { return Ok(0) };
        let mut buffer = [0u8; 16 << 10];
        let length = match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                return Ok(0);
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error),
        };
        let room = usize::try_from(limit).unwrap_or(usize::MAX) - self.kept.bytes.len();
        let taken = length.min(room);
        self.kept.bytes.extend_from_slice(&buffer[..taken]);
        self.kept.dropped += (length - taken) as u64;
        on_output(&buffer[..length]);
        Ok(length)
    }

    fn read_rest(&mut self, limit: u64, on_output: &(dyn Fn(&[u8]) + Sync)) -> io::Result<()> {
        let mut total = 0;
        while total < REST_BYTES_MAX {
            match self.read(limit, on_output)? {
                0 => return Ok(()),
                length => total += length,
            }
        }
        Ok(())
    }
}

struct Ready {
    run: bool,
    stdout: bool,
    stderr: bool,
}

fn wait(
    run: &Run,
    stdin: Option<&File>,
    stdout: &Stream,
    stderr: &Stream,
    deadline: Option<Instant>,
) -> Result<Ready, ShadowError> {
    let mut fds = vec![PollFd::new(run.socket(), PollFlags::IN)];
    let outputs = [&stdout.pipe, &stderr.pipe];
    fds.extend(outputs.into_iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    fds.extend(stdin.map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
    poll_until(&mut fds, deadline).map_err(failed)?;
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut next = |open: bool| open && ready.next().unwrap_or(false);
    Ok(Ready {
        run: next(true),
        stdout: next(outputs[0].is_some()),
        stderr: next(outputs[1].is_some()),
    })
}

/// Polls until something is ready or the deadline has come; returns how many are ready.
pub(super) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(fds, left.as_ref()) {
            Ok(count) => return Ok(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes reads and writes return at once. A pipe's two ends have flags of their own: the
/// command's end is not touched.
pub(super) fn without_waiting(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

fn failed(source: io::Error) -> ShadowError {
    ShadowError::System { doing: "exchange a command's input and output".to_owned(), source }
}
