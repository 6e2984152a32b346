//! One virtual machine as a shadow: its keeper, its line, its current view.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use umbra_state::{Command, Output};
use umbra_store::overlay::Layers;

use super::memory::Plan;
use super::power::{MONITOR_TIME_MAX, Powered, SAVE_TIME_MAX, monitors};
use super::provider::Works;
use super::qmp::{Cont, Stop};
use super::templates::OnDisk;
use crate::error::ShadowError;
use crate::inside::Inside;
use crate::provider::{Attached, Files, Running, Shadow, ShadowSpec, TerminalSize};
use crate::sandbox::client::MachineKeeper;
use crate::sandbox::grounds::Grounds;
use crate::sandbox::views::Views;

/// See the module.
pub(super) struct QemuShadow {
    pub(super) name: String,
    address: Option<IpAddr>,
    pub(super) works: Arc<Works>,
    pub(super) spec: ShadowSpec,
    pub(super) plan: Plan,
    life: Mutex<Option<Life>>,
}

/// What ends with the shadow.
pub(super) struct Life {
    /// Absent where the last view could not be shown.
    pub(super) shown: Option<Shown>,
    pub(super) machine: Option<Powered>,
    pub(super) keeper: MachineKeeper,
    pub(super) views: Views,
    /// How many views there have been.
    pub(super) number: u64,
    frozen: bool,
    /// What the machine's files are on, if not here.
    pub(super) on_disk: Option<OnDisk>,
    pub(super) grounds: Grounds,
}

/// A view.
pub(super) struct Shown {
    pub(super) inside: Arc<Inside>,
    pub(super) systemd: bool,
}

impl QemuShadow {
    pub(super) fn begin(
        works: Arc<Works>,
        layers: &Layers,
        spec: &ShadowSpec,
    ) -> Result<Self, ShadowError> {
        Self::begin_as(works, layers, spec.clone(), None)
    }

    /// One that is to be a template, with its memory in this file.
    pub(super) fn template(
        works: Arc<Works>,
        layers: &Layers,
        spec: &ShadowSpec,
        name: String,
        memory: &Path,
    ) -> Result<Self, ShadowError> {
        let spec = ShadowSpec { name, address: None, ..spec.clone() };
        Self::begin_as(works, layers, spec, Some(memory))
    }

    fn begin_as(
        works: Arc<Works>,
        layers: &Layers,
        spec: ShadowSpec,
        memory: Option<&Path>,
    ) -> Result<Self, ShadowError> {
        let plan = Plan::of(&spec.limits, works.cpus, works.accel());
        let name = spec.name.clone();
        let (grounds, keeper) =
            works.maker.machine(name.clone(), &plan.here, &spec.network, spec.address)?;
        let address = grounds.place.as_ref().map(|place| place.port().address.into());
        let views = Views::new(spec.limits.memory_bytes);
        let mut life = Life {
            shown: None,
            machine: None,
            keeper,
            views,
            number: 0,
            frozen: false,
            on_disk: None,
            grounds,
        };
        let shadow = Self { name, address, works, spec, plan, life: Mutex::default() };
        match (shadow.spec.files, memory) {
            (Files::Shared, _) => shadow.show_shared(&mut life, layers)?,
            (Files::Disk, None) => shadow.show_disk(&mut life, layers)?,
            (Files::Disk, Some(_)) => shadow.show_cold(&mut life, layers, memory)?,
        }
        *shadow.life() = Some(life);
        Ok(shadow)
    }

    /// Ends it, keeping what others are forked from: its devices' state, its disk, and whether it
    /// is a system of its own.
    pub(super) fn into_template(self) -> Result<(File, OnDisk, bool), ShadowError> {
        let mut life = self.life();
        let life = life.as_mut().ok_or_else(|| self.gone())?;
        let systemd = life.shown.take().is_some_and(|shown| shown.systemd);
        let machine = life.machine.as_mut().ok_or_else(|| self.gone())?;
        machine.monitor.execute(&Stop {}, MONITOR_TIME_MAX).map_err(monitors)?;
        let state = self.works.templates.nameless()?;
        machine.monitor.save(state.as_fd(), SAVE_TIME_MAX).map_err(monitors)?;
        let on_disk = life.on_disk.take().ok_or_else(|| self.gone())?;
        Ok((state, on_disk, systemd))
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gone(&self) -> ShadowError {
        ShadowError::Gone(self.name.clone())
    }

    fn inside(&self) -> Result<Arc<Inside>, ShadowError> {
        let life = self.life();
        let shown = life.as_ref().and_then(|life| life.shown.as_ref());
        shown.map(|shown| Arc::clone(&shown.inside)).ok_or_else(|| self.gone())
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), ShadowError> {
        let mut life = self.life();
        life.as_mut().ok_or_else(|| self.gone())?.set_frozen(frozen)
    }
}

impl Life {
    fn set_frozen(&mut self, frozen: bool) -> Result<(), ShadowError> {
        let Some(machine) = &mut self.machine else {
            return Err(ShadowError::Gone(self.grounds.name().to_owned()));
        };
        let done = if frozen {
            machine.monitor.execute(&Stop {}, MONITOR_TIME_MAX).map(drop)
        } else {
            machine.monitor.execute(&Cont {}, MONITOR_TIME_MAX).map(drop)
        };
        done.map_err(monitors)?;
        self.frozen = frozen;
        Ok(())
    }
}

impl Shadow for QemuShadow {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let line = match self.life().as_ref().and_then(|life| life.machine.as_ref()) {
            Some(machine) => Arc::clone(&machine.line),
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        line.connect(to, timeout)
    }

    fn apply(&self, layers: &Layers) -> Result<(), ShadowError> {
        let mut life = self.life();
        let life = life.as_mut().ok_or_else(|| self.gone())?;
        if life.frozen {
            life.set_frozen(false)?;
        }
        match self.spec.files {
            Files::Shared => self.show_shared(life, layers),
            Files::Disk => self.show_disk(life, layers),
        }
    }

    fn runs_systemd(&self) -> bool {
        let life = self.life();
        life.as_ref().and_then(|life| life.shown.as_ref()).is_some_and(|shown| shown.systemd)
    }

    fn console_tail(&self, bytes_max: u64) -> Vec<u8> {
        let life = self.life();
        let machine = life.as_ref().and_then(|life| life.machine.as_ref());
        machine.map(|machine| machine.console.tail(bytes_max)).unwrap_or_default()
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
        // The group's processes are killed and waited for; what else belongs to the shadow goes as
        // it is dropped.
        life.grounds.group.remove().map_err(|source| ShadowError::System {
            doing: format!("remove {}", self.name),
            source,
        })
    }
}

impl Drop for QemuShadow {
    fn drop(&mut self) {
        if let Err(error) = self.destroy() {
            tracing::error!(shadow = self.name, %error, "could not remove a shadow");
        }
    }
}
