//! How much memory a process takes, and took at most.

use std::fs;

use crate::process::Outcome;

/// Forgets what it took at most so far, and says what it takes, in KiB.
pub(crate) fn forget_peak(pid: u32) -> Outcome<u64> {
    // The kernel's word for it (proc(5)).
    fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    kib(pid, "VmRSS:")
}

/// What it took at most since then, in KiB.
pub(crate) fn peak(pid: u32) -> Outcome<u64> {
    kib(pid, "VmHWM:")
}

fn kib(pid: u32, name: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("{pid} has no {name}").into())
}
