//! The PROXY protocol's header, versions 1 and 2: whose connection it is, told by who passes it
//! on (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). Pure: bytes in, bytes out.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// What follows them is no longer, though 64 KiB could be said.
const REST_BYTES_MAX: usize = 4096;

/// No header is longer.
pub const BYTES_MAX: usize = FIXED_BYTES + REST_BYTES_MAX;

/// Which header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Between whom a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who connected.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Incomplete,
    /// A header.
    Whole {
        /// As many bytes are its.
        length: usize,
        /// `None`: it does not say, and the connection's own are meant.
        ends: Option<Ends>,
    },
}

/// It is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// It begins otherwise.
    #[error("read a PROXY header: the connection begins with something else")]
    Begin,
    /// A line that says nothing, or too long a one.
    #[error("read a PROXY header of version 1: it is not `PROXY TCP4|TCP6 FROM TO PORT PORT`")]
    Line,
    /// A version, a command or a family nobody knows.
    #[error("read a PROXY header of version 2: it is of no known version, command and family")]
    Kind,
    /// Its length is not that of what it should hold.
    #[error("read a PROXY header of version 2: its length is not that of its content")]
    Length,
}

/// Reads what a connection begins with.
///
/// # Errors
/// However much more comes, it is no header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let begins = |with: &[u8]| {
        let common = with.len().min(bytes.len());
        bytes[..common] == with[..common]
    };
    if begins(&SIGNATURE) {
        binary(bytes)
    } else if begins(WORD) {
        line(bytes)
    } else {
        Err(BadHeader::Begin)
    }
}

fn line(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let looked_at = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = looked_at.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() < LINE_BYTES_MAX {
            Ok(Parsed::Incomplete)
        } else {
            Err(BadHeader::Line)
        };
    };
    match looked_at.get(end..end + 2) {
        Some(b"\r\n") => {}
        None if looked_at[end] == b'\r' && end + 2 <= LINE_BYTES_MAX => {
            return Ok(Parsed::Incomplete);
        }
        _ => return Err(BadHeader::Line),
    }
    let text = looked_at.get(WORD.len()..end).and_then(|text| std::str::from_utf8(text).ok());
    let ends = said(text.ok_or(BadHeader::Line)?).ok_or(BadHeader::Line)?;
    Ok(Parsed::Whole { length: end + 2, ends })
}

/// `None` if it is not what such a line says.
fn said(text: &str) -> Option<Option<Ends>> {
    let mut words = text.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let mut word = || words.next();
    let (source, destination, from, to) = (word()?, word()?, port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return None;
    }
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    Some(Some(Ends {
        source: SocketAddr::new(address(source)?, from),
        destination: SocketAddr::new(address(destination)?, to),
    }))
}

/// Digits, without a zero in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let leads = text.len() > 1 && text.starts_with('0');
    (plain && !leads).then(|| text.parse().ok())?
}

fn binary(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else {
        // What is wrong already stays wrong.
        return match bytes.get(SIGNATURE.len()) {
            Some(command) if !matches!(command, 0x20 | 0x21) => Err(BadHeader::Kind),
            _ => Ok(Parsed::Incomplete),
        };
    };
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(BadHeader::Kind),
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    // Of a local connection nothing else is looked at.
    let addresses = match family {
        _ if local => 0,
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        _ => return Err(BadHeader::Kind),
    };
    if rest > REST_BYTES_MAX || rest < addresses {
        return Err(BadHeader::Length);
    }
    let Some(rest) = bytes.get(FIXED_BYTES..FIXED_BYTES + rest) else {
        return Ok(Parsed::Incomplete);
    };
    let length = FIXED_BYTES + rest.len();
    let (addresses, more) = rest.split_at(addresses);
    if !addresses.is_empty() && !are_values(more) {
        return Err(BadHeader::Length);
    }
    Ok(Parsed::Whole { length, ends: ends(addresses) })
}

/// Addresses of the internet; of those on this machine the connection's own are meant.
fn ends(addresses: &[u8]) -> Option<Ends> {
    let port = |at: usize| Some(u16::from_be_bytes(addresses.get(at..at + 2)?.try_into().ok()?));
    let (source, destination, ports) = match addresses.len() {
        12 => {
            let address = |at: usize| <[u8; 4]>::try_from(addresses.get(at..at + 4)?).ok();
            (IpAddr::from(address(0)?), IpAddr::from(address(4)?), 8)
        }
        36 => {
            let address = |at: usize| <[u8; 16]>::try_from(addresses.get(at..at + 16)?).ok();
            (IpAddr::from(address(0)?), IpAddr::from(address(16)?), 32)
        }
        _ => return None,
    };
    Some(Ends {
        source: SocketAddr::new(source, port(ports)?),
        destination: SocketAddr::new(destination, port(ports + 2)?),
    })
}

/// Whether these bytes are types, lengths and values, whatever they say.
fn are_values(mut bytes: &[u8]) -> bool {
    while let [_, high, low, after @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(next) = after.get(length..) else { return false };
        bytes = next;
    }
    bytes.is_empty()
}

/// The header that says so. Addresses of two kinds are both written as IPv6.
pub fn write(ends: Ends, version: Version) -> Vec<u8> {
    let Ends { source, destination } = ends;
    match (source.ip(), destination.ip(), version) {
        (IpAddr::V4(from), IpAddr::V4(to), Version::V1) => text("TCP4", from, to, ends),
        (IpAddr::V4(from), IpAddr::V4(to), Version::V2) => {
            fixed(0x11, &from.octets(), &to.octets(), ends)
        }
        (from, to, Version::V1) => text("TCP6", wide(from), wide(to), ends),
        (from, to, Version::V2) => fixed(0x21, &wide(from).octets(), &wide(to).octets(), ends),
    }
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn text<A: std::fmt::Display>(family: &str, from: A, to: A, ends: Ends) -> Vec<u8> {
    let (source, destination) = (ends.source.port(), ends.destination.port());
    format!("PROXY {family} {from} {to} {source} {destination}\r\n").into_bytes()
}

fn fixed(family: u8, from: &[u8], to: &[u8], ends: Ends) -> Vec<u8> {
    // 36 at most.
    let length = (from.len() + to.len() + 4) as u16;
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, family]);
    header.extend(length.to_be_bytes());
    header.extend(from);
    header.extend(to);
    header.extend(ends.source.port().to_be_bytes());
    header.extend(ends.destination.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Some(Ends { source, destination })
    }

    fn binary(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    /// A whole header, and what follows it is not looked at; cut anywhere it is incomplete.
    #[track_caller]
    fn check(bytes: &[u8], ends: Option<Ends>) {
        let whole = Ok(Parsed::Whole { length: bytes.len(), ends });
        assert_eq!(parse(bytes), whole, "{bytes:?}");
        assert_eq!(parse(&[bytes, b"GET / HTTP/1.1\r\n"].concat()), whole, "{bytes:?}");
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Incomplete), "{:?}", &bytes[..cut]);
        }
    }

    #[track_caller]
    fn refused(bytes: &[u8], why: BadHeader) {
        assert_eq!(parse(bytes), Err(why), "{bytes:?}");
    }

    #[test]
    fn lines_say_whose_a_connection_is() {
        let v4 = ends("192.0.2.7:56324", "198.51.100.1:443");
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", v4);
        let v6 = ends("[2001:db8::1]:0", "[::1]:65535");
        check(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", v6);
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff:f...f:ffff what ever\r\n", None);
        let mut longest = b"PROXY UNKNOWN ".to_vec();
        longest.resize(LINE_BYTES_MAX - 2, b'x');
        check(&[&longest[..], b"\r\n"].concat(), None);
        refused(&[&longest[..], b"x\r\n"].concat(), BadHeader::Line);
        refused(&[&longest[..], b"xxx"].concat(), BadHeader::Line);
    }

    #[test]
    fn lines_are_read_strictly() {
        for bad in [
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n"[..],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\rX",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
            b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
            b"PROXY TCP4 192.0.02.7 198.51.100.1 1 443\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 1 443\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY \r\n",
            b"PROXY tcp4 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY UNKNOWN \xff\r\n",
        ] {
            refused(bad, BadHeader::Line);
        }
        for bad in [&b"GET / HTTP/1.1\r\n"[..], b"proxy ", b"PROXY\r\n", b"\r\n\r\nG", b"\x16\x03"]
        {
            refused(bad, BadHeader::Begin);
        }
    }

    #[test]
    fn binary_says_whose_a_connection_is() {
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
        let v4 = ends("192.0.2.7:56324", "198.51.100.1:443");
        check(&binary(0x21, 0x11, 12, &four), v4);
        let with_values = [&four[..], &[0x04, 0, 2, 9, 9, 0xea, 0, 0]].concat();
        check(&binary(0x21, 0x11, 20, &with_values), v4);
        check(&binary(0x20, 0x00, 0, b""), None);
        check(&binary(0x20, 0x11, 12, &four), None);
        check(&binary(0x20, 0xff, 3, b"abc"), None);
        check(&binary(0x21, 0x00, 3, b"abc"), None);
        check(&binary(0x21, 0x31, 216, &[0; 216]), None);
        check(&binary(0x20, 0x00, 4096, &[0; 4096]), None);
    }

    #[test]
    fn binary_is_read_strictly() {
        for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x31, 0x11), (0x01, 0x11)] {
            refused(&binary(command, family, 12, &[0; 12]), BadHeader::Kind);
            refused(&binary(command, family, 12, b"")[..13], BadHeader::Kind);
        }
        for family in [0x12, 0x22, 0x32, 0x10, 0x13, 0x41, 0xff] {
            refused(&binary(0x21, family, 216, &[0; 216]), BadHeader::Kind);
        }
        refused(&binary(0x21, 0x11, 11, &[0; 11]), BadHeader::Length);
        refused(&binary(0x21, 0x21, 35, &[0; 35]), BadHeader::Length);
        refused(&binary(0x21, 0x11, 4097, b""), BadHeader::Length);
        // Values that are longer than what is left of them.
        refused(&binary(0x21, 0x11, 14, &[0; 14]), BadHeader::Length);
        let long = [&[0; 12][..], &[1, 0, 2, 9]].concat();
        refused(&binary(0x21, 0x11, 16, &long), BadHeader::Length);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            source: (IpAddr, u16), destination: (IpAddr, u16), binary: bool,
        ) {
            let version = if binary { Version::V2 } else { Version::V1 };
            let said = Ends { source: source.into(), destination: destination.into() };
            let bytes = write(said, version);
            prop_assert!(version == Version::V2 || bytes.len() <= LINE_BYTES_MAX);
            let Ok(Parsed::Whole { length, ends: Some(read) }) = parse(&bytes) else {
                return Err(TestCaseError::fail("it is not read"));
            };
            prop_assert_eq!(length, bytes.len());
            if source.0.is_ipv4() == destination.0.is_ipv4() {
                prop_assert_eq!(read, said);
            }
            prop_assert_eq!(read.source.ip().to_canonical(), source.0.to_canonical());
            prop_assert_eq!(read.destination.ip().to_canonical(), destination.0.to_canonical());
            for cut in 0..length {
                prop_assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Incomplete));
            }
        }
    }
}
