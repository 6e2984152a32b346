//! Measures how fast shadows are: `cargo run --release -p umbra-shadow --example measure`, as
//! root, with busybox-static installed. Prints milliseconds.

use std::path::Path;
use std::time::{Duration, Instant};

use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_state::Command;
use umbra_store::overlay::{Base, Layers};

const ROUNDS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        std::process::exit(umbra_shadow::sandbox::launcher::main());
    }
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    for name in ["bin", "proc", "sys", "dev"] {
        std::fs::create_dir_all(root.join(name))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/true"))?;
    let layers = Layers::of(Base::Checkout(root));
    for user_namespaces in [true, false] {
        println!("user namespaces: {user_namespaces}");
        measure(&dir.path().join(user_namespaces.to_string()), user_namespaces, &layers)?;
    }
    Ok(())
}

fn measure(dir: &Path, user_namespaces: bool, layers: &Layers) -> Result<(), ShadowError> {
    let launcher = std::env::current_exe().unwrap_or_default();
    let config = SandboxConfig { dir: dir.to_owned(), launcher, user_namespaces, warm: 4 };
    let provider = SandboxProvider::open(config)?;
    let spawn = |name: &str, network: Network| {
        let limits = Limits::default();
        provider.spawn(layers, &ShadowSpec::new(name, limits, network))
    };
    let first = spawn("first", Network::Fenced)?;
    time("run", || run(&*first))?;
    time("apply", || first.apply(layers))?;
    time("apply + run", || first.apply(layers).and_then(|()| run(&*first)))?;
    time_rested("apply + run", || first.apply(layers).and_then(|()| run(&*first)))?;
    let mut count = 0;
    for (name, network) in [("none", Network::None), ("fenced", Network::Fenced)] {
        let mut kept = Vec::new();
        time_rested(&format!("spawn {name} + run"), || {
            count += 1;
            let shadow = spawn(&format!("s-{count}"), network.clone())?;
            run(&*shadow)?;
            kept.push(shadow);
            Ok(())
        })?;
        time(&format!("destroy {name}"), || kept.pop().map_or(Ok(()), |shadow| shadow.destroy()))?;
    }
    let started = Instant::now();
    let many: Vec<_> =
        (0..200).map(|n| spawn(&format!("m-{n}"), Network::Fenced)).collect::<Result<_, _>>()?;
    let made = started.elapsed();
    drop(many);
    println!("  200 shadows: made in {made:.2?}, gone after {:.2?}", started.elapsed());
    Ok(())
}

fn run(shadow: &dyn Shadow) -> Result<(), ShadowError> {
    shadow.run(&Command::new(["/bin/true"])).map(|_| ())
}

fn time(what: &str, action: impl FnMut() -> Result<(), ShadowError>) -> Result<(), ShadowError> {
    time_every(Duration::ZERO, what, action)
}

/// With pauses, in which what can be made ahead is.
fn time_rested(
    what: &str,
    action: impl FnMut() -> Result<(), ShadowError>,
) -> Result<(), ShadowError> {
    time_every(Duration::from_millis(60), &format!("{what}, rested"), action)
}

fn time_every(
    pause: Duration,
    what: &str,
    mut action: impl FnMut() -> Result<(), ShadowError>,
) -> Result<(), ShadowError> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        std::thread::sleep(pause);
        let started = Instant::now();
        action()?;
        times.push(started.elapsed());
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "  {what:28} min {:6.2}  p50 {:6.2}  p99 {:6.2}",
        ms(times[0]),
        ms(times[ROUNDS / 2]),
        ms(times[ROUNDS * 99 / 100])
    );
    Ok(())
}
