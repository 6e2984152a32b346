//! The daemon's side of the sockets: asks the launcher for keepers, keepers for views, inits
//! for commands.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use umbra_state::command::DEFAULT_PATH;
use umbra_state::{Command, Exit, Output};

use super::exchange::{Exchange, Kept, Streams, poll_until};
use super::launcher::LAUNCHER_FD;
use super::tenancy;
use super::wire::{
    self, InitHello, KeeperHello, KeeperReply, KeeperRequest, KeeperSpec, LauncherHello,
    RunControl, RunEvent, RunRequest, ViewSpec,
};
use crate::error::ShadowError;
use crate::provider::TerminalSize;

/// A running launcher. Dropping it ends the launcher and every shadow it made.
pub(crate) struct Launcher {
    socket: Mutex<OwnedFd>,
    process: Mutex<Child>,
    owner: String,
}

impl Launcher {
    /// Starts `program`, which must call [`super::launcher::main`] when its first argument is
    /// `launcher`. Whatever bears the owner's name is this launcher's alone from then on.
    pub(crate) fn start(program: &Path, owner: &str) -> Result<Self, ShadowError> {
        let system = |source| ShadowError::System {
            doing: format!("start the launcher {}", program.display()),
            source,
        };
        let (ours, theirs) = wire::pair().map_err(system)?;
        let mut command = Program::new(program);
        command.args(["launcher", owner]).stdin(Stdio::null()).env_clear();
        // Of the programs that clean up after a killed daemon.
        command.env("PATH", DEFAULT_PATH);
        let passed = theirs.as_raw_fd();
        // SAFETY: between fork and exec only system calls are made that are safe there; the
        // descriptor stays open because `theirs` lives until after the spawn.
        unsafe {
            command.pre_exec(move || {
                let result = if passed == LAUNCHER_FD {
                    libc::fcntl(passed, libc::F_SETFD, 0)
                } else {
                    libc::dup2(passed, LAUNCHER_FD)
                };
                if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        let process = command.spawn().map_err(system)?;
        drop(theirs);
        let launcher = Self {
            socket: Mutex::new(ours),
            process: Mutex::new(process),
            owner: owner.to_owned(),
        };
        launcher.await_ready()?;
        Ok(launcher)
    }

    fn await_ready(&self) -> Result<(), ShadowError> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        match expect::<LauncherHello>(&socket)?.0 {
            LauncherHello::Ready => Ok(()),
            LauncherHello::Failed(failure) => Err(failure.into_error()),
        }
    }

    /// Makes a keeper and waits until it is ready.
    pub(crate) fn keeper(&self, spec: &KeeperSpec) -> Result<Keeper, ShadowError> {
        let (ours, theirs) = wire::pair().map_err(talk)?;
        {
            let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
            wire::send(&*socket, spec, &[theirs.as_fd()]).map_err(talk)?;
        }
        drop(theirs);
        match expect::<KeeperHello>(&ours)? {
            (KeeperHello::Ready, fds) => {
                let netns = fds.into_iter().next();
                Ok(Keeper { name: spec.name.clone(), socket: ours, netns })
            }
            (KeeperHello::Failed(failure), _) => Err(failure.into_error()),
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Its socket closes only after this, so end it by signal; keepers follow their parent.
        let _ = process.kill();
        let _ = process.wait();
        tenancy::end(&self.owner);
    }
}

/// A shadow's keeper. Dropping it ends the keeper and its view.
pub(crate) struct Keeper {
    name: String,
    socket: OwnedFd,
    /// The shadow's network namespace, unless it has the machine's.
    netns: Option<OwnedFd>,
}

impl Keeper {
    /// The shadow's network namespace.
    pub(crate) fn netns(&self) -> io::Result<OwnedFd> {
        match &self.netns {
            Some(netns) => netns.try_clone(),
            None => Err(io::Error::from(rustix::io::Errno::NONET)),
        }
    }

    /// Ends what runs and shows another view, whose base's mounted image is `image`; returns
    /// once commands can run in it.
    pub(crate) fn show(
        &self,
        view: ViewSpec,
        image: Option<&OwnedFd>,
    ) -> Result<Init, ShadowError> {
        let image: Vec<_> = image.into_iter().map(AsFd::as_fd).collect();
        match self.ask(&KeeperRequest::View(view), &image)? {
            (KeeperReply::Viewed, fds) => {
                let mut fds = fds.into_iter();
                let socket = wire::take_fd(&mut fds).map_err(talk)?;
                let root = wire::take_fd(&mut fds).map_err(talk)?;
                let console = match expect::<InitHello>(&socket)? {
                    (InitHello::Up, _) => None,
                    (InitHello::Booting, fds) => {
                        Some(wire::take_fd(&mut fds.into_iter()).map_err(talk)?)
                    }
                    (InitHello::Failed(failure), _) => return Err(failure.into_error()),
                };
                Ok(Init { shadow: self.name.clone(), socket, root, console })
            }
            (reply, _) => Err(unexpected(reply)),
        }
    }

    /// Ends the view with all its processes; returns when they are gone.
    pub(crate) fn close(&self) -> Result<(), ShadowError> {
        match self.ask(&KeeperRequest::Close, &[])? {
            (KeeperReply::Closed, _) => Ok(()),
            (reply, _) => Err(unexpected(reply)),
        }
    }

    fn ask(
        &self,
        request: &KeeperRequest,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(KeeperReply, Vec<OwnedFd>), ShadowError> {
        wire::send(&self.socket, request, fds).map_err(|_| self.gone())?;
        match wire::receive(&self.socket).map_err(talk)? {
            Some((KeeperReply::Failed(failure), _)) => Err(failure.into_error()),
            Some(reply) => Ok(reply),
            None => Err(self.gone()),
        }
    }

    fn gone(&self) -> ShadowError {
        ShadowError::Gone(self.name.clone())
    }
}

/// The init of one view.
pub(crate) struct Init {
    shadow: String,
    socket: OwnedFd,
    root: OwnedFd,
    /// Of the image's own systemd, if that is the first process.
    console: Option<OwnedFd>,
}

impl Init {
    /// Takes the console, which somebody must read from then on.
    pub(crate) fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// The view's root directory.
    pub(crate) fn root(&self) -> io::Result<OwnedFd> {
        self.root.try_clone()
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

    /// Starts a command and returns where what it prints comes out, both streams together.
    pub(crate) fn start_service(&self, command: &Command) -> Result<(Run, OwnedFd), ShadowError> {
        let null = File::open("/dev/null")
            .map_err(|source| ShadowError::System { doing: "open /dev/null".to_owned(), source })?;
        let (printed, log) = io::pipe().map_err(no_pipe)?;
        let run = self.start(command, None, &[null.as_fd(), log.as_fd(), log.as_fd()], None)?;
        Ok((run.ok_or_else(unanswered)?, printed.into()))
    }

    /// Starts a command on a new terminal and returns the terminal's other side.
    pub(crate) fn start_on_terminal(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<(Run, OwnedFd), ShadowError> {
        let mut run = self.start(command, Some(size), &[], None)?.ok_or_else(unanswered)?;
        match run.terminal.take() {
            Some(terminal) => Ok((run, terminal)),
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
    pub(crate) fn wait(&self) -> Result<Exit, ShadowError> {
        self.ended()
    }

    /// How it ended, if it has.
    pub(crate) fn poll(&self) -> Result<Option<Exit>, ShadowError> {
        let mut readable = [PollFd::new(&self.socket, PollFlags::IN)];
        let ready = poll_until(&mut readable, Some(Instant::now())).map_err(talk)?;
        if ready > 0 { self.ended().map(Some) } else { Ok(None) }
    }

    /// Asks for its end.
    pub(super) fn kill(&self) {
        // Failing means that it ended meanwhile, which it has said before closing.
        let _ = wire::send(&self.socket, &RunControl::Kill, &[]);
    }

    /// Hears how it ended.
    pub(super) fn ended(&self) -> Result<Exit, ShadowError> {
        match wire::receive::<RunEvent>(&self.socket).map_err(talk)? {
            Some((RunEvent::Ended(exit), _)) => Ok(exit),
            Some((other, _)) => Err(ShadowError::Launcher(format!("unexpected {other:?}"))),
            None => Err(ShadowError::Gone(self.shadow.clone())),
        }
    }

    /// Becomes readable at its end.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

fn no_pipe(source: io::Error) -> ShadowError {
    ShadowError::System { doing: "make a pipe".to_owned(), source }
}

fn unanswered() -> ShadowError {
    ShadowError::Launcher("an init did not answer".to_owned())
}

fn expect<T: serde::de::DeserializeOwned>(
    socket: &OwnedFd,
) -> Result<(T, Vec<OwnedFd>), ShadowError> {
    wire::receive(socket)
        .map_err(talk)?
        .ok_or_else(|| ShadowError::Launcher("it closed the connection".to_owned()))
}

fn talk(error: io::Error) -> ShadowError {
    ShadowError::System { doing: "talk to the launcher".to_owned(), source: error }
}

fn unexpected(reply: KeeperReply) -> ShadowError {
    ShadowError::Launcher(format!("unexpected {reply:?}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs a command where the init does to the run's socket what `answer` does.
    fn run_against(answer: fn(&OwnedFd)) -> Result<Output, ShadowError> {
        let (ours, theirs) = wire::pair().expect("sockets");
        let root = File::open("/").expect("a directory").into();
        let init = Init { shadow: "hostile".to_owned(), socket: ours, root, console: None };
        let hostile = std::thread::spawn(move || {
            let received = wire::receive::<RunRequest>(&theirs).expect("received");
            let (_, fds) = received.expect("a request");
            answer(&fds[0]);
        });
        let command = Command::new(["true"]).with_timeout(Duration::from_millis(100));
        let result = init.run(&command, &|_| {});
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
