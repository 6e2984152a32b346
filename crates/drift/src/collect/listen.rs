//! The ports something listens on.

use super::context::Context;
use super::kernel::{NOT_RUNNING, sorted, text};
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::reading::Reading;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A table of the kernel, the protocol it is of, and the state of a socket that listens there:
/// `TCP_LISTEN`, and for datagrams `TCP_CLOSE`, that is without a peer.
const TABLES: [(&str, &str, &[u8]); 4] = [
    ("/proc/net/tcp", "tcp", b"0A"),
    ("/proc/net/tcp6", "tcp", b"0A"),
    ("/proc/net/udp", "udp", b"07"),
    ("/proc/net/udp6", "udp", b"07"),
];

/// All listening sockets of this machine: a set of lines such as `tcp 0.0.0.0:22`.
#[derive(Debug)]
pub(super) struct Listen;

impl Source for Listen {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        if !context.place.is_machine() {
            return Fact::unreadable(NOT_RUNNING);
        }
        let mut found = Vec::new();
        for (path, protocol, state) in TABLES {
            // `/proc/net` is a link to what the kernel shows of this process.
            let path = path.replace("/proc/net", "/proc/thread-self/net");
            let table = text(context, &path);
            match &table {
                Reading::Unreadable { .. } => return Fact::whole(table),
                // A kernel without IPv6 has no table of it.
                Reading::Absent => {}
                Reading::Present(_) => {
                    let lines = table.bytes().unwrap_or_default().split(|byte| *byte == b'\n');
                    let sockets = lines.filter_map(|line| socket(line, state));
                    found.extend(sockets.map(|at| format!("{protocol} {at}").into_bytes()));
                }
            }
        }
        Fact::whole(Reading::text(sorted(found)))
    }
}

/// The address of a line, if its socket is in this state.
fn socket(line: &[u8], state: &[u8]) -> Option<SocketAddr> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (local, _, is) = (words.nth(1)?, words.next()?, words.next()?);
    if is != state {
        return None;
    }
    let (address, port) = std::str::from_utf8(local).ok()?.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok();
    // Each 32 bits are in the machine's own order.
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            for (to, from) in bytes.iter_mut().zip(words.into_iter().flat_map(u32::to_ne_bytes)) {
                *to = from;
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, state: &str, expected: Option<&str>) {
        let found = socket(line.as_bytes(), state.as_bytes()).map(|at| at.to_string());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_that_listen_are_told() {
        let ssh = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
        check(ssh, "0A", Some("0.0.0.0:22"));
        check(ssh, "07", None);
        let local = "   1: 0100007F:1F90 00000000:0000 0A 0:0";
        check(local, "0A", Some("127.0.0.1:8080"));
        let six = "   0: 00000000000000000000000001000000:0035 0:0 07 0:0";
        check(six, "07", Some("[::1]:53"));
        check("  sl  local_address rem_address   st tx_queue", "0A", None);
        check("0: zzzzzzzz:0016 x 0A", "0A", None);
        check("0: é0000000000000000000000000000000:0016 x 0A", "0A", None);
    }
}
