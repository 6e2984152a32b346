//! The daemon's side of the sockets: asks the launcher for keepers, keepers for views.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::{Mutex, PoisonError};

use umbra_state::command::DEFAULT_PATH;

use super::launcher::LAUNCHER_FD;
use super::tenancy;
use super::wire::{
    self, InitHello, Keep, KeeperHello, KeeperReply, KeeperRequest, KeeperSpec, LauncherHello,
    MachineReply, MachineRequest, MachineSpec, ViewSpec,
};
use crate::error::ShadowError;
use crate::inside::Inside;

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
            LauncherHello::Failed(failure) => Err(failure.into()),
        }
    }

    /// Makes a keeper of views and waits until it is ready.
    pub(crate) fn keeper(&self, spec: KeeperSpec) -> Result<Keeper, ShadowError> {
        let name = spec.name.clone();
        let (socket, fds) = self.keep(&Keep::Views(spec))?;
        Ok(Keeper { name, socket, netns: fds.into_iter().next() })
    }

    /// Makes a keeper of a virtual machine and waits until it is ready.
    pub(crate) fn machine_keeper(
        &self,
        name: &str,
        spec: MachineSpec,
    ) -> Result<MachineKeeper, ShadowError> {
        let (socket, _) = self.keep(&Keep::Machine(spec))?;
        Ok(MachineKeeper { name: name.to_owned(), socket })
    }

    fn keep(&self, what: &Keep) -> Result<(OwnedFd, Vec<OwnedFd>), ShadowError> {
        let (ours, theirs) = wire::pair().map_err(talk)?;
        {
            let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
            wire::send(&*socket, what, &[theirs.as_fd()]).map_err(talk)?;
        }
        drop(theirs);
        match expect::<KeeperHello>(&ours)? {
            (KeeperHello::Ready, fds) => Ok((ours, fds)),
            (KeeperHello::Failed(failure), _) => Err(failure.into()),
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

/// A view that is shown.
pub(crate) struct Shown {
    pub(crate) inside: Inside,
    /// Of the image's own systemd, if that is the first process.
    pub(crate) console: Option<OwnedFd>,
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
    ) -> Result<Shown, ShadowError> {
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
                    (InitHello::Failed(failure), _) => return Err(failure.into()),
                };
                Ok(Shown { inside: Inside::new(self.name.clone(), socket, Some(root)), console })
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
            Some((KeeperReply::Failed(failure), _)) => Err(failure.into()),
            Some(reply) => Ok(reply),
            None => Err(self.gone()),
        }
    }

    fn gone(&self) -> ShadowError {
        ShadowError::Gone(self.name.clone())
    }
}

/// A virtual machine's keeper. Dropping it ends the keeper and its machine.
pub(crate) struct MachineKeeper {
    name: String,
    socket: OwnedFd,
}

impl MachineKeeper {
    /// Asks for one thing and waits until it is done.
    pub(crate) fn ask(
        &self,
        request: &MachineRequest,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<OwnedFd>, ShadowError> {
        let gone = || ShadowError::Gone(self.name.clone());
        wire::send(&self.socket, request, fds).map_err(|_| gone())?;
        match wire::receive(&self.socket).map_err(talk)? {
            Some((MachineReply::Done, fds)) => Ok(fds),
            Some((MachineReply::Failed(failure), _)) => Err(failure.into()),
            None => Err(gone()),
        }
    }
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
