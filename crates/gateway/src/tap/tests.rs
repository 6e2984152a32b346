//! Whole connections, packet by packet.

use proptest::prelude::*;

use super::crafted::{ethernet, ipv4, tcp};
use super::*;

const CLIENT: u16 = 40_000;
const SERVER: u16 = 80;
const SYN: u8 = 2;
const FIN: u8 = 1;
const RST: u8 = 4;
const ACK: u8 = 0x10;

/// A connection that is written down as it goes on.
struct Wire {
    packets: Vec<Vec<u8>>,
    client: u16,
    /// What each side says next, by number.
    next: [u32; 2],
}

/// Which side.
const C: usize = 0;
const S: usize = 1;

impl Wire {
    fn at(client: u16) -> Self {
        Self { packets: Vec::new(), client, next: [u32::MAX - 40, 7_000] }
    }

    /// After its beginning.
    fn begun() -> Self {
        let mut wire = Self::at(CLIENT);
        wire.say(C, SYN, b"");
        wire.say(S, SYN | ACK, b"");
        wire.say(C, ACK, b"");
        wire
    }

    fn say(&mut self, side: usize, flags: u8, bytes: &[u8]) {
        let ports = if side == C { [self.client, SERVER] } else { [SERVER, self.client] };
        let segment = tcp(ports, [self.next[side], self.next[1 - side]], flags, bytes);
        let mut packet = ipv4(6, 5, 0, &segment);
        if side == S {
            packet[12..20].rotate_left(4);
        }
        self.packets.push(ethernet(&[], 0x0800, &packet));
        let ends = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        self.next[side] = self.next[side].wrapping_add(bytes.len() as u32 + ends);
    }

    fn client(mut self, bytes: &str) -> Self {
        self.say(C, ACK, bytes.as_bytes());
        self
    }

    fn server(mut self, bytes: &str) -> Self {
        self.say(S, ACK, bytes.as_bytes());
        self
    }

    /// What the next side says is lost.
    fn without_last(mut self) -> Self {
        self.packets.pop();
        self
    }

    fn flags(mut self, side: usize, flags: u8) -> Self {
        self.say(side, flags, b"");
        self
    }

    fn closed(self) -> Self {
        self.flags(C, FIN | ACK).flags(S, FIN | ACK).flags(C, ACK)
    }
}

fn captured(packets: &[Vec<u8>], settings: Settings) -> (Vec<Exchange>, Counts) {
    let mut tap = Tap::new(Link::Ethernet, settings);
    let mut exchanges = Vec::new();
    for (at, bytes) in packets.iter().enumerate() {
        let frame = Frame { bytes, wire_bytes: bytes.len(), vlan: None, at_us: at as u64 * 10 };
        tap.take(frame, &mut |exchange| exchanges.push(exchange));
    }
    tap.finish(&mut |exchange| exchanges.push(exchange));
    let counts = tap.counts();
    assert_eq!(tap.holds(), 0);
    assert_eq!(counts.exchanges, exchanges.len() as u64);
    assert_eq!(counts.requests, counts.exchanges + counts.lost.total(), "{counts:?}");
    (exchanges, counts)
}

/// `METHOD TARGET [body] STATUS [body]`, with `...` where a body was cut.
fn shown(exchange: &Exchange) -> String {
    let body = |kept: &crate::capture::Kept| {
        let cut = if kept.cut { "..." } else { "" };
        format!("[{}{cut}]", String::from_utf8_lossy(&kept.bytes))
    };
    let Exchange { request, answer, .. } = exchange;
    let answer = answer
        .as_ref()
        .map_or("none".to_owned(), |answer| format!("{} {}", answer.status, body(&answer.body)));
    format!("{} {} {} {answer}", request.method, request.target, body(&request.body))
}

#[track_caller]
fn check(wire: Wire, expected: &[&str]) -> Counts {
    let (exchanges, counts) = captured(&wire.packets, Settings::default());
    let shown: Vec<String> = exchanges.iter().map(shown).collect();
    assert_eq!(shown, expected, "{counts:?}");
    counts
}

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn an_exchange_has_its_times_headers_and_session() {
    let wire = Wire::begun().client(&GET[..9]).client(&GET[9..]).server(OK).closed();
    let (exchanges, counts) = captured(&wire.packets, Settings::default());
    let [exchange] = exchanges.as_slice() else { panic!("{counts:?}") };
    // Packets are 10 us apart; the fourth is the first of the request.
    assert_eq!((exchange.began_us, exchange.session), (30, 1));
    let answer = exchange.answer.as_ref().expect("an answer");
    assert_eq!(answer.after_us, 20);
    let header = |name: &'static str, value: &'static str| (name.into(), value.into());
    assert_eq!(exchange.request.headers, [header("Host", "x")]);
    assert_eq!(answer.headers, [header("Content-Length", "2")]);
    assert_eq!(counts.flows, counts::Flows { seen: 1, ..Default::default() });
}

#[test]
fn messages_end_where_they_say() {
    check(Wire::begun().client(GET).server(OK).closed(), &["GET /a?b [] 200 [ok]"]);
    let twice = Wire::begun().client(GET).server(OK).client(GET).server(OK).closed();
    check(twice, &["GET /a?b [] 200 [ok]"; 2]);
    let pipelined = Wire::begun().client(&GET.repeat(3)).server(&OK.repeat(3)).closed();
    check(pipelined, &["GET /a?b [] 200 [ok]"; 3]);
    let chunked =
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    check(Wire::begun().client(chunked).server(OK).closed(), &["POST / [abc] 200 [ok]"]);
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let both = Wire::begun().client(head).server(length).client(GET).server(OK);
    check(both.closed(), &["HEAD / [] 200 []", "GET /a?b [] 200 [ok]"]);
    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
    let both = Wire::begun().client(GET).server(unchanged).client(GET).server(OK);
    check(both.closed(), &["GET /a?b [] 304 []", "GET /a?b [] 200 [ok]"]);
    let until_end = Wire::begun().client(GET).server("HTTP/1.0 200 OK\r\n\r\nall ").server("of it");
    check(until_end.closed(), &["GET /a?b [] 200 [all of it]"]);
    let blank = Wire::begun().client("\r\n").client(GET).server(OK).closed();
    check(blank, &["GET /a?b [] 200 [ok]"]);
}

#[test]
fn answers_before_the_answer_are_let_pass() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let wire = Wire::begun().client(post).server(go_on).client("body").server(OK);
    check(wire.closed(), &["POST / [body] 200 [ok]"]);
    // Whether a body follows a refusal is up to the client.
    let refused = "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    let counts = check(Wire::begun().client(post).server(refused), &["POST / [...] 417 []"]);
    assert_eq!(counts.given_up.ambiguous, 1);
}

#[test]
fn an_answer_may_come_before_its_request_is_whole() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo";
    let late = Wire::begun().client(post).server(OK).client("dy").client(GET).server(OK);
    check(late.closed(), &["POST / [body] 200 [ok]", "GET /a?b [] 200 [ok]"]);
    let never = Wire::begun().client(post).server(OK).flags(S, FIN | ACK).flags(C, FIN | ACK);
    check(never, &["POST / [bo...] 200 [ok]"]);
    let reset = Wire::begun().client(post).flags(S, RST);
    assert_eq!(check(reset, &[]).lost.unfinished, 1);
}

#[test]
fn what_ends_early_is_cut_or_has_no_answer() {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart";
    check(Wire::begun().client(GET).server(part).closed(), &["GET /a?b [] 200 [part...]"]);
    check(Wire::begun().client(GET).closed(), &["GET /a?b [] none"]);
    let until_end = Wire::begun().client(GET).server("HTTP/1.0 200 OK\r\n\r\npart");
    check(until_end.flags(S, RST), &["GET /a?b [] 200 [part...]"]);
    let counts = check(Wire::begun().client(GET), &[]);
    assert_eq!(counts.lost.unfinished, 1);
}

#[test]
fn what_two_parties_could_read_differently_is_not_captured() {
    for request in [
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc",
    ] {
        let counts = check(Wire::begun().client(request).server(OK).client(GET).server(OK), &[]);
        assert_eq!(counts.given_up.ambiguous, 1, "{request:?}");
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    let counts = check(Wire::begun().client(GET).server(answer).client(GET).server(OK), &[]);
    assert_eq!((counts.given_up.ambiguous, counts.lost.given_up), (1, 1));
    let unasked = Wire::begun().client(GET).server(OK).server(OK).client(GET).server(OK);
    assert_eq!(check(unasked, &["GET /a?b [] 200 [ok]"]).given_up.unasked, 1);
}

#[test]
fn other_protocols_are_recognised_and_left_alone() {
    let tls = Wire::begun().client("\u{16}\u{3}\u{1}\u{2}\0").server("\u{16}\u{3}\u{3}");
    assert_eq!(check(tls, &[]).given_up.encrypted, 1);
    let http2 = Wire::begun().client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").server("\0\0\u{6}");
    assert_eq!(check(http2, &[]).given_up.http2, 1);
    let ssh = Wire::begun().server("SSH-2.0-x\r\n").client("SSH-2.0-y\r\n");
    assert_eq!(check(ssh, &[]).given_up.not_http, 1);
    let other = Wire::begun().client("\0\0\0\u{8}").server("N");
    assert_eq!(check(other, &[]).given_up.not_http, 1);
}

#[test]
fn what_a_connection_becomes_is_not_read() {
    let ask = "GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let yes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}";
    let counts = check(
        Wire::begun().client(ask).server(yes).client(GET).server(OK),
        &["GET /chat [] 101 []"],
    );
    assert_eq!((counts.given_up.upgraded, counts.requests), (1, 1));
    let refused = Wire::begun().client(ask).server(OK).client(GET).server(OK).closed();
    check(refused, &["GET /chat [] 200 [ok]", "GET /a?b [] 200 [ok]"]);
    let connect = Wire::begun().client("CONNECT a:1 HTTP/1.1\r\n\r\n").server(OK).client(GET);
    assert_eq!(check(connect, &["CONNECT a:1 [] 200 []"]).given_up.upgraded, 1);
    let unasked = Wire::begun().client(GET).server(yes);
    assert_eq!(check(unasked, &[]).given_up.ambiguous, 1);
}

#[test]
fn a_gap_cuts_a_body_of_known_length_and_loses_anything_else() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab";
    let wire = Wire::begun().client(GET).server(head).server("cdef").without_last().server("ghi");
    let counts = check(
        wire.client(GET).server(OK).closed(),
        &["GET /a?b [] 200 [ab...]", "GET /a?b [] 200 [ok]"],
    );
    assert_eq!((counts.segments.gaps, counts.segments.gap_bytes, counts.cut), (1, 4, 1));
    // A lost answer: the next request behind an answer is where it goes on.
    let wire = Wire::begun().client(GET).server(OK).without_last().client(GET).server(OK);
    let counts = check(wire.client(GET).server(OK).closed(), &["GET /a?b [] 200 [ok]"]);
    assert_eq!(counts.lost.gap, 1);
    assert_eq!(counts.requests, 2, "the second was asked before there was a place to go on");
}

#[test]
fn a_connection_that_was_there_is_joined_behind_an_answer() {
    let wire = || Wire::at(CLIENT).server("the end of an answer").client(GET).server(OK);
    // Who serves shows by the first request at the latest, which may be too late for it.
    let twice = wire().client(GET).server(OK).closed();
    let counts = check(twice, &["GET /a?b [] 200 [ok]"]);
    assert_eq!(counts.flows.joined, 1);
    let known = Settings { ports: vec![SERVER], ..Settings::default() };
    assert_eq!(captured(&wire().packets, known).0.len(), 1);
    // What looks like a request inside of what a client uploads is none.
    for wire in [
        Wire::at(CLIENT).client("part").client(GET).server(OK),
        Wire::at(CLIENT).server("HTTP/1.1 100 Continue\r\n\r\n").client(GET).server(OK),
    ] {
        let known = Settings { ports: vec![SERVER], ..Settings::default() };
        assert_eq!(captured(&wire.packets, known).1.requests, 0);
    }
    let tls = Wire::at(CLIENT).client("\u{17}\u{3}\u{3}\0").server("x").client(GET);
    assert_eq!(check(tls, &[]).given_up.encrypted, 1);
}

#[test]
fn ends_that_meet_again_have_another_connection() {
    let mut wire = Wire::begun().client(GET).server(OK);
    wire.next = [99, 77];
    wire.say(C, SYN, b"");
    wire.say(S, SYN | ACK, b"");
    let counts = check(wire.client(GET).server(OK).closed(), &["GET /a?b [] 200 [ok]"; 2]);
    assert_eq!(counts.flows.seen, 2);
}

#[test]
fn a_reset_that_was_made_up_ends_nothing() {
    let mut wire = Wire::begun().client(GET);
    let kept = wire.next;
    wire.next[S] = wire.next[S].wrapping_add(1 << 24);
    wire.say(S, RST, b"");
    wire.next = kept;
    let counts = check(wire.server(OK).closed(), &["GET /a?b [] 200 [ok]"]);
    assert_eq!(counts.segments.stray, 1);
}

#[test]
fn only_chosen_ports_and_connections_are_followed() {
    let wire = Wire::begun().client(GET).server(OK).closed();
    let count = wire.packets.len() as u64;
    let other = Settings { ports: vec![81], ..Settings::default() };
    let (exchanges, counts) = captured(&wire.packets, other);
    assert_eq!((exchanges.len(), counts.not_taken.other_port), (0, count));
    let both = Settings { ports: vec![CLIENT, SERVER], ..Settings::default() };
    assert_eq!(captured(&wire.packets, both).0.len(), 1);
    let none = Settings { fraction: crate::fraction::Fraction::NONE, ..Settings::default() };
    let (exchanges, counts) = captured(&wire.packets, none);
    assert_eq!((exchanges.len(), counts.not_taken.not_chosen), (0, count));
}

#[test]
fn what_is_followed_is_bounded() {
    let mut packets = Vec::new();
    for client in 1..=100 {
        let mut wire = Wire::at(client);
        wire.say(C, SYN, b"");
        let wire = wire.client("POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n");
        packets.extend(wire.client(&"x".repeat(1000)).packets);
    }
    let few = Settings { flows_max: 10, ..Settings::default() };
    let (_, counts) = captured(&packets, few);
    assert_eq!((counts.flows.evicted, counts.lost.evicted), (90, 90));
    assert_eq!(counts.lost.unfinished, 10);
    let small = Settings { memory_bytes_max: 30_000, ..Settings::default() };
    let (_, counts) = captured(&packets, small);
    assert!(counts.lost.evicted > 80, "{counts:?}");
    // A microsecond is long for packets that are ten apart.
    let hasty = Settings { idle: std::time::Duration::from_micros(25), ..Settings::default() };
    let (_, counts) = captured(&packets, hasty);
    assert_eq!(counts.lost.idle, 99, "{counts:?}");
}

/// One message exchange in one of many forms, and what is made of it.
fn exchange() -> impl Strategy<Value = (String, String, String)> {
    let body = "[a-z]{0,60}";
    (0_u8..4, 0_u8..5, body, body, 1_usize..20).prop_map(|(ask, reply, up, down, size)| {
        let chunks = |body: &str| {
            let parts: String = body
                .as_bytes()
                .chunks(size)
                .map(|part| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
                .collect();
            parts + "0\r\n\r\n"
        };
        let length = |body: &str| format!("Content-Length: {}\r\n\r\n", body.len());
        let te = "Transfer-Encoding: chunked\r\n\r\n";
        let (method, up, request) = match ask {
            0 => ("GET", String::new(), "GET / HTTP/1.1\r\n\r\n".to_owned()),
            1 => ("HEAD", String::new(), "HEAD / HTTP/1.1\r\n\r\n".to_owned()),
            2 => ("POST", up.clone(), format!("POST / HTTP/1.1\r\n{}{up}", length(&up))),
            _ => ("POST", up.clone(), format!("POST / HTTP/1.1\r\n{te}{}", chunks(&up))),
        };
        let (status, down, answer) = match reply {
            0 => (204, String::new(), "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
            1 if method != "HEAD" => {
                (200, down.clone(), format!("HTTP/1.1 200 OK\r\n{te}{}", chunks(&down)))
            }
            2 => {
                let early = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
                let sent = if method == "HEAD" { "" } else { &down };
                let text = format!("{early}HTTP/1.1 201 Made\r\n{}{sent}", length(&down));
                (201, sent.to_owned(), text)
            }
            _ => {
                let sent = if method == "HEAD" { "" } else { &down };
                (200, sent.to_owned(), format!("HTTP/1.1 200 OK\r\n{}{sent}", length(&down)))
            }
        };
        (request, answer, format!("{method} / [{up}] {status} [{down}]"))
    })
}

/// A connection of these exchanges, in segments of this size, one after another or pipelined.
fn connection(
    exchanges: &[(String, String, String)],
    size: usize,
    pipelined: bool,
) -> Vec<Vec<u8>> {
    let mut wire = Wire::begun();
    let both = |wire: &mut Wire, side: usize, text: &str| {
        for part in text.as_bytes().chunks(size) {
            wire.say(side, ACK, part);
        }
    };
    for group in exchanges.chunks(if pipelined { 3 } else { 1 }) {
        group.iter().for_each(|(request, _, _)| both(&mut wire, C, request));
        group.iter().for_each(|(_, answer, _)| both(&mut wire, S, answer));
    }
    wire.closed().packets
}

proptest! {
    #[test]
    fn every_exchange_is_captured_however_it_is_sent(
        exchanges in prop::collection::vec(exchange(), 1..8), size in 1_usize..200,
        pipelined: bool, twice in prop::collection::vec(any::<prop::sample::Index>(), 0..6)
    ) {
        let mut packets = connection(&exchanges, size, pipelined);
        for index in twice {
            let at = index.index(packets.len());
            // Not behind the end, where it would be of no connection.
            packets.insert(at, packets[at].clone());
        }
        let (seen, counts) = captured(&packets, Settings::default());
        let seen: Vec<String> = seen.iter().map(shown).collect();
        let expected: Vec<&String> = exchanges.iter().map(|(_, _, shown)| shown).collect();
        prop_assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{:?}", counts);
        prop_assert_eq!(counts.segments.gaps, 0);
    }

    #[test]
    fn with_losses_nothing_is_made_up(
        exchanges in prop::collection::vec(exchange(), 1..10), size in 1_usize..120,
        pipelined: bool, lost in prop::collection::vec(any::<prop::sample::Index>(), 1..5)
    ) {
        let mut packets = connection(&exchanges, size, pipelined);
        for index in lost {
            packets.remove(index.index(packets.len()));
        }
        let (seen, counts) = captured(&packets, Settings::default());
        let mut rest = exchanges.iter().map(|(_, _, shown)| shown);
        for exchange in &seen {
            let seen = shown(exchange);
            // In their order each is one that there was, apart from what was cut from it.
            let matches = |is: &&String| matches_cut(is, &seen);
            prop_assert!(rest.any(|is| matches(&is)), "{} is none of {:?}; {:?}", seen, exchanges, counts);
        }
    }
}

/// Whether `seen` is `is`, but for bodies that were cut and an answer that was not seen.
fn matches_cut(is: &str, seen: &str) -> bool {
    let (mut is, mut seen) = (is, seen);
    while let Some((before, after)) = seen.split_once("...]") {
        let Some(rest) = is.strip_prefix(before) else { return false };
        let Some((_, rest)) = rest.split_once(']') else { return false };
        (is, seen) = (rest, after);
    }
    is == seen
}
