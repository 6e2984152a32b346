//! Runs a program of this machine that helps to look: bounded in time and output.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

use super::remaining;
use crate::target::ProbeError;

/// A program of Debian that may be missing.
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs a program to its end, or kills it and its children at the deadline. Half of what it
/// says is worth nothing: more than `bytes_max` on a stream is an error.
pub(super) fn run(
    tool: &Tool,
    prepare: impl FnOnce(&mut Command),
    bytes_max: u64,
    deadline: Instant,
) -> Result<Ended, ProbeError> {
    let broke = |detail: String| ProbeError::Tool { tool: tool.name.to_owned(), detail };
    let mut command = Command::new(tool.name);
    prepare(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => missing(tool),
        _ => ProbeError::Host { what: "start a program", source },
    })?;
    let mut guard = Guard(child);
    let streams = (guard.0.stdout.take(), guard.0.stderr.take());
    let readers =
        (streams.0.map(|it| bounded(it, bytes_max)), streams.1.map(|it| bounded(it, bytes_max)));
    let received = |reader: Option<mpsc::Receiver<Vec<u8>>>| {
        let Some(reader) = reader else { return Ok(Vec::new()) };
        let bytes = reader
            .recv_timeout(remaining(deadline))
            .map_err(|_| broke("it was not done in the test's time".to_owned()))?;
        match bytes.len() as u64 > bytes_max {
            true => Err(broke(format!("it wrote more than {bytes_max} bytes"))),
            false => Ok(bytes),
        }
    };
    let (stdout, stderr) = (received(readers.0)?, received(readers.1)?);
    // Both streams are closed, so the program is ending.
    let status =
        guard.0.wait().map_err(|source| ProbeError::Host { what: "wait for a program", source })?;
    Ok(Ended { status, stdout, stderr })
}

/// The error for a tool that is not installed.
pub(super) fn missing(tool: &Tool) -> ProbeError {
    ProbeError::ToolMissing { tool: tool.name.to_owned(), package: tool.package.to_owned() }
}

/// Ends a program and its children, whatever happens to the caller.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // The group is gone if it ended meanwhile, and nothing else can have its id.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Reads a stream to its end in a thread, keeping its beginning and one byte more, which tells
/// that there was more.
fn bounded(pipe: impl Read + Send + 'static, bytes_max: u64) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut pipe = pipe;
        let mut kept = Vec::new();
        let read = pipe.by_ref().take(bytes_max + 1).read_to_end(&mut kept);
        if read.is_ok() {
            // A full pipe would stop the program, so the rest is read and dropped.
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        let _ = sender.send(kept);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SH: Tool = Tool { name: "sh", package: "dash" };

    fn shell(script: &str) -> impl FnOnce(&mut Command) {
        move |command| {
            command.args(["-c", script]);
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn what_it_says_comes_back_whole_or_not_at_all() {
        let ended = run(&SH, shell("echo seen; echo told >&2; exit 2"), 5, soon()).expect("ran");
        assert_eq!(ended.status.code(), Some(2));
        assert_eq!((&ended.stdout[..], &ended.stderr[..]), (&b"seen\n"[..], &b"told\n"[..]));
        let error = run(&SH, shell("echo seen"), 4, soon()).expect_err("too much");
        assert_eq!(error.to_string(), "use `sh`: it wrote more than 4 bytes");
    }

    #[test]
    fn the_deadline_kills_children_too() {
        let start = Instant::now();
        let soon = start + Duration::from_millis(50);
        let ended = run(&SH, shell("sleep 60 & sleep 60"), 5, soon);
        assert!(matches!(ended, Err(ProbeError::Tool { .. })));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let tool = Tool { name: "umbra-no-such-scanner", package: "some-package" };
        let error = run(&tool, |_| (), 5, Instant::now()).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "find `umbra-no-such-scanner`; Debian has it in the package some-package"
        );
    }
}
