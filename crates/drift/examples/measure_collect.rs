//! Measures a full baseline and a check of metadata against AIDE, on the same trees and in turns:
//! `cargo run --release -p umbra-drift --example measure_collect [ROUNDS [TREE...]]`, as root.
//!
//! The baseline is what [`Collector`] reads of `/usr` and `/etc` when only digests are kept, with
//! every attribute; AIDE's is `--init` with the rule `p+u+g+s+m+c+i+n+l+ftype+acl+xattrs+sha256`.
//! The check is the watcher's catch-up with what it has saved; AIDE's is `--check` with the same
//! rule without `sha256`. Processor time counts, user and system, since a machine is never idle.
//! `AIDE=/path/to/aide` names another than the installed one.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Error};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use umbra_drift::collect::{Collector, Place};
use umbra_drift::config::{self, Config};
use umbra_drift::reading::{Content, Reading};
use umbra_drift::watch::{Memory, Options, Report, Watcher};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What AIDE compares of each path.
const METADATA: &str = "p+u+g+s+m+c+i+n+l+ftype+acl+xattrs";

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1);
    let rounds = match arguments.next() {
        Some(rounds) => rounds.to_str().and_then(|text| text.parse().ok()).ok_or("ROUNDS?")?,
        None => 3,
    };
    let mut trees: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    if trees.is_empty() {
        trees = vec!["/usr".into(), "/etc".into()];
    }
    let work = tempfile::tempdir()?;
    let aide = Aide::find(work.path(), &trees)?;
    let (mut baselines, mut checks) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let ours = baseline(&trees)?;
        let theirs = aide.as_ref().map(|aide| aide.run("full", "--init")).transpose()?;
        report(&format!("baseline, round {round}"), ours, theirs, &mut baselines);
        let ours = check(&trees, work.path())?;
        let theirs = aide.as_ref().map(Aide::check).transpose()?;
        report(&format!("check, round {round}"), ours, theirs, &mut checks);
    }
    if let (Some(baseline), Some(check)) = (median(&mut baselines), median(&mut checks)) {
        println!("baseline: {:.1} % of AIDE's processor time (median)", baseline * 100.0);
        println!("check: {:.0} times less processor time than AIDE (median)", 1.0 / check);
    }
    Ok(())
}

fn report(what: &str, ours: Duration, theirs: Option<Duration>, ratios: &mut Vec<f64>) {
    let ours = ours.as_secs_f64();
    let Some(theirs) = theirs.map(|theirs| theirs.as_secs_f64()) else {
        return println!("{what}: {ours:.2} CPU s");
    };
    let ratio = ours / theirs.max(0.01);
    println!("{what}: {ours:.2} CPU s, AIDE {theirs:.2} CPU s, ratio {ratio:.3}");
    ratios.push(ratio);
}

fn median(ratios: &mut [f64]) -> Option<f64> {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// A first reading of everything, with the attributes AIDE reads.
fn baseline(trees: &[PathBuf]) -> Outcome<Duration> {
    let config = configuration(trees)?;
    let before = cpu();
    let snapshot = Collector::new(&config, Place::machine()?)?.all();
    let used = cpu() - before;
    let unreadable =
        snapshot.readings.values().filter(|it| matches!(it, Reading::Unreadable { .. })).count();
    let bytes: u64 = snapshot.readings.values().map(size).sum();
    let (paths, bytes) = (snapshot.readings.len(), bytes as f64 / 1e9);
    println!("  {paths} paths, {bytes:.2} GB, {unreadable} unreadable; {}", resident()?);
    Ok(used)
}

fn configuration(trees: &[PathBuf]) -> Outcome<Config> {
    let globs: Vec<String> = trees.iter().map(|tree| format!("{}/**", tree.display())).collect();
    let text = serde_json::json!({
        "version": 2,
        "parameters": [{"name": "baseline", "glob": globs, "nodiff": true}],
    });
    Ok(config::parse("measure", &text.to_string()).map_err(|problems| problems.render(false))?)
}

/// What was saved is loaded, and everything looked at again.
fn check(trees: &[PathBuf], work: &Path) -> Outcome<Duration> {
    let options = Options { verify_every: None, ..Options::new(trees.to_vec()) };
    let saved = work.join("memory");
    let mut watcher = Watcher::start(options.clone(), Memory::default())?;
    await_receipt(&mut watcher)?;
    // What happened meanwhile is reported first.
    while !watcher.save(&saved)? {
        watcher.next(Duration::from_millis(100))?;
    }
    drop(watcher);
    let before = cpu();
    let loaded = Memory::load(&saved);
    if let Some(refused) = loaded.refused {
        return Err(refused.into());
    }
    let mut watcher = Watcher::start(options, loaded.memory)?;
    await_receipt(&mut watcher)?;
    let used = cpu() - before;
    println!("  {} entries; {}", watcher.memory().len(), resident()?);
    Ok(used)
}

fn await_receipt(watcher: &mut Watcher) -> io::Result<()> {
    while !matches!(watcher.next(Duration::from_secs(600))?, Some(Report::Receipt(_)) | None) {}
    Ok(())
}

/// An installed AIDE, and a directory for its databases.
struct Aide<'a> {
    program: OsString,
    work: &'a Path,
}

impl<'a> Aide<'a> {
    /// `None` where there is none, which is said.
    fn find(work: &'a Path, trees: &[PathBuf]) -> Outcome<Option<Self>> {
        let program = std::env::var_os("AIDE").unwrap_or_else(|| "aide".into());
        let version = match Command::new(&program).arg("--version").output() {
            Ok(output) => [output.stdout, output.stderr].concat(),
            Err(error) => {
                println!("without AIDE: {error} (apt-get install aide)");
                return Ok(None);
            }
        };
        let version = String::from_utf8_lossy(&version);
        println!("{}", version.lines().next().unwrap_or_default().trim());
        for (name, rule) in [("full", format!("{METADATA}+sha256")), ("meta", METADATA.into())] {
            let base = work.join(name);
            let base = base.display();
            let mut text = format!(
                "database_in=file:{base}.db\ndatabase_out=file:{base}.db.new\n\
                 gzip_dbout=no\nRule = {rule}\n"
            );
            for tree in trees {
                text.push_str(&format!("{} Rule\n", tree.display()));
            }
            fs::write(work.join(format!("{name}.conf")), text)?;
        }
        Ok(Some(Self { program, work }))
    }

    /// One run with one worker; its processor time.
    fn run(&self, rule: &str, command: &str) -> Outcome<Duration> {
        let before = children()?;
        let status = Command::new(&self.program)
            .arg("-c")
            .arg(self.work.join(format!("{rule}.conf")))
            .args([command, "--workers=1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        // Up to 7 it has found differences; a machine in use has some.
        if status.code().is_none_or(|code| code > 7) {
            return Err(format!("aide {command}: {status}").into());
        }
        Ok(children()? - before)
    }

    /// A check against a database made just before.
    fn check(&self) -> Outcome<Duration> {
        self.run("meta", "--init")?;
        fs::rename(self.work.join("meta.db.new"), self.work.join("meta.db"))?;
        self.run("meta", "--check")
    }
}

fn size(reading: &Reading) -> u64 {
    match reading.value().and_then(|value| value.content.as_ref()) {
        Some(Content::Digest { bytes, .. }) => *bytes,
        Some(Content::Bytes(bytes)) => bytes.0.len() as u64,
        None => 0,
    }
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// What the processes that have ended took, by proc(5).
fn children() -> io::Result<Duration> {
    /// Ticks per second in what the kernel tells programs, on all but the oldest machines.
    const TICKS: u64 = 100;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The program's name may hold anything; what follows its bracket does not.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: Vec<u64> = fields.skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok(Duration::from_millis((user + system) * 1000 / TICKS)),
        _ => Err(Error::other("no times in /proc/self/stat")),
    }
}

fn resident() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned())
}
