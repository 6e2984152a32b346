//! Addresses and routes as the kernel lists them: rtnetlink(7) dumps, parsed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// More than any machine that is no backbone router has.
const BYTES_MAX: usize = 32 << 20;
const ATTEMPTS: u32 = 5;
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

const DONE: u16 = 3;
const ERROR: u16 = 2;
const GETADDR: u16 = 22;
const GETROUTE: u16 = 26;
const REQUEST_DUMP: u16 = 0x301;
/// The list changed while it was told.
const INTERRUPTED: u16 = 0x10;

/// An address of an interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

/// A route of the main table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// `None` for the default.
    pub(super) to: Option<(IpAddr, u8)>,
    pub(super) six: bool,
    /// `RTN_*`.
    pub(super) kind: u8,
    pub(super) hops: Vec<Hop>,
    pub(super) metric: Option<u32>,
}

/// Where a route leads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) via: Option<IpAddr>,
    pub(super) interface: Option<u32>,
}

/// All addresses.
pub(super) fn addresses() -> Result<Vec<Address>, Errno> {
    Ok(dump(GETADDR, 8)?.iter().filter_map(|body| address(body)).collect())
}

/// All routes of the main table.
pub(super) fn routes() -> Result<Vec<Route>, Errno> {
    Ok(dump(GETROUTE, 12)?.iter().filter_map(|body| route(body)).collect())
}

/// The bodies of all messages that answer a request.
fn dump(request: u16, header: usize) -> Result<Vec<Vec<u8>>, Errno> {
    for _ in 0..ATTEMPTS {
        if let Some(bodies) = dump_once(request, header)? {
            return Ok(bodies);
        }
    }
    Err(Errno::BUSY)
}

/// `None` if the list changed meanwhile.
fn dump_once(request: u16, header: usize) -> Result<Option<Vec<Vec<u8>>>, Errno> {
    const SEQUENCE: u32 = 1;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // `NETLINK_ROUTE` is number 0.
        None,
    )?;
    let length = 16 + header;
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend(SEQUENCE.to_ne_bytes());
    message.resize(length, 0);
    send(&socket, &message, SendFlags::empty())?;
    let mut bodies = Vec::new();
    let mut total = 0;
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let count = receive(&socket, &mut buffer)?;
        total += count;
        if total > BYTES_MAX {
            return Err(Errno::TOOBIG);
        }
        let mut rest = buffer.get(..count).unwrap_or_default();
        while let Some((kind, flags, body, after)) = message_of(rest) {
            rest = after;
            match kind {
                _ if flags & INTERRUPTED != 0 => return Ok(None),
                DONE => return Ok(Some(bodies)),
                ERROR => {
                    let number = word(body).map_or(0, |number| (number as i32).wrapping_neg());
                    return Err(Errno::from_raw_os_error(if number > 0 { number } else { 5 }));
                }
                _ => bodies.push(body.to_vec()),
            }
        }
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        let mut ready = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut ready, Some(&PATIENCE)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        }
        match recv(socket, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, whole)) if whole > buffer.len() => return Err(Errno::MSGSIZE),
            Ok((_, whole)) => return Ok(whole),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Type, flags and body of the first message, and what comes after it.
fn message_of(bytes: &[u8]) -> Option<(u16, u16, &[u8], &[u8])> {
    let length = word(bytes)? as usize;
    let (kind, flags) = (half(bytes.get(4..)?)?, half(bytes.get(6..)?)?);
    let body = bytes.get(16..length)?;
    Some((kind, flags, body, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// Types and values of attributes.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes)?);
        // The upper two bits are flags.
        let kind = half(bytes.get(2..)?)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn half(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        16 => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

/// `struct ifaddrmsg` and its attributes.
fn address(body: &[u8]) -> Option<Address> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    const FLAGS: u16 = 8;
    /// Temporary ones come and go by themselves (RFC 8981).
    const TEMPORARY: u32 = 1;
    let (prefix, interface) = (*body.get(1)?, word(body.get(4..)?)?);
    let six = body.first().is_some_and(|family| *family == 10);
    let (mut plain, mut local, mut flags) = (None, None, u32::from(*body.get(2)?));
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            ADDRESS => plain = ip(value),
            LOCAL => local = ip(value),
            FLAGS => flags = word(value)?,
            _ => {}
        }
    }
    if six && flags & TEMPORARY != 0 {
        return None;
    }
    // At the end of a tunnel the address is that of the other end.
    Some(Address { interface, address: local.or(plain)?, prefix })
}

/// `struct rtmsg` and its attributes.
fn route(body: &[u8]) -> Option<Route> {
    const DESTINATION: u16 = 1;
    const INTERFACE: u16 = 4;
    const GATEWAY: u16 = 5;
    const METRIC: u16 = 6;
    const MULTIPATH: u16 = 9;
    const TABLE: u16 = 15;
    const VIA: u16 = 18;
    const MAIN: u32 = 254;
    /// An answer the kernel remembers, not a route.
    const CLONED: u32 = 0x200;
    let (family, length, kind) = (*body.first()?, *body.get(1)?, *body.get(7)?);
    let mut table = u32::from(*body.get(4)?);
    if word(body.get(8..)?)? & CLONED != 0 || !matches!(family, 2 | 10) {
        return None;
    }
    let (mut to, mut metric, mut hop, mut hops) = (None, None, Hop::default(), Vec::new());
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            DESTINATION => to = ip(value).map(|address| (address, length)),
            INTERFACE => hop.interface = word(value),
            GATEWAY => hop.via = ip(value),
            // Behind the family's number.
            VIA => hop.via = value.get(2..).and_then(ip),
            METRIC => metric = word(value),
            TABLE => table = word(value)?,
            MULTIPATH => hops = several(value, GATEWAY),
            _ => {}
        }
    }
    if hops.is_empty() {
        hops.push(hop);
    }
    (table == MAIN).then_some(Route { to, six: family == 10, kind, hops, metric })
}

/// `struct rtnexthop`, each with its attributes.
fn several(mut bytes: &[u8], gateway: u16) -> Vec<Hop> {
    let mut hops = Vec::new();
    while let Some(length) = half(bytes).map(usize::from).filter(|length| *length >= 8) {
        let Some(own) = bytes.get(..length) else { break };
        let interface = own.get(4..).and_then(word);
        let all = own.get(8..).unwrap_or_default();
        let via = attributes(all).find(|(kind, _)| *kind == gateway).and_then(|(_, v)| ip(v));
        hops.push(Hop { via, interface });
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    hops
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_machine_has_a_loopback() {
        let found = addresses().expect("addresses");
        let loopback = |found: &Address| found.address.is_loopback() && found.prefix == 8;
        let six = |found: &Address| found.address.is_loopback() && found.prefix == 128;
        // A namespace of its own may have it down.
        assert!(found.is_empty() || found.iter().any(|found| loopback(found) || six(found)));
        routes().expect("routes");
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (address(&bytes), route(&bytes), message_of(&bytes));
            let _ = several(&bytes, 5);
        }
    }
}
