//! Drift from end to end, with a daemon and agents that are processes of their own.
//!
//! `cargo bench -p umbra-cli --bench drift -- [latency] [storm] [idle] [year] [apt]`, as root.

mod apt;
mod machine;
#[path = "../process/mod.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use machine::{Followed, Machine};
use process::Outcome;
use umbra_drift::alert::Standing;
use umbra_drift::service::{DriftReply, ShadowEntry, TakeShadow, What};

/// How long a path rests before it is looked at: stated, and not part of the latency.
const REST: Duration = Duration::from_millis(50);

fn main() -> Outcome {
    let words: BTreeSet<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a daemon that makes shadows needs root");
        return Ok(());
    }
    type Bench = fn() -> Outcome;
    let all: [(&str, Bench); 5] = [
        ("latency", latency),
        ("storm", storm),
        ("idle", idle),
        ("year", year),
        ("apt", apt::install),
    ];
    for (name, bench) in all {
        if words.is_empty() || words.contains(name) {
            bench()?;
        }
    }
    Ok(())
}

const TREE: &str = "parameters:\n  - {name: tree, glob: /etc/**, severity: high}\n";

/// From before a write until a client that follows has its alert.
fn latency() -> Outcome {
    const WRITES: usize = 300;
    let machine = Machine::start(TREE, |etc| fs::write(etc.join("file"), "0"))?;
    let follow = Followed::begin(&machine)?;
    let mut took = Vec::new();
    for number in 0..WRITES {
        let path = machine.etc().join(format!("file-{number}"));
        std::thread::sleep(Duration::from_millis(20));
        let began = Instant::now();
        fs::write(&path, "1")?;
        let name = format!("/etc/file-{number}");
        let at = follow.until(Duration::from_secs(20), |event| match &event.what {
            What::Alert(alert) => alert.path.as_ref().is_some_and(|path| path.0 == name.as_bytes()),
            _ => false,
        })?;
        took.push((at - began).saturating_sub(REST));
    }
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100];
    println!(
        "latency: {WRITES} writes, each to its alert at a client beyond {REST:?}: \
         p50 {:.1?}, p99 {:.1?}, max {:.1?} (asked: 5 ms, 50 ms)",
        at(50),
        at(99),
        at(100 - 1).max(took[took.len() - 1])
    );
    Ok(())
}

/// Creates, changes and deletes; every final state must be told.
fn storm() -> Outcome {
    const FILES: usize = 28_600;
    let machine = Machine::start(TREE, |etc| fs::create_dir(etc.join("storm")))?;
    let follow = Followed::begin(&machine)?;
    let storm = machine.etc().join("storm");
    let began = Instant::now();
    for number in 0..FILES {
        fs::write(storm.join(number.to_string()), "1")?;
    }
    for number in (0..FILES).step_by(2) {
        fs::write(storm.join(number.to_string()), "22")?;
    }
    for number in (0..FILES).step_by(4) {
        fs::remove_file(storm.join(number.to_string()))?;
    }
    let raged = began.elapsed();
    let ended = Instant::now();
    let left = FILES - FILES.div_ceil(4);
    let mut open: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    let mut last = ended;
    // Until nothing more comes.
    while let Some((at, event)) = follow.next(Duration::from_secs(3)) {
        let What::Alert(alert) = event.what else { continue };
        let Some(path) = alert.path.filter(|path| path.0.starts_with(b"/etc/storm/")) else {
            continue;
        };
        last = at;
        open.insert(path.0, alert.standing != Standing::Resolved);
    }
    let told = open.values().filter(|open| **open).count();
    let reply: DriftReply = machine.client().get("/v1/primaries/bench/drift")?;
    println!(
        "storm: {} creates, changes and deletes in {raged:.1?}; {told} of {left} final drifts told, \
         the last {:.2?} after the end; the daemon knows {} (asked: all within 1 s)",
        FILES + FILES / 2 + FILES / 4,
        last.saturating_duration_since(ended),
        reply.alerts.len()
    );
    Ok(())
}

/// What watching this machine's `/etc` costs while nothing happens.
fn idle() -> Outcome {
    const SPAN: Duration = Duration::from_secs(65);
    let machine = Machine::start(TREE, |etc| machine::copy(Path::new("/etc"), etc))?;
    std::thread::sleep(Duration::from_secs(5));
    let agent = machine.agent()?;
    let (began, before) = (Instant::now(), process::cpu(agent)?);
    std::thread::sleep(SPAN);
    let share = (process::cpu(agent)? - before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!(
        "idle: the agent over a copy of /etc uses {:.3} % of a core and {} (asked: 0.1 %, 30 MB)",
        share * 100.0,
        machine::resident(agent)?
    );
    Ok(())
}

/// A shadow each day of a year on which three files change.
fn year() -> Outcome {
    const DAYS: usize = 365;
    let machine = Machine::start(TREE, |etc| machine::copy(Path::new("/etc"), etc))?;
    let files: Vec<_> = machine::files(&machine.etc())?;
    let mut random = fastrand::Rng::with_seed(7);
    let first = machine.database_bytes()?;
    let began = Instant::now();
    for day in 0..DAYS {
        for _ in 0..3 {
            let mut text = fs::read(&files[random.usize(..files.len())])?;
            text.extend_from_slice(format!("# day {day}\n").as_bytes());
            fs::write(&files[random.usize(..files.len())], text)?;
        }
        let _: ShadowEntry =
            machine.client().post("/v1/primaries/bench/shadows", &TakeShadow::default())?;
    }
    let took = began.elapsed();
    let shadows: Vec<ShadowEntry> = machine.client().get("/v1/primaries/bench/shadows")?;
    let (objects, bytes) = machine.objects()?;
    println!(
        "year: {} shadows of {} facts in {took:.0?}: {objects} objects, {:.1} MB compressed; the \
         database grew from {:.1} to {:.1} MB (asked: 50 MB)",
        shadows.len(),
        shadows.last().map_or(0, |last| last.items),
        bytes as f64 / 1e6,
        first as f64 / 1e6,
        machine.database_bytes()? as f64 / 1e6
    );
    Ok(())
}
