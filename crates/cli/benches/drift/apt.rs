//! What a package's installation costs more under watch.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use umbra_drift::config::Severity;
use umbra_drift::service::DriftReply;

use crate::machine::{self, Machine};
use crate::process::Outcome;

const PAIRS: usize = 7;
/// Memory: what a disk does meanwhile would be more than what is measured.
const MEMORY: &str = "/dev/shm";
/// What was read and copied before has settled.
const REST: Duration = Duration::from_secs(2);
const DOWNLOAD: &str = "apt-get -q update && apt-get -q -y --download-only install nginx";
const INSTALL: &str = "apt-get -q -y --no-download -o Dpkg::Use-Pty=0 install nginx";

/// In turns, so that a slow minute hits both; the sides take turns at being first.
pub(crate) fn install() -> Outcome {
    let dir = tempfile::tempdir_in(MEMORY)?;
    let base = dir.path().join("base");
    make(&base)?;
    let (mut watched, mut plain) = (Vec::new(), Vec::new());
    let mut grave = 0;
    for pair in 0..PAIRS {
        for under_watch in [pair % 2 == 0, pair % 2 == 1] {
            let root = dir.path().join("root");
            fs::create_dir(&root)?;
            machine::copy(&base, &root)?;
            if under_watch {
                let machine = Machine::default_set(tempfile::tempdir()?, &root)?;
                watched.push(timed(&root)?);
                let reply: DriftReply =
                    machine.client().get("/v1/primaries/bench/drift?fresh=true")?;
                let severities = reply.alerts.iter().map(|alert| alert.discrepancy.severity);
                grave += severities.filter(|severity| *severity >= Severity::Medium).count();
            } else {
                plain.push(timed(&root)?);
            }
            fs::remove_dir_all(&root)?;
        }
    }
    let mut ratios: Vec<f64> = watched
        .iter()
        .zip(&plain)
        .map(|(watched, plain)| watched.as_secs_f64() / plain.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "apt: nginx installed under watch in {:.2?}, unwatched in {:.2?}; {PAIRS} pairs, ratio \
         {:.3} in the middle, {:.3} to {:.3} (asked: 1.05); {grave} alerts of medium or above",
        middle(&mut watched),
        middle(&mut plain),
        ratios[PAIRS / 2],
        ratios[0],
        ratios[PAIRS - 1],
    );
    Ok(())
}

/// A Debian with nginx's packages downloaded.
fn make(root: &Path) -> Outcome {
    let mut debian = Command::new("mmdebstrap");
    debian.args(["--mode=root", "--quiet", "--variant=apt", "--format=directory", "bookworm"]);
    run(debian.arg(root))?;
    // No service is to be started in a directory.
    fs::write(root.join("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n")?;
    run(Command::new("chmod").arg("755").arg(root.join("usr/sbin/policy-rc.d")))?;
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))?;
    inside(root, DOWNLOAD)
}

fn timed(root: &Path) -> Outcome<Duration> {
    std::thread::sleep(REST);
    let began = Instant::now();
    inside(root, INSTALL)?;
    Ok(began.elapsed())
}

fn inside(root: &Path, line: &str) -> Outcome {
    let mut shell = Command::new("chroot");
    shell.arg(root).args(["sh", "-c", line]).env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut shell)
}

fn run(command: &mut Command) -> Outcome {
    let out = command.stdin(Stdio::null()).output()?;
    if out.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&out.stderr);
    Err(format!("{command:?} ended with {}: {complaint}", out.status).into())
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
