//! Measures the watcher: latency of a write, a storm, idling, catching up. As root:
//! `cargo run --release -p umbra-drift --example measure_watch`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use umbra_drift::watch::{Memory, Options, Report, Watcher};

const WRITES: usize = 2_000;
const STORM: usize = 50_000;
const IDLE: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: filesystem marks need root");
        return Ok(());
    }
    latency()?;
    storm()?;
    idle()?;
    catch_up()
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
    while !writer.is_finished() || last.elapsed() < Duration::from_secs(2) {
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
         reader {reading:?} CPU; receipts {}",
        STORM / 2,
        STORM / 2,
        receipts.len()
    );
    for receipt in receipts {
        println!("  {receipt:?}");
    }
    Ok(())
}

/// `/etc` with its verification every 30 seconds; the first look is not counted.
fn idle() -> Outcome {
    let mut watcher = start(Options::new(vec!["/etc".into()]))?;
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
    let memory = start(options.clone())?.memory().clone();
    let first = cpu() - before;
    let entries = memory.len();
    let (before, began) = (cpu(), Instant::now());
    let mut watcher = Watcher::start(options, memory)?;
    await_receipt(&mut watcher)?;
    let (used, took) = (cpu() - before, began.elapsed());
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
