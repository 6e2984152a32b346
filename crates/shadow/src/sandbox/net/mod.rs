//! The fenced network: a bridge on which this machine reaches every shadow and no shadow
//! reaches anybody.
//!
//! Four fences, each sufficient against one thing: bridge ports are *isolated* (no frame goes
//! from shadow to shadow), and *locked* to one Ethernet address, which this machine knows
//! without asking (no shadow passes for another); an nftables table drops what a shadow begins
//! towards this machine or beyond it; and a shadow has no route but the bridge's own subnet.

mod bridge;
mod fence;
mod tap;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

pub(crate) use bridge::Bridge;
pub(crate) use fence::tool_missing as fence_tool_missing;
use umbra_guest::netlink::{Mac, Netlink, Peer};
use umbra_guest::network::{self, INTERFACE, Place};
use umbra_store::overlay::support::kernel_version;

use super::wire::{Doing, Failure};

/// A shadow's place on the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    /// The interface's name on this machine.
    pub(crate) host_name: String,
    /// The bridge's interface number on this machine.
    pub(crate) bridge: u32,
    /// The shadow's address.
    pub(crate) address: Ipv4Addr,
    /// Bits of the subnet.
    pub(crate) prefix: u8,
    /// Where packets that may leave the subnet go; `None` gives no way out.
    pub(crate) gateway: Option<Ipv4Addr>,
}

/// The interface's number inside a sandbox.
const INSIDE_INDEX: u32 = 2;

impl Port {
    /// What the shadow takes for its place.
    pub(crate) fn inside(&self) -> Place {
        let Self { address, prefix, gateway, .. } = *self;
        Place { mac: self.mac(), address, prefix, gateway }
    }

    /// The shadow's Ethernet address: locally administered, made of its IP address.
    pub(crate) fn mac(&self) -> Mac {
        mac_of(self.address)
    }
}

/// What a provider's bridge is called.
pub(crate) fn bridge_name(owner: &str) -> String {
    format!("umb{owner}")
}

fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x75, a, b, c, d]
}

/// What this machine lacks for fenced networks, as sentences.
pub(crate) fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if let Some(tool) = fence_tool_missing() {
        missing.push(format!("{tool}; until then shadows have no network but loopback"));
    }
    if kernel_version() < (5, 18) {
        missing.push(
            "this kernel does not lock bridge ports (5.18 does): a shadow can send frames in \
             another's name"
                .to_owned(),
        );
    }
    if !bridge::can_forward() {
        missing.push("IP forwarding cannot be switched on here: no egress".to_owned());
    }
    missing
}

/// Makes a bridge and removes it.
pub(crate) fn try_bridge(name: &str) -> std::io::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.add_bridge(name)?;
    netlink.remove(name)
}

/// Brings up what is in a new network namespace and, with a port, connects it to the bridge.
pub(crate) fn set_up(netns: BorrowedFd<'_>, port: Option<&Port>) -> Result<(), Failure> {
    if let Some(port) = port {
        plug(port, netns)?;
    }
    within(netns, || {
        let mut there = network::begin()?;
        port.map_or(Ok(()), |port| port.inside().take(&mut there, INSIDE_INDEX))
    })
}

/// Makes the pair of interfaces between the bridge and the namespace, fenced before it is up.
fn plug(port: &Port, netns: BorrowedFd<'_>) -> Result<(), Failure> {
    let mut here = Netlink::open().doing(|| "open netlink".to_owned())?;
    let name = &port.host_name;
    let peer = Peer { name: INTERFACE, index: INSIDE_INDEX, mac: port.mac(), netns };
    let doing = || format!("connect {name} to its bridge");
    match here.add_veth(name, port.bridge, &peer) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            // The kernel removes a dead shadow's interface in its own time.
            here.remove(name).doing(|| format!("remove the old interface {name}"))?;
            here.add_veth(name, port.bridge, &peer).doing(doing)?;
        }
        other => other.doing(doing)?,
    }
    fence_port(&mut here, port)
}

/// Lets nothing through an interface that is a port of the bridge but what its shadow may send.
fn fence_port(here: &mut Netlink, port: &Port) -> Result<(), Failure> {
    let name = &port.host_name;
    // A port is an interface of this machine, which would announce itself to the shadow as soon
    // as the other end is up.
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let index = here.index(name).doing(|| format!("find {name}"))?;
    here.fence_port(index).doing(|| format!("fence port {name}"))?;
    here.add_forwarding(index, port.mac())
        .doing(|| format!("tell the bridge what is behind {name}"))?;
    here.add_neighbour(port.bridge, port.address, port.mac())
        .doing(|| format!("enter {} as a neighbour", port.address))
}

/// Makes the interface through which a virtual machine's frames come to the bridge, fenced before
/// it is up; it is there as long as what is returned is open.
pub(crate) fn plug_tap(port: &Port) -> Result<OwnedFd, Failure> {
    let mut here = Netlink::open().doing(|| "open netlink".to_owned())?;
    let name = &port.host_name;
    if here.index(name).is_ok() {
        // The kernel removes a dead shadow's interface in its own time.
        here.remove(name).doing(|| format!("remove the old interface {name}"))?;
    }
    let tap = tap::open(name).doing(|| format!("make the interface {name}"))?;
    let index = here.index(name).doing(|| format!("find {name}"))?;
    here.set_master(index, port.bridge).doing(|| format!("connect {name} to its bridge"))?;
    fence_port(&mut here, port)?;
    here.set_up(index).doing(|| format!("bring up {name}"))?;
    Ok(tap)
}

/// Connects from inside another network namespace. A thread of its own goes there, since those
/// of this process must stay where they are; the connection stays in the namespace.
pub(crate) fn connect_from(
    netns: &OwnedFd,
    to: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let connect = || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        TcpStream::connect_timeout(&to, timeout)
    };
    std::thread::scope(|scope| {
        let panicked = |_| Err(io::Error::other("the connecting thread panicked"));
        scope.spawn(connect).join().unwrap_or_else(panicked)
    })
}

/// Runs `work` in another network namespace and comes back. Only for processes with one thread.
fn within<T>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let home = open_netns("/proc/thread-self/ns/net")?;
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(netns, kind).doing(|| "enter a network namespace".to_owned())?;
    let result = work();
    move_into_link_name_space(home.as_fd(), kind)
        .doing(|| "return to the network namespace".to_owned())?;
    result
}

fn open_netns(path: &str) -> Result<OwnedFd, Failure> {
    use rustix::fs::{Mode, OFlags, open};
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(|| format!("open {path}"))
}
