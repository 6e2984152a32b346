//! One sandbox shadow: its keeper, its current view, and what belongs to it on this machine.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use umbra_state::{Command, Output};
use umbra_store::overlay::Layers;

use super::client::Keeper;
use super::grounds::Grounds;
use super::maker::Site;
use super::net;
use super::views::Views;
use super::wire::ViewSpec;
use crate::error::ShadowError;
use crate::inside::{Inside, Printed};
use crate::provider::{Attached, Running, Shadow, TerminalSize};

/// See the module.
pub(super) struct SandboxShadow {
    name: String,
    address: Option<IpAddr>,
    ids_base: u32,
    life: Mutex<Option<Life>>,
}

/// What ends with the shadow.
struct Life {
    /// Absent where the last view could not be shown.
    inside: Option<Arc<Inside>>,
    /// What the view's own systemd prints, where that is its first process.
    console: Option<Printed>,
    keeper: Keeper,
    views: Views,
    frozen: bool,
    grounds: Grounds,
}

impl SandboxShadow {
    pub(super) fn new(site: Site, ids_base: u32, layers: &Layers) -> Result<Self, ShadowError> {
        let Site { grounds, keeper } = site;
        let name = grounds.name().to_owned();
        let address = grounds.place.as_ref().map(|place| place.port().address.into());
        let mut views = Views::new(grounds.memory_bytes_max);
        let (inside, console) = show(&name, &keeper, &mut views, &grounds, layers)?;
        let inside = Some(Arc::new(inside));
        let life = Life { inside, console, keeper, views, frozen: false, grounds };
        Ok(Self { name, address, ids_base, life: Mutex::new(Some(life)) })
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> ShadowError {
        ShadowError::Gone(self.name.clone())
    }

    fn inside(&self) -> Result<Arc<Inside>, ShadowError> {
        let life = self.life();
        let inside = life.as_ref().and_then(|life| life.inside.clone());
        inside.ok_or_else(|| self.gone())
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), ShadowError> {
        let mut life = self.life();
        let life = life.as_mut().ok_or_else(|| self.gone())?;
        life.set_frozen(frozen)
    }
}

impl Life {
    fn set_frozen(&mut self, frozen: bool) -> Result<(), ShadowError> {
        let Grounds { group, .. } = &self.grounds;
        let (verb, done) = if frozen { ("freeze", group.freeze()) } else { ("thaw", group.thaw()) };
        done.map_err(|source| ShadowError::System {
            doing: format!("{verb} {}", self.grounds.name()),
            source,
        })?;
        self.frozen = frozen;
        Ok(())
    }
}

fn show(
    name: &str,
    keeper: &Keeper,
    views: &mut Views,
    grounds: &Grounds,
    layers: &Layers,
) -> Result<(Inside, Option<Printed>), ShadowError> {
    let image = grounds.image(layers)?;
    let view = ViewSpec {
        layers: layers.clone(),
        writes: views.next(&grounds.dir)?,
        shm_bytes_max: views.shm_bytes_max(),
        hostname: name.to_owned(),
        binds: Vec::new(),
    };
    let shown = keeper.show(view, image.as_ref())?;
    let console = shown.console.map(Printed::read).transpose();
    let console = console.map_err(|source| ShadowError::System {
        doing: format!("read the console of {name}"),
        source,
    })?;
    Ok((shown.inside, console))
}

impl Shadow for SandboxShadow {
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
        let netns = match self.life().as_ref() {
            Some(life) => life.keeper.netns()?,
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        net::connect_from(&netns, to, timeout)
    }

    fn apply(&self, layers: &Layers) -> Result<(), ShadowError> {
        let mut life = self.life();
        let life = life.as_mut().ok_or_else(|| self.gone())?;
        if life.frozen {
            // The keeper stands still with the rest.
            life.set_frozen(false)?;
        }
        let Life { inside, console, keeper, views, grounds, .. } = life;
        *inside = None;
        *console = None;
        if let Some(limit) = grounds.memory_bytes_max {
            // What the former view kept in memory is freed a moment after its last process; the
            // next view must not be killed for it.
            keeper.close()?;
            grounds.group.await_memory(limit / 8);
        }
        let shown = show(&self.name, keeper, views, grounds, layers);
        views.remove_former(&grounds.dir);
        let (shown, printed) = shown?;
        *inside = Some(Arc::new(shown));
        *console = printed;
        Ok(())
    }

    fn runs_systemd(&self) -> bool {
        self.life().as_ref().is_some_and(|life| life.console.is_some())
    }

    fn console_tail(&self, bytes_max: u64) -> Vec<u8> {
        let life = self.life();
        let console = life.as_ref().and_then(|life| life.console.as_ref());
        console.map(|printed| printed.tail(bytes_max)).unwrap_or_default()
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
        self.set_frozen(true)
    }

    fn thaw(&self) -> Result<(), ShadowError> {
        self.set_frozen(false)
    }

    fn destroy(&self) -> Result<(), ShadowError> {
        let Some(life) = self.life().take() else { return Ok(()) };
        // A frozen keeper could not answer, and killing the group ends all that it keeps; what
        // else belongs to the shadow goes as it is dropped.
        life.grounds.group.remove().map_err(|source| ShadowError::System {
            doing: format!("remove {}", self.name),
            source,
        })
    }
}

impl Drop for SandboxShadow {
    fn drop(&mut self) {
        if let Err(error) = self.destroy() {
            tracing::error!(shadow = self.name, %error, "could not remove a shadow");
        }
    }
}
