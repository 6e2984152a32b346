//! The few rtnetlink requests that bridges and their ports need, written synchronously: keepers
//! and first processes are forked, single-threaded processes in which no runtime can live.
//!
//! Layouts: rtnetlink(7); `struct ifinfomsg`, `ifaddrmsg`, `rtmsg` and `ndmsg` of the
//! kernel's `linux/rtnetlink.h`, `linux/if_addr.h` and `linux/neighbour.h`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_REPLACE: u16 = 0x100;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;

const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_LOCKED: u16 = 39;
const VETH_INFO_PEER: u16 = 1;
const HEADER: usize = 16;

const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const NTF_MASTER: u8 = 4;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The far end of a pair of interfaces.
pub struct Peer<'a> {
    /// Its name there.
    pub name: &'a str,
    /// Its number in its namespace, where that is free.
    pub index: u32,
    /// Its own address.
    pub mac: Mac,
    /// The namespace.
    pub netns: BorrowedFd<'a>,
}

/// A route socket.
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// A socket of the current network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let protocol = None; // NETLINK_ROUTE is 0
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// An interface's index.
    ///
    /// # Errors
    /// The kernel's.
    pub fn index(&mut self, name: &str) -> io::Result<u32> {
        let mut request = Request::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0));
        request.text(libc::IFLA_IFNAME, name);
        let answer = self.exchange(request)?;
        // ifi_index stands 4 bytes into the ifinfomsg after the header.
        let at = HEADER + 4;
        let bytes = answer.get(at..at + 4).ok_or_else(malformed)?;
        Ok(u32::from_ne_bytes(bytes.try_into().map_err(|_| malformed())?))
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        let up = libc::IFF_UP as u32;
        self.exchange(Request::new(libc::RTM_NEWLINK, NLM_F_ACK, &link_header(index, up, up)))?;
        Ok(())
    }

    /// Makes an interface a port of bridge number `bridge`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_master(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        let mut request = Request::new(libc::RTM_NEWLINK, NLM_F_ACK, &link_header(index, 0, 0));
        request.number(libc::IFLA_MASTER, bridge);
        self.exchange(request)?;
        Ok(())
    }

    /// Gives an interface an Ethernet address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> io::Result<()> {
        let mut request = Request::new(libc::RTM_NEWLINK, NLM_F_ACK, &link_header(index, 0, 0));
        request.attribute(libc::IFLA_ADDRESS, &mac);
        self.exchange(request)?;
        Ok(())
    }

    /// Makes a bridge, down. It joins no multicast groups, which it would announce on its ports:
    /// one that snoops joins one, and programs join others wherever multicast is possible.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let header = link_header(0, 0, libc::IFF_MULTICAST as u32);
        let mut request = Request::new(libc::RTM_NEWLINK, flags, &header);
        request.text(libc::IFLA_IFNAME, name);
        request.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "bridge");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.attribute(IFLA_BR_MCAST_SNOOPING, &[0]);
            });
        });
        self.exchange(request)?;
        Ok(())
    }

    /// Makes a pair of interfaces: `name` here, up and a port of bridge number `bridge`;
    /// the peer in the namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_veth(&mut self, name: &str, bridge: u32, peer: &Peer<'_>) -> io::Result<()> {
        let up = libc::IFF_UP as u32;
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWLINK, flags, &link_header(0, up, up));
        request.text(libc::IFLA_IFNAME, name);
        request.number(libc::IFLA_MASTER, bridge);
        request.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |other| {
                    other.bytes.extend_from_slice(&link_header(peer.index, 0, 0));
                    other.text(libc::IFLA_IFNAME, peer.name);
                    other.attribute(libc::IFLA_ADDRESS, &peer.mac);
                    other.number(libc::IFLA_NET_NS_FD, peer.netns.as_raw_fd() as u32);
                });
            });
        });
        self.exchange(request)?;
        Ok(())
    }

    /// Lets a bridge port exchange frames with the bridge itself only, and only frames that
    /// name the sender told by [`Netlink::add_forwarding`]. Kernels before 5.18 do not know
    /// the latter and ignore it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fence_port(&mut self, index: u32) -> io::Result<()> {
        let mut header = link_header(index, 0, 0);
        header[0] = libc::AF_BRIDGE as u8;
        let mut request = Request::new(libc::RTM_SETLINK, NLM_F_ACK, &header);
        request.nested(libc::IFLA_PROTINFO, |port| {
            port.attribute(IFLA_BRPORT_ISOLATED, &[1]);
            port.attribute(IFLA_BRPORT_LEARNING, &[0]);
            port.attribute(IFLA_BRPORT_LOCKED, &[1]);
        });
        self.exchange(request)?;
        Ok(())
    }

    /// Tells a bridge which of its ports `mac` is behind, for ever.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_forwarding(&mut self, port: u32, mac: Mac) -> io::Result<()> {
        let header = neighbour_header(libc::AF_BRIDGE, port, NUD_NOARP, NTF_MASTER);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let mut request = Request::new(libc::RTM_NEWNEIGH, flags, &header);
        request.attribute(NDA_LLADDR, &mac);
        self.exchange(request)?;
        Ok(())
    }

    /// Tells this machine whose `address` is, so that it asks nobody who might lie.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_neighbour(&mut self, link: u32, address: Ipv4Addr, mac: Mac) -> io::Result<()> {
        let header = neighbour_header(libc::AF_INET, link, NUD_PERMANENT, 0);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let mut request = Request::new(libc::RTM_NEWNEIGH, flags, &header);
        request.attribute(NDA_DST, &address.octets());
        request.attribute(NDA_LLADDR, &mac);
        self.exchange(request)?;
        Ok(())
    }

    /// Forgets whose `address` was.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_neighbour(&mut self, link: u32, address: Ipv4Addr) -> io::Result<()> {
        let header = neighbour_header(libc::AF_INET, link, 0, 0);
        let mut request = Request::new(libc::RTM_DELNEIGH, NLM_F_ACK, &header);
        request.attribute(NDA_DST, &address.octets());
        self.exchange(request)?;
        Ok(())
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut header = vec![libc::AF_INET as u8, prefix, 0, 0];
        header.extend_from_slice(&index.to_ne_bytes());
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWADDR, flags, &header);
        request.attribute(libc::IFA_LOCAL, &address.octets());
        request.attribute(libc::IFA_ADDRESS, &address.octets());
        self.exchange(request)?;
        Ok(())
    }

    /// Sends everything without a nearer route to `gateway`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let header = [
            libc::AF_INET as u8,
            0,
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_STATIC,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWROUTE, flags, &header);
        request.attribute(libc::RTA_GATEWAY, &gateway.octets());
        self.exchange(request)?;
        Ok(())
    }

    /// Removes an interface; its absence is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self, name: &str) -> io::Result<()> {
        let removed = self.index(name).and_then(|index| {
            let header = link_header(index, 0, 0);
            self.exchange(Request::new(libc::RTM_DELLINK, NLM_F_ACK, &header)).map(drop)
        });
        match removed {
            // The kernel removes a dead shadow's interface in its own time, which may be now.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            removed => removed,
        }
    }

    /// Sends a request and returns the message that answers it.
    fn exchange(&mut self, request: Request) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let bytes = request.finish(self.sequence);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &bytes, SendFlags::empty(), &kernel)?;
        let mut answer = vec![0u8; 16 << 10];
        let (length, _) =
            rustix::io::retry_on_intr(|| recv(&self.socket, &mut answer[..], RecvFlags::empty()))?;
        answer.truncate(length);
        let kind = answer.get(4..6).ok_or_else(malformed)?;
        if u16::from_ne_bytes([kind[0], kind[1]]) == NLMSG_ERROR {
            let code = answer.get(HEADER..HEADER + 4).ok_or_else(malformed)?;
            let code = i32::from_ne_bytes(code.try_into().map_err(|_| malformed())?);
            if code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
        }
        Ok(answer)
    }
}

fn malformed() -> io::Error {
    io::Error::from(rustix::io::Errno::BADMSG)
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32, mask: u32) -> [u8; 16] {
    let mut header = [0u8; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&mask.to_ne_bytes());
    header
}

/// `struct ndmsg`.
fn neighbour_header(family: i32, index: u32, state: u16, flags: u8) -> [u8; 12] {
    let mut header = [0u8; 12];
    header[0] = family as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    header[10] = flags;
    header
}

/// A message under construction.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0u8; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = 4 + value.len();
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_padded_and_carry_their_length() {
        let mut request = Request::new(libc::RTM_NEWLINK, NLM_F_ACK, &link_header(7, 0, 0));
        request.nested(libc::IFLA_LINKINFO, |info| info.text(libc::IFLA_INFO_KIND, "veth"));
        let bytes = request.finish(9);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes[0..4], (bytes.len() as u32).to_ne_bytes());
        assert_eq!(bytes[8..12], 9u32.to_ne_bytes());
        // 16 header, 16 ifinfomsg, nested header 4, then a 9 byte attribute padded to 12.
        assert_eq!(bytes.len(), 16 + 16 + 4 + 12);
        assert_eq!(bytes[36..38], 9u16.to_ne_bytes());
    }

    #[test]
    fn loopback_is_always_there() {
        let mut netlink = Netlink::open().expect("a route socket");
        assert_eq!(netlink.index("lo").expect("loopback"), 1);
        let missing = netlink.index("umbra-missing").expect_err("no such interface");
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
    }
}
