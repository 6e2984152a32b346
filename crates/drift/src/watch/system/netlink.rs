//! The network's state, as the kernel announces it: links, addresses, routes, the nftables
//! ruleset. What changed is read elsewhere; here is said only that it did.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bitflags::bitflags;
use rustix::io::Errno;

use super::super::fanotify::last_errno;

/// Announcements of a ruleset's replacement can be long; what does not fit is not needed.
const BUFFER: usize = 64 * 1024;
/// Datagrams read before the caller has its turn.
const READS_MAX: usize = 256;
/// `struct nlmsghdr`.
const HEADER: usize = 16;

bitflags! {
    /// What of the network changed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct NetworkChanged: u8 {
        /// An interface: its name, state, hardware address, mtu.
        const LINK = 1;
        /// An address of an interface.
        const ADDRESS = 2;
        /// A route.
        const ROUTE = 4;
        /// The nftables ruleset.
        const RULESET = 8;
        /// The kernel dropped announcements: anything may have changed.
        const LOST = 16;
    }
}

/// Sockets that wake when the network changes.
#[derive(Debug)]
pub struct Network {
    route: OwnedFd,
    ruleset: Result<OwnedFd, Errno>,
    buffer: Vec<u8>,
}

impl Network {
    /// Listen from now on.
    ///
    /// # Errors
    /// Where not even links and addresses can be listened to.
    pub fn open() -> Result<Self, Errno> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_IFADDR
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV6_ROUTE;
        let route = listen(libc::NETLINK_ROUTE, groups.cast_unsigned())?;
        let ruleset = listen(libc::NETLINK_NETFILTER, 1 << (libc::NFNLGRP_NFTABLES - 1));
        Ok(Self { route, ruleset, buffer: vec![0; BUFFER] })
    }

    /// Why the ruleset is not listened to, if so: it must be read again and again then.
    pub fn without_ruleset(&self) -> Option<Errno> {
        self.ruleset.as_ref().err().copied()
    }

    /// The sockets, to be polled for reading.
    pub fn queues(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.route.as_fd()).chain(self.ruleset.as_ref().ok().map(AsFd::as_fd))
    }

    /// What changed since it was asked last; empty if nothing did.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn read(&mut self) -> Result<NetworkChanged, Errno> {
        let mut changed = NetworkChanged::empty();
        let sockets = std::iter::once((&self.route, route_kind as fn(u16) -> NetworkChanged));
        let ruleset = self.ruleset.as_ref().ok().map(|fd| (fd, ruleset_kind as fn(u16) -> _));
        for (socket, kind) in sockets.chain(ruleset) {
            for _ in 0..READS_MAX {
                match receive(socket, &mut self.buffer) {
                    Ok(Some(length)) => changed |= kinds(&self.buffer[..length], kind),
                    // Not the kernel's.
                    Ok(None) => {}
                    Err(Errno::AGAIN) => break,
                    Err(Errno::NOBUFS) => changed |= NetworkChanged::LOST,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(changed)
    }
}

/// A socket that is woken by these groups.
pub(in crate::watch) fn listen(protocol: libc::c_int, groups: u32) -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: three integers in, a new descriptor or -1 out.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just given us this descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zeros is a valid address: any port, no groups.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is of the length stated and outlives the call.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(socket) } else { Err(last_errno()) }
}

/// A datagram; `None` if another program sent it.
pub(in crate::watch) fn receive(
    socket: &OwnedFd,
    buffer: &mut [u8],
) -> Result<Option<usize>, Errno> {
    // SAFETY: all zeros is a valid address.
    let mut from: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&from) as libc::socklen_t;
    // SAFETY: buffer and address are as long as stated and outlive the call.
    let received = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    let received = usize::try_from(received).map_err(|_| last_errno())?;
    Ok((from.nl_pid == 0).then_some(received))
}

/// What the messages in a datagram are about; ends where one is malformed, and then anything
/// may have changed.
fn kinds(mut datagram: &[u8], kind: fn(u16) -> NetworkChanged) -> NetworkChanged {
    let mut changed = NetworkChanged::empty();
    while !datagram.is_empty() {
        let Some((length, message)) = header(datagram) else {
            return changed | NetworkChanged::LOST;
        };
        changed |= kind(message);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    changed
}

/// Length and type of the first message.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let message = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    (length >= HEADER && length <= bytes.len()).then_some((length, message))
}

fn route_kind(message: u16) -> NetworkChanged {
    match message {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => NetworkChanged::LINK,
        libc::RTM_NEWADDR | libc::RTM_DELADDR => NetworkChanged::ADDRESS,
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => NetworkChanged::ROUTE,
        _ => NetworkChanged::empty(),
    }
}

fn ruleset_kind(message: u16) -> NetworkChanged {
    let nftables = message >> 8 == libc::NFNL_SUBSYS_NFTABLES as u16;
    if nftables { NetworkChanged::RULESET } else { NetworkChanged::empty() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn messages_say_what_they_are_about() {
        #[track_caller]
        fn check(messages: &[u16], expected: NetworkChanged) {
            let datagram: Vec<u8> =
                messages.iter().flat_map(|kind| message(*kind, b"12345")).collect();
            assert_eq!(kinds(&datagram, route_kind), expected);
        }
        check(&[], NetworkChanged::empty());
        check(&[libc::RTM_NEWLINK], NetworkChanged::LINK);
        check(&[libc::RTM_DELADDR, libc::RTM_NEWROUTE], {
            NetworkChanged::ADDRESS | NetworkChanged::ROUTE
        });
        check(&[3, libc::RTM_NEWNEIGH], NetworkChanged::empty());
        let nftables = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | 6;
        assert_eq!(kinds(&message(nftables, b""), ruleset_kind), NetworkChanged::RULESET);
        assert_eq!(kinds(&message(6, b""), ruleset_kind), NetworkChanged::empty());
        let cut = &message(libc::RTM_NEWLINK, b"12345678")[..20];
        assert_eq!(kinds(cut, route_kind), NetworkChanged::LOST);
    }

    proptest! {
        #[test]
        fn any_datagram_ends(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = kinds(&bytes, route_kind);
        }
    }

    #[test]
    fn silence_is_nothing_changed() {
        let mut network = Network::open().expect("sockets");
        assert_eq!(network.queues().count(), 1 + usize::from(network.without_ruleset().is_none()));
        // Other tests of this machine may change its network; reading must not fail.
        network.read().expect("read");
    }
}
