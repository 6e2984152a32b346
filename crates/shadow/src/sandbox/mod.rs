//! The provider that needs nothing but Linux: namespaces, an overlay over the state, a port on
//! a fenced bridge, dropped rights, filtered system calls, limits.
//!
//! | module | holds |
//! |---|---|
//! | [`launcher`] | the forked side: launcher, keepers, inits |
//! | `wire` | what the processes say to one another |
//! | `client`, `exchange` | the daemon's side of it; a command's input and output |
//! | `shadow`, `service`, `views` | a shadow made of these |
//! | `grounds`, `sweeper` | what a shadow holds on this machine, and its removal |
//! | [`workshop`] | the same isolation for build steps |
//! | `net` | bridge, ports, fence |
//! | `cgroup` | limits, freezing, killing |

mod cgroup;
mod client;
mod exchange;
mod grounds;
pub mod launcher;
mod net;
mod service;
mod shadow;
mod sweeper;
mod views;
mod wire;
pub mod workshop;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FlockOperation;
use umbra_store::overlay::Layers;

use crate::error::ShadowError;
use crate::provider::{
    Capabilities, Limits, Network, Provider, Reaped, Shadow, ShadowSpec, check_name,
};
pub(crate) use cgroup::Hierarchies;
use client::{Keeper, Launcher};
use grounds::{Grounds, OwnedDir, Place, Shared, TakenName};
use net::Bridge;
use shadow::SandboxShadow;
use sweeper::Sweeper;
use wire::{KeeperNetwork, KeeperSpec};

pub use workshop::{Bind, Finished, Stage, Workshop, WorkshopSpec};

/// The first host id that shadows' users are mapped to, a range nothing else uses by default.
const IDS_BASE: u32 = 100_000;

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
}

/// Makes shadows on this machine. One provider owns a directory at a time; dropping it ends
/// all its shadows.
pub struct SandboxProvider {
    owner: String,
    dir: PathBuf,
    hierarchies: Hierarchies,
    launcher: Launcher,
    /// Made with the first shadow that has a network, kept for those that follow.
    bridge: Mutex<Option<Arc<Bridge>>>,
    capabilities: Capabilities,
    ids_base: Option<u32>,
    shared: Arc<Shared>,
}

impl SandboxProvider {
    /// Opens the provider, removing what a killed predecessor left in the directory.
    pub fn open(config: SandboxConfig) -> Result<Self, ShadowError> {
        if !rustix::process::geteuid().is_root() {
            return Err(ShadowError::Unsupported(
                "sandboxes are made by root: run umbra as root".to_owned(),
            ));
        }
        let (dir, lock) = lock_dir(&config.dir)?;
        let sweeper = Sweeper::start(&dir).map_err(system("start a thread"))?;
        let owner = owner_of(&dir);
        let hierarchies = Hierarchies::probe();
        let launcher = Launcher::start(&config.launcher)?;
        let ids_base = config.user_namespaces.then_some(IDS_BASE);
        let provider = Self {
            capabilities: capabilities(&hierarchies, ids_base.is_some()),
            owner,
            dir,
            hierarchies,
            launcher,
            bridge: Mutex::default(),
            ids_base,
            shared: Arc::new(Shared::new(sweeper, lock)),
        };
        provider.reap()?;
        Bridge::remove_remains(&provider.bridge_name()).map_err(wire::Failure::into_error)?;
        Ok(provider)
    }

    /// Makes a place for build steps, isolated like a shadow but writing to directories that
    /// are kept.
    pub fn workshop(&self, spec: &WorkshopSpec) -> Result<Workshop, ShadowError> {
        check_name(&spec.name)?;
        // A shadow may have the same name: theirs have no dots.
        let grounds = self.grounds(format!("{}.workshop", spec.name), &spec.limits, None)?;
        let network = if spec.network { KeeperNetwork::Host } else { KeeperNetwork::Loopback };
        let keeper = self.keeper(&spec.name, &grounds, network, None)?;
        Ok(Workshop::new(spec.name.clone(), keeper, grounds))
    }

    fn grounds(
        &self,
        name: String,
        limits: &Limits,
        network: Option<&Network>,
    ) -> Result<Grounds, ShadowError> {
        let name = TakenName::take(&self.shared, name)?;
        let dir = OwnedDir::make(&self.shared, self.dir.join(name.as_str()))?;
        let place = network.map(|network| self.place(network)).transpose()?.flatten();
        let group =
            self.hierarchies.make(&self.owner, name.as_str(), limits).map_err(|source| {
                let doing = format!("make control groups for {}", name.as_str());
                ShadowError::System { doing, source }
            })?;
        Ok(Grounds { group, place, dir, memory_bytes_max: limits.memory_bytes, name })
    }

    fn keeper(
        &self,
        name: &str,
        grounds: &Grounds,
        network: KeeperNetwork,
        ids_base: Option<u32>,
    ) -> Result<Keeper, ShadowError> {
        self.launcher.keeper(&KeeperSpec {
            name: name.to_owned(),
            scratch: grounds.dir.scratch(),
            cgroups: grounds.group.procs(),
            ids_base,
            network,
        })
    }

    fn bridge_name(&self) -> String {
        format!("umb{}", self.owner)
    }

    fn bridge(&self) -> Result<Arc<Bridge>, ShadowError> {
        let mut kept = self.bridge.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bridge) = &*kept {
            return Ok(Arc::clone(bridge));
        }
        if let Some(missing) = net::fence_tool_missing() {
            return Err(ShadowError::Unsupported(format!("no fence without a filter: {missing}")));
        }
        let lock = Path::new("/run/umbra-subnets.lock");
        let bridge = Bridge::make(&self.bridge_name(), lock).map_err(wire::Failure::into_error)?;
        Ok(Arc::clone(kept.insert(Arc::new(bridge))))
    }

    fn place(&self, network: &Network) -> Result<Option<Place>, ShadowError> {
        let egress = match network {
            Network::None => return Ok(None),
            Network::Fenced => &[][..],
            Network::Egress(egress) => egress,
        };
        let bridge = self.bridge()?;
        let port = bridge.take(egress).map_err(wire::Failure::into_error)?;
        Ok(Some(Place::new(port, bridge)))
    }
}

impl Drop for SandboxProvider {
    fn drop(&mut self) {
        // All processes first, and waited for: what follows holds nothing open then.
        if let Err(error) = self.hierarchies.remove_others(&self.owner, &BTreeSet::new()) {
            tracing::error!(%error, "could not remove the provider's control groups");
        }
    }
}

impl Provider for SandboxProvider {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn spawn(&self, layers: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError> {
        spec.check_name()?;
        let grounds = self.grounds(spec.name.clone(), &spec.limits, Some(&spec.network))?;
        let network = match &grounds.place {
            Some(place) => KeeperNetwork::Port(place.port().clone()),
            None => KeeperNetwork::Loopback,
        };
        let keeper = self.keeper(&spec.name, &grounds, network, self.ids_base)?;
        Ok(Box::new(SandboxShadow::new(keeper, grounds, self.ids_base.unwrap_or(0), layers)?))
    }

    fn list(&self) -> Result<Vec<String>, ShadowError> {
        let names = self.shared.names();
        Ok(names.iter().filter(|name| !name.contains('.')).cloned().collect())
    }

    fn reap(&self) -> Result<Reaped, ShadowError> {
        // Held until the end: nothing is made meanwhile.
        let living = self.shared.names();
        let mut reaped = Reaped::default();
        self.hierarchies
            .remove_others(&self.owner, &living)
            .map_err(system("remove old control groups"))?;
        for entry in fs::read_dir(&self.dir).map_err(system("list old shadows"))? {
            let entry = entry.map_err(system("list old shadows"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_dir || living.contains(&name) {
                continue;
            }
            if name == sweeper::TRASH {
                if living.is_empty() {
                    sweeper::remove(&entry.path()).map_err(system("remove old directories"))?;
                }
                continue;
            }
            sweeper::remove(&entry.path()).map_err(system("remove an old shadow"))?;
            reaped.shadows.push(name);
        }
        Ok(reaped)
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

fn system(doing: &str) -> impl FnOnce(io::Error) -> ShadowError {
    let doing = doing.to_owned();
    move |source| ShadowError::System { doing, source }
}

/// Makes the directory, locks it for this process and returns its one true name.
fn lock_dir(dir: &Path) -> Result<(PathBuf, File), ShadowError> {
    let system = |source| ShadowError::System { doing: format!("open {}", dir.display()), source };
    fs::create_dir_all(dir).map_err(system)?;
    let dir = fs::canonicalize(dir).map_err(system)?;
    let lock = File::create(dir.join("lock")).map_err(system)?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        ShadowError::System {
            doing: format!("lock {}: another umbra uses it", dir.display()),
            source: error.into(),
        }
    })?;
    Ok((dir, lock))
}

/// Six letters that stand for a directory, in the names of its bridge and control groups
/// (FNV-1a: interface names are short).
fn owner_of(dir: &Path) -> String {
    let hash = dir.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{:06x}", hash & 0xff_ffff)
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
    missing.extend(net::missing());
    Capabilities {
        provider: "sandbox".to_owned(),
        live_edit: true,
        host_capture: true,
        memory_fork: false,
        network_mirror: true,
        vm: false,
        clustered: false,
        user_namespace,
        limits,
        missing,
    }
}
