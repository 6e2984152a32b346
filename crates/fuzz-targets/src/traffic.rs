//! What passes an interface that is tapped.

use std::time::Duration;

use umbra_gateway::capture::Exchange;
use umbra_gateway::tap::Tap;
use umbra_gateway::tap::flows::Settings;
use umbra_gateway::tap::packet::{self, Frame, Link};

use crate::Target;

/// See [`packet()`].
pub const PACKET: Target = Target {
    name: "packet",
    open: || Box::new(packet),
    seeds: || {
        let flags = [0x02, 0x12, 0x18, 0x11, 0x04, 0x28];
        let mut seeds: Vec<Vec<u8>> = flags.map(|flags| framed(true, 7, 9, flags, b"GET")).into();
        seeds.push([&[2; 12], &[0x81, 0, 0, 7, 0x86, 0xdd, 0x60][..], &[0; 80]].concat());
        seeds
    },
    words: &["\u{8}\0", "\u{86}\u{dd}", "\u{81}\0", "E\0", "\u{6}", "\0\0\0\0"],
    cases: 10_000,
    heap_factor: 4,
};

/// A segment lies within its packet, and as much as was there is there or said to be missing.
pub fn packet(bytes: &[u8]) -> bool {
    let mut taken = false;
    for link in [Link::Ethernet, Link::Ip] {
        for more in [0, 1, 70_000] {
            let frame = Frame { bytes, wire_bytes: bytes.len() + more, vlan: None, at_us: 0 };
            let Ok(segment) = packet::parse(link, frame) else { continue };
            let (all, is) = (bytes.as_ptr_range(), segment.payload.as_ptr_range());
            assert!(all.start <= is.start && is.end <= all.end);
            assert!(segment.payload.len() + segment.missing <= frame.wire_bytes);
            assert!(segment.missing <= more);
            taken = true;
        }
    }
    taken
}

/// See [`traffic`].
pub const TRAFFIC: Target = Target {
    name: "traffic",
    open: || Box::new(traffic),
    seeds: || {
        const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        const POST: &[u8] =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        const END: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nall";
        const BOTH: &[u8] = b"HTTP/1.1 101 Now\r\nUpgrade: a\r\n\r\n\0";
        let begun: &[(u8, &[u8])] = &[(SYN, b""), (SYN | ACK | SERVER, b"")];
        let ended: &[(u8, &[u8])] = &[(FIN | ACK | SERVER, b""), (FIN | ACK, b"")];
        let answers = [OK, END, BOTH];
        let talk = |ask: &'static [u8], answer: &'static [u8]| {
            script(&[begun, &[(ACK, ask), (ACK | SERVER, answer)], ended].concat())
        };
        let mut seeds: Vec<Vec<u8>> = answers.map(|answer| talk(GET, answer)).into();
        seeds.push(talk(POST, OK));
        seeds.push(script(&[(ACK | SERVER, OK), (ACK, GET), (ACK | SERVER, OK), (ACK, GET)]));
        seeds
    },
    words: &[
        "GET / HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 \r\n\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Upgrade: a\r\n",
        "\r\n\r\n",
        "0\r\n\r\n",
        "HEAD /",
        "CONNECT a:1 ",
        "\u{10}\0\0\u{5}",
        "\u{14}\u{5}\0\u{5}",
    ],
    cases: 1_000,
    heap_factor: 1024,
};

const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 0x10;
/// Where the flags of TCP have one that means nothing here: the server says it.
const SERVER: u8 = 0x80;

/// Each request is an exchange or lost by a cause, each packet counted; bodies and all that is held
/// keep to their bounds; what is over holds nothing.
pub fn traffic(bytes: &[u8]) -> bool {
    let settings = Settings {
        ports: vec![80],
        flows_max: 4,
        memory_bytes_max: 64 << 10,
        body_bytes_max: 16,
        idle: Duration::from_secs(1),
        ..Settings::default()
    };
    let (held_max, mut exchanges, mut packets) = (settings.memory_bytes_max, 0, 0);
    let mut sink = |exchange: Exchange| {
        exchanges += 1;
        let bodies = [Some(&exchange.request.body), exchange.answer.as_ref().map(|is| &is.body)];
        assert!(bodies.into_iter().flatten().all(|body| body.bytes.len() <= 16), "{exchange:?}");
        assert!(exchange.answer.is_none_or(|answer| (101..=999).contains(&answer.status)));
    };
    let mut tap = Tap::new(Link::Ethernet, settings);
    let mut next = [u32::MAX - 50, 1000];
    let mut rest = bytes;
    while let [flags, early, acked, length, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let side = usize::from(flags & SERVER != 0);
        let ends = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        // Numbers are those that follow, less or more what the script says.
        let seq = next[side].wrapping_add_signed(i32::from(*early as i8));
        let ack = next[1 - side].wrapping_add_signed(i32::from(*acked as i8));
        if *early == 0 {
            next[side] = seq.wrapping_add(payload.len() as u32 + ends);
        }
        let frame = framed(side == 0, seq, ack, flags & 0x3f, payload);
        packets += 1;
        let at_us = packets * 100_000;
        let frame = Frame { bytes: &frame, wire_bytes: frame.len(), vlan: None, at_us };
        tap.take(frame, &mut sink);
        assert!(tap.holds() <= held_max, "{} bytes", tap.holds());
    }
    tap.finish(&mut sink);
    let counts = tap.counts();
    assert_eq!((counts.packets, counts.exchanges), (packets, exchanges));
    assert_eq!(counts.requests, counts.exchanges + counts.lost.total(), "{counts:?}");
    assert_eq!((tap.holds(), counts.flows.open), (0, 0));
    exchanges > 0
}

/// A script in which everything follows what was before it.
fn script(said: &[(u8, &[u8])]) -> Vec<u8> {
    let record = |(flags, text): &(u8, &[u8])| [&[*flags, 0, 0, text.len() as u8], *text].concat();
    said.iter().flat_map(record).collect()
}

/// A segment between a client and a server, in IPv4 and Ethernet.
fn framed(asks: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut ends = [([192, 0, 2, 1], 40_000_u16), ([192, 0, 2, 2], 80)];
    if !asks {
        ends.reverse();
    }
    let mut tcp: Vec<u8> = ends.iter().flat_map(|(_, port)| port.to_be_bytes()).collect();
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    tcp.extend([5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    tcp.extend(payload);
    let length = 20 + tcp.len() as u16;
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(ends.iter().flat_map(|(address, _)| *address));
    frame.extend(tcp);
    frame
}
