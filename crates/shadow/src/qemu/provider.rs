//! The provider: what this machine has for virtual machines, and shadows made of them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use umbra_guest::netlink;
use umbra_guest::order::{PORT, ROOT_DISK, SHARE_TAG};
use umbra_store::overlay::Layers;

use super::accel::{self, Key, Probed, Trial};
use super::inherited;
use super::initrd;
use super::kernel::{self, Kernel, WANTED};
use super::machine::{
    Accel, Backing, Board, Boot, Console, Disk, Endpoint, Mac, Machine, Memory, Network, Port,
    Share, Start,
};
use super::memory::Plan;
use super::programs;
use super::shadow::MachineLife;
use super::shelf::Shelf;
use super::templates::Templates;
use crate::error::ShadowError;
use crate::held::Held;
use crate::provider::{
    Capabilities, EnforcedLimits, Files, Init, Provider, Reaped, Shadow, ShadowSpec,
};
use crate::sandbox::IDS_BASE;
use crate::sandbox::maker::Maker;

/// How a [`QemuProvider`] is to work.
#[derive(Debug, Clone)]
pub struct QemuConfig {
    /// A directory of its own, as of a sandbox's provider.
    pub dir: PathBuf,
    /// Where kernels and what boots with them are kept.
    pub cache: PathBuf,
    /// A program that calls [`crate::sandbox::launcher::main`] when its first argument is
    /// `launcher`.
    pub launcher: PathBuf,
    /// The static program that is a guest's first process.
    pub guest: PathBuf,
    /// The kernel that machines boot; the image's own, this machine's or the distribution's where
    /// none is named.
    pub kernel: Option<PathBuf>,
    /// Translate the guest's instructions even where this machine could run them itself.
    pub translate: bool,
}

/// Makes shadows that are virtual machines. One provider owns a directory at a time; dropping it
/// ends all its shadows.
pub struct QemuProvider {
    works: Arc<Works>,
    capabilities: Capabilities,
}

impl QemuProvider {
    /// Opens the provider, removing what a killed predecessor left in the directory.
    pub fn open(config: QemuConfig) -> Result<Self, ShadowError> {
        if !rustix::process::geteuid().is_root() {
            return Err(ShadowError::Unsupported(
                "virtual machines are kept by root: run umbra as root".to_owned(),
            ));
        }
        let (qemu, virtiofsd) = match (programs::QEMU.find(), programs::VIRTIOFSD.find()) {
            (Ok(qemu), Ok(virtiofsd)) => (qemu, virtiofsd),
            (Err(missing), _) | (_, Err(missing)) => {
                return Err(ShadowError::Unsupported(format!("failed to {missing}")));
            }
        };
        if !config.guest.is_file() {
            return Err(ShadowError::Missing(config.guest));
        }
        let shelf = Shelf::open(&config.cache).map_err(|source| ShadowError::System {
            doing: format!("open {}", config.cache.display()),
            source,
        })?;
        let maker = Maker::open(&config.dir, &config.launcher, Some(IDS_BASE))?;
        maker.reap()?;
        let templates = Templates::open(&maker)?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut works = Works {
            maker,
            qemu,
            virtiofsd,
            guest: config.guest,
            kernel: config.kernel,
            shelf,
            cpus,
            probed: Probed { accel: Accel::Tcg, seen: "it was told to translate".to_owned() },
            generic: Mutex::default(),
            templates,
        };
        if !config.translate {
            works.probed = works.probe(&config.cache)?;
        }
        let capabilities = works.capabilities();
        Ok(Self { works: Arc::new(works), capabilities })
    }
}

/// Removes what a killed owner's machines left in a provider's directory, also where there is no
/// QEMU any more.
///
/// # Errors
/// The directory is somebody's who lives, or cannot be cleared.
pub fn reap(dir: &Path, launcher: &Path) -> Result<Reaped, ShadowError> {
    Maker::open(dir, launcher, Some(IDS_BASE))?.reap()
}

impl Provider for QemuProvider {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn spawn(&self, layers: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError> {
        spec.check_name()?;
        let life = MachineLife::begin(Arc::clone(&self.works), layers, spec.clone())?;
        Ok(Box::new(Held::new(life, 0)))
    }

    fn prepare(
        &self,
        layers: &Layers,
        spec: &ShadowSpec,
        ready: &dyn Fn(&dyn Shadow) -> Result<(), ShadowError>,
    ) -> Result<(), ShadowError> {
        spec.check_name()?;
        if spec.files != Files::Disk {
            return Ok(());
        }
        self.works.templates.make(layers, spec, |name, memory| {
            let works = Arc::clone(&self.works);
            let life = MachineLife::template(works, layers, spec, name, memory)?;
            let shadow = Held::new(life, 0);
            ready(&shadow)?;
            shadow.with(MachineLife::save)
        })
    }

    fn list(&self) -> Result<Vec<String>, ShadowError> {
        Ok(self.works.maker.list())
    }

    fn reap(&self) -> Result<Reaped, ShadowError> {
        self.works.maker.reap()
    }
}

/// How a machine has its files and its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Files shared with this machine.
    Shared,
    /// Files on a disk.
    Disk,
    /// Likewise, and memory in a file, to fork others from.
    Template,
    /// Likewise, forked.
    Fork,
}

/// What machines are made with.
pub(super) struct Works {
    pub(super) maker: Maker,
    pub(super) qemu: PathBuf,
    virtiofsd: PathBuf,
    guest: PathBuf,
    kernel: Option<PathBuf>,
    shelf: Shelf,
    pub(super) cpus: usize,
    probed: Probed,
    /// What machines boot whose image's own kernel does not matter.
    generic: Mutex<Option<Boots>>,
    pub(super) templates: Templates,
}

/// A kernel and what boots with it.
#[derive(Debug, Clone)]
pub(super) struct Boots {
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    release: String,
}

impl Works {
    /// What boots a root: its own kernel where it is to be a system of its own.
    pub(super) fn boots(&self, init: Init, root: &OwnedFd) -> Result<Boots, ShadowError> {
        let own = init == Init::Systemd && self.kernel.is_none() && kernel::is_in(root.as_fd());
        if own { self.choose(Some(root)) } else { self.generic() }
    }

    pub(super) fn generic(&self) -> Result<Boots, ShadowError> {
        let mut kept = self.generic.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(boots) = &*kept {
            return Ok(boots.clone());
        }
        Ok(kept.insert(self.choose(None)?).clone())
    }

    fn choose(&self, root: Option<&OwnedFd>) -> Result<Boots, ShadowError> {
        let unsupported = |error: &dyn std::error::Error| {
            ShadowError::Unsupported(format!("failed to {}", umbra_state::chain(error)))
        };
        let root = root.map(AsFd::as_fd);
        let found = kernel::choose(self.kernel.as_deref(), root, &self.shelf, &WANTED)
            .map_err(|error| unsupported(&error))?;
        for (source, error) in &found.passed_over {
            let instead = found.source;
            tracing::warn!(?source, %error, ?instead, "a kernel cannot be used");
        }
        let Kernel { image, release, modules } = found.kernel;
        let initrd = initrd::make(&self.shelf, &self.guest, &modules)
            .map_err(|error| unsupported(&error))?;
        Ok(Boots { kernel: image, initrd, release })
    }

    /// The machine, with the descriptors its keeper passes on.
    pub(super) fn machine(
        &self,
        name: &str,
        plan: &Plan,
        mac: Option<netlink::Mac>,
        kind: Kind,
    ) -> Machine {
        let accel = self.probed.accel;
        let at = Endpoint;
        let network = mac.map_or(Network::None, |mac| Network::Tap {
            descriptor: inherited::TAP,
            mac: Mac(mac),
        });
        let in_memory_file = || inherited::path(inherited::MEMORY);
        let (backing, start) = match kind {
            Kind::Shared => (Backing::Shared, Start::Runs),
            Kind::Disk => (Backing::Own, Start::Runs),
            Kind::Template => (Backing::Template(in_memory_file()), Start::Runs),
            Kind::Fork => (Backing::Clone(in_memory_file()), Start::Incoming),
        };
        let shared = Share { tag: SHARE_TAG.to_owned(), server: at(inherited::SHARE) };
        let disk = Disk { id: ROOT_DISK.to_owned(), image: inherited::path(inherited::DISK) };
        tracing::debug!(name, ?kind, ?accel, "a machine begins");
        Machine {
            name: format!("umbra-{}", name.replace('.', "-")),
            accel,
            board: Board::for_accel(accel),
            cpus: plan.cpus,
            memory: Memory { bytes: plan.machine_bytes, backing },
            boot: Boot {
                kernel: inherited::path(inherited::KERNEL),
                initrd: inherited::path(inherited::INITRD),
                cmdline: cmdline(name),
            },
            console: Console::Socket(at(inherited::CONSOLE)),
            monitor: Some(at(inherited::MONITOR)),
            ports: vec![Port { name: PORT.to_owned(), endpoint: at(inherited::PORT) }],
            share: (kind == Kind::Shared).then_some(shared),
            disks: if kind == Kind::Shared { Vec::new() } else { vec![disk] },
            network,
            start,
        }
    }

    /// What serves a shared directory.
    pub(super) fn server(&self, shared: &Path) -> Vec<String> {
        let shared = shared.display().to_string();
        let mut arguments =
            vec![self.virtiofsd.display().to_string(), format!("--fd={}", inherited::SERVER)];
        arguments.extend(if self.virtiofsd.starts_with("/usr/lib/qemu") {
            // The one that came with QEMU until 7.2; its options end with commas.
            let shared = shared.replace('\\', "\\\\").replace(',', "\\,");
            let options = "cache=auto,xattr,sandbox=namespace,allow_direct_io,log_level=err";
            vec!["-o".to_owned(), format!("source={shared},{options}")]
        } else {
            let options = ["--cache=auto", "--xattr", "--sandbox=namespace", "--log-level=error"];
            let shared = format!("--shared-dir={shared}");
            std::iter::once(shared).chain(options.map(str::to_owned)).collect()
        });
        arguments
    }

    pub(super) fn accel(&self) -> Accel {
        self.probed.accel
    }

    fn probe(&self, cache: &Path) -> Result<Probed, ShadowError> {
        let device = Path::new(accel::DEVICE);
        // A kernel is made ready only where one may be tried.
        if let Err(seen) = accel::check(device) {
            return Ok(Probed { accel: Accel::Tcg, seen });
        }
        let boots = self.generic()?;
        let key = Key::of(&self.qemu, &boots.release).map_err(|source| ShadowError::System {
            doing: "look which qemu this is".to_owned(),
            source,
        })?;
        let trial = Trial {
            device,
            program: &self.qemu,
            boot: Boot { kernel: boots.kernel, initrd: boots.initrd, cmdline: cmdline("trial") },
            patience: accel::PATIENCE,
        };
        Ok(accel::cached(cache, &key, || trial.probe()))
    }

    fn capabilities(&self) -> Capabilities {
        let mut missing = Vec::new();
        if self.probed.accel == Accel::Tcg {
            missing.push(format!(
                "no KVM ({}): virtual machines are translated, ten times slower",
                self.probed.seen
            ));
        }
        missing.extend(crate::sandbox::net::missing());
        Capabilities {
            provider: "qemu".to_owned(),
            live_edit: true,
            host_capture: true,
            memory_fork: true,
            network_mirror: true,
            vm: true,
            systemd: true,
            clustered: false,
            user_namespace: true,
            limits: EnforcedLimits { memory: true, cpu: self.maker.enforced().cpu, pids: true },
            missing,
        }
    }
}

/// What the guest's kernel tells a system: nobody sits at its console, where it would wait for the
/// device to appear that it has.
const SYSTEMD: &str = "systemd.getty_auto=0";

/// What the guest's kernel is told.
fn cmdline(name: &str) -> String {
    format!(
        "console=ttyS0 panic=-1 loglevel=4 random.trust_cpu=on systemd.hostname={name} {SYSTEMD}"
    )
}
