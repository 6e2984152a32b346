//! Virtual machines: how long one takes to boot, how fast others are forked from it, and what each
//! of them takes. `cargo xtask bench vm [ROOT]`, ROOT being a directory with a Debian system that
//! has nginx; one is made where none is named.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use umbra_shadow::provider::{Files, Init, Limits, Network};
use umbra_shadow::qemu::{QemuConfig, QemuProvider};
use umbra_shadow::startup::{self, Startup};
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_store::overlay::{Base, Layers};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Forks measured one after the other, and all at once.
const ROUNDS: usize = 21;
const AT_ONCE: usize = 16;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "launcher") {
        std::process::exit(umbra_shadow::sandbox::launcher::main());
    }
    let dir = tempfile::tempdir()?;
    let named = words.iter().find(|word| !word.starts_with('-')).map(PathBuf::from);
    let root = named.map_or_else(|| debian(dir.path()), Ok)?;
    let layers = Layers::of(Base::Checkout(root));
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).ok_or("no target directory")?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let provider = QemuProvider::open(QemuConfig {
        dir: dir.path().join("shadows"),
        cache: target.join("kernels"),
        launcher: own.clone(),
        guest: target.join(triple).join("release/umbra-guest"),
        kernel: std::env::var_os("UMBRA_KERNEL").map(PathBuf::from),
        translate: false,
    })
    .map_err(said)?;
    for missing in &provider.capabilities().missing {
        println!("note: {missing}");
    }
    deltas(&provider, &layers, dir.path())?;
    let booted = boots(&provider, &layers)?;
    forks(&provider, &layers, booted)
}

/// A Debian system that answers at port 80.
fn debian(dir: &Path) -> Outcome<PathBuf> {
    let root = dir.join("root");
    let made = Program::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--include=systemd-sysv,dbus,nginx-light"])
        .arg("bookworm")
        .arg(&root)
        .status()?;
    if made.success() { Ok(root) } else { Err("mmdebstrap failed".into()) }
}

fn spec(name: String, files: Files) -> ShadowSpec {
    let spec = ShadowSpec::new(name, Limits::default(), Network::Fenced);
    ShadowSpec { init: Init::Systemd, files, ..spec }
}

/// A step's delta in a machine that runs, until a test's first command has ended there.
fn deltas(provider: &QemuProvider, layers: &Layers, dir: &Path) -> Outcome {
    let spec = ShadowSpec::new("deltas", Limits::default(), Network::Fenced);
    let begun = Instant::now();
    let shadow = provider.spawn(layers, &spec).map_err(said)?;
    println!("a machine that can be asked: {:.2?}", begun.elapsed());
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let upper = dir.join(format!("delta-{round}"));
        std::fs::create_dir_all(upper.join("etc"))?;
        std::fs::write(upper.join("etc/step"), format!("{round}\n"))?;
        let layers = layers.clone().with_upper(upper);
        let begun = Instant::now();
        shadow.apply(&layers).map_err(said)?;
        let command = umbra_state::Command::new(["cat", "/etc/step"]);
        let output = shadow.run(&command).map_err(said)?;
        times.push(begun.elapsed());
        if output.stdout != format!("{round}\n").as_bytes() {
            return Err("another step shows".into());
        }
    }
    times.sort_unstable();
    let (middle, worst) = (times[ROUNDS / 2], times[ROUNDS - 1]);
    println!(
        "a step's delta until a test's command has ended: p50 {middle:.0?}, worst {worst:.0?} of \
         {ROUNDS} (asked 300 ms)"
    );
    Ok(())
}

/// Until its service answers, with its files shared and on a disk.
fn boots(provider: &QemuProvider, layers: &Layers) -> Outcome<Duration> {
    let mut last = Duration::ZERO;
    for (name, files) in [("shared", Files::Shared), ("disk", Files::Disk)] {
        let begun = Instant::now();
        let shadow = provider.spawn(layers, &spec(name.to_owned(), files)).map_err(said)?;
        let up = begun.elapsed();
        answers(&*shadow)?;
        last = begun.elapsed();
        println!("cold boot, files {name}: asked after {up:.2?}, nginx answers after {last:.2?}");
    }
    Ok(last)
}

fn forks(provider: &QemuProvider, layers: &Layers, booted: Duration) -> Outcome {
    let begun = Instant::now();
    let ready = |shadow: &dyn Shadow| {
        let up = Startup { init: Init::Systemd, complete: true, services: Vec::new() };
        startup::start(shadow, &up).map_err(|error| ShadowError::Launcher(error.to_string()))?;
        inside(shadow).map_err(|error| ShadowError::Launcher(error.to_string()))
    };
    provider.prepare(layers, &spec("any".to_owned(), Files::Disk), &ready).map_err(said)?;
    println!("a template: {:.2?}", begun.elapsed());
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let begun = Instant::now();
        let shadow = provider.spawn(layers, &spec(format!("f{number}"), Files::Disk));
        let shadow = shadow.map_err(said)?;
        answers(&*shadow)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let middle = times[ROUNDS / 2];
    let ratio = booted.as_secs_f64() / middle.as_secs_f64();
    println!(
        "a fork whose nginx answers: p50 {middle:.0?}, worst {:.0?} of {ROUNDS} (asked 150 ms)",
        times[ROUNDS - 1]
    );
    println!("boot / fork: {ratio:.0} (asked 40)");
    at_once(provider, layers)
}

fn at_once(provider: &QemuProvider, layers: &Layers) -> Outcome {
    let begun = Instant::now();
    let shadows = std::thread::scope(|scope| {
        let one = |number: usize| {
            let spec = spec(format!("m{number}"), Files::Disk);
            let shadow = provider.spawn(layers, &spec).map_err(|error| said(error).to_string())?;
            answers(&*shadow).map_err(|error| error.to_string())?;
            Ok::<_, String>(shadow)
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|number| scope.spawn(move || one(number))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| "panicked")?);
        joined.collect::<Result<Vec<_>, String>>()
    })?;
    println!("{AT_ONCE} forks at once answer after {:.2?} (asked 1 s)", begun.elapsed());
    std::thread::sleep(Duration::from_secs(2));
    let (own, shared) = memory()?;
    let each = |bytes: u64| bytes as f64 / shadows.len() as f64 / f64::from(1 << 20);
    println!(
        "memory of each: {:.0} MiB of its own, {:.0} MiB with its part of what is shared (asked 40)",
        each(own),
        each(shared)
    );
    Ok(())
}

/// What all forks that run have of their own, and with their part of what is shared.
fn memory() -> Outcome<(u64, u64)> {
    let (mut own, mut shared) = (0, 0);
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !line.split(|byte| *byte == 0).any(|word| word.starts_with(b"umbra-m")) {
            continue;
        }
        let rollup = std::fs::read_to_string(entry.path().join("smaps_rollup"))?;
        let field = |name: &str| -> u64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or(0) << 10
        };
        own += field("Private_Clean:") + field("Private_Dirty:");
        shared += field("Pss:");
    }
    Ok((own, shared))
}

/// Waits until it answers here.
fn answers(shadow: &dyn Shadow) -> Outcome {
    let at = SocketAddr::new(shadow.address().ok_or("no address")?, 80);
    until(|| TcpStream::connect_timeout(&at, Duration::from_secs(1)))
}

/// Waits until it answers inside.
fn inside(shadow: &dyn Shadow) -> Outcome {
    let at = SocketAddr::from(([127, 0, 0, 1], 80));
    until(|| shadow.connect(at, Duration::from_secs(1)))
}

fn until(mut connect: impl FnMut() -> std::io::Result<TcpStream>) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        match connect().and_then(get) {
            Ok(true) => return Ok(()),
            Ok(false) | Err(_) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(false) => return Err("it answers something else".into()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn get(mut stream: TcpStream) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: shadow\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

fn said(error: ShadowError) -> Box<dyn std::error::Error> {
    format!("failed to {}", umbra_state::chain(&error)).into()
}
