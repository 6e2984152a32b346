//! Runs in turns, and the middle of each peer's.

use std::process::Command;
use std::time::Duration;

use crate::middle::middle;
use crate::peers::{LOAD_CPU, Peer};
use crate::process::Outcome;

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// Processor time of the proxy's own, for each request.
    pub(crate) us: f64,
    pub(crate) p99_ms: f64,
    pub(crate) lost: u64,
}

/// Each peer in turn, so many times, so that a slow minute hits all; the middle of each, printed.
pub(crate) fn in_turns(
    peers: &[(&str, Peer)],
    rounds: usize,
    measure: impl Fn(&Peer) -> Outcome<Measured>,
) -> Outcome<Vec<Measured>> {
    let mut measured: Vec<Vec<Measured>> = peers.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, peer), all) in peers.iter().zip(&mut measured) {
            all.push(measure(peer)?);
        }
    }
    let middles: Vec<Measured> = measured.iter().map(|all| middle_of(all)).collect();
    for ((name, _), one) in peers.iter().zip(&middles) {
        println!(
            "  {name:<24} {:>7.0} requests/s  {:>6.1} us of processor each  p99 {:>7.2} ms  {} lost",
            one.per_second, one.us, one.p99_ms, one.lost
        );
    }
    Ok(middles)
}

/// Has a program ask a peer: what it says, and the processor time the peer took meanwhile.
pub(crate) fn asked_by(program: &[&str], peer: &Peer) -> Outcome<(String, Duration)> {
    let before = peer.cpu()?;
    let output = Command::new("taskset")
        .args(["-c", LOAD_CPU])
        .args(program)
        .arg(format!("http://127.0.0.1:{}/", peer.port))
        .output()?;
    let used = peer.cpu()?.saturating_sub(before);
    Ok((String::from_utf8(output.stdout)?, used))
}

fn middle_of(all: &[Measured]) -> Measured {
    let of = |field: fn(&Measured) -> f64| middle(all.iter().map(field));
    Measured {
        per_second: of(|one| one.per_second),
        us: of(|one| one.us),
        p99_ms: of(|one| one.p99_ms),
        lost: all.iter().map(|one| one.lost).sum(),
    }
}
