//! Processes that are measured.

use std::fs;
use std::process::Child;
use std::time::Duration;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Processor time of a process so far.
pub(crate) fn cpu(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').ok_or("no stat")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let all = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).ok_or("no times")?;
    Ok(Duration::from_millis(all * 10))
}

/// Asks a process to end, and waits for it.
pub(crate) fn end(process: &mut Child) {
    let pid = rustix::process::Pid::from_child(process);
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let _ = process.wait();
}
