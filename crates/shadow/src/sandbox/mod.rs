//! The provider that needs nothing but Linux: namespaces, an overlay over the state, a port on
//! a fenced bridge, dropped rights, filtered system calls, limits.
//!
//! | module | holds |
//! |---|---|
//! | [`launcher`] | the forked side: launcher, keepers, inits |
//! | `wire` | what the processes say to one another |
//! | `client` | the daemon's side of it |
//! | `shadow` | a shadow made of these |
//! | [`workshop`] | the same isolation for build steps |
//! | `net` | bridge, ports, fence |
//! | `cgroup` | limits, freezing, killing |

mod cgroup;
mod client;
pub mod launcher;
mod net;
mod shadow;
mod views;
mod wire;
pub mod workshop;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::FlockOperation;
use umbra_store::overlay::Layers;

use crate::error::ShadowError;
use crate::provider::{
    Capabilities, Network, Provider, Reaped, Shadow, ShadowSpec,
};
use cgroup::Hierarchies;
use client::Launcher;
use net::Bridge;
use shadow::{Place, SandboxShadow};
use wire::{KeeperNetwork, KeeperSpec};

pub use workshop::{Bind, Finished, Stage, Workshop, WorkshopSpec};

/// The first host id that shadows' users are mapped to, a range nothing else uses by default.
const IDS_BASE: u32 = 100_000;

/// How a [`SandboxProvider`] is to work.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// A directory of its own, on a filesystem that can be an overlay's upper layer.
    pub dir: PathBuf,
    /// A program that calls [`launcher::main`] when its first argument is `launcher`.
    pub launcher: PathBuf,
    /// Map shadows' users to ids that are nobody on this machine.
    pub user_namespaces: bool,
}

/// Makes shadows on this machine. One provider owns a directory at a time.
pub struct SandboxProvider {
    owner: String,
    dir: PathBuf,
    hierarchies: Hierarchies,
    launcher: Launcher,
    bridge: Mutex<Weak<Bridge>>,
    capabilities: Capabilities,
    ids_base: Option<u32>,
    names: Arc<Mutex<BTreeSet<String>>>,
    _lock: File,
}

impl SandboxProvider {
    /// Opens the provider, removing what a killed predecessor left in the directory.
    pub fn open(config: SandboxConfig) -> Result<Self, ShadowError> {
        if !rustix::process::geteuid().is_root() {
            return Err(ShadowError::Unsupported(
                "sandboxes are made by root: run umbra as root".to_owned(),
            ));
        }
        let lock = lock_dir(&config.dir)?;
        let owner = owner_of(&config.dir);
        let hierarchies = Hierarchies::probe();
        let launcher = Launcher::start(&config.launcher)?;
        let ids_base = config.user_namespaces.then_some(IDS_BASE);
        let provider = Self {
            capabilities: capabilities(&hierarchies, ids_base.is_some()),
            owner,
            dir: config.dir,
            hierarchies,
            launcher,
            bridge: Mutex::default(),
            ids_base,
            names: Arc::default(),
            _lock: lock,
        };
        provider.reap()?;
        Ok(provider)
    }

    /// Makes a place for build steps, isolated like a shadow but writing to directories that
    /// are kept.
    pub fn workshop(&self, spec: &WorkshopSpec) -> Result<Workshop, ShadowError> {
        check_name(&spec.name)?;
        let group = self.group(&spec.name, &spec.limits)?;
        let dir = self.make_dir(&spec.name)?;
        let network = if spec.network { KeeperNetwork::Host } else { KeeperNetwork::Loopback };
        let keeper = self.launcher.keeper(&KeeperSpec {
            name: spec.name.clone(),
            scratch: dir.join("scratch"),
            cgroups: group.procs(),
            ids_base: None,
            network,
        })?;
        Ok(Workshop::new(spec.name.clone(), keeper, group, dir))
    }

    fn group(&self, name: &str, limits: &crate::provider::Limits) -> Result<cgroup::Group, ShadowError> {
        self.hierarchies.make(&self.owner, name, limits).map_err(|source| ShadowError::System {
            doing: format!("make control groups for {name}"),
            source,
        })
    }

    fn make_dir(&self, name: &str) -> Result<PathBuf, ShadowError> {
        let dir = self.dir.join(name);
        fs::create_dir_all(dir.join("scratch")).map_err(|source| ShadowError::System {
            doing: format!("make {}", dir.display()),
            source,
        })?;
        Ok(dir)
    }

    /// The bridge, which exists as long as a shadow is on it.
    fn bridge(&self) -> Result<Arc<Bridge>, ShadowError> {
        if let Some(missing) = net::fence_tool_missing() {
            return Err(ShadowError::Unsupported(format!("no fence without a filter: {missing}")));
        }
        let mut bridge = self.bridge.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bridge) = bridge.upgrade() {
            return Ok(bridge);
        }
        let lock = Path::new("/run/umbra-subnets.lock");
        let made = Bridge::make(&format!("umb{}", self.owner), lock)
            .map_err(wire::Failure::into_error)?;
        let made = Arc::new(made);
        *bridge = Arc::downgrade(&made);
        Ok(made)
    }

    fn place(&self, network: &Network) -> Result<Option<Place>, ShadowError> {
        let egress = match network {
            Network::None => return Ok(None),
            Network::Fenced => &[][..],
            Network::Egress(egress) => egress,
        };
        let bridge = self.bridge()?;
        let port = bridge.take(egress).map_err(wire::Failure::into_error)?;
        Ok(Some(Place { port, bridge }))
    }
}

impl Provider for SandboxProvider {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn spawn(&self, layers: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError> {
        check_name(&spec.name)?;
        let name = TakenName::take(&self.names, &spec.name)?;
        let group = self.group(&spec.name, &spec.limits)?;
        let dir = self.make_dir(&spec.name)?;
        let place = self.place(&spec.network)?;
        let network = match &place {
            Some(place) => KeeperNetwork::Port(place.port.clone()),
            None => KeeperNetwork::Loopback,
        };
        let keeper = self.launcher.keeper(&KeeperSpec {
            name: spec.name.clone(),
            scratch: dir.join("scratch"),
            cgroups: group.procs(),
            ids_base: self.ids_base,
            network,
        })?;
        Ok(Box::new(SandboxShadow::new(
            name,
            place,
            keeper,
            group,
            dir,
            self.ids_base.unwrap_or(0),
            layers,
        )?))
    }

    fn list(&self) -> Result<Vec<String>, ShadowError> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(names.iter().cloned().collect())
    }

    fn reap(&self) -> Result<Reaped, ShadowError> {
        let living = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reaped = Reaped::default();
        if !living.is_empty() {
            return Ok(reaped);
        }
        let system = |doing: &str| {
            let doing = doing.to_owned();
            move |source: io::Error| ShadowError::System { doing, source }
        };
        self.hierarchies.remove_owner(&self.owner).map_err(system("remove old control groups"))?;
        for entry in fs::read_dir(&self.dir).map_err(system("list old shadows"))? {
            let entry = entry.map_err(system("list old shadows"))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                views::remove(&entry.path()).map_err(system("remove an old shadow"))?;
                reaped.shadows.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(reaped)
    }
}

/// A name in use, free again when dropped.
pub(crate) struct TakenName {
    name: String,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl TakenName {
    fn take(names: &Arc<Mutex<BTreeSet<String>>>, name: &str) -> Result<Self, ShadowError> {
        let mut taken = names.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.insert(name.to_owned()) {
            return Err(ShadowError::Taken(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), names: Arc::clone(names) })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }
}

impl Drop for TakenName {
    fn drop(&mut self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

fn check_name(name: &str) -> Result<(), ShadowError> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let fine = (1..=40).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(allowed);
    if fine { Ok(()) } else { Err(ShadowError::Name(name.chars().take(60).collect())) }
}

/// Makes the directory and locks it for this process.
fn lock_dir(dir: &Path) -> Result<File, ShadowError> {
    let system = |source| ShadowError::System { doing: format!("open {}", dir.display()), source };
    fs::create_dir_all(dir).map_err(system)?;
    let lock = File::create(dir.join("lock")).map_err(system)?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        ShadowError::System {
            doing: format!("lock {}: another umbra uses it", dir.display()),
            source: error.into(),
        }
    })?;
    Ok(lock)
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
        missing.push("no user namespaces: root in a shadow is root outside, less its rights".to_owned());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names() {
        for good in ["web-1", "a", "0x", &"a".repeat(40)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "Web", "a_b", "a/b", "..", &"a".repeat(41), "ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
