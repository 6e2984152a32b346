//! A tap: what it found, and what became of the rest.

use serde::Serialize;
use serde_json::{Map, Value};
use umbra_gateway::capture::Exchange;
use umbra_gateway::tap::counts::Counts;

use super::{safe, units};

/// What is said once packets come.
pub fn begun(interface: &str, device: &str, ends: bool) -> String {
    let how = match interface == device {
        true => "directly".to_owned(),
        false => format!("from copies at {}", safe(device)),
    };
    let end = if ends { "" } else { "; Ctrl-C ends it" };
    format!("capturing what passes {}, {how}{end}", safe(interface))
}

/// How it goes.
pub fn progress(counts: &Counts) -> String {
    let dropped = counts.not_taken.kernel_drops + counts.not_taken.mirror_drops;
    format!(
        "{} packets ({}), {dropped} dropped; {} connections; {} requests captured, {} lost",
        counts.packets,
        units::bytes(counts.bytes),
        counts.flows.open,
        counts.exchanges,
        counts.lost.total()
    )
}

/// An exchange without its headers and bodies.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    began_us: u64,
    session: u64,
    method: &'a str,
    target: &'a str,
    request_bytes: usize,
    status: Option<u16>,
    after_us: Option<u64>,
    answer_bytes: Option<usize>,
    cut: bool,
}

impl<'a> Line<'a> {
    /// Of an exchange.
    pub fn of(exchange: &'a Exchange) -> Self {
        let Exchange { began_us, session, request, answer } = exchange;
        let answer = answer.as_ref();
        Self {
            began_us: *began_us,
            session: *session,
            method: &request.method,
            target: &request.target,
            request_bytes: request.body.bytes.len(),
            status: answer.map(|answer| answer.status),
            after_us: answer.map(|answer| answer.after_us),
            answer_bytes: answer.map(|answer| answer.body.bytes.len()),
            cut: request.body.cut || answer.is_some_and(|answer| answer.body.cut),
        }
    }
}

/// An exchange, on a line.
pub fn exchange(exchange: &Exchange) -> String {
    let Line { method, target, status, after_us, answer_bytes, cut, .. } = Line::of(exchange);
    let ms = i64::try_from(exchange.began_us / 1000).unwrap_or(i64::MAX);
    let answer = match (status, after_us, answer_bytes) {
        (Some(status), Some(after_us), Some(bytes)) => {
            format!("{status} in {}, {}", units::micros(after_us), units::bytes(bytes as u64))
        }
        _ => "no answer".to_owned(),
    };
    let cut = if cut { ", cut" } else { "" };
    format!("{}  {} {}  {answer}{cut}", units::moment(ms), safe(method), safe(target))
}

/// A line of JSON that says what it is.
pub fn json(name: &str, value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    Value::Object(Map::from_iter([(name.to_owned(), value)])).to_string()
}

/// All that was counted; what did not happen is left out.
pub fn summary(counts: &Counts) -> String {
    let mut text = format!(
        "{} packets ({}) seen; {} connections, {} of them joined later; {} requests, {} captured\n",
        counts.packets,
        units::bytes(counts.bytes),
        counts.flows.seen,
        counts.flows.joined,
        counts.requests,
        counts.exchanges
    );
    let (packets, lost, left) = (&counts.not_taken, &counts.lost, &counts.given_up);
    for (what, causes) in [
        (
            "packets",
            &[
                (packets.kernel_drops, "not seen: the kernel had no room for them"),
                (packets.mirror_drops, "not seen: the capture interface did not take them"),
                (packets.fragment, "not read: in fragments"),
                (packets.malformed, "not read: malformed"),
                (packets.cut, "not read: too little of them was captured"),
                (packets.urgent, "not read: with urgent bytes"),
                (packets.not_ip, "no IP"),
                (packets.not_tcp, "no TCP"),
                (packets.other_port, "of other ports"),
                (packets.not_chosen, "of connections that were not chosen"),
            ][..],
        ),
        (
            "segments",
            &[
                (counts.segments.gaps, "missing before them: gaps"),
                (counts.segments.conflicting, "contradicted earlier ones, which won"),
                (counts.segments.stray, "far from any window"),
            ],
        ),
        (
            "requests",
            &[
                (lost.gap, "lost: bytes of them or their answers were not seen"),
                (lost.evicted, "lost: no room for their connections"),
                (lost.idle, "lost: nothing came any more"),
                (lost.unfinished, "lost: they or their answers did not end"),
                (lost.given_up, "lost: their connections were not read on"),
                (counts.cut, "captured with a body that was cut"),
            ],
        ),
        (
            "connections",
            &[
                (counts.flows.evicted, "given up: no room"),
                (counts.flows.idle, "given up: silent too long"),
                (left.ambiguous, "not read on: ambiguous"),
                (left.encrypted, "not read: encrypted (TLS)"),
                (left.http2, "not read: HTTP/2"),
                (left.upgraded, "not read on: they changed their protocol"),
                (left.not_http, "not read: no HTTP"),
                (left.too_long, "not read on: a head was too long"),
                (left.too_many, "not read on: too many requests at once"),
                (left.unasked, "not read on: an answer nobody had asked for"),
            ],
        ),
    ] {
        let told = causes.iter().filter(|(count, _)| *count > 0);
        text.extend(told.map(|(count, why)| format!("  {what}: {count} {why}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use umbra_gateway::capture::{Answered, Asked, Kept};

    use super::*;

    fn found() -> Exchange {
        Exchange {
            began_us: 1_000_000,
            session: 7,
            request: Asked {
                method: "GET".into(),
                target: "/a\u{1b}b".into(),
                headers: Vec::new(),
                body: Kept::default(),
            },
            answer: Some(Answered {
                status: 200,
                after_us: 1500,
                headers: Vec::new(),
                body: Kept { bytes: "ok".into(), cut: true },
            }),
        }
    }

    #[test]
    fn an_exchange_is_one_safe_line() {
        assert_eq!(
            exchange(&found()),
            "1970-01-01 00:00:01Z  GET /a\\u{1b}b  200 in 1.50 ms, 2 B, cut"
        );
        let none = Exchange { answer: None, ..found() };
        assert!(exchange(&none).ends_with("  no answer"));
    }

    #[test]
    fn in_json_it_says_what_it_is() {
        let line = json("exchange", &Line::of(&found()));
        let expected = "{\"exchange\":{\"after_us\":1500,\"answer_bytes\":2,\"began_us\":1000000,\
             \"cut\":true,\"method\":\"GET\",\"request_bytes\":0,\"session\":7,\"status\":200,\
             \"target\":\"/a\\u001bb\"}}";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_summary_says_only_what_happened() {
        let mut counts = Counts { packets: 9, bytes: 900, requests: 2, ..Counts::default() };
        counts.exchanges = 1;
        counts.flows.seen = 3;
        counts.lost.gap = 1;
        counts.given_up.encrypted = 2;
        let expected = "\
9 packets (900 B) seen; 3 connections, 0 of them joined later; 2 requests, 1 captured
  requests: 1 lost: bytes of them or their answers were not seen
  connections: 2 not read: encrypted (TLS)
";
        assert_eq!(summary(&counts), expected);
    }
}
