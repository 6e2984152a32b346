//! One sandbox shadow: its keeper, its current view, and what belongs to it on this machine.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::MemfdFlags;
use umbra_state::{Command, Exit, Output};
use umbra_store::overlay::Layers;

use super::TakenName;
use super::cgroup::Group;
use super::client::{Init, Keeper, Run};
use super::net::{Bridge, Port};
use super::views::Views;
use super::wire::{Profile, ViewSpec};
use crate::error::ShadowError;
use crate::provider::{Attached, Running, Shadow, TerminalSize};

/// See the module.
pub(super) struct SandboxShadow {
    name: TakenName,
    place: Option<Place>,
    ids_base: u32,
    life: Mutex<Option<Life>>,
}

/// A shadow's port and the bridge it belongs to.
pub(super) struct Place {
    pub(super) port: Port,
    pub(super) bridge: Arc<Bridge>,
}

/// What ends with the shadow.
struct Life {
    init: Arc<Init>,
    keeper: Keeper,
    group: Group,
    views: Views,
}

impl SandboxShadow {
    pub(super) fn new(
        name: TakenName,
        place: Option<Place>,
        keeper: Keeper,
        group: Group,
        dir: PathBuf,
        ids_base: u32,
        layers: &Layers,
    ) -> Result<Self, ShadowError> {
        let mut views = Views::new(dir);
        let init = show(name.as_str(), &keeper, &mut views, layers)?;
        let life = Life { init: Arc::new(init), keeper, group, views };
        Ok(Self { name, place, ids_base, life: Mutex::new(Some(life)) })
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn init(&self) -> Result<Arc<Init>, ShadowError> {
        let life = self.life();
        let life = life.as_ref().ok_or_else(|| ShadowError::Gone(self.name.as_str().to_owned()))?;
        Ok(Arc::clone(&life.init))
    }
}

fn show(
    name: &str,
    keeper: &Keeper,
    views: &mut Views,
    layers: &Layers,
) -> Result<Init, ShadowError> {
    let writable = views.next()?;
    keeper.show(ViewSpec {
        layers: layers.clone(),
        upper: writable.upper,
        work: writable.work,
        hostname: name.to_owned(),
        binds: Vec::new(),
        profile: Profile::Shadow,
    })
}

impl Shadow for SandboxShadow {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn address(&self) -> Option<IpAddr> {
        self.place.as_ref().map(|place| place.port.address.into())
    }

    fn apply(&self, layers: &Layers) -> Result<(), ShadowError> {
        let mut life = self.life();
        let life = life.as_mut().ok_or_else(|| ShadowError::Gone(self.name.as_str().to_owned()))?;
        life.init = Arc::new(show(self.name.as_str(), &life.keeper, &mut life.views, layers)?);
        life.views.remove_former();
        Ok(())
    }

    fn run(&self, command: &Command) -> Result<Output, ShadowError> {
        self.init()?.run(command, &|_| {})
    }

    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ShadowError> {
        let doing = || "make a log".to_owned();
        let log = rustix::fs::memfd_create("log", MemfdFlags::CLOEXEC)
            .map_err(|error| ShadowError::System { doing: doing(), source: error.into() })?;
        // Both streams append to it, whoever writes.
        rustix::fs::fcntl_setfl(&log, rustix::fs::OFlags::APPEND)
            .map_err(|error| ShadowError::System { doing: doing(), source: error.into() })?;
        let log = File::from(log);
        let run = self.init()?.start_logged(command, &log)?;
        Ok(Box::new(Service { run, log, ended: Mutex::new(None) }))
    }

    fn attach(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<Box<dyn Attached>, ShadowError> {
        let (run, terminal) = self.init()?.start_on_terminal(command, size)?;
        Ok(Box::new(Terminal { run, terminal }))
    }

    fn root(&self) -> Result<OwnedFd, ShadowError> {
        self.init()?
            .root()
            .map_err(|source| ShadowError::System { doing: "open the root".to_owned(), source })
    }

    fn ids_base(&self) -> u32 {
        self.ids_base
    }

    fn freeze(&self) -> Result<(), ShadowError> {
        self.with_group("freeze", Group::freeze)
    }

    fn thaw(&self) -> Result<(), ShadowError> {
        self.with_group("thaw", Group::thaw)
    }

    fn destroy(&self) -> Result<(), ShadowError> {
        let Some(life) = self.life().take() else { return Ok(()) };
        let system = |source| ShadowError::System { doing: format!("remove {}", self.name.as_str()), source };
        // A frozen keeper could not answer, and killing the group ends all that it keeps.
        let removed = life.group.remove().map_err(system);
        drop(life.keeper);
        let emptied = life.views.remove_all();
        if let Some(place) = &self.place {
            place.bridge.give_back(&place.port);
        }
        removed.and(emptied)
    }
}

impl SandboxShadow {
    fn with_group(
        &self,
        verb: &str,
        act: impl FnOnce(&Group) -> io::Result<()>,
    ) -> Result<(), ShadowError> {
        let life = self.life();
        let life = life.as_ref().ok_or_else(|| ShadowError::Gone(self.name.as_str().to_owned()))?;
        act(&life.group)
            .map_err(|source| ShadowError::System { doing: format!("{verb} {}", self.name.as_str()), source })
    }
}

impl Drop for SandboxShadow {
    fn drop(&mut self) {
        if let Err(error) = self.destroy() {
            tracing::error!(shadow = self.name.as_str(), %error, "could not remove a shadow");
        }
    }
}

struct Service {
    run: Run,
    log: File,
    /// The end is told once; later questions are answered from here.
    ended: Mutex<Option<Exit>>,
}

impl Running for Service {
    fn log_tail(&self, bytes_max: u64) -> Vec<u8> {
        let length = self.log.metadata().map_or(0, |metadata| metadata.len());
        let start = length.saturating_sub(bytes_max);
        let mut tail = vec![0; (length - start) as usize];
        let read = self.log.read_at(&mut tail, start).unwrap_or(0);
        tail.truncate(read);
        tail
    }

    fn ended(&self) -> Option<Exit> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            // A view that is gone took the service with it.
            *ended = self.run.poll().unwrap_or(Some(Exit::Signal(libc::SIGKILL)));
        }
        *ended
    }
}

struct Terminal {
    run: Run,
    terminal: OwnedFd,
}

impl Attached for Terminal {
    fn terminal(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    fn resize(&self, size: TerminalSize) -> Result<(), ShadowError> {
        let size = rustix::termios::Winsize {
            ws_col: size.columns,
            ws_row: size.rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.terminal, size).map_err(|error| ShadowError::System {
            doing: "resize a terminal".to_owned(),
            source: error.into(),
        })
    }

    fn wait(&mut self) -> Result<Exit, ShadowError> {
        self.run.wait()
    }
}
