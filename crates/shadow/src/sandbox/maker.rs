//! Makes what shadows and workshops stand on: control groups, a directory, a port, a keeper.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::cgroup::Hierarchies;
use super::client::{Keeper, Launcher};
use super::grounds::{Grounds, OwnedDir, Place, Shared, TakenName};
use super::net::{self, Bridge};
use super::wire::{KeeperNetwork, KeeperSpec, Profile};
use crate::error::ShadowError;
use crate::provider::{Limits, Network};

/// See the module. Dropping it ends all that stands on what it made.
pub(super) struct Maker {
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

/// What a site is for.
pub(super) enum Use<'a> {
    /// Build steps, in the machine's network or in none.
    Workshop { network: bool },
    /// A shadow, at this address if that is free.
    Shadow(&'a Network, Profile, Option<IpAddr>),
}

impl Maker {
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
        let keeper = self.launcher.keeper(&KeeperSpec {
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

impl Drop for Maker {
    fn drop(&mut self) {
        // All processes first, and waited for: what follows holds nothing open then.
        if let Err(error) = self.hierarchies.remove_others(&self.owner, &BTreeSet::new()) {
            tracing::error!(%error, "could not remove the provider's control groups");
        }
    }
}
