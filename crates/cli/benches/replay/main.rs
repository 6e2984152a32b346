//! Whether a replay keeps its schedule, and whether a capture loses anything.
//!
//! `cargo bench -p umbra-cli --bench replay`, with nginx, wrk and taskset.

#[path = "../middle/mod.rs"]
mod middle;
#[allow(dead_code)]
#[path = "../gateway/peers.rs"]
mod peers;
#[path = "../process/mod.rs"]
mod process;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use middle::middle;
use peers::{LOAD_CPU, Peer};
use process::Outcome;
use serde_json::Value;
use umbra_gateway::capture::file::{Tally, Writer};
use umbra_gateway::capture::{Asked, Exchange, Kept};

const ROUNDS: usize = 5;
const RATE: u64 = 5_000;
const REPLAY_SECONDS: u64 = 6;
const CAPTURE_SECONDS: &str = "4";
const CONNECTIONS: &str = "32";
const SESSIONS: u64 = 500;

fn main() -> Outcome {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let server = peers::server(dir)?;
    println!("replay of {RATE} requests/s for {REPLAY_SECONDS} s, {ROUNDS} rounds:");
    for (name, spread) in [("even", false), ("as independent users come", true)] {
        let file = dir.join(name);
        captured(&file, spread)?;
        let mut p99s = Vec::new();
        for _ in 0..ROUNDS {
            let report = replay(&file, server.port)?;
            let us = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
            println!(
                "  {name:<26} lag p50 {:>4} us  p99 {:>5} us  p99.9 {:>5} us  max {:>6} us  {} sent  {} dropped",
                us("/lag/p50_us"),
                us("/lag/p99_us"),
                us("/lag/p999_us"),
                us("/lag/max_us"),
                report["sent"],
                report["dropped"],
            );
            p99s.push(us("/lag/p99_us"));
        }
        p99s.sort_unstable();
        println!("  {name}: p99 of the lag, middle: {} us (asked: 1000)", p99s[ROUNDS / 2]);
    }
    println!(
        "capture of everything, answers too, at the rate wrk reaches, {ROUNDS} rounds in turns:"
    );
    let gateway = peers::umbra(dir, server.port, None)?;
    let (mut without, mut with, mut lost) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        without.push(load(gateway.port)?);
        let (rate, dropped) = capture(dir, &gateway, round)?;
        with.push(rate);
        lost += dropped;
    }
    let (without, with) = (middle(without), middle(with));
    println!("  {without:.0} requests/s without, {with:.0} with; {lost} lost (asked: 0)");
    Ok(())
}

/// A capture of as many requests as there are to be in the time.
fn captured(file: &Path, spread: bool) -> Outcome {
    let mut writer = Writer::new(BufWriter::new(File::create(file)?), false)?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut at_us = 0.0;
    let count = RATE * REPLAY_SECONDS;
    for number in 0..count {
        let gap = 1e6 / RATE as f64;
        at_us += if spread { -(1.0 - random.f64()).ln() * gap } else { gap };
        let request = Asked {
            method: "GET".into(),
            target: format!("/{number}"),
            headers: vec![("Host".into(), "bench".into()), ("Accept".into(), "*/*".into())],
            body: Kept::default(),
        };
        let session = number % SESSIONS;
        writer.put(&Exchange { began_us: at_us as u64, session, request, answer: None })?;
    }
    writer.finish(Tally { eligible: count, captured: count, dropped: 0 })?;
    Ok(())
}

fn replay(file: &Path, to: u16) -> Outcome<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_umbra"))
        .args(["--json", "replay", &file.display().to_string()])
        .args(["--to", &format!("127.0.0.1:{to}")])
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?)
}

/// Requests per second, as wrk counts them.
fn load(port: u16) -> Outcome<f64> {
    let output = Command::new("taskset")
        .args(["-c", LOAD_CPU, "wrk", "-t1", "-c", CONNECTIONS, "-d", CAPTURE_SECONDS])
        .arg(format!("http://127.0.0.1:{port}/"))
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    Ok(rate.ok_or_else(|| format!("wrk says: {text}"))?.trim().parse()?)
}

/// The rate with a capture in force, and what it lost.
fn capture(dir: &Path, gateway: &Peer, round: usize) -> Outcome<(f64, u64)> {
    let socket = dir.join(format!("umbra-{}", gateway.port)).display().to_string();
    let file = dir.join(format!("capture-{round}"));
    let umbra = |arguments: &[&str]| -> Outcome<Vec<u8>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umbra"));
        let output = command.args(arguments).args(["--gateway", &socket]).output()?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    };
    umbra(&["capture", "start", &file.display().to_string(), "--answers"])?;
    let rate = load(gateway.port)?;
    let stopped: Value = serde_json::from_slice(&umbra(&["--json", "capture", "stop"])?)?;
    let counted = &stopped["counted"];
    let count = |name: &str| counted[name].as_u64().unwrap_or_default();
    let lost = count("eligible") - count("captured");
    println!("  {rate:>7.0} requests/s: {counted}");
    std::fs::remove_file(file)?;
    Ok((rate, lost))
}
