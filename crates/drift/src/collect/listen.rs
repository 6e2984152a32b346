//! The ports something listens on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::context::Context;
use super::kernel::{NOT_RUNNING, sorted};
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::reading::Reading;

/// More than the sockets of any machine fill.
const BYTES_MAX: u64 = 64 << 20;

/// A table of the kernel.
struct Table {
    path: &'static str,
    protocol: &'static str,
    /// Of a socket that listens: `TCP_LISTEN`, and for datagrams `TCP_CLOSE`, that is without a
    /// peer.
    state: &'static [u8],
    /// Those that listen stand before all others: a busy machine's connections need not be read.
    first: bool,
}

const TABLES: [Table; 4] = [
    Table { path: "tcp", protocol: "tcp", state: b"0A", first: true },
    Table { path: "tcp6", protocol: "tcp", state: b"0A", first: true },
    Table { path: "udp", protocol: "udp", state: b"07", first: false },
    Table { path: "udp6", protocol: "udp", state: b"07", first: false },
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
        for table in &TABLES {
            // Of the thread: another may have moved into another network.
            let opened = File::open(format!("/proc/thread-self/net/{}", table.path));
            let sockets = match opened {
                Ok(file) => table.sockets(BufReader::new(file.take(BYTES_MAX))),
                // A kernel without IPv6 has no table of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(error),
            };
            match sockets {
                Ok(sockets) => found.extend(sockets),
                Err(error) => return Fact::unreadable(error.to_string()),
            }
        }
        Fact::whole(Reading::text(sorted(found)))
    }
}

impl Table {
    /// What listens, a line each.
    fn sockets(&self, mut text: impl BufRead) -> io::Result<Vec<Vec<u8>>> {
        let (mut found, mut line, mut total) = (Vec::new(), Vec::new(), 0);
        // The heading.
        total += text.read_until(b'\n', &mut line)? as u64;
        loop {
            line.clear();
            total += text.read_until(b'\n', &mut line)? as u64;
            if total >= BYTES_MAX {
                return Err(io::Error::other("the kernel has more sockets than are read"));
            }
            match socket(&line, self.state) {
                Some(at) => found.push(format!("{} {at}", self.protocol).into_bytes()),
                None if line.is_empty() || self.first => return Ok(found),
                None => {}
            }
        }
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
        check("", "0A", None);
        check("0: é0000000000000000000000000000000:0016 x 0A", "0A", None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn connections_behind_those_that_listen_are_not_read() {
        let text = "  sl  local_address rem_address   st\n\
                    0: 00000000:0016 00000000:0000 0A 0:0\n\
                    1: 0100007F:1F90 00000000:0000 0A 0:0\n\
                    2: 0100007F:0016 0100007F:8001 06 0:0\n\
                    3: 00000000:0017 00000000:0000 0A 0:0\n";
        let found = |table: &Table| {
            let found = table.sockets(text.as_bytes()).expect("read");
            found.into_iter().map(|line| String::from_utf8(line).expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(found(&TABLES[0]), ["tcp 0.0.0.0:22", "tcp 127.0.0.1:8080"]);
        let anywhere = Table { first: false, ..TABLES[0] };
        assert_eq!(found(&anywhere).len(), 3);
    }
}
