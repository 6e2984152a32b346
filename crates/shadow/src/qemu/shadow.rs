//! What one shadow that is a virtual machine lives on: its keeper, its line, its current view.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use umbra_store::overlay::Layers;

use super::memory::Plan;
use super::power::{MONITOR_TIME_MAX, Powered, SAVE_TIME_MAX, monitors};
use super::provider::Works;
use super::qmp::{Cont, Stop};
use super::templates::{OnDisk, Saved};
use crate::error::ShadowError;
use crate::held::{Connect, Life};
use crate::inside::Inside;
use crate::provider::{Files, ShadowSpec};
use crate::sandbox::client::MachineKeeper;
use crate::sandbox::grounds::Grounds;
use crate::sandbox::views::Views;

/// See the module.
pub(super) struct MachineLife {
    pub(super) name: String,
    pub(super) works: Arc<Works>,
    pub(super) spec: ShadowSpec,
    pub(super) plan: Plan,
    /// Absent where the last view could not be shown.
    pub(super) shown: Option<Shown>,
    pub(super) machine: Option<Powered>,
    pub(super) keeper: MachineKeeper,
    pub(super) views: Views,
    /// How many views there have been.
    pub(super) number: u64,
    /// What the machine's files are on, if not here.
    pub(super) on_disk: Option<OnDisk>,
    pub(super) grounds: Grounds,
}

/// A view.
pub(super) struct Shown {
    pub(super) inside: Arc<Inside>,
    pub(super) systemd: bool,
}

impl MachineLife {
    pub(super) fn begin(
        works: Arc<Works>,
        layers: &Layers,
        spec: ShadowSpec,
    ) -> Result<Self, ShadowError> {
        let mut life = Self::unshown(works, spec)?;
        life.apply(layers)?;
        Ok(life)
    }

    /// Of one that is to be a template, with its memory in this file.
    pub(super) fn template(
        works: Arc<Works>,
        layers: &Layers,
        spec: &ShadowSpec,
        name: String,
        memory: &Path,
    ) -> Result<Self, ShadowError> {
        let spec = ShadowSpec { name, address: None, ..spec.clone() };
        let mut life = Self::unshown(works, spec)?;
        life.show_cold(layers, Some(memory))?;
        Ok(life)
    }

    fn unshown(works: Arc<Works>, spec: ShadowSpec) -> Result<Self, ShadowError> {
        let plan = Plan::of(&spec.limits, works.cpus, works.accel());
        let name = spec.name.clone();
        let (grounds, keeper) =
            works.maker.machine(name.clone(), &plan.here, &spec.network, spec.address)?;
        let views = Views::new(spec.limits.memory_bytes);
        Ok(Self {
            name,
            works,
            spec,
            plan,
            shown: None,
            machine: None,
            keeper,
            views,
            number: 0,
            on_disk: None,
            grounds,
        })
    }

    /// Stops it for good, and gives what others are forked from.
    pub(super) fn save(&mut self) -> Result<Saved, ShadowError> {
        let gone = || ShadowError::Gone(self.name.clone());
        let systemd = self.shown.take().is_some_and(|shown| shown.systemd);
        let machine = self.machine.as_mut().ok_or_else(gone)?;
        machine.monitor.execute(&Stop {}, MONITOR_TIME_MAX).map_err(monitors)?;
        let state = self.works.templates.nameless()?;
        machine.monitor.save(state.as_fd(), SAVE_TIME_MAX).map_err(monitors)?;
        let on_disk = self.on_disk.take().ok_or_else(gone)?;
        Ok(Saved { state, on_disk, systemd })
    }

    pub(super) fn gone(&self) -> ShadowError {
        ShadowError::Gone(self.name.clone())
    }
}

impl Life for MachineLife {
    fn inside(&self) -> Option<&Arc<Inside>> {
        self.shown.as_ref().map(|shown| &shown.inside)
    }

    fn apply(&mut self, layers: &Layers) -> Result<(), ShadowError> {
        match self.spec.files {
            Files::Shared => self.show_shared(layers),
            Files::Disk => self.show_disk(layers),
        }
    }

    fn set_frozen(&mut self, frozen: bool) -> Result<(), ShadowError> {
        let Some(machine) = &mut self.machine else { return Err(self.gone()) };
        let done = if frozen {
            machine.monitor.execute(&Stop {}, MONITOR_TIME_MAX)
        } else {
            machine.monitor.execute(&Cont {}, MONITOR_TIME_MAX)
        };
        done.map(drop).map_err(monitors)
    }

    fn connect(&self) -> io::Result<Connect> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let line = Arc::clone(&self.machine.as_ref().ok_or_else(gone)?.line);
        Ok(Box::new(move |to, timeout| line.connect(to, timeout)))
    }

    fn runs_systemd(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.systemd)
    }

    fn console_tail(&self, bytes_max: u64) -> Vec<u8> {
        let machine = self.machine.as_ref();
        machine.map(|machine| machine.console.tail(bytes_max)).unwrap_or_default()
    }

    fn grounds(&self) -> &Grounds {
        &self.grounds
    }
}
