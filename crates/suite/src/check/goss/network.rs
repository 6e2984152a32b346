//! Ports, names, addresses and interfaces, as the shadow itself sees them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use umbra_state::Command;

use super::world::World;
use super::{Actual, Facts, Resource};
use crate::target::ProbeError;

const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);

/// Prints every socket table there is; one that is missing has no sockets.
pub(crate) const SOCKETS_SCRIPT: &str = "for f in tcp tcp6 udp udp6; do echo \"$f\"; if [ -e /proc/net/$f ]; then cat /proc/net/$f; fi; done";

/// A transport as `/proc/net` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

impl Transport {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "tcp" => Some(Self::Tcp),
            "tcp6" => Some(Self::Tcp6),
            "udp" => Some(Self::Udp),
            "udp6" => Some(Self::Udp6),
            _ => None,
        }
    }

    /// `tcp` or `udp`.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Tcp | Self::Tcp6 => "tcp",
            Self::Udp | Self::Udp6 => "udp",
        }
    }
}

/// A socket that waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listener {
    pub(crate) transport: Transport,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

pub(super) fn observe_port(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let Some((transport, port)) = parse_port(&resource.id) else { return Ok(Facts::new()) };
    let listeners = parse_sockets(&world.ask(SOCKETS_SCRIPT)?);
    let own = listeners.iter().filter(|one| one.transport == transport && one.port == port);
    let addresses: Vec<_> = own.map(|one| one.ip.to_string()).collect();
    Ok(Facts::from([
        ("listening", (!addresses.is_empty()).into()),
        ("ip", Actual::list(addresses)),
    ]))
}

/// Reads `tcp:22`, or `22` for tcp.
pub(super) fn parse_port(id: &str) -> Option<(Transport, u16)> {
    let (transport, port) = id.split_once(':').unwrap_or(("tcp", id));
    Some((Transport::parse(transport)?, port.parse().ok().filter(|port| *port > 0)?))
}

/// Reads what [`SOCKETS_SCRIPT`] prints: listening TCP and unconnected UDP sockets.
pub(crate) fn parse_sockets(text: &[u8]) -> Vec<Listener> {
    let text = String::from_utf8_lossy(text);
    let mut transport = None;
    let mut listeners = Vec::new();
    for line in text.lines() {
        if let Some(named) = Transport::parse(line.trim()) {
            transport = Some(named);
        } else if let Some(transport) = transport {
            listeners.extend(parse_socket(transport, line));
        }
    }
    listeners.sort_unstable();
    listeners.dedup();
    listeners
}

fn parse_socket(transport: Transport, line: &str) -> Option<Listener> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let waiting = match transport {
        // 0A is TCP_LISTEN.
        Transport::Tcp | Transport::Tcp6 => state == "0A",
        // 07 is TCP_CLOSE, which for UDP means that it is not connected.
        Transport::Udp | Transport::Udp6 => state == "07" && remote.ends_with(":0000"),
    };
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    waiting.then_some(Listener { transport, ip: parse_ip(ip)?, port })
}

/// Addresses are written as 32-bit words in the machine's own byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    if !hex.is_ascii() || !matches!(hex.len(), 8 | 32) {
        return None;
    }
    let mut bytes = Vec::with_capacity(16);
    for start in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(&hex[start..start + 8], 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => Some(IpAddr::V4(Ipv4Addr::from(four))),
        Err(_) => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
    }
}

pub(super) fn observe_dns(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let addresses = resolve(&resource.id, resource.millis("timeout"), world)?;
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    Ok(Facts::from([("resolvable", (!texts.is_empty()).into()), ("addrs", Actual::list(texts))]))
}

/// goss asks for one record type as in `MX:example.org`.
pub(super) fn is_record_query(id: &str) -> bool {
    let types = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"];
    id.split_once(':').is_some_and(|(kind, _)| types.contains(&kind))
}

/// All addresses of a name, as the shadow's own resolver gives them.
pub(super) fn resolve(
    name: &str,
    timeout: Option<Duration>,
    world: &World<'_>,
) -> Result<Vec<IpAddr>, ProbeError> {
    let command = Command::new(["getent", "ahosts", "--", name]);
    let output = world.run(command, timeout)?;
    match output.exit {
        umbra_state::Exit::Code(0 | 2) | umbra_state::Exit::TimedOut => {}
        umbra_state::Exit::Code(127) => {
            let (tool, package) = ("getent".to_owned(), "libc-bin".to_owned());
            return Err(ProbeError::ToolMissing { tool, package });
        }
        exit => {
            let detail = exit.to_string();
            return Err(ProbeError::Tool { tool: "getent".to_owned(), detail });
        }
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let address = |line: &str| line.split_whitespace().next()?.parse().ok();
    let mut addresses: Vec<IpAddr> = text.lines().filter_map(address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

pub(super) fn observe_addr(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let Some((host, port)) = parse_addr(&resource.id) else { return Ok(Facts::new()) };
    let timeout = resource.millis("timeout").unwrap_or(CONNECT_TIMEOUT_DEFAULT);
    let known = match host {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.trim_matches(['[', ']']).parse().ok(),
    };
    let own = known.filter(|ip| ip.is_loopback() || Some(*ip) == world.target.address());
    let reachable = match own {
        Some(ip) => {
            world.target.connect(SocketAddr::new(ip, port), world.time(Some(timeout)))?.is_ok()
        }
        None => reach_from_inside(host, port, timeout, world)?,
    };
    Ok(Facts::from([("reachable", reachable.into())]))
}

/// Another machine's address must be tried by a process inside the fence.
fn reach_from_inside(
    host: &str,
    port: u16,
    timeout: Duration,
    world: &World<'_>,
) -> Result<bool, ProbeError> {
    let script = "exec 3<>\"/dev/tcp/$0/$1\"".to_owned();
    let host = host.trim_matches(['[', ']']).to_owned();
    let command = Command::new(["bash".to_owned(), "-c".into(), script, host, port.to_string()]);
    let output = world.run(command, Some(timeout))?;
    match output.exit {
        umbra_state::Exit::Code(127) => {
            let (tool, package) = ("bash".to_owned(), "bash".to_owned());
            Err(ProbeError::ToolMissing { tool, package })
        }
        exit => Ok(exit.success()),
    }
}

pub(super) fn parse_addr(id: &str) -> Option<(&str, u16)> {
    let (host, port) = id.strip_prefix("tcp://")?.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty() && !host.starts_with('-')).then_some((host, port))
}

pub(super) fn observe_interface(
    resource: &Resource,
    world: &World<'_>,
) -> Result<Facts, ProbeError> {
    let name = &resource.id;
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return Ok(Facts::from([("exists", false.into())]));
    }
    let path = format!("/sys/class/net/{name}/mtu");
    let output = world.run(Command::new(["cat", "--", &path]), None)?;
    if !output.exit.success() {
        return Ok(Facts::from([("exists", false.into())]));
    }
    let mtu = String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok();
    let mut facts = Facts::from([("exists", true.into())]);
    facts.extend(mtu.map(|mtu| ("mtu", Actual::number(mtu))));
    if resource.wants("addrs") {
        let shown = world.run(Command::new(["ip", "-o", "addr", "show", "dev", name]), None)?;
        if shown.exit == umbra_state::Exit::Code(127) {
            let (tool, package) = ("ip".to_owned(), "iproute2".to_owned());
            return Err(ProbeError::ToolMissing { tool, package });
        }
        facts.insert("addrs", Actual::list(parse_addresses(&shown.stdout)));
    }
    Ok(facts)
}

/// The addresses in `ip -o addr`: the word after `inet` or `inet6`.
fn parse_addresses(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        words.find(|word| matches!(*word, "inet" | "inet6"))?;
        words.next().map(str::to_owned)
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn listeners_are_read() {
        let text = b"tcp\n  sl  local_address rem_address   st tx_queue\n   0: 0100007F:1F90 00000000:0000 0A 0\n   1: 00000000:0050 00000000:0000 0A 0\n   2: 0100007F:0050 0100007F:9999 01 0\ntcp6\n   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A\n   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A\nudp\n   0: 00000000:0035 00000000:0000 07 0\n   1: 0100007F:0035 0100007F:0001 01 0\nudp6\n";
        let shown: Vec<_> = parse_sockets(text)
            .iter()
            .map(|one| format!("{:?} {} {}", one.transport, one.ip, one.port))
            .collect();
        assert_eq!(
            shown,
            [
                "Tcp 0.0.0.0 80",
                "Tcp 127.0.0.1 8080",
                "Tcp6 :: 80",
                "Tcp6 ::1 631",
                "Udp 0.0.0.0 53"
            ]
        );
    }

    #[test]
    fn names_of_ports_and_addresses() {
        assert_eq!(parse_port("tcp6:80"), Some((Transport::Tcp6, 80)));
        assert_eq!(parse_port("22"), Some((Transport::Tcp, 22)));
        for id in ["tcp:0", "tcp:70000", "sctp:1", "tcp:", ""] {
            assert_eq!(parse_port(id), None, "{id}");
        }
        assert_eq!(parse_addr("tcp://[::1]:80"), Some(("[::1]", 80)));
        for id in ["udp://a:1", "tcp://:1", "tcp://a", "tcp://-x:1"] {
            assert_eq!(parse_addr(id), None, "{id}");
        }
        let text = b"1: lo    inet 127.0.0.1/8 scope host lo\n1: lo    inet6 ::1/128 scope host\n";
        assert_eq!(parse_addresses(text), ["127.0.0.1/8", "::1/128"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(tcp6?|udp6?|\n|[0-9A-F]{8}|:| |0A|07|é){0,60}") {
            prop_assert!(parse_sockets(text.as_bytes()).len() <= text.len());
            parse_addresses(text.as_bytes());
        }
    }
}
