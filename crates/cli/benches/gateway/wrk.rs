//! Everything that proxies share, asked by wrk: requests of HTTP/1.1, mirrored and not.

use crate::measured::{Measured, asked_by, in_turns};
use crate::peers::{self, Peer};
use crate::process::Outcome;

const ROUNDS: usize = 5;
const SECONDS: &str = "4";
const CONNECTIONS: &str = "32";

pub(crate) fn peers() -> Outcome {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let (server, shadow) = (peers::server(dir)?, peers::server(dir)?);
    let hung = peers::hung()?;
    let (to, healthy) = (server.port, Some(shadow.port));
    let peers = [
        ("nginx", peers::nginx_proxy(dir, to, None)?),
        ("HAProxy", peers::haproxy(dir, to)?),
        ("umbra", peers::umbra(dir, to, None)?),
        ("nginx, mirroring", peers::nginx_proxy(dir, to, healthy)?),
        ("umbra, mirroring", peers::umbra(dir, to, healthy)?),
        ("umbra, its shadow hangs", peers::umbra(dir, to, Some(hung))?),
    ];
    println!(
        "peers: 1 KB, keep-alive, {CONNECTIONS} clients, {SECONDS} s, {ROUNDS} rounds in turns, \
         middle:"
    );
    let middles = in_turns(&peers, ROUNDS, measure)?;
    let ratio = |a: usize, b: usize| middles[a].us / middles[b].us;
    println!("  umbra / nginx, processor: {:.2} (asked: 1.3)", ratio(2, 0));
    println!("  umbra / nginx, both mirroring, processor: {:.2} (asked: 0.5)", ratio(4, 3));
    println!(
        "  umbra / nginx, both mirroring, throughput: {:.2} (asked: 2)",
        middles[4].per_second / middles[3].per_second
    );
    Ok(())
}

fn measure(peer: &Peer) -> Outcome<Measured> {
    let wrk = ["wrk", "-t1", "-c", CONNECTIONS, "-d", SECONDS, "--latency"];
    let (text, used) = asked_by(&wrk, peer)?;
    let words = |start: &str| {
        let line = text.lines().map(str::trim).find(|line| line.starts_with(start));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>()).unwrap_or_default()
    };
    let requests: u64 = text
        .lines()
        .find(|line| line.contains("requests in"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("wrk says: {text}"))?;
    let per_second = words("Requests/sec:").get(1).ok_or("no rate")?.parse()?;
    let p99 = words("99%");
    let errors = words("Socket errors:")
        .iter()
        .filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok())
        .sum::<u64>();
    let refused = words("Non-2xx").last().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    Ok(Measured {
        per_second,
        us: used.as_secs_f64() * 1e6 / requests as f64,
        p99_ms: milliseconds(p99.get(1).ok_or("no p99")?)?,
        lost: errors + refused,
    })
}

/// `1.23ms`, `870.00us`, `1.20s`.
fn milliseconds(text: &str) -> Outcome<f64> {
    for (unit, scale) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit)
            && let Ok(number) = number.parse::<f64>()
        {
            return Ok(number * scale);
        }
    }
    Err(format!("{text:?} is no time").into())
}
