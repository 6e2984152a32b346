//! Runs a scanner of this machine against a shadow's root: bounded in time and output.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use super::remaining;
use crate::target::ProbeError;

/// How much of each output stream is kept.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// A program of Debian that may be missing.
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

/// How a program ended and the beginning of what it said.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
}

/// Runs a program to its end, or kills it and its children at the deadline.
pub(super) fn run(
    tool: &Tool,
    prepare: impl FnOnce(&mut Command),
    deadline: Instant,
) -> Result<Ended, ProbeError> {
    let mut command = Command::new(tool.name);
    prepare(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => missing(tool),
        _ => ProbeError::Host { what: "start a scanner", source },
    })?;
    let mut guard = Guard(child);
    let readers = [guard.0.stdout.take().map(bounded), guard.0.stderr.take().map(bounded)];
    let mut output = Vec::new();
    for reader in readers.into_iter().flatten() {
        match reader.recv_timeout(remaining(deadline)) {
            Ok(bytes) => output.extend(bytes),
            Err(_) => {
                let detail = "it was not done in the test's time".to_owned();
                return Err(ProbeError::Tool { tool: tool.name.to_owned(), detail });
            }
        }
    }
    // Both streams are closed, so the program is ending.
    let status =
        guard.0.wait().map_err(|source| ProbeError::Host { what: "wait for a scanner", source })?;
    Ok(Ended { status, output })
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

/// Reads a stream to its end in a thread, keeping its beginning.
fn bounded(pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut pipe = pipe;
        let mut kept = Vec::new();
        let read = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut kept);
        if read.is_ok() {
            // A full pipe would stop the program, so the rest is read and dropped.
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        let _ = sender.send(kept);
    });
    receiver
}

/// A file in memory that a program can write to by its path.
pub(super) struct Scratch(OwnedFd);

impl Scratch {
    pub(super) fn new() -> Result<Self, ProbeError> {
        let made = rustix::fs::memfd_create(c"umbra-scan", MemfdFlags::CLOEXEC);
        made.map(Self)
            .map_err(|errno| ProbeError::Host { what: "make a scratch file", source: errno.into() })
    }

    pub(super) fn path(&self) -> String {
        fd_path(self.0.as_raw_fd())
    }

    /// What was written, if it is not more than `bytes_max`.
    pub(super) fn read(&self, bytes_max: u64) -> Result<Vec<u8>, ProbeError> {
        let host = |source| ProbeError::Host { what: "read a scratch file", source };
        let file = std::fs::File::open(self.path()).map_err(host)?;
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(host)?;
        match bytes.len() as u64 > bytes_max {
            true => Err(ProbeError::Malformed {
                what: "a scanner's report".to_owned(),
                detail: format!("it is larger than {bytes_max} bytes"),
            }),
            false => Ok(bytes),
        }
    }
}

/// A directory by a path that other programs of this machine can use.
pub(super) fn directory_path(root: BorrowedFd<'_>) -> String {
    fd_path(root.as_raw_fd())
}

/// Through this process's own table: the descriptor itself is not inherited.
fn fd_path(fd: i32) -> String {
    format!("/proc/{}/fd/{fd}", std::process::id())
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

    #[test]
    fn output_and_scratch_files_come_back() {
        let scratch = Scratch::new().expect("memfd");
        let script = format!("echo seen; echo told >&2; echo kept > {}; exit 2", scratch.path());
        let soon = Instant::now() + Duration::from_secs(20);
        let ended = run(&SH, shell(&script), soon).expect("ran");
        assert_eq!(ended.status.code(), Some(2));
        assert_eq!(ended.output, b"seen\ntold\n");
        assert_eq!(scratch.read(100).expect("read"), b"kept\n");
        assert!(scratch.read(2).is_err());
    }

    #[test]
    fn the_deadline_kills_children_too() {
        let start = Instant::now();
        let soon = start + Duration::from_millis(50);
        let ended = run(&SH, shell("sleep 60 & sleep 60"), soon);
        assert!(matches!(ended, Err(ProbeError::Tool { .. })));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let tool = Tool { name: "umbra-no-such-scanner", package: "some-package" };
        let error = run(&tool, |_| (), Instant::now()).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "find `umbra-no-such-scanner`; Debian has it in the package some-package"
        );
    }
}
