//! The fenced network: a bridge on which this machine reaches every shadow and no shadow
//! reaches anybody.
//!
//! Three fences, each sufficient against one thing: bridge ports are *isolated* (no frame goes
//! from shadow to shadow), an nftables table drops what a shadow begins towards this machine or
//! beyond it, and a shadow has no route but the bridge's own subnet.

mod bridge;
mod fence;
mod netlink;

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

pub(crate) use bridge::Bridge;
pub(crate) use fence::tool_missing as fence_tool_missing;
use netlink::Netlink;

use super::wire::{Doing, Failure};

/// A shadow's place on the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    /// The interface's name on this machine.
    pub(crate) host_name: String,
    /// The bridge's name.
    pub(crate) bridge: String,
    /// The shadow's address.
    pub(crate) address: Ipv4Addr,
    /// Bits of the subnet.
    pub(crate) prefix: u8,
    /// Where packets that may leave the subnet go; `None` gives no way out.
    pub(crate) gateway: Option<Ipv4Addr>,
}

/// The interface's name inside a shadow.
const INSIDE_NAME: &str = "eth0";

/// Brings up loopback in another network namespace.
pub(crate) fn loopback_up(netns: BorrowedFd<'_>) -> Result<(), Failure> {
    within(netns, || {
        let mut netlink = Netlink::open().doing(|| "open netlink".to_owned())?;
        netlink.set_up("lo").doing(|| "bring up loopback".to_owned())
    })
}

/// Makes the pair of interfaces that connects `netns` to the bridge, and addresses it.
pub(crate) fn plug(port: &Port, netns: BorrowedFd<'_>) -> Result<(), Failure> {
    let mut here = Netlink::open().doing(|| "open netlink".to_owned())?;
    let bridge = here
        .index(&port.bridge)
        .doing(|| format!("find bridge {}", port.bridge))?;
    here.add_veth(&port.host_name, bridge, INSIDE_NAME, netns)
        .doing(|| format!("connect {} to bridge {}", port.host_name, port.bridge))?;
    here.isolate(&port.host_name).doing(|| format!("isolate port {}", port.host_name))?;
    within(netns, || {
        // Stable addresses come from the bridge's owner; nothing is configured by announcement.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        let mut there = Netlink::open().doing(|| "open netlink".to_owned())?;
        there.set_up(INSIDE_NAME).doing(|| format!("bring up {INSIDE_NAME}"))?;
        there
            .add_address(INSIDE_NAME, port.address, port.prefix)
            .doing(|| format!("give {INSIDE_NAME} its address"))?;
        match port.gateway {
            Some(gateway) => there.add_default_route(gateway).doing(|| "add a route".to_owned()),
            None => Ok(()),
        }
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
