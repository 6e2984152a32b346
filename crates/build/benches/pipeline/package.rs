//! The nginx package step on a Debian root: to the shadows, into the store, and the same
//! installation in a plain chroot.

use std::fs;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use umbra_shadow::provider::Limits;
use umbra_shadow::sandbox::{Bind, Finished, WorkshopSpec};
use umbra_state::{Command, diff};
use umbra_store::overlay::settle_links;

use crate::Failure;
use crate::place::{Known, Place, must_run};
use crate::stats::{Samples, print_ratio};

const ROUNDS: usize = 7;
const DOWNLOAD: &str = "apt-get -q update && apt-get -q -y --download-only install nginx";
const INSTALL: &str = "apt-get -q -y --no-download -o Dpkg::Use-Pty=0 install nginx";

/// See the module.
pub(crate) fn package_step() -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Err("mmdebstrap and chroot need root".into());
    }
    let place = Place::new()?;
    let root = place.path("debian");
    mmdebstrap(&root)?;
    let debian = place.ingest(&root)?;
    let (downloaded, _) = step(&place, &debian, DOWNLOAD, "download", true)?;
    let prepared = {
        let tree = place.store.capture_upper(&debian.tree, &downloaded.upper)?;
        place.known(tree)?
    };
    println!("  {} entries, packages downloaded", prepared.tree.entry_count());
    deliver(&place, &prepared)?;
    against_chroot(&place, &prepared)
}

fn deliver(place: &Place, known: &Known) -> Result<(), Failure> {
    let shadow = place.shadow("follower", &known.layers)?;
    let mut delivered = Samples::default();
    let (mut cpu, mut wall) = (Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        let name = format!("install-{round}");
        let (ran, ended) = step(place, known, INSTALL, &name, false)?;
        let Finished { root, upper, work } = ran;
        settle_links(&root, &work, || known.tree.clone())?;
        // The last that holds the stage's mount: a layer may be shown once nothing writes to it.
        drop(root);
        let layers = known.layers.with_upper(upper.clone());
        shadow.apply(&layers)?;
        must_run(&*shadow, &["test", "-x", "/usr/sbin/nginx"])?;
        delivered.add(ended.elapsed());
        if round == 0 {
            println!("  upper directory of {:.1} MB", bytes_below(&upper)? as f64 / 1e6);
        }
        let (began, used) = (Instant::now(), cpu_time());
        let tree = place.store.capture_upper(&known.tree, &upper)?;
        let delta = diff(&known.tree, &tree);
        place.store.put(&tree)?;
        cpu.add(cpu_time().saturating_sub(used));
        wall.add(began.elapsed());
        if delta.changes.is_empty() {
            return Err("installing nginx changed nothing".into());
        }
        shadow.apply(&known.layers)?;
    }
    shadow.destroy()?;
    let goal = Some(Duration::from_millis(50));
    delivered.print("nginx step ends -> a test has seen it on a shadow", goal, None);
    cpu.print("its ingestion, processor time", Some(Duration::from_secs(1)), None);
    wall.print("its ingestion, wall", None, None);
    Ok(())
}

/// The same installation, in turns, so that a slow minute hits both. Nothing is removed in
/// between: ext4 searches long for inodes that were not freed just now, and whoever writes next
/// pays for it.
fn against_chroot(place: &Place, known: &Known) -> Result<(), Failure> {
    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        ours.add(timed_step(place, known, &format!("compared-{round}"))?);
        let dir = place.path(&format!("plain-{round}"));
        fs::create_dir_all(&dir)?;
        place.store.export_dir(known.id, &dir)?;
        // dpkg syncs: in the chroot it would have to write out the whole root as well.
        rustix::fs::sync();
        plain.add(chroot(&dir, INSTALL)?);
    }
    ours.print("apt-get install nginx under umbra", None, None);
    plain.print("apt-get install nginx in a plain chroot", None, None);
    let ratio = ours.p50().as_secs_f64() / plain.p50().as_secs_f64();
    print_ratio("umbra / plain chroot", ratio, ratio <= 1.05, "<= 1.05x");
    Ok(())
}

/// Runs a step; also says when its last process had ended.
fn step(
    place: &Place,
    known: &Known,
    script: &str,
    name: &str,
    network: bool,
) -> Result<(Finished, Instant), Failure> {
    let limits = Limits::default();
    let workshop =
        place.provider.workshop(&WorkshopSpec { name: name.to_owned(), limits, network })?;
    let stage = workshop.stage(&known.layers, &place.path(name), &names_of_hosts(network))?;
    let output = stage.run(&installing(script), &|_| {})?;
    let ended = Instant::now();
    must_succeed(&output)?;
    Ok((stage.finish()?, ended))
}

/// Only the command is timed: making the root is measured elsewhere, for both sides.
fn timed_step(place: &Place, known: &Known, name: &str) -> Result<Duration, Failure> {
    let spec = WorkshopSpec { name: name.to_owned(), limits: Limits::default(), network: false };
    let workshop = place.provider.workshop(&spec)?;
    let stage = workshop.stage(&known.layers, &place.path(name), &[])?;
    rustix::fs::sync();
    let began = Instant::now();
    let output = stage.run(&installing(INSTALL), &|_| {})?;
    let took = began.elapsed();
    must_succeed(&output)?;
    stage.finish()?;
    Ok(took)
}

fn installing(script: &str) -> Command {
    Command::shell(script)
        .with_env("DEBIAN_FRONTEND", "noninteractive")
        .with_env("RUNLEVEL", "1")
        .with_timeout(Duration::from_secs(300))
}

fn must_succeed(output: &umbra_state::Output) -> Result<(), Failure> {
    if output.exit.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("the step ended with {}: {said}", output.exit).into())
}

fn names_of_hosts(network: bool) -> Vec<Bind> {
    let files = if network { &["/etc/resolv.conf", "/etc/hosts"][..] } else { &[] };
    let binds = files.iter().filter_map(|name| {
        let source = fs::canonicalize(name).ok()?;
        Some(Bind { source, target: (*name).to_owned(), read_only: true, required: false })
    });
    binds.collect()
}

/// Runs a script as people do without umbra: chroot, /proc and /dev mounted, namespaces that
/// take the mounts away again.
fn chroot(root: &Path, script: &str) -> Result<Duration, Failure> {
    let setup = "mount --rbind /dev \"$1/dev\" && mount -t proc proc \"$1/proc\" && \
                 exec chroot \"$1\" /bin/sh -ec \"$2\"";
    let mut program = Program::new("timeout");
    program.args(["300", "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c"]);
    program.args([setup, "chroot"]).arg(root).arg(script);
    program.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").env("LANG", "C.UTF-8");
    let began = Instant::now();
    let output = program.stdin(Stdio::null()).output()?;
    let took = began.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("the plain chroot ended with {}: {said}", output.status).into())
}

fn mmdebstrap(root: &Path) -> Result<(), Failure> {
    let output = Program::new("timeout")
        .args(["600", "mmdebstrap", "--mode=root", "--quiet", "--format=directory"])
        .args(["--variant=apt", "bookworm"])
        .arg(root)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("mmdebstrap ended with {}: {said}", output.status).into())
}

fn bytes_below(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// What this process has used of the processors, all threads together.
fn cpu_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)
        .try_into()
        .unwrap_or_default()
}
