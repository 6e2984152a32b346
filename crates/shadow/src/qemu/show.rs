//! How a virtual machine comes to show a root: shared with this machine, booted from a disk, or
//! forked from a machine that does already.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use umbra_guest::order::{Identity, Order, Place, Root, View};
use umbra_guest::wire;
use umbra_store::overlay::Layers;

use super::machine::Machine;
use super::power::{MONITOR_TIME_MAX, Parts, Powered, SAVE_TIME_MAX, monitors};
use super::provider::Kind;
use super::qmp::Cont;
use super::shadow::{Life, QemuShadow, Shown};
use super::templates::{OnDisk, Template};
use crate::error::ShadowError;
use crate::inside::Inside;
use crate::provider::Init;
use crate::sandbox::grounds::Grounds;
use crate::sandbox::wire::{MachineRequest, SHARED, ShareSpec};

/// How long a guest may take until it can be spoken to. Under TCG, on a machine that does much
/// else, it takes its time.
const BOOT_TIME_MAX: Duration = Duration::from_secs(120);

/// How long a guest that runs may take for an order.
const ORDER_TIME_MAX: Duration = Duration::from_secs(60);

impl QemuShadow {
    /// Shows a view of shared files in place of the one before, in a machine that is begun for it
    /// if need be.
    pub(super) fn show_shared(&self, life: &mut Life, layers: &Layers) -> Result<(), ShadowError> {
        life.shown = None;
        if self.spec.init == Init::Systemd {
            // A system that runs cannot be told to be another one.
            life.machine = None;
        }
        let former = life.number;
        life.number += 1;
        let name = format!("v{}", life.number);
        let root = self.share(life, &name, layers)?;
        let systemd = self.spec.init == Init::Systemd && has_systemd(&root);
        let ran = life.machine.is_some();
        if !ran {
            life.machine = Some(self.power_on_shared(life, &root)?);
        }
        let place = Root::Shared(name);
        let mut inside = self.enter(life, place.clone(), root.try_clone().ok(), systemd);
        if ran && matches!(inside, Err(ShadowError::Gone(_))) {
            // It died meanwhile; the shadow is as good as before with another machine.
            life.machine = None;
            life.machine = Some(self.power_on_shared(life, &root)?);
            inside = self.enter(life, place, Some(root), systemd);
        }
        life.shown = Some(Shown { inside: Arc::new(inside?), systemd });
        if former > 0 {
            life.keeper.ask(&MachineRequest::Hide(format!("v{former}")), &[])?;
            life.views.remove_former(&life.grounds.dir);
        }
        Ok(())
    }

    /// Shows a view of files on a disk, forked where there is something to be forked from.
    pub(super) fn show_disk(&self, life: &mut Life, layers: &Layers) -> Result<(), ShadowError> {
        life.shown = None;
        life.machine = None;
        match self.works.templates.of(layers, &self.spec) {
            Some(template) => self.show_fork(life, &template),
            None => self.show_cold(life, layers, None),
        }
    }

    /// Boots from a disk, with the machine's memory in a file if one is given.
    pub(super) fn show_cold(
        &self,
        life: &mut Life,
        layers: &Layers,
        memory: Option<&Path>,
    ) -> Result<(), ShadowError> {
        life.number += 1;
        let name = format!("v{}", life.number);
        let root = self.share(life, &name, layers)?;
        let tree = life.grounds.dir.scratch().join(SHARED).join(&name);
        let disk = self.works.templates.disk(layers, &life.keeper, &tree)?;
        let systemd = self.spec.init == Init::Systemd && has_systemd(&root);
        let boots = self.works.boots(self.spec.init, &root)?;
        drop(root);
        life.keeper.ask(&MachineRequest::Hide(name), &[])?;
        let kind = if memory.is_some() { Kind::Template } else { Kind::Disk };
        let parts = Parts {
            machine: self.machine(life, kind),
            boots: &boots,
            shared: None,
            disk: Some(disk.path()),
            memory,
        };
        // What is forked later has another place in the network.
        let identity = self.identity(&life.grounds, memory.is_none())?;
        let machine = Powered::begin(&self.name, &self.works, &life.keeper, parts, |line, _| {
            line.order(Order::Hello, None, BOOT_TIME_MAX)?;
            line.order(Order::Be(identity), None, ORDER_TIME_MAX).map(drop)
        })?;
        life.machine = Some(machine);
        life.on_disk = Some(OnDisk { disk, boots });
        let inside = self.enter(life, Root::Disk, None, systemd)?;
        life.shown = Some(Shown { inside: Arc::new(inside), systemd });
        Ok(())
    }

    fn show_fork(&self, life: &mut Life, template: &Template) -> Result<(), ShadowError> {
        let parts = Parts {
            machine: self.machine(life, Kind::Fork),
            boots: &template.on_disk.boots,
            shared: None,
            disk: Some(template.on_disk.disk.path()),
            memory: Some(&template.memory),
        };
        let identity = self.identity(&life.grounds, true)?;
        let (runs, asked) = self.sockets()?;
        let state = template.state()?;
        let machine = Powered::begin(&self.name, &self.works, &life.keeper, parts, |line, qmp| {
            qmp.load(state.as_fd(), SAVE_TIME_MAX).map_err(monitors)?;
            qmp.execute(&Cont {}, MONITOR_TIME_MAX).map_err(monitors)?;
            // Before anything else: it draws the same random bytes as its like, and tells the same
            // time.
            line.order(Order::Be(identity), Some(asked), ORDER_TIME_MAX).map(drop)
        })?;
        life.machine = Some(machine);
        life.on_disk = Some(template.on_disk.clone());
        let inside = Arc::new(Inside::new(self.name.clone(), runs, None));
        life.shown = Some(Shown { inside, systemd: template.systemd });
        Ok(())
    }

    fn machine(&self, life: &Life, kind: Kind) -> Machine {
        let mac = life.grounds.place.as_ref().map(|place| place.port().mac());
        self.works.machine(&self.name, &self.plan, mac, kind)
    }

    /// Shows the root in the shared directory.
    fn share(&self, life: &mut Life, name: &str, layers: &Layers) -> Result<OwnedFd, ShadowError> {
        let image = life.grounds.image(layers)?;
        let image: Vec<_> = image.iter().map(AsFd::as_fd).collect();
        let share = ShareSpec {
            name: name.to_owned(),
            layers: layers.clone(),
            writes: life.views.next(&life.grounds.dir)?,
        };
        let fds = life.keeper.ask(&MachineRequest::Show(share), &image)?;
        fds.into_iter().next().ok_or_else(|| ShadowError::Launcher("no root came".to_owned()))
    }

    fn power_on_shared(&self, life: &Life, root: &OwnedFd) -> Result<Powered, ShadowError> {
        let boots = self.works.boots(self.spec.init, root)?;
        let shared = life.grounds.dir.scratch().join(SHARED);
        let parts = Parts {
            machine: self.machine(life, Kind::Shared),
            boots: &boots,
            shared: Some(&shared),
            disk: None,
            memory: None,
        };
        let identity = self.identity(&life.grounds, true)?;
        Powered::begin(&self.name, &self.works, &life.keeper, parts, |line, _| {
            line.order(Order::Hello, None, BOOT_TIME_MAX)?;
            line.order(Order::Be(identity), None, ORDER_TIME_MAX).map(drop)
        })
    }

    fn identity(&self, grounds: &Grounds, joins: bool) -> Result<Identity, ShadowError> {
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
        let network = grounds.place.as_ref().filter(|_| joins).map(|place| {
            let port = place.port();
            Place {
                mac: port.mac(),
                address: port.address,
                prefix: port.prefix,
                gateway: port.gateway,
            }
        });
        Ok(Identity {
            now_ns: now.as_nanos() as u64,
            hostname: self.name.clone(),
            machine_id: Some(machine_id),
            entropy,
            network,
        })
    }

    fn sockets(&self) -> Result<(OwnedFd, OwnedFd), ShadowError> {
        wire::pair()
            .map_err(|source| ShadowError::System { doing: "make a socket".to_owned(), source })
    }

    /// Has the guest show the root, or become its system.
    fn enter(
        &self,
        life: &Life,
        place: Root,
        root: Option<OwnedFd>,
        systemd: bool,
    ) -> Result<Inside, ShadowError> {
        let machine = life.machine.as_ref().ok_or_else(|| self.gone())?;
        let (ours, theirs) = wire::pair()
            .map_err(|source| ShadowError::System { doing: "make a socket".to_owned(), source })?;
        let view = View {
            root: place,
            hostname: self.name.clone(),
            shm_bytes_max: life.views.shm_bytes_max(),
            memory_bytes_max: self.spec.limits.memory_bytes,
            pids_max: self.spec.limits.pids,
        };
        let order = if systemd { Order::Boot(view) } else { Order::View(view) };
        machine.line.order(order, Some(theirs), ORDER_TIME_MAX)?;
        Ok(Inside::new(self.name.clone(), ours, root))
    }
}

/// Whether a root has a system of its own; links lead within it.
fn has_systemd(root: &OwnedFd) -> bool {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    ["usr/lib/systemd/systemd", "lib/systemd/systemd"].into_iter().any(|path| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok()
    })
}
