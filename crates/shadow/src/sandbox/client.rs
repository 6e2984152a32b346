//! The daemon's side of the sockets: asks the launcher for keepers, keepers for views, inits
//! for commands.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use umbra_state::{Command, Exit, Output};

use super::launcher::LAUNCHER_FD;
use super::wire::{
    self, InitHello, KeeperHello, KeeperReply, KeeperRequest, KeeperSpec, RunControl, RunEvent,
    RunRequest, ViewSpec,
};
use crate::error::ShadowError;
use crate::provider::TerminalSize;

/// A running launcher. Dropping it ends the launcher and every shadow it made.
pub(crate) struct Launcher {
    socket: Mutex<OwnedFd>,
    process: Mutex<Child>,
}

impl Launcher {
    /// Starts `program`, which must call [`super::launcher::main`] when its first argument is
    /// `launcher`.
    pub(crate) fn start(program: &Path) -> Result<Self, ShadowError> {
        let system = |source| ShadowError::System {
            doing: format!("start the launcher {}", program.display()),
            source,
        };
        let (ours, theirs) = wire::pair().map_err(system)?;
        let mut command = Program::new(program);
        command.arg("launcher").stdin(Stdio::null()).env_clear();
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
        Ok(Self { socket: Mutex::new(ours), process: Mutex::new(process) })
    }

    /// Makes a keeper and waits until it is ready.
    pub(crate) fn keeper(&self, spec: &KeeperSpec) -> Result<Keeper, ShadowError> {
        let (ours, theirs) = wire::pair().map_err(talk)?;
        {
            let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
            wire::send(&*socket, spec, &[theirs.as_fd()]).map_err(talk)?;
        }
        drop(theirs);
        match expect::<KeeperHello>(&ours)?.0 {
            KeeperHello::Ready => Ok(Keeper { name: spec.name.clone(), socket: ours }),
            KeeperHello::Failed(failure) => Err(failure.into_error()),
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Its socket closes only after this, so end it by signal; keepers follow their parent.
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// A shadow's keeper. Dropping it ends the keeper and its view.
pub(crate) struct Keeper {
    name: String,
    socket: OwnedFd,
}

impl Keeper {
    /// Ends what runs and shows another view; returns once commands can run in it.
    pub(crate) fn show(&self, view: ViewSpec) -> Result<Init, ShadowError> {
        match self.ask(&KeeperRequest::View(view))? {
            (KeeperReply::Viewed, fds) => {
                let mut fds = fds.into_iter();
                let socket = wire::take_fd(&mut fds).map_err(talk)?;
                let root = wire::take_fd(&mut fds).map_err(talk)?;
                match expect::<InitHello>(&socket)?.0 {
                    InitHello::Up => Ok(Init { shadow: self.name.clone(), socket, root }),
                    InitHello::Failed(failure) => Err(failure.into_error()),
                }
            }
            (reply, _) => Err(unexpected(reply)),
        }
    }

    /// Ends the view with all its processes; returns when they are gone.
    pub(crate) fn close(&self) -> Result<(), ShadowError> {
        match self.ask(&KeeperRequest::Close)? {
            (KeeperReply::Closed, _) => Ok(()),
            (reply, _) => Err(unexpected(reply)),
        }
    }

    fn ask(&self, request: &KeeperRequest) -> Result<(KeeperReply, Vec<OwnedFd>), ShadowError> {
        wire::send(&self.socket, request, &[]).map_err(|_| self.gone())?;
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
}

impl Init {
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
        let system = |source| ShadowError::System { doing: "make a pipe".to_owned(), source };
        let started = Instant::now();
        let (stdin_read, stdin_write) = io::pipe().map_err(system)?;
        let (stdout_read, stdout_write) = io::pipe().map_err(system)?;
        let (stderr_read, stderr_write) = io::pipe().map_err(system)?;
        let run = self.start(
            command,
            None,
            &[stdin_read.as_fd(), stdout_write.as_fd(), stderr_write.as_fd()],
        )?;
        drop((stdin_read, stdout_write, stderr_write));
        let limit = command.output_bytes_max;
        thread::scope(|scope| {
            let stdout = scope.spawn(|| keep_beginning(stdout_read, limit, on_output));
            let stderr = scope.spawn(|| keep_beginning(stderr_read, limit, on_output));
            feed(stdin_write, &command.stdin);
            let exit = run.socket_wait(command.timeout.map(|timeout| started + timeout))?;
            let duration = started.elapsed();
            let kept = |reader: thread::ScopedJoinHandle<'_, io::Result<Kept>>| {
                reader.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))
            };
            let (stdout, stderr) = match (kept(stdout), kept(stderr)) {
                (Ok(stdout), Ok(stderr)) => (stdout, stderr),
                (Err(source), _) | (_, Err(source)) => {
                    let doing = "read a command's output".to_owned();
                    return Err(ShadowError::System { doing, source });
                }
            };
            Ok(Output {
                exit,
                stdout: stdout.bytes,
                stderr: stderr.bytes,
                dropped_bytes: stdout.dropped + stderr.dropped,
                duration,
            })
        })
    }

    /// Starts a command whose standard output and error go to `log`.
    pub(crate) fn start_logged(&self, command: &Command, log: &File) -> Result<Run, ShadowError> {
        let system = |source| ShadowError::System { doing: "open /dev/null".to_owned(), source };
        let null = File::open("/dev/null").map_err(system)?;
        Ok(self.start(command, None, &[null.as_fd(), log.as_fd(), log.as_fd()])?)
    }

    /// Starts a command on a new terminal and returns the terminal's other side.
    pub(crate) fn start_on_terminal(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<(Run, OwnedFd), ShadowError> {
        let mut run = self.start(command, Some(size), &[])?;
        match run.terminal.take() {
            Some(terminal) => Ok((run, terminal)),
            None => Err(ShadowError::Launcher("no terminal came with its command".to_owned())),
        }
    }

    fn start(
        &self,
        command: &Command,
        terminal: Option<TerminalSize>,
        standard: &[BorrowedFd<'_>],
    ) -> Result<Run, ShadowError> {
        let (ours, theirs) = wire::pair().map_err(talk)?;
        let request = RunRequest { command: command.clone(), terminal };
        let fds: Vec<_> = std::iter::once(theirs.as_fd()).chain(standard.iter().copied()).collect();
        wire::send(&self.socket, &request, &fds).map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET) => ShadowError::Gone(self.shadow.clone()),
            _ => talk(error),
        })?;
        drop(theirs);
        match wire::receive::<RunEvent>(&ours).map_err(talk)? {
            Some((RunEvent::Started, fds)) => {
                Ok(Run { shadow: self.shadow.clone(), socket: ours, terminal: fds.into_iter().next() })
            }
            Some((RunEvent::NotStarted(reason), _)) => Err(ShadowError::Start {
                program: command.argv.first().cloned().unwrap_or_default(),
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
    /// Waits for the end; kills it at the deadline.
    pub(crate) fn wait(&self) -> Result<Exit, ShadowError> {
        self.socket_wait(None)
    }

    /// How it ended, if it has.
    pub(crate) fn poll(&self) -> Result<Option<Exit>, ShadowError> {
        if self.readable(Some(Duration::ZERO))? { self.ended().map(Some) } else { Ok(None) }
    }

    fn socket_wait(&self, deadline: Option<Instant>) -> Result<Exit, ShadowError> {
        let Some(deadline) = deadline else { return self.ended() };
        let left = deadline.saturating_duration_since(Instant::now());
        if self.readable(Some(left))? {
            return self.ended();
        }
        wire::send(&self.socket, &RunControl::Kill, &[]).map_err(talk)?;
        self.ended()?;
        Ok(Exit::TimedOut)
    }

    fn ended(&self) -> Result<Exit, ShadowError> {
        match wire::receive::<RunEvent>(&self.socket).map_err(talk)? {
            Some((RunEvent::Ended(exit), _)) => Ok(exit),
            Some((other, _)) => Err(ShadowError::Launcher(format!("unexpected {other:?}"))),
            None => Err(ShadowError::Gone(self.shadow.clone())),
        }
    }

    fn readable(&self, timeout: Option<Duration>) -> Result<bool, ShadowError> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Ok(count) => return Ok(count > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(talk(error.into())),
            }
        }
    }
}

struct Kept {
    bytes: Vec<u8>,
    dropped: u64,
}

/// Reads to the end and keeps the first `limit` bytes.
fn keep_beginning(
    mut pipe: impl Read,
    limit: u64,
    on_output: &(dyn Fn(&[u8]) + Sync),
) -> io::Result<Kept> {
    let mut kept = Kept { bytes: Vec::new(), dropped: 0 };
    let mut buffer = [0u8; 16 << 10];
    loop {
        let length = match pipe.read(&mut buffer) {
            Ok(0) => return Ok(kept),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let room = usize::try_from(limit).unwrap_or(usize::MAX) - kept.bytes.len();
        let taken = length.min(room);
        kept.bytes.extend_from_slice(&buffer[..taken]);
        kept.dropped += (length - taken) as u64;
        on_output(&buffer[..length]);
    }
}

/// Writes a command's input; one that does not read it all is no error.
fn feed(mut stdin: impl Write, bytes: &[u8]) {
    let _ = stdin.write_all(bytes);
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
