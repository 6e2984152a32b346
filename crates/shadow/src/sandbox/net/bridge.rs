//! One provider's bridge: its subnet, who has which address, and the fence around it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;
use umbra_guest::netlink::Netlink;

use super::super::wire::{Doing, Failure};
use super::fence::{self, Opening};
use super::{Port, bridge_name};
use crate::provider::Egress;

/// Subnets are taken from here, 1022 addresses each.
const POOL: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 0);
const PREFIX: u8 = 22;
const SUBNETS: u32 = 64;
const ADDRESSES: u32 = 1 << (32 - PREFIX);

/// Numbers a shadow can have: 0 is the subnet, 1 the bridge, the last one broadcast.
const FIRST: u32 = 2;
const LAST: u32 = ADDRESSES - 1;

/// A bridge that exists as long as this value. Dropping it removes the bridge and the fence.
pub(crate) struct Bridge {
    name: String,
    index: u32,
    subnet: u32,
    addresses: Mutex<Addresses>,
    /// Interfaces that forward since an opening needs it.
    forwarding: Mutex<BTreeSet<String>>,
}

/// Who has which address, by its number in the subnet.
struct Addresses {
    taken: BTreeMap<u32, Vec<Egress>>,
    /// Where to look first: an address rests before it is used again.
    next: u32,
}

impl Bridge {
    /// Makes an owner's bridge with a subnet no interface of this machine uses, the same one each
    /// time if it can be. `lock` is a file all users of the pool of subnets share.
    pub(crate) fn make(owner: &str, lock: &Path) -> Result<Self, Failure> {
        let name = &*bridge_name(owner);
        let lock_file = File::create(lock).doing(|| format!("open {}", lock.display()))?;
        rustix::fs::flock(&lock_file, FlockOperation::LockExclusive)
            .doing(|| format!("lock {}", lock.display()))?;
        let mut netlink = Netlink::open().doing(|| "open netlink".to_owned())?;
        let subnet = free_subnet(owner)?;
        netlink.add_bridge(name).doing(|| format!("make bridge {name}"))?;
        let mut bridge = Self {
            name: name.to_owned(),
            index: 0,
            subnet,
            addresses: Mutex::new(Addresses { taken: BTreeMap::new(), next: FIRST }),
            forwarding: Mutex::default(),
        };
        bridge.index = netlink.index(name).doing(|| format!("find bridge {name}"))?;
        fence::put(name, &[])?;
        // Before it is up: it would announce that it is.
        set(&format!("ipv6/conf/{name}/disable_ipv6"), "1");
        // It answers for its own address only, not for all of this machine's.
        set(&format!("ipv4/conf/{name}/arp_ignore"), "1");
        netlink
            .add_address(bridge.index, bridge.gateway(), PREFIX)
            .doing(|| format!("give bridge {name} its address"))?;
        netlink.set_up(bridge.index).doing(|| format!("bring up bridge {name}"))?;
        Ok(bridge)
    }

    /// Removes what a killed owner of the bridge left: the name is its owner's alone.
    pub(crate) fn remove_remains(name: &str) -> Result<(), Failure> {
        // The fence goes before its bridge, so without a bridge there is none.
        if !link_dir(name).exists() {
            return Ok(());
        }
        fence::remove(name)?;
        let mut netlink = Netlink::open().doing(|| "open netlink".to_owned())?;
        for port in ports(name) {
            netlink.remove(&port).doing(|| format!("remove the old interface {port}"))?;
        }
        netlink.remove(name).doing(|| format!("remove the old bridge {name}"))
    }

    /// Takes an address for a shadow that may reach `egress`: `wanted` if that is free.
    pub(crate) fn take(&self, egress: &[Egress], wanted: Option<IpAddr>) -> Result<Port, Failure> {
        let mut addresses = self.addresses();
        let full = || std::io::Error::from(rustix::io::Errno::ADDRNOTAVAIL);
        let number = addresses
            .free_at(wanted.and_then(|wanted| self.number(wanted)))
            .or_else(|| addresses.free())
            .ok_or_else(full)
            .doing(|| format!("find a free address on bridge {}", self.name))?;
        if !egress.is_empty() {
            self.forward(egress)?;
        }
        addresses.taken.insert(number, egress.to_vec());
        if !egress.is_empty()
            && let Err(failure) = self.fence(&addresses.taken)
        {
            addresses.taken.remove(&number);
            return Err(failure);
        }
        Ok(Port {
            host_name: format!("{}-{number}", self.name),
            bridge: self.index,
            address: self.address(number),
            prefix: PREFIX,
            gateway: (!egress.is_empty()).then(|| self.gateway()),
        })
    }

    /// Gives an address back.
    pub(crate) fn give_back(&self, port: &Port) {
        let mut addresses = self.addresses();
        let number = u32::from(port.address) - self.subnet;
        let opened = addresses.taken.remove(&number).is_some_and(|egress| !egress.is_empty());
        if opened && let Err(failure) = self.fence(&addresses.taken) {
            tracing::error!(?failure, "could not close a shadow's openings");
        }
        // It is there only if the shadow came as far as that.
        let _ = Netlink::open()
            .and_then(|mut netlink| netlink.remove_neighbour(self.index, port.address));
    }

    /// Lets packets pass between this bridge and where the openings lead. A machine forwards
    /// nothing by itself; only the interfaces concerned begin to.
    fn forward(&self, egress: &[Egress]) -> Result<(), Failure> {
        let routes = read_routes()?;
        let uplinks = egress.iter().filter_map(|to| match to.address {
            IpAddr::V4(address) => uplink(&routes, address),
            IpAddr::V6(_) => None,
        });
        let mut forwarding = self.forwarding.lock().unwrap_or_else(PoisonError::into_inner);
        for link in uplinks.chain([self.name.clone()]) {
            let file = format!("/proc/sys/net/ipv4/conf/{link}/forwarding");
            let on = std::fs::read_to_string(&file).is_ok_and(|value| value.trim() == "1");
            if !on {
                std::fs::write(&file, "1").doing(|| format!("let {link} forward packets"))?;
                forwarding.insert(link);
            }
        }
        Ok(())
    }

    fn fence(&self, taken: &BTreeMap<u32, Vec<Egress>>) -> Result<(), Failure> {
        let openings: Vec<Opening> = taken
            .iter()
            .flat_map(|(number, egress)| {
                let from = self.address(*number);
                let mac = super::mac_of(from);
                egress.iter().map(move |to| Opening { from, mac, to: to.clone() })
            })
            .collect();
        fence::put(&self.name, &openings)
    }

    /// The number of an address that a shadow here can have.
    fn number(&self, address: IpAddr) -> Option<u32> {
        let IpAddr::V4(address) = address else { return None };
        let number = u32::from(address).checked_sub(self.subnet)?;
        (FIRST..LAST).contains(&number).then_some(number)
    }

    fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.subnet + number)
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // The map is consistent between any two statements.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses {
    fn free_at(&self, number: Option<u32>) -> Option<u32> {
        number.filter(|number| !self.taken.contains_key(number))
    }

    fn free(&mut self) -> Option<u32> {
        let number =
            (self.next..LAST).chain(FIRST..self.next).find(|n| !self.taken.contains_key(n))?;
        self.next = if number + 1 < LAST { number + 1 } else { FIRST };
        Some(number)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let forwarding = self.forwarding.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !other_bridges(&self.name) {
            for link in forwarding.iter() {
                set(&format!("ipv4/conf/{link}/forwarding"), "0");
            }
        }
        if let Err(failure) = Self::remove_remains(&self.name) {
            tracing::error!(bridge = self.name, ?failure, "could not remove the bridge");
        }
    }
}

/// Whether another provider's bridge may need what this one switched on.
fn other_bridges(own: &str) -> bool {
    let links = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    links.map(|link| link.file_name()).any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("umb") && name != own && !name.contains('-')
    })
}

/// Whether openings can work here.
pub(super) fn can_forward() -> bool {
    let path = "/proc/sys/net/ipv4/conf/all/forwarding";
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

fn link_dir(name: &str) -> std::path::PathBuf {
    Path::new("/sys/class/net").join(name)
}

/// The interfaces on a bridge.
fn ports(bridge: &str) -> Vec<String> {
    let ports = std::fs::read_dir(link_dir(bridge).join("brif")).into_iter().flatten().flatten();
    ports.map(|port| port.file_name().to_string_lossy().into_owned()).collect()
}

/// A setting that older kernels may lack.
fn set(file: &str, value: &str) {
    let _ = std::fs::write(Path::new("/proc/sys/net").join(file), value);
}

/// A subnet of the pool that no route of this machine touches. Each owner begins to look at a
/// place of its own, so that one who comes again finds what it had.
fn free_subnet(owner: &str) -> Result<u32, Failure> {
    let routes = read_routes()?;
    let none = || std::io::Error::from(rustix::io::Errno::ADDRNOTAVAIL);
    let first = u32::from_str_radix(owner, 16).unwrap_or_default();
    (0..SUBNETS)
        .map(|index| u32::from(POOL) + (first.wrapping_add(index) % SUBNETS) * ADDRESSES)
        .find(|subnet| routes.iter().all(|route| !route.meets(*subnet, ADDRESSES)))
        .ok_or_else(none)
        .doing(|| "find a free subnet in 10.213.0.0/16".to_owned())
}

/// The interface through which an address is reached.
fn uplink(routes: &[Route], address: Ipv4Addr) -> Option<String> {
    let address = u32::from(address);
    let covering = routes.iter().filter(|route| address & route.mask == route.destination);
    covering.max_by_key(|route| route.mask).map(|route| route.link.clone())
}

fn read_routes() -> Result<Vec<Route>, Failure> {
    let table =
        std::fs::read_to_string("/proc/net/route").doing(|| "read the routing table".to_owned())?;
    Ok(parse_routes(&table))
}

#[derive(Debug, PartialEq, Eq)]
struct Route {
    link: String,
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
            Some(Route { link: fields.first()?.to_string(), destination, mask })
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
        let link = "br0".to_owned();
        assert_eq!(routes[1], Route { link, destination: base, mask: 0xffff_fc00 });
        assert!(routes[1].meets(base, ADDRESSES));
        assert!(!routes[1].meets(base + ADDRESSES, ADDRESSES));
        assert!(!routes[0].meets(base, ADDRESSES));
        assert_eq!(uplink(&routes, Ipv4Addr::from(base + 9)).as_deref(), Some("br0"));
        assert_eq!(uplink(&routes, Ipv4Addr::new(192, 0, 2, 1)).as_deref(), Some("eth0"));
    }

    #[test]
    fn addresses_rest_before_they_are_used_again() {
        let mut addresses = Addresses { taken: BTreeMap::new(), next: FIRST };
        assert_eq!(addresses.free(), Some(FIRST));
        assert_eq!(addresses.free(), Some(FIRST + 1));
        assert_eq!(addresses.free_at(Some(FIRST + 9)), Some(FIRST + 9));
        addresses.next = LAST - 1;
        assert_eq!(addresses.free(), Some(LAST - 1));
        assert_eq!(addresses.free(), Some(FIRST));
        addresses.taken = (FIRST..LAST).map(|number| (number, Vec::new())).collect();
        assert_eq!(addresses.free(), None);
        assert_eq!(addresses.free_at(Some(FIRST)), None);
    }
}
