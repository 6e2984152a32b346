//! How long a state of some 600 MB takes to become a disk, beside `mkfs.ext4 -d` and
//! `qemu-img convert` on the same tree in the same run.
//!
//! Ours begins at the store and ends at a disk that boots, loader and checksums included; theirs
//! begins at a directory that is there already and ends at a bare filesystem.

#[path = "../../agent/tests/systemd/debian.rs"]
mod debian;

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use umbra_disk::{Format, write};
use umbra_state::StateId;
use umbra_store::{CaptureOptions, Store};

type Failure = Box<dyn Error>;

const RUNS: usize = 5;

/// What a small application server has, about.
const PACKAGES: &str = "systemd-sysv,dbus,udev,linux-image-cloud-amd64,initramfs-tools,\
                        nginx-light,gcc,git,python3-minimal,openssh-server";

/// How much longer than theirs ours may take.
const RATIO_MAX: f64 = 1.5;

fn main() -> Result<(), Failure> {
    let folder = tempfile::TempDir::new()?;
    let bench = Bench::new(folder.path())?;
    let mut rows = [
        ("umbra qcow2", vec![]),
        ("umbra raw", vec![]),
        ("mkfs + convert", vec![]),
        ("mkfs", vec![]),
    ];
    for _ in 0..RUNS {
        rows[0].1.push(bench.ours(Format::Qcow2)?);
        rows[1].1.push(bench.ours(Format::Raw)?);
        let (filesystem, converted) = bench.theirs()?;
        rows[2].1.push(filesystem + converted);
        rows[3].1.push(filesystem);
    }
    println!("{:<16}{:>10}{:>10}{:>10}", "", "min ms", "median", "max");
    let mut medians = Vec::new();
    for (name, times) in &mut rows {
        times.sort();
        let [min, median, max] = [0, RUNS / 2, RUNS - 1].map(|at| times[at].as_secs_f64() * 1e3);
        println!("{name:<16}{min:>10.0}{median:>10.0}{max:>10.0}");
        medians.push(median);
    }
    for (ours, theirs) in [(0, 2), (1, 3)] {
        let ratio = medians[ours] / medians[theirs];
        let verdict = if ratio <= RATIO_MAX { "met" } else { "missed" };
        let (ours, theirs) = (rows[ours].0, rows[theirs].0);
        println!("{ours} / {theirs}: {ratio:.2} (at most {RATIO_MAX}: {verdict})");
    }
    Ok(())
}

struct Bench {
    folder: PathBuf,
    root: PathBuf,
    store: Store,
    state: StateId,
}

impl Bench {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let root = folder.join("root");
        debian::make(&root, "minbase", PACKAGES)?;
        let store = Store::open(&folder.join("store"))?;
        let tree = store.capture_dir(&root, &CaptureOptions::default())?;
        let state = store.put(&tree)?;
        let mut bytes = 0;
        tree.walk(&mut |_, node| {
            if let umbra_state::Node::Leaf(leaf) = node {
                bytes += leaf.content.size();
            }
        });
        println!(
            "{} MB in {} names; every time ends with the file on the disk",
            bytes / 1_000_000,
            tree.entry_count()
        );
        Ok(Self { folder: folder.to_owned(), root, store, state })
    }

    fn ours(&self, format: Format) -> Result<Duration, Failure> {
        let path = self.folder.join("ours");
        let began = Instant::now();
        let file = File::create(&path)?;
        write(&self.store, self.state, &file, format, None)?;
        file.sync_all()?;
        let took = began.elapsed();
        drop(file);
        fs::remove_file(path)?;
        Ok(took)
    }

    /// Making the filesystem, and converting it.
    fn theirs(&self) -> Result<(Duration, Duration), Failure> {
        let (raw, converted) = (self.folder.join("theirs.raw"), self.folder.join("theirs.qcow2"));
        let began = Instant::now();
        File::create(&raw)?.set_len(2 << 30)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&self.root).arg(&raw))?;
        File::open(&raw)?.sync_all()?;
        let filesystem = began.elapsed();
        let began = Instant::now();
        let convert = ["convert", "-f", "raw", "-O", "qcow2"];
        run(Command::new("qemu-img").args(convert).arg(&raw).arg(&converted))?;
        File::open(&converted)?.sync_all()?;
        let took = began.elapsed();
        fs::remove_file(raw)?;
        fs::remove_file(converted)?;
        Ok((filesystem, took))
    }
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}
