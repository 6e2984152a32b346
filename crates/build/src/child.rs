//! Programs of this machine that a build waits for, and no longer than it wants to.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// The standard library waits for a process without limit or not at all.
const POLL: Duration = Duration::from_millis(10);

/// Waits until it ends, or until `enough`: then `None`, and it still runs.
pub(crate) fn wait(child: &mut Child, enough: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if enough() => return Ok(None),
            None => std::thread::sleep(POLL),
        }
    }
}

/// Ends a program that leads a process group of its own, and its children with it.
pub(crate) fn end(child: &mut Child) -> io::Result<()> {
    // The leader is not reaped yet, so the number is its group's.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    #[test]
    fn who_has_enough_does_not_wait() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & sleep 60"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("started");
        let began = Instant::now();
        assert!(wait(&mut child, || true).expect("waited").is_none());
        end(&mut child).expect("ended");
        // Both hold its standard output open: at its end, neither is left.
        let mut text = Vec::new();
        child.stdout.take().expect("piped").read_to_end(&mut text).expect("read");
        assert!(began.elapsed() < Duration::from_secs(30));
        let mut child = Command::new("false").spawn().expect("started");
        let status = wait(&mut child, || false).expect("waited").expect("ended");
        assert!(!status.success());
    }
}
