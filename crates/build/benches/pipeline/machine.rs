//! On what machine it was measured.

use std::fs;

/// Prints processor, number of processors, kernel and load.
pub(crate) fn describe() {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    println!("machine: {model}, {processors} processors, Linux {}, load {load}", kernel.trim());
    if cfg!(debug_assertions) {
        println!("built without optimisation: these numbers say nothing");
    }
}
