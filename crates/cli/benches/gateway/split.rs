//! What judging costs: sessions split and judged, beside the same two targets by weight.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use umbra_api::client::Client;
use umbra_gateway::control::RouteStatus;
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::routes::setup::TargetSetup;
use umbra_gateway::split::wire::{OnWorse, SplitStatus, StartSplit};
use umbra_judge::settings::{Metrics, Settings};

use crate::load::{Load, Sample, Schedule, percentile};
use crate::middle::middle;
use crate::peers::{self, Peer};
use crate::process::Outcome;

const ROUNDS: usize = 21;
const RATE: u32 = 6_000;
const CONNECTIONS: u32 = 32;
const SETTLE: Duration = Duration::from_millis(300);
const TIME: Duration = Duration::from_secs(2);
/// The candidate's part.
const WEIGHT: f64 = 0.05;

pub(crate) fn split() -> Outcome {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let (old, new) = (peers::server(dir)?, peers::server(dir)?);
    let to = |port: u16, weight| TargetSetup {
        to: format!("127.0.0.1:{port}"),
        weight,
        send_proxy: None,
    };
    let (weighted, control) = peers::gateway(dir, old.port)?;
    let mut routes: RoutesSetup = control.get("/v1/routes")?;
    routes.routes[0].targets = vec![to(old.port, 1.0 - WEIGHT), to(new.port, WEIGHT)];
    let _: Vec<RouteStatus> = control.post("/v1/routes", &routes)?;
    let (judged, control) = peers::gateway(dir, old.port)?;
    let start = StartSplit {
        candidate: vec![to(new.port, 1.0)],
        control: Vec::new(),
        weight: WEIGHT,
        settings: Settings {
            metrics: Metrics { differences: false, ..Metrics::default() },
            ..Settings::default()
        },
        journal: dir.join("journal"),
        // Whatever chance says, it is measured to its end.
        on_worse: OnWorse::Tell,
        rollout: 1,
    };
    let _: SplitStatus = control.post("/v1/splits/all", &start)?;
    println!(
        "split: {} % to another target, {RATE} requests/s, {ROUNDS} rounds in turns:",
        WEIGHT * 100.0
    );
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        // Whoever is asked first may have it easier.
        let first = (round % 2 == 1).then(|| measure(&judged)).transpose()?;
        let by_weight = measure(&weighted)?;
        let split = first.map_or_else(|| measure(&judged), Ok)?;
        rounds.push([by_weight, split]);
    }
    for (at, name) in ["by weight", "split and judged"].into_iter().enumerate() {
        let of = |field: fn(&Measured) -> f64| middle(rounds.iter().map(|pair| field(&pair[at])));
        println!(
            "  {name:<17} {:>6.2} us of processor each  p50 {:>6.0} us  p99 {:>6.0} us  {} lost",
            of(|one| one.us),
            of(|one| one.p50_us),
            of(|one| one.p99_us),
            rounds.iter().map(|pair| pair[at].lost).sum::<usize>()
        );
    }
    // Of each round by itself: a slow minute hits both.
    let ratio = |of: fn(&Measured) -> f64| {
        middle(rounds.iter().map(|[weighted, judged]| of(judged) / of(weighted)))
    };
    println!("  judged / by weight, processor: {:.3} (asked: 1.02)", ratio(|one| one.us));
    println!("  judged / by weight, p50: {:.3}", ratio(|one| one.p50_us));
    println!("  judged / by weight, p99: {:.3}", ratio(|one| one.p99_us));
    let judging = middle(rounds.iter().map(|[_, judged]| judged.judging));
    println!("  the thread that judges: {:.3} of the processor time (part of the above)", judging);
    told(&control)
}

/// What one round showed.
struct Measured {
    us: f64,
    /// The judge's part of the processor time.
    judging: f64,
    p50_us: f64,
    p99_us: f64,
    lost: usize,
}

/// At a rate that is the same for both: whoever asks as fast as it is answered sees a gateway that
/// sleeps less where it is slower, and each request then costs less.
fn measure(peer: &Peer) -> Outcome<Measured> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, peer.port));
    let load = Load::begin(Schedule { at, rate: RATE, connections: CONNECTIONS });
    std::thread::sleep(SETTLE);
    let pid = peer.process.id();
    let (begun, before) = (Instant::now(), cpu_exactly(pid)?);
    std::thread::sleep(TIME);
    let (after, ended) = (cpu_exactly(pid)?, Instant::now());
    let used = after.all.saturating_sub(before.all);
    let judging = after.judge.saturating_sub(before.judge);
    let samples = load.end();
    let due = |sample: &&Sample| sample.due >= begun && sample.due < ended;
    let samples: Vec<Sample> = samples.iter().filter(due).copied().collect();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(Measured {
        us: us(used) / samples.len().max(1) as f64,
        judging: us(judging) / us(used),
        p50_us: us(percentile(&samples, 50)),
        p99_us: us(percentile(&samples, 99)),
        lost: samples.iter().filter(|sample| !sample.good).count(),
    })
}

/// Processor time of a process so far, of its threads as they are now.
#[derive(Default)]
struct Used {
    all: Duration,
    judge: Duration,
}

/// To the nanosecond: what is looked for is less than a tick.
fn cpu_exactly(pid: u32) -> Outcome<Used> {
    let mut used = Used::default();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let stat = fs::read_to_string(task.join("schedstat"))?;
        let ran = stat.split_whitespace().next().ok_or("no times")?;
        let ran = Duration::from_nanos(ran.parse()?);
        used.all += ran;
        if fs::read_to_string(task.join("comm"))?.trim() == "umbra-judge" {
            used.judge += ran;
        }
    }
    Ok(used)
}

/// What the judge itself says of it.
fn told(control: &Client) -> Outcome {
    let status: SplitStatus = control.get("/v1/splits/all")?;
    let requests: u64 = status.arms.iter().map(|arm| arm.requests).sum();
    println!(
        "  {requests} requests judged, left out: {:?}, lag {} us",
        status.left_out, status.lag_us
    );
    Ok(())
}
