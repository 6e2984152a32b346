//! What of a packet a tap takes: one segment of a TCP connection.
//!
//! Checksums are not looked at. A packet that never left this machine has none in its TCP header
//! (network cards fill it in, and there was no card), one that came from a card was checked by it,
//! and a receiver that throws a segment away is seen to ask for it again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How an interface's packets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// With an Ethernet header.
    Ethernet,
    /// With the IP header, as on a tunnel.
    Ip,
}

/// A packet as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// As much of it as was captured.
    pub bytes: &'a [u8],
    /// How long it was.
    pub wire_bytes: usize,
    /// The VLAN whose tag the kernel or the card took off.
    pub vlan: Option<u16>,
    /// When, in microseconds since 1970-01-01 UTC.
    pub at_us: u64,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// The VLANs a packet was in, outermost first; 0 is none.
pub type Vlans = [u16; 2];

/// One segment of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Where it came through.
    pub vlans: Vlans,
    /// Who sent it.
    pub from: End,
    /// For whom.
    pub to: End,
    /// The sequence number of its first byte, or of its SYN.
    pub seq: u32,
    /// The next byte its sender waits for, if it says.
    pub ack: Option<u32>,
    /// It begins a connection.
    pub syn: bool,
    /// Its sender has no more to say after it.
    pub fin: bool,
    /// It breaks the connection off.
    pub rst: bool,
    /// Its bytes, as far as they were captured.
    pub payload: &'a [u8],
    /// Bytes behind these that were not.
    pub missing: usize,
}

/// Why a packet is no segment that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// Something else than IP: ARP, say.
    NotIp,
    /// IP, but not TCP.
    NotTcp,
    /// A part of a packet that was cut in pieces on the way. They are not put together.
    Fragment,
    /// It does not keep to its own lengths.
    Malformed,
    /// Too little of it was captured.
    Cut,
    /// It has urgent bytes, of which receivers make different things.
    Urgent,
}

/// Extension headers in front of TCP; more than one is rare.
const EXTENSIONS_MAX: usize = 8;

const TCP: u8 = 6;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Reads a packet. Nothing is copied.
///
/// # Errors
/// Where it is no whole TCP segment.
pub fn parse(link: Link, frame: Frame<'_>) -> Result<Segment<'_>, NotTaken> {
    let mut vlans = Tags::new(frame.vlan);
    let mut bytes = Bytes { bytes: frame.bytes, wire: frame.wire_bytes.max(frame.bytes.len()) };
    if link == Link::Ethernet {
        let mut ethertype = bytes.u16(12)?;
        bytes = bytes.after(14)?;
        while ETHERTYPES_VLAN.contains(&ethertype) {
            vlans.add(bytes.u16(0)?)?;
            ethertype = bytes.u16(2)?;
            bytes = bytes.after(4)?;
        }
        if ![ETHERTYPE_IPV4, ETHERTYPE_IPV6].contains(&ethertype) {
            return Err(NotTaken::NotIp);
        }
    }
    let packet = match bytes.u8(0)? >> 4 {
        4 => ipv4(bytes)?,
        6 => ipv6(bytes)?,
        _ if link == Link::Ip => return Err(NotTaken::NotIp),
        _ => return Err(NotTaken::Malformed),
    };
    tcp(vlans.tags, packet)
}

/// The tags of a packet; more than two are nobody's configuration.
struct Tags {
    tags: Vlans,
    count: usize,
}

impl Tags {
    fn new(outermost: Option<u16>) -> Self {
        let mut tags = Self { tags: [0; 2], count: 0 };
        if let Some(tag) = outermost {
            tags.tags[0] = tag & 0xfff;
            tags.count = 1;
        }
        tags
    }

    fn add(&mut self, tag: u16) -> Result<(), NotTaken> {
        *self.tags.get_mut(self.count).ok_or(NotTaken::Malformed)? = tag & 0xfff;
        self.count += 1;
        Ok(())
    }
}

/// Bytes of which the last may not have been captured.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    bytes: &'a [u8],
    /// How many there were.
    wire: usize,
}

impl<'a> Bytes<'a> {
    fn array<const N: usize>(self, at: usize) -> Result<[u8; N], NotTaken> {
        let slice = at.checked_add(N).and_then(|end| self.bytes.get(at..end));
        let array = slice.and_then(|slice| slice.try_into().ok());
        array.ok_or_else(|| self.short(at.saturating_add(N)))
    }

    fn u8(self, at: usize) -> Result<u8, NotTaken> {
        self.array(at).map(|[byte]| byte)
    }

    fn u16(self, at: usize) -> Result<u16, NotTaken> {
        self.array(at).map(u16::from_be_bytes)
    }

    fn u32(self, at: usize) -> Result<u32, NotTaken> {
        self.array(at).map(u32::from_be_bytes)
    }

    /// What follows the first `count`.
    fn after(self, count: usize) -> Result<Self, NotTaken> {
        match self.bytes.get(count..) {
            Some(bytes) => Ok(Self { bytes, wire: self.wire - count }),
            None => Err(self.short(count)),
        }
    }

    /// The first `count`: what follows pads the frame.
    fn first(self, count: usize) -> Result<Self, NotTaken> {
        if count > self.wire {
            return Err(NotTaken::Malformed);
        }
        Ok(Self { bytes: &self.bytes[..count.min(self.bytes.len())], wire: count })
    }

    /// Why there are no `needed` bytes.
    fn short(self, needed: usize) -> NotTaken {
        if needed <= self.wire { NotTaken::Cut } else { NotTaken::Malformed }
    }
}

/// What an IP header says, and what follows it.
struct Packet<'a> {
    from: IpAddr,
    to: IpAddr,
    content: Bytes<'a>,
}

/// A length of 0 means that the kernel has not cut it in pieces yet and it is longer than can be
/// said ("big TCP").
fn said_length(said: usize, bytes: Bytes<'_>, fixed: usize) -> usize {
    if said == 0 && bytes.wire > usize::from(u16::MAX) { bytes.wire } else { said + fixed }
}

fn ipv4(bytes: Bytes<'_>) -> Result<Packet<'_>, NotTaken> {
    let header = usize::from(bytes.u8(0)? & 0xf) * 4;
    let bytes = bytes.first(said_length(usize::from(bytes.u16(2)?), bytes, 0))?;
    if header < 20 || header > bytes.wire {
        return Err(NotTaken::Malformed);
    }
    if bytes.u8(9)? != TCP {
        return Err(NotTaken::NotTcp);
    }
    // More fragments, or not the first of them.
    if bytes.u16(6)? & 0x3fff != 0 {
        return Err(NotTaken::Fragment);
    }
    let address = |at| bytes.array::<4>(at).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    Ok(Packet { from: address(12)?, to: address(16)?, content: bytes.after(header)? })
}

fn ipv6(bytes: Bytes<'_>) -> Result<Packet<'_>, NotTaken> {
    let bytes = bytes.first(said_length(usize::from(bytes.u16(4)?), bytes, 40))?;
    let address = |at| bytes.array::<16>(at).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    let (from, to) = (address(8)?, address(24)?);
    let (mut next, mut content) = (bytes.u8(6)?, bytes.after(40)?);
    for _ in 0..=EXTENSIONS_MAX {
        let length = match next {
            TCP => return Ok(Packet { from, to, content }),
            // Hop by hop, routing, for the destination.
            0 | 43 | 60 => (usize::from(content.u8(1)?) + 1) * 8,
            // Authentication.
            51 => (usize::from(content.u8(1)?) + 2) * 4,
            44 if content.u16(2)? & 0xfff9 == 0 => 8,
            44 => return Err(fragment(content.u8(0)?)),
            _ => return Err(NotTaken::NotTcp),
        };
        next = content.u8(0)?;
        content = content.after(length)?;
    }
    Err(NotTaken::Malformed)
}

/// A fragment of something that may be TCP.
fn fragment(of: u8) -> NotTaken {
    match of {
        TCP | 0 | 43 | 44 | 51 | 60 => NotTaken::Fragment,
        _ => NotTaken::NotTcp,
    }
}

fn tcp(vlans: Vlans, packet: Packet<'_>) -> Result<Segment<'_>, NotTaken> {
    let Packet { from, to, content } = packet;
    let flags = content.u8(13)?;
    let flag = |bit: u8| flags & bit != 0;
    let (fin, syn, rst, ack, urgent) = (flag(1), flag(2), flag(4), flag(0x10), flag(0x20));
    let header = usize::from(content.u8(12)? >> 4) * 4;
    if header < 20 || header > content.wire || syn && (fin || rst) {
        return Err(NotTaken::Malformed);
    }
    let payload = content.after(header)?;
    if urgent && payload.wire > 0 {
        return Err(NotTaken::Urgent);
    }
    Ok(Segment {
        vlans,
        from: End { address: from, port: content.u16(0)? },
        to: End { address: to, port: content.u16(2)? },
        seq: content.u32(4)?,
        ack: if ack { Some(content.u32(8)?) } else { None },
        syn,
        fin,
        rst,
        payload: payload.bytes,
        missing: payload.wire - payload.bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::crafted::{ethernet, ipv4, ipv6, tcp};
    use super::*;

    const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    fn segment(payload: &[u8]) -> Vec<u8> {
        tcp([40_000, 80], [7, 9], 0x18, payload)
    }

    fn whole(bytes: &[u8]) -> Frame<'_> {
        Frame { bytes, wire_bytes: bytes.len(), vlan: None, at_us: 0 }
    }

    #[track_caller]
    fn check(frame: &[u8], expected: Result<(Vlans, &str), NotTaken>) {
        let is = parse(Link::Ethernet, whole(frame)).map(|segment| {
            assert_eq!((segment.payload, segment.missing), (PAYLOAD, 0));
            assert_eq!((segment.seq, segment.ack), (7, Some(9)));
            assert_eq!((segment.from.port, segment.to.port), (40_000, 80));
            (segment.vlans, segment.to.address.to_string())
        });
        assert_eq!(is, expected.map(|(vlans, to)| (vlans, to.to_owned())));
    }

    #[test]
    fn what_is_taken_and_what_is_not() {
        let (v4, v6) = (ETHERTYPE_IPV4, ETHERTYPE_IPV6);
        let whole = segment(PAYLOAD);
        let plain = ipv4(TCP, 5, 0, &whole);
        check(&ethernet(&[], v4, &plain), Ok(([0, 0], "192.0.2.2")));
        check(&ethernet(&[(0x8100, 0x2005), (0x8100, 6)], v4, &plain), Ok(([5, 6], "192.0.2.2")));
        check(&ethernet(&[(0x88a8, 1); 3], v4, &plain), Err(NotTaken::Malformed));
        check(&ethernet(&[], 0x0806, &[0; 28]), Err(NotTaken::NotIp));
        check(&ethernet(&[], v4, &[&plain[..], &[0; 9]].concat()), Ok(([0, 0], "192.0.2.2")));
        check(&ethernet(&[], v4, &ipv4(17, 5, 0, &whole)), Err(NotTaken::NotTcp));
        check(&ethernet(&[], v4, &ipv4(17, 5, 0x2000, &whole)), Err(NotTaken::NotTcp));
        check(&ethernet(&[], v4, &ipv4(TCP, 5, 0x2000, &whole)), Err(NotTaken::Fragment));
        check(&ethernet(&[], v4, &ipv4(TCP, 5, 9, &whole)), Err(NotTaken::Fragment));
        check(&ethernet(&[], v4, &ipv4(TCP, 5, 0x4000, &whole)), Ok(([0, 0], "192.0.2.2")));
        check(&ethernet(&[], v4, &plain[..30]), Err(NotTaken::Malformed));
        check(&ethernet(&[], v6, &ipv6(TCP, &whole)), Ok(([0, 0], "::2")));
        let hops = [&[TCP, 0, 5, 2, 0, 0, 1, 0][..], &whole].concat();
        check(&ethernet(&[], v6, &ipv6(0, &hops)), Ok(([0, 0], "::2")));
        let atom = [&[TCP, 0, 0, 0, 1, 2, 3, 4][..], &whole].concat();
        check(&ethernet(&[], v6, &ipv6(44, &atom)), Ok(([0, 0], "::2")));
        let part = [&[TCP, 0, 0, 1, 1, 2, 3, 4][..], &whole].concat();
        check(&ethernet(&[], v6, &ipv6(44, &part)), Err(NotTaken::Fragment));
        let endless = [0, 0, 5, 2, 0, 0, 1, 0].repeat(20);
        check(&ethernet(&[], v6, &ipv6(0, &endless)), Err(NotTaken::Malformed));
        check(&ethernet(&[], v6, &ipv6(58, &whole)), Err(NotTaken::NotTcp));
        check(&[], Err(NotTaken::Malformed));
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for (flags, expected) in [
            (0x03, Some(NotTaken::Malformed)),
            (0x06, Some(NotTaken::Malformed)),
            (0x38, Some(NotTaken::Urgent)),
            (0x11, None),
        ] {
            let packet = ipv4(TCP, 5, 0, &tcp([1, 2], [0, 0], flags, b"x"));
            assert_eq!(parse(Link::Ip, whole(&packet)).err(), expected, "{flags:x}");
        }
    }

    #[test]
    fn what_was_not_captured_is_told_from_what_was_not_there() {
        let packet = ipv4(TCP, 5, 0, &segment(PAYLOAD));
        for captured in 0..packet.len() {
            let frame = Frame { bytes: &packet[..captured], ..whole(&packet) };
            match parse(Link::Ip, frame) {
                Ok(segment) => {
                    assert!(captured >= 40);
                    assert_eq!(segment.payload.len() + segment.missing, PAYLOAD.len());
                }
                Err(why) => assert_eq!((why, captured < 40), (NotTaken::Cut, true)),
            }
        }
    }

    #[test]
    fn packets_longer_than_ip_can_say_are_read() {
        let payload = vec![b'x'; 100_000];
        let mut packet = ipv4(TCP, 5, 0, &segment(&payload));
        packet[2..4].fill(0);
        let is = parse(Link::Ip, whole(&packet)).expect("big TCP");
        assert_eq!(is.payload, payload);
        let mut small = ipv4(TCP, 5, 0, &segment(b"x"));
        small[2..4].fill(0);
        assert_eq!(parse(Link::Ip, whole(&small)), Err(NotTaken::Malformed));
    }

    proptest! {
        #[test]
        fn no_packet_is_read_beyond_its_end(
            mut bytes in prop::collection::vec(any::<u8>(), 0..120),
            form in 0_u8..4, more in 0_usize..100
        ) {
            let start = match form {
                0 => ethernet(&[(0x8100, 1)], ETHERTYPE_IPV4, &ipv4(TCP, 5, 0, &[])),
                1 => ethernet(&[], ETHERTYPE_IPV6, &ipv6(TCP, &[])),
                2 => ethernet(&[], ETHERTYPE_IPV4, &[]),
                _ => Vec::new(),
            };
            bytes.splice(0..0, start);
            let frame = Frame { wire_bytes: bytes.len() + more, ..whole(&bytes) };
            if let Ok(segment) = parse(Link::Ethernet, frame) {
                let inside = bytes.as_ptr_range();
                let is = segment.payload.as_ptr_range();
                prop_assert!(inside.start <= is.start && is.end <= inside.end);
            }
        }
    }
}
