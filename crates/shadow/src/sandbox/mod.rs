//! The provider that needs nothing but Linux: namespaces, an overlay over the state, a port on
//! a fenced bridge, dropped rights, filtered system calls, limits.
//!
//! | module | holds |
//! |---|---|
//! | [`launcher`] | the forked side: launcher, keepers, inits |
//! | `wire` | what the processes say to one another |
//! | `client` | the daemon's side of it |
//! | `shadow`, `views` | a shadow made of these |
//! | `maker`, `warm` | sites for shadows to begin in, made when needed or ahead |
//! | `grounds`, `sweeper` | what a shadow holds on this machine, and its removal |
//! | [`workshop`] | the same isolation for build steps |
//! | `tenancy` | whose the machine-wide names are |
//! | `net` | bridge, ports, fence |
//! | `cgroup` | limits, freezing, killing |

mod cgroup;
pub(crate) mod client;
pub(crate) mod grounds;
pub mod launcher;
pub(crate) mod maker;
pub(crate) mod net;
mod shadow;
mod sweeper;
mod tenancy;
pub(crate) mod views;
mod warm;
pub(crate) mod wire;
pub mod workshop;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use umbra_store::overlay::Layers;

use crate::error::ShadowError;
use crate::held::Held;
use crate::provider::{
    Capabilities, Init, Network, Provider, Reaped, Shadow, ShadowSpec, check_name,
};
pub(crate) use cgroup::Hierarchies;
use maker::{Maker, Site, Use};
use shadow::SandboxLife;
use warm::Warm;
use wire::Profile;

pub use workshop::{Bind, Finished, Stage, Workshop, WorkshopSpec};

/// The first host id that shadows' users are mapped to, a range nothing else uses by default.
pub(crate) const IDS_BASE: u32 = 100_000;

/// How a [`SandboxProvider`] is to work.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// A directory of its own, on a filesystem that can be an overlay's upper layer. Each view
    /// makes and removes a handful of directories in it, so a memory filesystem makes views
    /// several times faster than a busy disk; what shadows write takes its room.
    pub dir: PathBuf,
    /// A program that calls [`launcher::main`] when its first argument is `launcher`.
    pub launcher: PathBuf,
    /// Map shadows' users to ids that are nobody on this machine.
    pub user_namespaces: bool,
    /// How many fenced shadows' sites are made ahead once there is demand: each costs about
    /// 1 MB, and makes a shadow begin in a fraction of the time.
    pub warm: usize,
}

/// Why images' own systems cannot run, and what that takes.
const NO_SYSTEMD: &str = "no image's own systemd as first process: it takes user namespaces and \
     a cgroup2 mount (mount -t cgroup2 none /sys/fs/cgroup/unified)";

/// Makes shadows on this machine. One provider owns a directory at a time; dropping it ends
/// all its shadows.
pub struct SandboxProvider {
    // Sites nobody took go before the rest.
    warm: Warm,
    maker: Arc<Maker>,
    capabilities: Capabilities,
}

impl SandboxProvider {
    /// Opens the provider, removing what a killed predecessor left in the directory.
    pub fn open(config: SandboxConfig) -> Result<Self, ShadowError> {
        if !rustix::process::geteuid().is_root() {
            return Err(ShadowError::Unsupported(
                "sandboxes are made by root: run umbra as root".to_owned(),
            ));
        }
        let ids_base = config.user_namespaces.then_some(IDS_BASE);
        let maker = Arc::new(Maker::open(&config.dir, &config.launcher, ids_base)?);
        let capabilities = capabilities(&maker.hierarchies, ids_base.is_some());
        let provider = Self { warm: Warm::new(&maker, config.warm), maker, capabilities };
        provider.reap()?;
        Ok(provider)
    }

    /// Makes a place for build steps, isolated like a shadow but writing to directories that
    /// are kept.
    pub fn workshop(&self, spec: &WorkshopSpec) -> Result<Workshop, ShadowError> {
        check_name(&spec.name)?;
        // A shadow may have the same name: theirs have no dots.
        let name = format!("{}.workshop", spec.name);
        let purpose = Use::Workshop { network: spec.network };
        let site = self.maker.site(name, Some(&spec.limits), purpose)?;
        Ok(Workshop::new(spec.name.clone(), site))
    }

    fn profile(&self, spec: &ShadowSpec) -> Result<Profile, ShadowError> {
        match spec.init {
            Init::Small => Ok(Profile::Shadow),
            Init::Systemd if self.capabilities.systemd => Ok(Profile::System),
            Init::Systemd => Err(ShadowError::Unsupported(NO_SYSTEMD.to_owned())),
        }
    }

    fn site(&self, spec: &ShadowSpec) -> Result<Site, ShadowError> {
        let profile = self.profile(spec)?;
        if spec.network == Network::Fenced
            && spec.address.is_none()
            && profile == Profile::Shadow
            && let Some(mut site) = self.warm.take()
        {
            site.grounds.assign(spec.name.clone(), &spec.limits)?;
            return Ok(site);
        }
        let purpose = Use::Shadow(&spec.network, profile, spec.address);
        self.maker.site(spec.name.clone(), Some(&spec.limits), purpose)
    }
}

impl Provider for SandboxProvider {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn spawn(&self, layers: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError> {
        spec.check_name()?;
        let site = self.site(spec)?;
        let ids_base = self.maker.ids_base.unwrap_or(0);
        Ok(Box::new(Held::new(SandboxLife::begin(site, layers)?, ids_base)))
    }

    fn list(&self) -> Result<Vec<String>, ShadowError> {
        Ok(self.maker.list())
    }

    fn reap(&self) -> Result<Reaped, ShadowError> {
        self.maker.reap()
    }
}

/// Makes a bridge in the current network namespace, to see whether it can be made.
pub(crate) fn try_bridge() -> io::Result<()> {
    net::try_bridge("umbra-probe")
}

/// A user namespace like a shadow's, held open by this descriptor only.
pub(crate) fn try_user_namespace() -> io::Result<std::os::fd::OwnedFd> {
    launcher::user_namespace(IDS_BASE)
}

fn capabilities(hierarchies: &Hierarchies, user_namespace: bool) -> Capabilities {
    let limits = hierarchies.enforced();
    let mut missing = Vec::new();
    for (enforced, limit) in
        [(limits.memory, "memory"), (limits.cpu, "processor time"), (limits.pids, "processes")]
    {
        if !enforced {
            missing.push(format!("no control group limits {limit} here: a shadow may use it all"));
        }
    }
    if !hierarchies.can_freeze() {
        missing.push("no control group can freeze: a failed shadow is kept running".to_owned());
    }
    if !user_namespace {
        missing.push(
            "no user namespaces: root in a shadow is root outside, less its rights".to_owned(),
        );
    }
    let systemd = user_namespace && hierarchies.serve_systems();
    if !systemd {
        missing.push(NO_SYSTEMD.to_owned());
    }
    missing.extend(net::missing());
    Capabilities {
        provider: "sandbox".to_owned(),
        live_edit: true,
        host_capture: true,
        memory_fork: false,
        network_mirror: true,
        vm: false,
        systemd,
        clustered: false,
        user_namespace,
        limits,
        missing,
    }
}
