//! The caller's side of a view's first process: commands, services and terminals inside a
//! shadow, whatever it is made of.

mod exchange;
mod printed;
mod service;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use umbra_guest::run::{RunControl, RunEvent, RunRequest, TerminalSize};
use umbra_guest::wire;
use umbra_state::{Command, Exit, Output};

use crate::error::ShadowError;
use crate::provider::Attached;
use exchange::{Exchange, Kept, Streams, poll_until};

pub(crate) use printed::Printed;
pub(crate) use service::Service;

/// The way to one view's first process, and what is known of the view.
pub(crate) struct Inside {
    shadow: String,
    socket: OwnedFd,
    /// Absent where it is not on this machine.
    root: Option<OwnedFd>,
}

impl Inside {
    /// Of `shadow`: its first process reads requests from the other end of `socket`.
    pub(crate) fn new(shadow: String, socket: OwnedFd, root: Option<OwnedFd>) -> Self {
        Self { shadow, socket, root }
    }

    /// The view's root directory.
    pub(crate) fn root(&self) -> Result<OwnedFd, ShadowError> {
        let Some(root) = &self.root else {
            let why = format!("the files of {} are on a disk of its own", self.shadow);
            return Err(ShadowError::Unsupported(why));
        };
        root.try_clone()
            .map_err(|source| ShadowError::System { doing: "open the root".to_owned(), source })
    }

    /// Runs a command to its end. `on_output` sees what it prints as it comes.
    pub(crate) fn run(
        &self,
        command: &Command,
        on_output: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<Output, ShadowError> {
        let started = Instant::now();
        let deadline = command.timeout.and_then(|timeout| started.checked_add(timeout));
        let (stdin_read, stdin) = io::pipe().map_err(no_pipe)?;
        let (stdout, stdout_write) = io::pipe().map_err(no_pipe)?;
        let (stderr, stderr_write) = io::pipe().map_err(no_pipe)?;
        let theirs = [stdin_read.as_fd(), stdout_write.as_fd(), stderr_write.as_fd()];
        let run = self.start(command, None, &theirs, deadline)?;
        drop((stdin_read, stdout_write, stderr_write));
        let exchange = Exchange {
            stdin: &command.stdin,
            limit: command.output_bytes_max,
            deadline,
            on_output,
        };
        let streams = Streams { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
        let (exit, stdout, stderr) = match run {
            Some(run) => exchange.attend(&run, streams)?,
            // Frozen or stuck: it never began, and dropping its socket sees that it never will.
            None => (Exit::TimedOut, Kept::default(), Kept::default()),
        };
        Ok(Output {
            exit,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            dropped_bytes: stdout.dropped + stderr.dropped,
            duration: started.elapsed(),
        })
    }

    /// Starts a command that goes on by itself.
    pub(crate) fn start_service(&self, command: &Command) -> Result<Service, ShadowError> {
        let null = File::open("/dev/null")
            .map_err(|source| ShadowError::System { doing: "open /dev/null".to_owned(), source })?;
        let (printed, log) = io::pipe().map_err(no_pipe)?;
        let run = self.start(command, None, &[null.as_fd(), log.as_fd(), log.as_fd()], None)?;
        let run = run.ok_or_else(unanswered)?;
        Service::new(run, printed.into()).map_err(|source| ShadowError::System {
            doing: "keep a service's log".to_owned(),
            source,
        })
    }

    /// Starts a command on a new terminal.
    pub(crate) fn start_on_terminal(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<Terminal, ShadowError> {
        let mut run = self.start(command, Some(size), &[], None)?.ok_or_else(unanswered)?;
        match run.terminal.take() {
            Some(terminal) => Ok(Terminal { run, terminal }),
            None => Err(ShadowError::Launcher("no terminal came with its command".to_owned())),
        }
    }

    /// Asks the init; `None` where it has not answered by the deadline.
    fn start(
        &self,
        command: &Command,
        terminal: Option<TerminalSize>,
        standard: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<Option<Run>, ShadowError> {
        let (ours, theirs) = wire::pair().map_err(talk)?;
        // Input travels through a pipe, not in the message.
        let command = Command { stdin: Vec::new(), ..command.clone() };
        let request = RunRequest { command, terminal };
        let fds: Vec<_> = std::iter::once(theirs.as_fd()).chain(standard.iter().copied()).collect();
        wire::send(&self.socket, &request, &fds).map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET) => ShadowError::Gone(self.shadow.clone()),
            _ => talk(error),
        })?;
        drop(theirs);
        let mut readable = [PollFd::new(&ours, PollFlags::IN)];
        if poll_until(&mut readable, deadline).map_err(talk)? == 0 {
            return Ok(None);
        }
        match wire::receive::<RunEvent>(&ours).map_err(talk)? {
            Some((RunEvent::Started, fds)) => {
                let terminal = fds.into_iter().next();
                Ok(Some(Run { shadow: self.shadow.clone(), socket: ours, terminal }))
            }
            Some((RunEvent::NotStarted(reason), _)) => Err(ShadowError::Start {
                program: request.command.argv.first().cloned().unwrap_or_default(),
                shadow: self.shadow.clone(),
                reason,
            }),
            Some((RunEvent::Ended(_), _)) => {
                Err(ShadowError::Launcher("a command ended before it started".to_owned()))
            }
            None => Err(ShadowError::Gone(self.shadow.clone())),
        }
    }
}

/// A started command. Dropping it kills it.
pub(crate) struct Run {
    shadow: String,
    socket: OwnedFd,
    terminal: Option<OwnedFd>,
}

impl Run {
    /// Waits for the end.
    fn wait(&self) -> Result<Exit, ShadowError> {
        self.ended()
    }

    /// How it ended, if it has.
    fn poll(&self) -> Result<Option<Exit>, ShadowError> {
        let mut readable = [PollFd::new(&self.socket, PollFlags::IN)];
        let ready = poll_until(&mut readable, Some(Instant::now())).map_err(talk)?;
        if ready > 0 { self.ended().map(Some) } else { Ok(None) }
    }

    /// Asks for its end.
    fn kill(&self) {
        self.tell(&RunControl::Kill);
    }

    fn tell(&self, control: &RunControl) {
        // Failing means that it ended meanwhile, which it has said before closing.
        let _ = wire::send(&self.socket, control, &[]);
    }

    /// Hears how it ended.
    fn ended(&self) -> Result<Exit, ShadowError> {
        match wire::receive::<RunEvent>(&self.socket).map_err(talk)? {
            Some((RunEvent::Ended(exit), _)) => Ok(exit),
            Some((other, _)) => Err(ShadowError::Launcher(format!("unexpected {other:?}"))),
            None => Err(ShadowError::Gone(self.shadow.clone())),
        }
    }

    /// Becomes readable at its end.
    fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

/// A command on a terminal of its own.
pub(crate) struct Terminal {
    run: Run,
    terminal: OwnedFd,
}

impl Attached for Terminal {
    fn terminal(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    fn resize(&self, size: TerminalSize) -> Result<(), ShadowError> {
        match rustix::termios::tcsetwinsize(&self.terminal, size.winsize()) {
            // What is no terminal here leads to one.
            Err(Errno::NOTTY) => self.run.tell(&RunControl::Resize(size)),
            done => done.map_err(|error| ShadowError::System {
                doing: "resize a terminal".to_owned(),
                source: error.into(),
            })?,
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<Exit, ShadowError> {
        self.run.wait()
    }
}

fn no_pipe(source: io::Error) -> ShadowError {
    ShadowError::System { doing: "make a pipe".to_owned(), source }
}

fn unanswered() -> ShadowError {
    ShadowError::Launcher("an init did not answer".to_owned())
}

fn talk(error: io::Error) -> ShadowError {
    ShadowError::System { doing: "talk to a shadow's first process".to_owned(), source: error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs a command where the init does to the run's socket what `answer` does.
    fn run_against(answer: fn(&OwnedFd)) -> Result<Output, ShadowError> {
        let (ours, theirs) = wire::pair().expect("sockets");
        let root = File::open("/").expect("a directory").into();
        let inside = Inside::new("hostile".to_owned(), ours, Some(root));
        let hostile = std::thread::spawn(move || {
            let received = wire::receive::<RunRequest>(&theirs).expect("received");
            let (_, fds) = received.expect("a request");
            answer(&fds[0]);
        });
        let command = Command::new(["true"]).with_timeout(Duration::from_millis(100));
        let result = inside.run(&command, &|_| {});
        hostile.join().expect("the hostile init did its worst");
        result
    }

    fn say(socket: &OwnedFd, bytes: &[u8]) {
        // The other side may have turned away already.
        let _ = rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL);
    }

    #[test]
    fn nothing_an_init_says_does_harm() {
        let answers: [fn(&OwnedFd); 8] = [
            |_| {},
            |socket| say(socket, b"\xff\xfe not json"),
            |socket| say(socket, &[b' '; 200 << 10]),
            |socket| say(socket, "[".repeat(100_000).as_bytes()),
            |socket| say(socket, b"{\"Ended\":{\"code\":0}}"),
            |socket| say(socket, b"{\"Ended\":{\"code\":99999999999999}}"),
            |socket| {
                say(socket, b"\"Started\"");
                say(socket, b"\"Started\"");
            },
            |socket| {
                say(socket, b"\"Started\"");
                say(socket, b"{\"NotStarted\":17}");
            },
        ];
        for (index, answer) in answers.into_iter().enumerate() {
            assert!(run_against(answer).is_err(), "answer {index}");
        }
    }

    #[test]
    fn an_init_that_never_answers_costs_the_time_limit_only() {
        let wait_for_the_end = |socket: &OwnedFd| {
            let ended = wire::receive::<RunControl>(socket);
            assert!(matches!(ended, Ok(None)), "the caller gives up: {ended:?}");
        };
        let output = run_against(wait_for_the_end).expect("an output");
        assert_eq!(output.exit, Exit::TimedOut);
    }

    #[test]
    fn descriptors_nobody_asked_for_are_closed() {
        let output = run_against(|socket| {
            let file = File::open("/dev/null").expect("a file");
            let fds = [file.as_fd(); 4];
            wire::send(socket, &RunEvent::Started, &fds).expect("sent");
            wire::send(socket, &RunEvent::Ended(Exit::Code(3)), &fds).expect("sent");
        });
        assert_eq!(output.expect("an output").exit, Exit::Code(3));
    }
}
