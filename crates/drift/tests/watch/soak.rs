//! Changes without end: the queue overflows, the watcher is stopped and killed, mounts come
//! and go. Whatever happens, what was reported last of a file is what it is.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use umbra_drift::watch::{Lost, Occasion, Receipt};

use crate::child;

const DIRECTORIES: usize = 16;
/// As long as catching up may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) kills: usize,
    pub(crate) mounts: usize,
    pub(crate) files: usize,
    /// Files of which something else was reported last than what they are.
    pub(crate) lost: Vec<PathBuf>,
    pub(crate) receipts: Vec<Receipt>,
    /// From the last change until everything was reported.
    pub(crate) caught_up: Duration,
}

impl Outcome {
    /// Receipts of this occasion.
    pub(crate) fn count(&self, of: impl Fn(&Receipt) -> bool) -> usize {
        self.receipts.iter().filter(|receipt| of(receipt)).count()
    }

    /// Every receipt follows the one before, and every gap has one.
    pub(crate) fn check(&self) {
        let some: Vec<_> = self.lost.iter().take(5).collect();
        assert!(self.lost.is_empty(), "{} lost: {some:?}, {:#?}", self.lost.len(), self.receipts);
        let mut head = umbra_state::Digest::new([0; 32]);
        for receipt in &self.receipts {
            assert!(receipt.follows(&head), "{receipt:?}");
            head = receipt.chain_hash;
        }
        let restarts = self.count(|receipt| receipt.occasion == Occasion::Restart);
        assert_eq!(restarts, self.kills);
        let overflows = self.count(|receipt| receipt.lost_events == Lost::Unknown);
        assert!(overflows > 0, "no queue overflowed");
    }
}

struct Place {
    root: PathBuf,
    memory: PathBuf,
    journal: PathBuf,
    watcher: Option<Child>,
    /// What was read of the journal so far.
    read: u64,
    /// What was reported last of each path; -1: it is not there.
    said: HashMap<PathBuf, i64>,
    receipts: Vec<Receipt>,
}

impl Place {
    fn start(&mut self) {
        let mut program = Command::new(std::env::current_exe().expect("own program"));
        program.args([child::ARGUMENT, "journal"]);
        let child = program.args([&self.root, &self.memory, &self.journal]).spawn();
        self.watcher = Some(child.expect("watcher"));
    }

    fn signal(&self, signal: Signal) {
        let watcher = self.watcher.as_ref().expect("watcher");
        let pid = Pid::from_raw(watcher.id().cast_signed()).expect("number");
        kill_process(pid, signal).expect("signal");
    }

    fn kill(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            watcher.kill().expect("kill");
            watcher.wait().expect("wait");
        }
    }

    /// Read on, up to the last whole line.
    fn read_on(&mut self) {
        let mut bytes = Vec::new();
        let Ok(mut journal) = File::open(&self.journal) else { return };
        journal.seek(SeekFrom::Start(self.read)).expect("seek");
        journal.read_to_end(&mut bytes).expect("read");
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.read += whole as u64;
        for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
            if let Some(receipt) = child::receipt(line) {
                self.receipts.push(receipt);
            } else if let Some((path, size)) = line.rsplit_once(' ')
                && let Ok(size) = size.parse()
            {
                self.said.insert(PathBuf::from(path), size);
            }
        }
    }

    /// A receipt written at `since` or later.
    fn await_receipt(&mut self, since: SystemTime) {
        until(|| {
            self.read_on();
            self.receipts.iter().any(|receipt| receipt.to >= since)
        });
    }

    /// Files that are not what was reported of them last.
    fn differing(&mut self) -> (usize, Vec<PathBuf>) {
        self.read_on();
        let mut said = self.said.clone();
        let mut files = 0;
        let mut differing = Vec::new();
        for directory in 0..DIRECTORIES {
            let entries = fs::read_dir(self.root.join(directory.to_string())).expect("directory");
            for entry in entries {
                let entry = entry.expect("entry");
                let size = entry.metadata().expect("metadata").len().cast_signed();
                files += 1;
                if said.remove(&entry.path()) != Some(size) {
                    differing.push(entry.path());
                }
            }
        }
        let still = said.into_iter().filter(|(path, size)| *size >= 0 && !path.is_dir());
        differing.extend(still.map(|(path, _)| path));
        (files, differing)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
        let _ = unmount(self.root.join("0"), UnmountFlags::DETACH);
    }
}

fn until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}

/// Files written and removed, the same ones every time.
struct Storm {
    seed: u64,
    names: u64,
}

impl Storm {
    fn number(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) % below
    }

    fn changes(&mut self, root: &Path, changes: usize) {
        for _ in 0..changes {
            let name = self.number(self.names);
            let directory = name % DIRECTORIES as u64;
            let path = root.join(directory.to_string()).join(name.to_string());
            if self.number(4) == 0 {
                let _ = fs::remove_file(path);
            } else {
                let file = File::create(path).expect("file");
                file.set_len(1 + self.number(4096)).expect("size");
            }
        }
    }
}

/// Make that many changes in so many rounds, each with another mishap.
pub(crate) fn run(changes: usize, rounds: usize) -> Outcome {
    let keep = tempfile::tempdir().expect("directory");
    let base = keep.path().canonicalize().expect("path");
    let root = base.join("root");
    for directory in 0..DIRECTORIES {
        fs::create_dir_all(root.join(directory.to_string())).expect("directory");
    }
    let (memory, journal) = (base.join("memory"), base.join("journal"));
    let (watcher, read, said, receipts) = Default::default();
    let mut place = Place { root: root.clone(), memory, journal, watcher, read, said, receipts };
    let mut outcome = Outcome::default();
    place.start();
    place.await_receipt(SystemTime::UNIX_EPOCH);
    let mut storm = Storm { seed: 7, names: (changes / 4) as u64 };
    let each = changes / rounds;
    for round in 0..rounds {
        match round % 4 {
            0 => {
                place.signal(Signal::STOP);
                storm.changes(&root, each);
                place.signal(Signal::CONT);
                until(|| {
                    place.read_on();
                    place.receipts.iter().any(|receipt| receipt.lost_events == Lost::Unknown)
                });
            }
            1 => {
                storm.changes(&root, each / 2);
                place.kill();
                outcome.kills += 1;
                storm.changes(&root, each - each / 2);
                let now = SystemTime::now();
                place.start();
                place.await_receipt(now);
            }
            2 => {
                let over = root.join("0");
                mount("umbra-test", &over, "tmpfs", MountFlags::empty(), None).expect("mount");
                outcome.mounts += 1;
                storm.changes(&root, each);
                unmount(&over, UnmountFlags::DETACH).expect("unmount");
            }
            _ => storm.changes(&root, each),
        }
    }
    let ended = Instant::now();
    until(|| place.differing().1.is_empty());
    outcome.caught_up = ended.elapsed();
    (outcome.files, outcome.lost) = place.differing();
    place.kill();
    outcome.receipts = std::mem::take(&mut place.receipts);
    outcome
}
