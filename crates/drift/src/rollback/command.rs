//! A program run for its verdict: no shell, no input, bounded time and output, ended with all
//! it started.

use std::io::{self, Read};

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// What is kept of an output.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It says yes.
    Passed,
    /// It says no.
    Failed {
        /// Its exit code or signal, in words.
        how: String,
        /// The end of what it printed.
        output: String,
    },
    /// It took too long.
    TimedOut,
    /// There is no such program.
    Missing,
    /// It could not be run.
    NotRun {
        /// Why, as a sentence after "because".
        why: String,
    },
}

/// Runs a program with the environment a service has.
pub(super) fn run(argv: &[String], timeout: Duration) -> Ended {
    let Some((program, arguments)) = argv.split_first() else { return Ended::Missing };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0);
    let ended = run_with_output(&mut command, timeout);
    match ended {
        Ok((status, output)) => match status {
            Some(status) if status.success() => Ended::Passed,
            Some(status) => Ended::Failed { how: in_words(status), output },
            None => Ended::TimedOut,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ended::Missing,
        Err(error) => Ended::NotRun { why: error.to_string() },
    }
}

/// The status, unless it took too long, and the end of the output.
fn run_with_output(
    command: &mut Command,
    timeout: Duration,
) -> io::Result<(Option<ExitStatus>, String)> {
    let (mut reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // Its ends of the pipe; else the output never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let deadline = Instant::now() + timeout;
    let mut output = Vec::new();
    let ended = read_until(&mut reader, &mut child, deadline, &mut output);
    // What it left running belongs to nobody.
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait()?;
    let text = String::from_utf8_lossy(&output).into_owned();
    Ok((ended?.then_some(status), text))
}

/// Whether the program ended in time.
fn read_until(
    reader: &mut io::PipeReader,
    child: &mut Child,
    deadline: Instant,
    output: &mut Vec<u8>,
) -> io::Result<bool> {
    let exits = exit_of(child)?;
    let mut buffer = [0; 4096];
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let readable = if open { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [PollFd::new(&exits, PollFlags::IN), PollFd::new(reader, readable)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (ended, said) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if open && said {
            let length = reader.read(&mut buffer)?;
            open = length > 0;
            output.extend_from_slice(&buffer[..length]);
            let extra = output.len().saturating_sub(OUTPUT_BYTES_MAX);
            output.drain(..extra);
        } else if ended {
            // All it had printed by then has been read.
            return Ok(true);
        }
    }
}

fn exit_of(child: &Child) -> io::Result<std::os::fd::OwnedFd> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Ended {
        run(&["/bin/sh".into(), "-c".into(), script.into()], Duration::from_secs(5))
    }

    #[test]
    fn programs_end_in_one_of_these_ways() {
        assert_eq!(sh("exit 0"), Ended::Passed);
        let how = "exit code 3".to_owned();
        assert_eq!(sh("echo no; exit 3"), Ended::Failed { how, output: "no\n".into() });
        let how = "signal 9".to_owned();
        assert_eq!(sh("kill -9 $$"), Ended::Failed { how, output: String::new() });
        assert_eq!(run(&["/no/such".into()], Duration::from_secs(5)), Ended::Missing);
        assert_eq!(run(&[], Duration::from_secs(5)), Ended::Missing);
    }

    #[test]
    fn one_that_never_ends_is_ended() {
        let sleeps = ["/bin/sleep".to_owned(), "1000".to_owned()];
        assert_eq!(run(&sleeps, Duration::from_millis(50)), Ended::TimedOut);
    }

    #[test]
    fn what_it_leaves_running_keeps_nobody() {
        let began = Instant::now();
        assert_eq!(sh("sleep 1000 & exit 0"), Ended::Passed);
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn only_the_end_of_a_long_output_is_kept() {
        let Ended::Failed { output, .. } = sh("yes | head -c 1000000; echo end; exit 1") else {
            panic!("it failed");
        };
        assert!(output.len() <= OUTPUT_BYTES_MAX && output.ends_with("end\n"));
    }
}
