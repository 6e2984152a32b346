//! Child processes: started, waited for, told of signals, and their failure made a sentence.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::interrupt::{self, Told};
use crate::stop::Stop;

/// Runs a command to its end on this program's own terminal.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus, Stop> {
    interrupt::check()?;
    let mut child = spawn(command)?;
    let status = reap(&mut child)?;
    interrupt::check()?;
    Ok(status)
}

/// Runs a command that must succeed; `what` names it in the sentence about its failure.
pub(crate) fn must(command: &mut Command, what: &str) -> Result<(), Stop> {
    let status = status(command)?;
    if status.success() { Ok(()) } else { Err(Stop::Failed(format!("{what} failed ({status})"))) }
}

/// Runs a command and returns how it ended and what it wrote to standard output.
pub(crate) fn answer(command: &mut Command) -> Result<(ExitStatus, Vec<u8>), Stop> {
    interrupt::check()?;
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let _told = Told::begin(Pid::from_child(&child));
    let mut text = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let read = stdout.read_to_end(&mut text);
        read.map_err(|error| {
            Stop::Failed(format!("the output of {} is lost: {error}", name(command)))
        })?;
    }
    let status = reap(&mut child)?;
    interrupt::check()?;
    Ok((status, text))
}

/// Whether a command can be run and succeeds; it says nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A heading for what comes next.
pub(crate) fn heading(text: &str) {
    eprintln!("\n=== {text}");
}

fn spawn(command: &mut Command) -> Result<Child, Stop> {
    command.spawn().map_err(|error| {
        Stop::missing(
            format!("{} cannot be started ({error})", name(command)),
            "install it, then run this again",
        )
    })
}

/// Waits in two steps, so that a signal never goes to a number that is free again.
fn reap(child: &mut Child) -> Result<ExitStatus, Stop> {
    let pid = Pid::from_child(child);
    let told = Told::begin(pid);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    drop(told);
    child.wait().map_err(|error| Stop::Failed(format!("a child process is lost: {error}")))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_was_written_and_how_it_ended() {
        let (status, text) = answer(Command::new("sh").args(["-c", "echo there; exit 4"])).unwrap();
        assert_eq!((status.code(), text), (Some(4), b"there\n".to_vec()));
    }

    #[test]
    fn a_program_that_is_missing_is_the_machines_fault() {
        let stop = status(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(stop.code(), 3);
    }

    #[test]
    fn a_failure_is_named() {
        let stop = must(&mut Command::new("false"), "the falsehood").unwrap_err();
        assert!(stop.to_string().contains("the falsehood"), "{stop}");
        assert_eq!(stop.code(), 1);
    }
}
