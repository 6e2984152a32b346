//! One provider's bridge: its subnet, who has which address, and the fence around it.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;

use super::super::wire::{Doing, Failure};
use super::fence::{self, Opening};
use super::netlink::Netlink;
use super::Port;
use crate::provider::Egress;

/// Subnets are taken from here, 1022 addresses each.
const POOL: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 0);
const PREFIX: u8 = 22;
const SUBNETS: u32 = 64;
const ADDRESSES: u32 = 1 << (32 - PREFIX);

/// A bridge that exists as long as this value. Dropping it removes the bridge and the fence.
pub(crate) struct Bridge {
    name: String,
    subnet: u32,
    taken: Mutex<BTreeMap<u32, Vec<Egress>>>,
}

impl Bridge {
    /// Makes a bridge called `name` (at most 15 bytes) with a subnet no interface of this
    /// machine uses. `lock` is a file all users of the pool of subnets share.
    pub(crate) fn make(name: &str, lock: &Path) -> Result<Self, Failure> {
        let lock_file = File::create(lock).doing(|| format!("open {}", lock.display()))?;
        rustix::fs::flock(&lock_file, FlockOperation::LockExclusive)
            .doing(|| format!("lock {}", lock.display()))?;
        let mut netlink = Netlink::open().doing(|| "open netlink".to_owned())?;
        // One of this name is the remains of a killed owner: the name is its owner's alone.
        netlink.remove(name).doing(|| format!("remove the old bridge {name}"))?;
        let subnet = free_subnet()?;
        netlink.add_bridge(name).doing(|| format!("make bridge {name}"))?;
        let bridge = Self { name: name.to_owned(), subnet, taken: Mutex::default() };
        fence::put(name, &[])?;
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        netlink
            .add_address(name, bridge.gateway(), PREFIX)
            .doing(|| format!("give bridge {name} its address"))?;
        Ok(bridge)
    }

    /// Takes an address for a shadow that may reach `egress`.
    pub(crate) fn take(&self, egress: &[Egress]) -> Result<Port, Failure> {
        let mut taken = self.taken();
        // 0 is the subnet, 1 the bridge, the last one broadcast.
        let full = || std::io::Error::from(rustix::io::Errno::ADDRNOTAVAIL);
        let number = (2..ADDRESSES - 1)
            .find(|number| !taken.contains_key(number))
            .ok_or_else(full)
            .doing(|| format!("find a free address on bridge {}", self.name))?;
        taken.insert(number, egress.to_vec());
        if !egress.is_empty() {
            self.fence(&taken)?;
        }
        Ok(Port {
            host_name: format!("{}-{number}", &self.name[..self.name.len().min(10)]),
            bridge: self.name.clone(),
            address: self.address(number),
            prefix: PREFIX,
            gateway: (!egress.is_empty()).then(|| self.gateway()),
        })
    }

    /// Gives an address back.
    pub(crate) fn give_back(&self, port: &Port) {
        let mut taken = self.taken();
        let number = u32::from(port.address) - self.subnet;
        let opened = taken.remove(&number).is_some_and(|egress| !egress.is_empty());
        if opened && let Err(failure) = self.fence(&taken) {
            tracing::error!(?failure, "could not close a shadow's openings");
        }
    }

    fn fence(&self, taken: &BTreeMap<u32, Vec<Egress>>) -> Result<(), Failure> {
        let openings: Vec<Opening> = taken
            .iter()
            .flat_map(|(number, egress)| {
                let from = self.address(*number);
                egress.iter().map(move |to| Opening { from, to: to.clone() })
            })
            .collect();
        fence::put(&self.name, &openings)
    }

    fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.subnet + number)
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<u32, Vec<Egress>>> {
        // The map is consistent between any two statements.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let removed = Netlink::open().and_then(|mut netlink| netlink.remove(&self.name));
        if let Err(error) = removed {
            tracing::error!(bridge = self.name, %error, "could not remove the bridge");
        }
        if let Err(failure) = fence::remove(&self.name) {
            tracing::error!(bridge = self.name, ?failure, "could not remove the fence");
        }
    }
}

/// The first subnet of the pool that no route of this machine touches.
fn free_subnet() -> Result<u32, Failure> {
    let table = std::fs::read_to_string("/proc/net/route")
        .doing(|| "read the routing table".to_owned())?;
    let routes = parse_routes(&table);
    let none = || std::io::Error::from(rustix::io::Errno::ADDRNOTAVAIL);
    (0..SUBNETS)
        .map(|index| u32::from(POOL) + index * ADDRESSES)
        .find(|subnet| routes.iter().all(|route| !route.meets(*subnet, ADDRESSES)))
        .ok_or_else(none)
        .doing(|| "find a free subnet in 10.213.0.0/16".to_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct Route {
    destination: u32,
    mask: u32,
}

impl Route {
    /// Whether the route covers a part of the range; the default route does not count.
    fn meets(&self, start: u32, count: u32) -> bool {
        let last = self.destination | !self.mask;
        self.mask != 0 && self.destination < start + count && last >= start
    }
}

/// Reads /proc/net/route: hexadecimal addresses in the byte order of the machine.
fn parse_routes(table: &str) -> Vec<Route> {
    let address = |text: &str| {
        let raw = u32::from_str_radix(text, 16).ok()?;
        Some(u32::from_be_bytes(raw.to_ne_bytes()))
    };
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let destination = address(fields.get(1)?)?;
            let mask = address(fields.get(7)?)?;
            Some(Route { destination, mask })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_subnets_are_seen() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t0100000A\t3\t0\t0\t0\t00000000\n\
                     br0\t0000D50A\t00000000\t1\t0\t0\t0\t00FCFFFF\n";
        let routes = parse_routes(table);
        let base = u32::from(POOL);
        assert_eq!(routes[1], Route { destination: base, mask: 0xffff_fc00 });
        assert!(routes[1].meets(base, ADDRESSES));
        assert!(!routes[1].meets(base + ADDRESSES, ADDRESSES));
        assert!(!routes[0].meets(base, ADDRESSES));
    }
}
