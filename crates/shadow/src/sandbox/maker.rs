//! Makes what shadows and workshops stand on: control groups, a directory, a port, a keeper.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FlockOperation;

use super::IDS_BASE;
use super::cgroup::Hierarchies;
use super::client::{Keeper, Launcher, MachineKeeper};
use super::grounds::{Grounds, OwnedDir, Place, Shared, TakenName};
use super::net::{self, Bridge};
use super::sweeper::{self, Sweeper};
use super::wire::{KeeperNetwork, KeeperSpec, MachineSpec, Profile};
use crate::error::ShadowError;
use crate::provider::{EnforcedLimits, Limits, Network, Reaped};

/// See the module. Dropping it ends all that stands on what it made.
pub(crate) struct Maker {
    pub(super) owner: String,
    pub(super) dir: PathBuf,
    pub(super) hierarchies: Hierarchies,
    pub(super) launcher: Launcher,
    /// Made with the first shadow that has a network, kept for those that follow.
    pub(super) bridge: Mutex<Option<Arc<Bridge>>>,
    pub(super) ids_base: Option<u32>,
    pub(super) shared: Arc<Shared>,
}

/// A place with a keeper, for views to be shown in.
pub(super) struct Site {
    // First: killing the group's processes is cheaper than their ending one by one.
    pub(super) grounds: Grounds,
    pub(super) keeper: Keeper,
}

/// A directory that goes with this value.
pub(crate) struct Annex {
    pub(crate) dir: OwnedDir,
    _name: TakenName,
}

/// What a site is for.
pub(super) enum Use<'a> {
    /// Build steps, in the machine's network or in none.
    Workshop { network: bool },
    /// A shadow, at this address if that is free.
    Shadow(&'a Network, Profile, Option<IpAddr>),
}

impl Maker {
    /// In a directory that no other uses, with a launcher of its own.
    pub(crate) fn open(
        dir: &Path,
        launcher: &Path,
        ids_base: Option<u32>,
    ) -> Result<Self, ShadowError> {
        let (dir, lock) = lock_dir(dir)?;
        let sweeper = Sweeper::start(&dir).map_err(system("start a thread"))?;
        let owner = owner_of(&dir);
        let hierarchies = Hierarchies::probe().claim();
        let launcher = Launcher::start(launcher, &owner)?;
        Bridge::remove_remains(&net::bridge_name(&owner)).map_err(ShadowError::from)?;
        Ok(Self {
            owner,
            dir,
            hierarchies,
            launcher,
            bridge: Mutex::default(),
            ids_base,
            shared: Arc::new(Shared::new(sweeper, lock)),
        })
    }

    /// The limits that this machine's control groups enforce.
    pub(crate) fn enforced(&self) -> EnforcedLimits {
        self.hierarchies.enforced()
    }

    /// The names of the shadows that live.
    pub(crate) fn list(&self) -> Vec<String> {
        let names = self.shared.names();
        names.iter().filter(|name| !name.contains('.')).cloned().collect()
    }

    /// Removes what dead owners left in the directory.
    pub(crate) fn reap(&self) -> Result<Reaped, ShadowError> {
        // Held until the end: nothing is made meanwhile.
        let Self { owner, dir, hierarchies, shared, .. } = self;
        let living = shared.names();
        let mut reaped = Reaped::default();
        hierarchies.remove_others(owner, &living).map_err(system("remove old control groups"))?;
        for entry in fs::read_dir(dir).map_err(system("list old shadows"))? {
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
            if !name.contains('.') {
                reaped.shadows.push(name);
            }
        }
        Ok(reaped)
    }

    /// Makes a site called `name` on this machine, which must be free. Without limits it is
    /// made ready for any.
    pub(super) fn site(
        &self,
        name: String,
        limits: Option<&Limits>,
        purpose: Use<'_>,
    ) -> Result<Site, ShadowError> {
        let network = match purpose {
            Use::Workshop { .. } => None,
            Use::Shadow(network, _, address) => Some((network, address)),
        };
        let grounds = self.grounds(name, limits, network)?;
        let (network, ids_base, profile) = match (purpose, &grounds.place) {
            (Use::Workshop { network: true }, _) => (KeeperNetwork::Host, None, Profile::Builder),
            (Use::Workshop { .. }, _) => (KeeperNetwork::Loopback, None, Profile::Builder),
            (Use::Shadow(_, profile, _), Some(place)) => {
                (KeeperNetwork::Port(place.port().clone()), self.ids_base, profile)
            }
            (Use::Shadow(_, profile, _), None) => (KeeperNetwork::Loopback, self.ids_base, profile),
        };
        let keeper = self.launcher.keeper(KeeperSpec {
            name: grounds.name().to_owned(),
            scratch: grounds.dir.scratch(),
            cgroups: grounds.group.procs(),
            ids_base,
            network,
            profile,
            systems: grounds.group.v2().filter(|_| profile == Profile::System),
        })?;
        Ok(Site { grounds, keeper })
    }

    /// What a virtual machine stands on, and its keeper.
    pub(crate) fn machine(
        &self,
        name: String,
        limits: &Limits,
        network: &Network,
        address: Option<IpAddr>,
    ) -> Result<(Grounds, MachineKeeper), ShadowError> {
        let grounds = self.grounds(name, Some(limits), Some((network, address)))?;
        let spec = MachineSpec {
            scratch: grounds.dir.scratch(),
            cgroups: grounds.group.procs(),
            port: grounds.place.as_ref().map(|place| place.port().clone()),
            user: IDS_BASE,
        };
        let keeper = self.launcher.machine_keeper(grounds.name(), spec)?;
        Ok((grounds, keeper))
    }

    /// A directory in the provider's own, for what is none of a shadow's: shadows' names have no
    /// dots.
    pub(crate) fn annex(&self, name: &str) -> Result<Annex, ShadowError> {
        let name = TakenName::take(&self.shared, format!("{name}.annex"))?;
        let dir = OwnedDir::make(&self.shared, self.dir.join(name.as_str()))?;
        Ok(Annex { dir, _name: name })
    }

    fn grounds(
        &self,
        name: String,
        limits: Option<&Limits>,
        network: Option<(&Network, Option<IpAddr>)>,
    ) -> Result<Grounds, ShadowError> {
        let name = TakenName::take(&self.shared, name)?;
        let dir = OwnedDir::make(&self.shared, self.dir.join(name.as_str()))?;
        let place =
            network.map(|(network, address)| self.place(network, address)).transpose()?.flatten();
        let group =
            self.hierarchies.make(&self.owner, name.as_str(), limits).map_err(|source| {
                let doing = format!("make control groups for {}", name.as_str());
                ShadowError::System { doing, source }
            })?;
        let memory_bytes_max = limits.and_then(|limits| limits.memory_bytes);
        Ok(Grounds { group, place, dir, memory_bytes_max, names: vec![name] })
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
        let bridge = Bridge::make(&self.owner, lock);
        let bridge = bridge.map_err(ShadowError::from)?;
        Ok(Arc::clone(kept.insert(Arc::new(bridge))))
    }

    fn place(
        &self,
        network: &Network,
        address: Option<IpAddr>,
    ) -> Result<Option<Place>, ShadowError> {
        let egress = match network {
            Network::None => return Ok(None),
            Network::Fenced => &[][..],
            Network::Egress(egress) => egress,
        };
        let bridge = self.bridge()?;
        let port = bridge.take(egress, address).map_err(ShadowError::from)?;
        Ok(Some(Place::new(port, bridge)))
    }
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

impl Drop for Maker {
    fn drop(&mut self) {
        // All processes first, and waited for: what follows holds nothing open then.
        if let Err(error) = self.hierarchies.remove_others(&self.owner, &BTreeSet::new()) {
            tracing::error!(%error, "could not remove the provider's control groups");
        }
    }
}
