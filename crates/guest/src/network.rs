//! What a shadow's network begins with, and its place in it.

use std::fs;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};
use crate::netlink::{Mac, Netlink};

const LOOPBACK_INDEX: u32 = 1;

/// The interface of a shadow that has a place in a network.
pub const INTERFACE: &str = "eth0";

/// A place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The interface's Ethernet address.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Bits of the subnet.
    pub prefix: u8,
    /// Where packets that may leave the subnet go; `None` gives no way out.
    pub gateway: Option<Ipv4Addr>,
}

/// Makes a network that is new ready, as far as that needs no place.
///
/// # Errors
/// The kernel's.
pub fn begin() -> Result<Netlink, Failure> {
    // A view's connections must not linger into the next view's.
    let _ = fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0");
    let mut netlink = Netlink::open().doing(|| "open netlink".to_owned())?;
    netlink.set_up(LOOPBACK_INDEX).doing(|| "bring up loopback".to_owned())?;
    Ok(netlink)
}

impl Place {
    /// Takes it, with the interface that has its Ethernet address already.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(&self, netlink: &mut Netlink, index: u32) -> Result<(), Failure> {
        // Addresses come from the host; nothing is configured by announcement.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6"), "1");
        netlink.set_up(index).doing(|| format!("bring up {INTERFACE}"))?;
        netlink
            .add_address(index, self.address, self.prefix)
            .doing(|| format!("give {INTERFACE} its address"))?;
        match self.gateway {
            Some(gateway) => netlink.add_default_route(gateway).doing(|| "add a route".to_owned()),
            None => Ok(()),
        }
    }
}
