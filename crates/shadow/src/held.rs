//! A shadow as its callers hold it: what it lives on behind a lock, until it is destroyed.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use umbra_state::{Command, Output};
use umbra_store::overlay::Layers;

use crate::error::ShadowError;
use crate::inside::Inside;
use crate::provider::{Attached, Running, Shadow, TerminalSize};
use crate::sandbox::grounds::Grounds;

/// Connects as a process inside would.
pub(crate) type Connect = Box<dyn FnOnce(SocketAddr, Duration) -> io::Result<TcpStream>>;

/// What ends with a shadow.
pub(crate) trait Life: Send + Sync {
    /// The way to the current view; `None` where the last one could not be shown.
    fn inside(&self) -> Option<&Arc<Inside>>;

    /// Shows a fresh view. It does not stand still.
    fn apply(&mut self, layers: &Layers) -> Result<(), ShadowError>;

    /// Stops it where it stands, or lets it go on.
    fn set_frozen(&mut self, frozen: bool) -> Result<(), ShadowError>;

    /// How to connect from inside, while others use the shadow.
    fn connect(&self) -> io::Result<Connect>;

    /// Whether the current view's first process is the image's own systemd.
    fn runs_systemd(&self) -> bool;

    /// The last bytes on the current view's console.
    fn console_tail(&self, bytes_max: u64) -> Vec<u8>;

    /// What it stands on.
    fn grounds(&self) -> &Grounds;
}

/// See the module. Dropping it destroys it.
pub(crate) struct Held<L: Life> {
    name: String,
    address: Option<IpAddr>,
    ids_base: u32,
    alive: Mutex<Option<Alive<L>>>,
}

struct Alive<L> {
    life: L,
    frozen: bool,
}

impl<L: Life> Alive<L> {
    fn set_frozen(&mut self, frozen: bool) -> Result<(), ShadowError> {
        self.life.set_frozen(frozen)?;
        self.frozen = frozen;
        Ok(())
    }
}

impl<L: Life> Held<L> {
    /// One that lives, and whose root has this id on this machine.
    pub(crate) fn new(life: L, ids_base: u32) -> Self {
        let name = life.grounds().name().to_owned();
        let address = life.grounds().place.as_ref().map(|place| place.port().address.into());
        let alive = Mutex::new(Some(Alive { life, frozen: false }));
        Self { name, address, ids_base, alive }
    }

    /// Does something with what it lives on, while nobody else does.
    pub(crate) fn with<T>(
        &self,
        act: impl FnOnce(&mut L) -> Result<T, ShadowError>,
    ) -> Result<T, ShadowError> {
        self.with_alive(|alive| act(&mut alive.life))
    }

    fn with_alive<T>(
        &self,
        act: impl FnOnce(&mut Alive<L>) -> Result<T, ShadowError>,
    ) -> Result<T, ShadowError> {
        act(self.alive().as_mut().ok_or_else(|| self.gone())?)
    }

    fn alive(&self) -> MutexGuard<'_, Option<Alive<L>>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> ShadowError {
        ShadowError::Gone(self.name.clone())
    }

    fn inside(&self) -> Result<Arc<Inside>, ShadowError> {
        let alive = self.alive();
        let inside = alive.as_ref().and_then(|alive| alive.life.inside());
        inside.cloned().ok_or_else(|| self.gone())
    }
}

impl<L: Life> Shadow for Held<L> {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn ids_base(&self) -> u32 {
        self.ids_base
    }

    fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let connect = match self.alive().as_ref() {
            Some(alive) => alive.life.connect()?,
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        connect(to, timeout)
    }

    fn apply(&self, layers: &Layers) -> Result<(), ShadowError> {
        self.with_alive(|alive| {
            if alive.frozen {
                // Whoever shows views stands still with the rest.
                alive.set_frozen(false)?;
            }
            alive.life.apply(layers)
        })
    }

    fn runs_systemd(&self) -> bool {
        self.alive().as_ref().is_some_and(|alive| alive.life.runs_systemd())
    }

    fn console_tail(&self, bytes_max: u64) -> Vec<u8> {
        let alive = self.alive();
        alive.as_ref().map(|alive| alive.life.console_tail(bytes_max)).unwrap_or_default()
    }

    fn run(&self, command: &Command) -> Result<Output, ShadowError> {
        self.inside()?.run(command, &|_| {})
    }

    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ShadowError> {
        Ok(Box::new(self.inside()?.start_service(command)?))
    }

    fn attach(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<Box<dyn Attached>, ShadowError> {
        Ok(Box::new(self.inside()?.start_on_terminal(command, size)?))
    }

    fn root(&self) -> Result<OwnedFd, ShadowError> {
        self.inside()?.root()
    }

    fn freeze(&self) -> Result<(), ShadowError> {
        self.with_alive(|alive| alive.set_frozen(true))
    }

    fn thaw(&self) -> Result<(), ShadowError> {
        self.with_alive(|alive| alive.set_frozen(false))
    }

    fn destroy(&self) -> Result<(), ShadowError> {
        let Some(alive) = self.alive().take() else { return Ok(()) };
        // What is frozen could not answer, and killing the group ends all that runs; what else
        // belongs to the shadow goes as it is dropped.
        alive.life.grounds().group.remove().map_err(|source| ShadowError::System {
            doing: format!("remove {}", self.name),
            source,
        })
    }
}

impl<L: Life> Drop for Held<L> {
    fn drop(&mut self) {
        if let Err(error) = self.destroy() {
            tracing::error!(shadow = self.name, %error, "could not remove a shadow");
        }
    }
}
