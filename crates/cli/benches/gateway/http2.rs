//! Clients that speak HTTP/2 without TLS, asked by h2load.

use crate::measured::{Measured, asked_by, in_turns};
use crate::peers::{self, Peer};
use crate::process::Outcome;

const ROUNDS: usize = 3;
const SECONDS: &str = "4";
const CONNECTIONS: &str = "8";
const STREAMS: &str = "10";

pub(crate) fn http2() -> Outcome {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let server = peers::server(dir)?;
    let peers = [
        ("nginx", peers::nginx_http2(dir, server.port)?),
        ("umbra", peers::umbra(dir, server.port, None)?),
    ];
    println!(
        "http2: 1 KB, {CONNECTIONS} clients with {STREAMS} requests at once, {SECONDS} s, \
         {ROUNDS} rounds in turns, middle:"
    );
    let middles = in_turns(&peers, ROUNDS, measure)?;
    println!("  umbra / nginx, processor: {:.2}", middles[1].us / middles[0].us);
    println!("  umbra / nginx, throughput: {:.2}", middles[1].per_second / middles[0].per_second);
    Ok(())
}

fn measure(peer: &Peer) -> Outcome<Measured> {
    let log = tempfile::NamedTempFile::new()?;
    let log_file = format!("--log-file={}", log.path().display());
    let h2load = ["h2load", "-t1", "-c", CONNECTIONS, "-m", STREAMS, "-D", SECONDS, &log_file];
    let (text, used) = asked_by(&h2load, peer)?;
    let before = |line: &str, word: &str| -> Outcome<f64> {
        let line = text.lines().find(|one| one.starts_with(line)).unwrap_or_default();
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|one| *one == word).and_then(|at| at.checked_sub(1));
        let number = at.and_then(|at| words[at].parse().ok());
        number.ok_or_else(|| format!("no {word} of {line:?}: {text}").into())
    };
    let good = before("status codes:", "2xx")?;
    let unlucky = before("requests:", "failed")? + before("requests:", "errored")?;
    Ok(Measured {
        per_second: before("finished", "req/s")?,
        us: used.as_secs_f64() * 1e6 / good,
        p99_ms: p99_ms(&std::fs::read_to_string(log.path())?)?,
        lost: unlucky as u64,
    })
}

/// Each line of the log: when it began, its status, how long it took in microseconds.
fn p99_ms(log: &str) -> Outcome<f64> {
    let took = log.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    let mut took: Vec<u64> = took.collect();
    took.sort_unstable();
    let at = took.get(took.len() * 99 / 100).ok_or("h2load wrote down nothing")?;
    Ok(*at as f64 / 1e3)
}
