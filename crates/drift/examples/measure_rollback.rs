//! Measures a rollback of 100 files, durable, beside 100 files written and synced one by one, and
//! what validators and the timer add. As root:
//! `cargo run --release -p umbra-drift --example measure_rollback [DIRECTORY]`. With `UMBRA_STEPS`
//! in the environment it says when each record of the journal was written.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use umbra_drift::attributes::{Kind, encode_id, encode_mode};
use umbra_drift::config::{self, Attribute, Config};
use umbra_drift::reading::{Content, Item, Reading, Snapshot, Value};
use umbra_drift::rollback::plan::{Conflicts, Request, Selection, plan};
use umbra_drift::rollback::timer::{Manual, Order, Systemd, Timer, Watchdog};
use umbra_drift::rollback::{Fault, Faults, Options, Outcome, Rollbacks};

const FILES: usize = 100;
const ROUNDS: usize = 10;
const CONFIG: &str = "version: 2\nparameters:\n  - {name: etc, glob: '/etc/**', \
    attrs: [content, type, mode, owner, group], rollback: {mode: restore}}\n";

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: owners need root");
        return Ok(());
    }
    let below = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(below)?;
    let base = directory.path().canonicalize()?;
    let parse = |text: &str| config::parse("measure", text).map_err(|_| "the configuration");
    let config = parse(CONFIG)?;
    let checked = parse(&CONFIG.replace("rollback:", "validate: [/bin/true], rollback:"))?;
    let (mut rollbacks, mut synced) = (Vec::new(), Vec::new());
    let (mut validated, mut armed, mut next_boot) = (Vec::new(), Vec::new(), Vec::new());
    let (manual, units) = (Manual::default(), base.join("units"));
    fs::create_dir(&units)?;
    // Of a service manager only what it would be asked by.
    let systemd = Systemd::with(Vec::new(), "/bin/true".into(), "/bin/true".into(), units);
    for round in 0..ROUNDS {
        let below = |what: &str| base.join(format!("{what}-{round}"));
        rollbacks.push(rollback(&below("round"), &config, &manual)?);
        synced.push(one_by_one(&below("synced"))?);
        validated.push(rollback(&below("validated"), &checked, &manual)?);
        next_boot.push(rollback(&below("boot"), &config, &systemd)?);
        armed.push(arm(&base)?);
    }
    println!("rollback of {FILES} files, durable: p50 {:?}, all {rollbacks:?}", median(&rollbacks));
    println!("{FILES} files written and synced:   p50 {:?}, all {synced:?}", median(&synced));
    println!("rollback with one validator:       p50 {:?}, all {validated:?}", median(&validated));
    println!("rollback with a unit at the boot:  p50 {:?}, all {next_boot:?}", median(&next_boot));
    println!("start of a watching process:       p50 {:?}, all {armed:?}", median(&armed));
    Ok(())
}

/// From a plan to a confirmed end; no service is told.
fn rollback(base: &Path, config: &Config, timer: &dyn Timer) -> Result<Duration, Failed> {
    let root = base.join("root");
    fs::create_dir_all(root.join("etc"))?;
    fs::create_dir(base.join("journals"))?;
    let paths: Vec<PathBuf> = (0..FILES).map(|n| root.join(format!("etc/{n}.conf"))).collect();
    let all = |content: &dyn Fn(usize) -> String| -> Result<Snapshot, Failed> {
        for (number, path) in paths.iter().enumerate() {
            fs::write(path, content(number))?;
        }
        snapshot(&root, &paths)
    };
    let good = all(&|number| format!("# file {number}\nvalue = {number}\n").repeat(40))?;
    let bad = all(&|number| format!("# file {number}\nvalue = bad\n").repeat(40))?;
    rustix::fs::sync();
    let plan = plan(Request {
        config,
        target: &good,
        base: &good,
        current: &bad,
        files: &BTreeMap::new(),
        selection: &Selection::Everything,
        conflicts: Conflicts::Stop,
    });
    let mut rollbacks = Rollbacks::new(base.join("journals"), timer);
    let began = Instant::now();
    if std::env::var_os("UMBRA_STEPS").is_some() {
        rollbacks.faults = Faults::new(move |fault| {
            if fault == Fault::Recorded {
                println!("  recorded at {:?}", began.elapsed());
            }
        });
    }
    let options = Options::directory("measure", root.clone());
    let finished = rollbacks
        .begin(plan, options, &mut |_| snapshot(&root, &paths).unwrap_or_default().readings)?;
    let took = began.elapsed();
    match finished.outcome {
        Outcome::Done => Ok(took),
        other => Err(format!("{other:?}").into()),
    }
}

/// The start of a process that says that it waits.
fn arm(base: &Path) -> Result<Duration, Failed> {
    let timer = Watchdog::new(vec!["/bin/echo".to_owned(), "ready".to_owned()]);
    let order =
        Order { id: "x".to_owned(), journal: base.to_owned(), after: Duration::from_secs(1) };
    let began = Instant::now();
    timer.arm(&order)?;
    Ok(began.elapsed())
}

fn snapshot(root: &Path, paths: &[PathBuf]) -> Result<Snapshot, Failed> {
    use std::os::unix::fs::MetadataExt;
    let mut snapshot = Snapshot::default();
    for path in paths {
        let metadata = fs::metadata(path)?;
        let attributes = BTreeMap::from([
            (Attribute::Type, Kind::File.blob()),
            (Attribute::Mode, encode_mode(metadata.mode())),
            (Attribute::Owner, encode_id(metadata.uid())),
            (Attribute::Group, encode_id(metadata.gid())),
        ]);
        let content = Some(Content::Bytes(umbra_api::blob::Blob(fs::read(path)?)));
        let part = Path::new("/").join(path.strip_prefix(root)?);
        let item = Item::part("etc", part.as_os_str().as_bytes());
        snapshot.readings.insert(item, Reading::Present(Value { content, attributes }));
    }
    Ok(snapshot)
}

/// What others do: write a file, sync it, rename it.
fn one_by_one(base: &Path) -> Result<Duration, Failed> {
    fs::create_dir_all(base)?;
    rustix::fs::sync();
    let began = Instant::now();
    for number in 0..FILES {
        let (temp, path) = (base.join("temp"), base.join(number.to_string()));
        let mut file = fs::File::create(&temp)?;
        file.write_all(format!("# file {number}\nvalue = {number}\n").repeat(40).as_bytes())?;
        file.sync_all()?;
        fs::rename(&temp, &path)?;
    }
    fs::File::open(base)?.sync_all()?;
    Ok(began.elapsed())
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}
