//! Measures the watcher, as root: `cargo run --release -p umbra-drift --example measure_watch`,
//! followed by what is to be measured (all of the first five without):
//!
//! | argument | measures |
//! |---|---|
//! | `latency` | from a write to its report, beyond the debounce |
//! | `storm` | creates and deletes; how long after the last of them everything is reported |
//! | `who` | short-lived writers that are gone when the reader comes, 100 ms late |
//! | `idle` | the cost of watching `/etc`, and `/usr` with it, while nothing happens there |
//! | `catch-up` | an unchanged `/usr` and `/etc` after a restart, the memory read from disk |
//! | `soak CHANGES` | overflows, kills, mounts; that nothing is lost |
//! | `hold PATH...` | nothing: watches until it is killed, for what others measure |

#[path = "../tests/watch/child.rs"]
mod child;
#[path = "../tests/watch/soak.rs"]
mod soak;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use umbra_drift::watch::{Lost, Memory, Options, Report, Seen, Watcher};

const WRITES: usize = 2_000;
const STORM: usize = 50_000;
const IDLE: Duration = Duration::from_secs(35);
const SHELLS: usize = 2_000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: filesystem marks need root");
        return Ok(());
    }
    if child::run().is_some() {
        return Ok(());
    }
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => each(&["latency", "storm", "who", "idle", "catch-up"]),
        ["soak", changes] => long_soak(changes.parse()?),
        ["hold", ref paths @ ..] => hold(paths),
        ref names => each(names),
    }
}

/// Each in a process of its own, so that memory can be told.
fn each(names: &[&str]) -> Outcome {
    match names {
        ["latency"] => latency(),
        ["storm"] => storm(),
        ["who"] => who(),
        ["idle"] => {
            idle(&["/etc"])?;
            idle(&["/etc", "/usr"])
        }
        ["catch-up"] => catch_up(),
        [other] => Err(format!("{other} is none of the measurements").into()),
        names => {
            for name in names {
                Command::new(std::env::current_exe()?).arg(name).status()?;
            }
            Ok(())
        }
    }
}

/// Shells that write one file each and end, while nobody reads.
fn who() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().canonicalize()?;
    let mut watcher = start(options(&root))?;
    let (mut known, mut all) = (0, 0);
    for _ in 0..10 {
        for number in 0..SHELLS / 10 {
            let file = root.join(format!("{all}-{number}"));
            Command::new("sh").args(["-c", "echo 1 > \"$0\""]).arg(&file).status()?;
        }
        std::thread::sleep(Duration::from_millis(100));
        while let Some(report) = watcher.next(Duration::from_millis(500))? {
            let Report::Change(change) = report else { continue };
            let Seen::Events(chain) = &change.seen else { continue };
            if change.path != root {
                all += 1;
                known +=
                    usize::from(chain.writers.iter().any(|writer| writer.program.exe.is_some()));
            }
        }
    }
    println!("who: {known} of {all} short-lived writers known ({SHELLS} started)");
    Ok(())
}

fn long_soak(changes: usize) -> Outcome {
    let began = Instant::now();
    let outcome = soak::run(changes, 20);
    let gaps = outcome.count(|receipt| receipt.lost_events == Lost::Unknown);
    println!(
        "soak: {changes} changes, {} kills, {} mounts, {gaps} overflows in {:?}; {} files, {} lost, \
         {} receipts; caught up {:?} after the last change",
        outcome.kills,
        outcome.mounts,
        began.elapsed(),
        outcome.files,
        outcome.lost.len(),
        outcome.receipts.len(),
        outcome.caught_up
    );
    outcome.check();
    Ok(())
}

fn hold(paths: &[&str]) -> Outcome {
    let mut watcher = start(Options::new(paths.iter().map(PathBuf::from).collect()))?;
    loop {
        watcher.next(Duration::from_secs(60))?;
    }
}

/// From before the write to the report, without the debounce.
fn latency() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().canonicalize()?;
    let mut watcher = start(Options { quiet: Duration::ZERO, ..options(&root) })?;
    let (send, sent) = mpsc::channel();
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        for number in 0..WRITES {
            let path = root.join(number.to_string());
            let at = Instant::now();
            fs::write(&path, "1")?;
            let _ = send.send((path, at));
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let mut heard: HashMap<PathBuf, Instant> = HashMap::new();
    while heard.len() < WRITES {
        match watcher.next(Duration::from_secs(5))? {
            Some(Report::Change(change)) => {
                heard.entry(change.path).or_insert_with(Instant::now);
            }
            Some(_) => {}
            None => break,
        }
    }
    writer.join().map_err(|_| "the writer failed")??;
    let mut latencies: Vec<Duration> = sent
        .iter()
        .filter_map(|(path, at)| Some(heard.get(&path)?.saturating_duration_since(at)))
        .collect();
    latencies.sort();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied();
    let (median, tail) = (at(50).unwrap_or_default(), at(99).unwrap_or_default());
    println!("latency: {} of {WRITES} heard, p50 {median:?}, p99 {tail:?}", latencies.len());
    Ok(())
}

/// Creates, then deletes of every second one.
fn storm() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().canonicalize()?;
    let mut watcher = start(options(&root))?;
    let before = cpu();
    let writer = std::thread::spawn(move || -> std::io::Result<(Duration, Duration)> {
        let before = thread_cpu();
        let began = Instant::now();
        for number in 0..STORM {
            fs::write(root.join(number.to_string()), "1")?;
        }
        for number in (0..STORM).step_by(2) {
            fs::remove_file(root.join(number.to_string()))?;
        }
        Ok((began.elapsed(), thread_cpu() - before))
    });
    let (mut state, mut receipts) = (HashMap::new(), Vec::new());
    let mut last = Instant::now();
    let mut finished = None;
    while !writer.is_finished() || last.elapsed() < Duration::from_secs(2) {
        if finished.is_none() && writer.is_finished() {
            finished = Some(Instant::now());
        }
        match watcher.next(Duration::from_millis(100))? {
            Some(Report::Change(change)) => {
                state.insert(change.path, change.stamp.is_some());
                last = Instant::now();
            }
            Some(Report::Receipt(receipt)) => receipts.push(receipt),
            _ => {}
        }
    }
    let (took, writing) = writer.join().map_err(|_| "the writer failed")??;
    let right = state.values().filter(|there| **there).count();
    let reading = cpu() - before - writing;
    println!(
        "storm: {STORM} creates and {} deletes in {took:?}; {right} of {} final files found; \
         last report {:?} after the end; reader {reading:?} CPU; receipts {}",
        STORM / 2,
        STORM / 2,
        finished.map(|finished| last.saturating_duration_since(finished)),
        receipts.len()
    );
    for receipt in receipts {
        println!("  {receipt:?}");
    }
    Ok(())
}

/// With a verification every 30 seconds; the first look is not counted.
fn idle(roots: &[&str]) -> Outcome {
    let mut watcher = start(Options::new(roots.iter().map(PathBuf::from).collect()))?;
    let (began, before) = (Instant::now(), cpu());
    let mut reports = 0;
    while began.elapsed() < IDLE {
        reports += usize::from(watcher.next(IDLE - began.elapsed().min(IDLE))?.is_some());
    }
    let share = (cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    let entries = watcher.memory().len();
    println!(
        "idle: {:.3} % of a core over {entries} entries, {reports} reports; {}",
        share * 100.0,
        resident()?
    );
    Ok(())
}

/// An unchanged `/usr` and `/etc` after a restart.
fn catch_up() -> Outcome {
    let options = options(Path::new("/usr"));
    let options = Options { roots: vec!["/usr".into(), "/etc".into()], ..options };
    let before = cpu();
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("memory");
    let mut watcher = start(options.clone())?;
    let first = cpu() - before;
    while !watcher.save(&file)? {
        watcher.next(Duration::ZERO)?;
    }
    let entries = watcher.memory().len();
    drop(watcher);
    let bytes = fs::metadata(&file)?.len();
    let (before, began) = (cpu(), Instant::now());
    let mut watcher = Watcher::start(options, Memory::load(&file).memory)?;
    await_receipt(&mut watcher)?;
    let (used, took) = (cpu() - before, began.elapsed());
    println!("memory on disk: {bytes} bytes");
    println!(
        "catch-up: {entries} entries, first look {first:?} CPU, again {used:?} CPU ({took:?})"
    );
    println!("  {}", resident()?);
    Ok(())
}

fn options(root: &Path) -> Options {
    Options { verify_every: None, ..Options::new(vec![root.to_owned()]) }
}

fn start(options: Options) -> std::io::Result<Watcher> {
    let mut watcher = Watcher::start(options, Memory::default())?;
    await_receipt(&mut watcher)?;
    Ok(watcher)
}

fn await_receipt(watcher: &mut Watcher) -> std::io::Result<()> {
    while !matches!(watcher.next(Duration::from_secs(60))?, Some(Report::Receipt(_)) | None) {}
    Ok(())
}

fn cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

fn resident() -> std::io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned())
}
