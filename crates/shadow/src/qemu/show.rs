//! How a virtual machine comes to show a root: shared with this machine, booted from a disk, or
//! forked from a machine that does already.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use umbra_guest::order::{Identity, Order, Root, View};
use umbra_guest::{SYSTEMD, wire};
use umbra_store::overlay::Layers;

use super::machine::Machine;
use super::power::{MONITOR_TIME_MAX, Parts, Powered, SAVE_TIME_MAX, monitors};
use super::provider::Kind;
use super::qmp::Cont;
use super::shadow::{MachineLife, Shown};
use super::templates::{OnDisk, Template};
use crate::error::ShadowError;
use crate::inside::Inside;
use crate::provider::Init;
use crate::sandbox::wire::{MachineRequest, SHARED, ShareSpec};

/// How long a guest may take until it can be spoken to. Under TCG, on a machine that does much
/// else, it takes its time.
const BOOT_TIME_MAX: Duration = Duration::from_secs(120);

/// How long a guest that runs may take for an order.
const ORDER_TIME_MAX: Duration = Duration::from_secs(60);

impl MachineLife {
    /// Shows a view of shared files in place of the one before, in a machine that is begun for it
    /// if need be.
    pub(super) fn show_shared(&mut self, layers: &Layers) -> Result<(), ShadowError> {
        self.shown = None;
        if self.spec.init == Init::Systemd {
            // A system that runs cannot be told to be another one.
            self.machine = None;
        }
        let former = self.number;
        self.number += 1;
        let name = format!("v{}", self.number);
        let root = self.share(&name, layers)?;
        let systemd = self.spec.init == Init::Systemd && has_systemd(&root);
        let ran = self.machine.is_some();
        if !ran {
            self.machine = Some(self.power_on_shared(&root)?);
        }
        let place = Root::Shared(name);
        let mut inside = self.enter(place.clone(), root.try_clone().ok(), systemd);
        if ran && matches!(inside, Err(ShadowError::Gone(_))) {
            // It died meanwhile; the shadow is as good as before with another machine.
            self.machine = None;
            self.machine = Some(self.power_on_shared(&root)?);
            inside = self.enter(place, Some(root), systemd);
        }
        self.shown = Some(Shown { inside: Arc::new(inside?), systemd });
        if former > 0 {
            self.keeper.ask(&MachineRequest::Hide(format!("v{former}")), &[])?;
            self.views.remove_former(&self.grounds.dir);
        }
        Ok(())
    }

    /// Shows a view of files on a disk, forked where there is something to be forked from.
    pub(super) fn show_disk(&mut self, layers: &Layers) -> Result<(), ShadowError> {
        self.shown = None;
        self.machine = None;
        match self.works.templates.of(layers, &self.spec) {
            Some(template) => self.show_fork(&template),
            None => self.show_cold(layers, None),
        }
    }

    /// Boots from a disk, with the machine's memory in a file if one is given.
    pub(super) fn show_cold(
        &mut self,
        layers: &Layers,
        memory: Option<&Path>,
    ) -> Result<(), ShadowError> {
        self.number += 1;
        let name = format!("v{}", self.number);
        let root = self.share(&name, layers)?;
        let tree = self.grounds.dir.scratch().join(SHARED).join(&name);
        let disk = self.works.templates.disk(layers, &self.keeper, &tree)?;
        let systemd = self.spec.init == Init::Systemd && has_systemd(&root);
        let boots = self.works.boots(self.spec.init, &root)?;
        drop(root);
        self.keeper.ask(&MachineRequest::Hide(name), &[])?;
        let kind = if memory.is_some() { Kind::Template } else { Kind::Disk };
        let parts = Parts {
            machine: self.machine(kind),
            boots: &boots,
            shared: None,
            disk: Some(disk.path()),
            memory,
        };
        // What is forked later has another place in the network.
        self.machine = Some(self.boot(parts, memory.is_none())?);
        self.on_disk = Some(OnDisk { disk, boots });
        let inside = self.enter(Root::Disk, None, systemd)?;
        self.shown = Some(Shown { inside: Arc::new(inside), systemd });
        Ok(())
    }

    fn show_fork(&mut self, template: &Template) -> Result<(), ShadowError> {
        let parts = Parts {
            machine: self.machine(Kind::Fork),
            boots: &template.saved.on_disk.boots,
            shared: None,
            disk: Some(template.saved.on_disk.disk.path()),
            memory: Some(&template.memory),
        };
        let identity = self.identity(true)?;
        let (runs, asked) = sockets()?;
        let state = template.state()?;
        let machine = Powered::begin(&self.name, &self.works, &self.keeper, parts, |line, qmp| {
            qmp.load(state.as_fd(), SAVE_TIME_MAX).map_err(monitors)?;
            qmp.execute(&Cont {}, MONITOR_TIME_MAX).map_err(monitors)?;
            // Before anything else: it draws the same random bytes as its like, and tells the same
            // time.
            line.order(Order::Be(identity), Some(asked), ORDER_TIME_MAX)
        })?;
        self.machine = Some(machine);
        self.on_disk = Some(template.saved.on_disk.clone());
        let inside = Arc::new(Inside::new(self.name.clone(), runs, None));
        self.shown = Some(Shown { inside, systemd: template.saved.systemd });
        Ok(())
    }

    fn machine(&self, kind: Kind) -> Machine {
        let mac = self.grounds.place.as_ref().map(|place| place.port().mac());
        self.works.machine(&self.name, &self.plan, mac, kind)
    }

    /// Shows the root in the shared directory.
    fn share(&mut self, name: &str, layers: &Layers) -> Result<OwnedFd, ShadowError> {
        let image = self.grounds.image(layers)?;
        let image: Vec<_> = image.iter().map(AsFd::as_fd).collect();
        let share = ShareSpec {
            name: name.to_owned(),
            layers: layers.clone(),
            writes: self.views.next(&self.grounds.dir)?,
        };
        let fds = self.keeper.ask(&MachineRequest::Show(share), &image)?;
        fds.into_iter().next().ok_or_else(|| ShadowError::Launcher("no root came".to_owned()))
    }

    fn power_on_shared(&self, root: &OwnedFd) -> Result<Powered, ShadowError> {
        let boots = self.works.boots(self.spec.init, root)?;
        let shared = self.grounds.dir.scratch().join(SHARED);
        let parts = Parts {
            machine: self.machine(Kind::Shared),
            boots: &boots,
            shared: Some(&shared),
            disk: None,
            memory: None,
        };
        self.boot(parts, true)
    }

    /// Begins a machine that boots, and returns once its guest can be spoken to and knows who it
    /// is; where in the network only if it `joins` it.
    fn boot(&self, parts: Parts<'_>, joins: bool) -> Result<Powered, ShadowError> {
        let identity = self.identity(joins)?;
        Powered::begin(&self.name, &self.works, &self.keeper, parts, |line, _| {
            line.order(Order::Hello, None, BOOT_TIME_MAX)?;
            line.order(Order::Be(identity), None, ORDER_TIME_MAX)
        })
    }

    fn identity(&self, joins: bool) -> Result<Identity, ShadowError> {
        let mut entropy = vec![0; 64];
        rustix::rand::getrandom(&mut *entropy, rustix::rand::GetRandomFlags::empty()).map_err(
            |error| ShadowError::System {
                doing: "draw random bytes".to_owned(),
                source: error.into(),
            },
        )?;
        // Sixteen of them are nobody else's, the rest goes to the guest's kernel.
        let own: Vec<u8> = entropy.drain(..16).collect();
        let machine_id = own.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let place = self.grounds.place.as_ref().filter(|_| joins);
        Ok(Identity {
            now_ns: now.as_nanos() as u64,
            hostname: self.name.clone(),
            machine_id,
            entropy,
            network: place.map(|place| place.port().inside()),
        })
    }

    /// Has the guest show the root, or become its system.
    fn enter(
        &self,
        place: Root,
        root: Option<OwnedFd>,
        systemd: bool,
    ) -> Result<Inside, ShadowError> {
        let machine = self.machine.as_ref().ok_or_else(|| self.gone())?;
        let (ours, theirs) = sockets()?;
        let view = View {
            root: place,
            hostname: self.name.clone(),
            shm_bytes_max: self.views.shm_bytes_max(),
            memory_bytes_max: self.spec.limits.memory_bytes,
            pids_max: self.spec.limits.pids,
        };
        let order = if systemd { Order::Boot(view) } else { Order::View(view) };
        machine.line.order(order, Some(theirs), ORDER_TIME_MAX)?;
        Ok(Inside::new(self.name.clone(), ours, root))
    }
}

fn sockets() -> Result<(OwnedFd, OwnedFd), ShadowError> {
    wire::pair().map_err(|source| ShadowError::System { doing: "make a socket".to_owned(), source })
}

/// Whether a root has a system of its own; links lead within it.
fn has_systemd(root: &OwnedFd) -> bool {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    SYSTEMD.into_iter().any(|path| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok()
    })
}
