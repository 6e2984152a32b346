//! Which packets the kernel gives: a classic BPF program, the same for a socket and for `tc`.
//!
//! It only spares work: whatever it lets through is looked at again. What it cannot read (more
//! than two VLAN tags, extension headers, fragments) it therefore lets through.

use super::packet::Link;

/// Ports of one program.
pub const PORTS_MAX: usize = 64;

/// One instruction, as the kernel wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to leave out if it is so.
    pub then: u8,
    /// How many otherwise.
    pub otherwise: u8,
    /// With what.
    pub with: u32,
}

/// Lets everything through.
pub fn everything() -> Vec<Instruction> {
    assemble(&[Do(RETURN, WHOLE_PACKET)])
}

/// Lets nothing through.
pub fn nothing() -> Vec<Instruction> {
    assemble(&[Do(RETURN, 0)])
}

/// Lets TCP through from or to one of these ports, or everything if there are none.
pub fn of_ports(link: Link, ports: &[u16]) -> Vec<Instruction> {
    if ports.is_empty() {
        return everything();
    }
    // X is where the next header begins.
    let mut program = vec![Do(LOAD_X, 0)];
    if link == Link::Ethernet {
        for _ in 0..TAGS {
            program.extend(TAG);
        }
        program.extend(ETHERNET);
    }
    program.extend(IP);
    for at in [0, 2] {
        program.push(Do(LOAD_HALF_AT_X, at));
        for port in ports.iter().take(PORTS_MAX) {
            // Its own end, since a jump does not reach over all ports.
            program.extend([SkipUnless(u32::from(*port)), Do(RETURN, WHOLE_PACKET)]);
        }
    }
    program.push(Do(RETURN, 0));
    assemble(&program)
}

// linux/bpf_common.h and linux/filter.h.
const LOAD_BYTE_AT_X: u16 = 0x50;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD: u16 = 0x00;
const LOAD_X: u16 = 0x01;
const AND: u16 = 0x54;
const SHIFT_LEFT: u16 = 0x64;
const ADD: u16 = 0x04;
const ADD_X: u16 = 0x0c;
const A_TO_X: u16 = 0x07;
const X_TO_A: u16 = 0x87;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const GO: u16 = 0x05;
const RETURN: u16 = 0x06;

const WHOLE_PACKET: u32 = u32::MAX;

/// An instruction whose jumps lead to names, always further down, as the kernel wants it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Do(u16, u32),
    /// Goes there if it is so, and on otherwise.
    If(u16, u32, Place),
    Go(Place),
    /// Leaves the next out unless it equals this.
    SkipUnless(u32),
    /// The next is the nearest of this name.
    At(Place),
}
use Step::{At, Do, Go, If, SkipUnless};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Tag,
    NoTag,
    Ip,
    Ipv4,
    Ipv6,
    Ipv6Tcp,
    Tcp,
    All,
}

/// Tags that are stepped over.
const TAGS: usize = 2;

/// Steps over a tag, if there is one.
const TAG: &[Step] = &[
    Do(LOAD_HALF_AT_X, 12),
    If(IF_EQUAL, 0x8100, Place::Tag),
    If(IF_EQUAL, 0x88a8, Place::Tag),
    If(IF_EQUAL, 0x9100, Place::Tag),
    Go(Place::NoTag),
    At(Place::Tag),
    Do(X_TO_A, 0),
    Do(ADD, 4),
    Do(A_TO_X, 0),
    At(Place::NoTag),
];

/// Steps over the rest of the header.
const ETHERNET: &[Step] = &[
    Do(LOAD_HALF_AT_X, 12),
    If(IF_EQUAL, 0x0800, Place::Ip),
    If(IF_EQUAL, 0x86dd, Place::Ip),
    If(IF_EQUAL, 0x8100, Place::All),
    Do(RETURN, 0),
    At(Place::Ip),
    Do(X_TO_A, 0),
    Do(ADD, 14),
    Do(A_TO_X, 0),
];

/// Steps over the header if there is TCP behind it.
const IP: &[Step] = &[
    Do(LOAD_BYTE_AT_X, 0),
    Do(AND, 0xf0),
    If(IF_EQUAL, 0x40, Place::Ipv4),
    If(IF_EQUAL, 0x60, Place::Ipv6),
    Do(RETURN, 0),
    At(Place::Ipv6),
    Do(LOAD_BYTE_AT_X, 6),
    If(IF_EQUAL, 6, Place::Ipv6Tcp),
    If(IF_EQUAL, 0, Place::All),
    If(IF_EQUAL, 43, Place::All),
    If(IF_EQUAL, 44, Place::All),
    If(IF_EQUAL, 51, Place::All),
    If(IF_EQUAL, 60, Place::All),
    Do(RETURN, 0),
    At(Place::Ipv6Tcp),
    Do(LOAD, 40),
    Go(Place::Tcp),
    At(Place::All),
    Do(RETURN, WHOLE_PACKET),
    At(Place::Ipv4),
    Do(LOAD_BYTE_AT_X, 9),
    If(IF_EQUAL, 6, Place::Ip),
    Do(RETURN, 0),
    At(Place::Ip),
    Do(LOAD_HALF_AT_X, 6),
    If(IF_ANY_BIT, 0x3fff, Place::All),
    Do(LOAD_BYTE_AT_X, 0),
    Do(AND, 0xf),
    Do(SHIFT_LEFT, 2),
    Go(Place::Tcp),
    At(Place::All),
    Do(RETURN, WHOLE_PACKET),
    At(Place::Tcp),
    Do(ADD_X, 0),
    Do(A_TO_X, 0),
];

fn assemble(steps: &[Step]) -> Vec<Instruction> {
    let instruction = |(at, step): (usize, &Step)| {
        let rest = &steps[at + 1..];
        let plain = |code, with| Some(Instruction { code, then: 0, otherwise: 0, with });
        match *step {
            Do(code, with) => plain(code, with),
            Go(place) => plain(GO, distance(rest, place)),
            // Ours are all near.
            If(code, with, place) => Some(Instruction {
                code,
                then: u8::try_from(distance(rest, place)).unwrap_or(0),
                otherwise: 0,
                with,
            }),
            SkipUnless(with) => Some(Instruction { code: IF_EQUAL, then: 0, otherwise: 1, with }),
            At(_) => None,
        }
    };
    steps.iter().enumerate().filter_map(instruction).collect()
}

/// How many instructions are in front of this place.
fn distance(rest: &[Step], place: Place) -> u32 {
    let before = rest.iter().take_while(|step| !matches!(step, At(at) if *at == place));
    before.filter(|step| !matches!(step, At(_))).count() as u32
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::crafted::{ethernet, ipv4, ipv6, tcp};
    use super::super::ring::attach;
    use super::*;

    /// What the kernel lets through to a socket with this program.
    fn passes(program: &[Instruction], packet: &[u8]) -> bool {
        let (from, to) = UnixDatagram::pair().expect("sockets");
        attach(&to, program).expect("a program that the kernel takes");
        to.set_nonblocking(true).expect("no waiting");
        from.send(packet).expect("sent");
        to.recv(&mut [0; 200]).is_ok_and(|length| length == packet.len())
    }

    fn between(from: u16, to: u16) -> Vec<u8> {
        tcp([from, to], [0, 0], 0x10, b"")
    }

    #[test]
    fn the_kernel_gives_what_was_asked_for() {
        let program = of_ports(Link::Ethernet, &[80, 8080]);
        #[track_caller]
        fn check(program: &[Instruction], packet: &[u8], expected: bool) {
            assert_eq!(passes(program, packet), expected, "{packet:x?}");
        }
        let (yes, back, no) = (between(40_000, 80), between(8080, 40_000), between(40_000, 443));
        for tags in [&[][..], &[(0x8100, 7)], &[(0x88a8, 7), (0x8100, 8)]] {
            for words in [5, 7, 15] {
                let framed = |tcp| ethernet(tags, 0x0800, &ipv4(6, words, 0x4000, tcp));
                check(&program, &framed(&yes), true);
                check(&program, &framed(&back), true);
                check(&program, &framed(&no), false);
            }
            let framed = |tcp| ethernet(tags, 0x86dd, &ipv6(6, tcp));
            check(&program, &framed(&yes), true);
            check(&program, &framed(&back), true);
            check(&program, &framed(&no), false);
        }
        check(&program, &ethernet(&[], 0x0800, &ipv4(17, 5, 0, &yes)), false);
        check(&program, &ethernet(&[], 0x0800, &ipv4(6, 5, 0x2000, &no)), true);
        check(&program, &ethernet(&[], 0x0800, &ipv4(17, 5, 0x2000, &no)), false);
        check(&program, &ethernet(&[], 0x86dd, &ipv6(0, &no)), true);
        check(&program, &ethernet(&[], 0x86dd, &ipv6(58, &no)), false);
        check(&program, &ethernet(&[(0x8100, 7); 3], 0x0800, &no), true);
        check(&program, &ethernet(&[], 0x0806, &no), false);
        let bare = of_ports(Link::Ip, &[80, 8080]);
        check(&bare, &ipv4(6, 5, 0, &yes), true);
        check(&bare, &ipv6(6, &no), false);
        check(&everything(), b"x", true);
        check(&nothing(), b"x", false);
        let many: Vec<u16> = (1..=PORTS_MAX as u16).collect();
        let many = of_ports(Link::Ip, &many);
        check(&many, &ipv4(6, 5, 0, &between(9000, PORTS_MAX as u16)), true);
        check(&many, &ipv4(6, 5, 0, &between(9000, PORTS_MAX as u16 + 1)), false);
    }
}
