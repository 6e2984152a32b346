//! Measures a full baseline of `/usr` and `/etc`, of which nothing but digests is kept:
//! `cargo run --release -p umbra-drift --example measure_collect [ROOT]`.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use umbra_drift::collect::{Collector, Place};
use umbra_drift::config;
use umbra_drift::reading::{Content, Reading};

const CONFIG: &str = "\
version: 2
parameters:
  - name: baseline
    glob: ['/usr/**', '/etc/**']
    nodiff: true
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = config::parse("measure", CONFIG).map_err(|problems| problems.render(false))?;
    let place = match std::env::args_os().nth(1) {
        Some(root) => Place::directory(root.as_ref())?,
        None => Place::machine()?,
    };
    let mut collector = Collector::new(&config, place)?;
    for round in ["first", "again"] {
        let (began, before) = (Instant::now(), cpu());
        let snapshot = collector.all();
        let (took, used) = (began.elapsed(), cpu() - before);
        let unreadable =
            snapshot.readings.values().filter(|it| matches!(it, Reading::Unreadable { .. }));
        let bytes: u64 = snapshot.readings.values().map(size).sum();
        println!(
            "{round}: {} paths, {:.2} GB, {} unreadable: {:.2} CPU s, {:.2} s; {}",
            snapshot.readings.len(),
            bytes as f64 / 1e9,
            unreadable.count(),
            used.as_secs_f64(),
            took.as_secs_f64(),
            resident()?
        );
    }
    Ok(())
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

fn resident() -> std::io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned())
}
