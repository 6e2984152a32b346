//! Waits until an image's own systemd has started its units.

use std::time::{Duration, Instant};

use umbra_state::Command;
use umbra_state::escape::escape_output;

use super::StartError;
use crate::error::ShadowError;
use crate::provider::Shadow;

/// How long a system may take to start.
const BOOT_TIME_MAX: Duration = Duration::from_secs(120);

/// How often a system that cannot be asked yet is asked again.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// How much of the console goes with a failure.
const CONSOLE_BYTES: u64 = 4000;

/// What a system says of itself.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// All units have started, or failed: which of them matter is for tests to say.
    Up,
    /// It will not get any further.
    Stuck,
    /// Nothing yet.
    Starting,
}

/// Returns once the system is up. An image that is not `complete` may still lack it.
pub(super) fn wait(shadow: &dyn Shadow, complete: bool) -> Result<(), StartError> {
    if !shadow.runs_systemd() {
        return if complete { Err(failed(shadow, NONE)) } else { Ok(()) };
    }
    let deadline = Instant::now() + BOOT_TIME_MAX;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(shadow, &format!("it was not up after {BOOT_TIME_MAX:?}")));
        }
        let ask = Command::new(["systemctl", "is-system-running", "--wait"]).with_timeout(left);
        let output = match shadow.run(&ask) {
            Ok(output) => output,
            Err(ShadowError::Gone(_)) => return Err(failed(shadow, "it ended")),
            Err(error) => return Err(error.into()),
        };
        match hear(&output.stdout) {
            Heard::Up => return Ok(()),
            Heard::Stuck => return Err(failed(shadow, "it is in maintenance")),
            // Nothing announces to the outside that it can be asked.
            Heard::Starting => std::thread::sleep(ASK_EVERY),
        }
    }
}

const NONE: &str = "the image has none: add the package systemd-sysv, or say `init: services`";

fn hear(said: &[u8]) -> Heard {
    match said.trim_ascii() {
        b"running" | b"degraded" => Heard::Up,
        b"maintenance" | b"stopping" => Heard::Stuck,
        _ => Heard::Starting,
    }
}

fn failed(shadow: &dyn Shadow, reason: &str) -> StartError {
    let console = shadow.console_tail(CONSOLE_BYTES);
    let log = escape_output(console.trim_ascii_end()).to_string();
    let mut reason = reason.to_owned();
    if log.contains("Too many open files") {
        reason.push_str("; this machine is out of inotify instances: ");
        reason.push_str("sysctl fs.inotify.max_user_instances=2048");
    }
    StartError::Service { service: "systemd".to_owned(), reason, log }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_up_once_nothing_is_left_to_start() {
        assert_eq!(hear(b"running\n"), Heard::Up);
        assert_eq!(hear(b"degraded\n"), Heard::Up);
        assert_eq!(hear(b"maintenance\n"), Heard::Stuck);
        for early in [&b""[..], b"offline\n", b"starting\n", b"initializing\n"] {
            assert_eq!(hear(early), Heard::Starting);
        }
    }
}
