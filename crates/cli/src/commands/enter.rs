//! Going into shadows, and the shadows themselves.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use umbra_api::client::Client;
use umbra_api::shadow::{AttachRequest, ExecRequest, Place, ShadowRequest};
use umbra_state::{Command, Exit};

use super::{Done, drift};
use crate::args::Shadow;
use crate::error::{CliError, Finish};
use crate::screen::lists;
use crate::tty::{self, AttachEnd};
use crate::ui::Ui;

/// The most a command is given on its standard input.
const STDIN_BYTES_MAX: u64 = 4 << 20;

/// Signals that end a program are added to this in exit codes, as shells do.
const SIGNAL_BASE: i32 = 128;

/// What `timeout` programs exit with.
const TIMED_OUT: u8 = 124;

/// What `umbra exec` was asked.
pub(super) struct Exec {
    pub(super) place: String,
    pub(super) command: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) workdir: String,
    pub(super) timeout: Option<u64>,
    pub(super) stdin: bool,
    pub(super) services: bool,
    pub(super) provider: Option<String>,
}

/// Opens a terminal; its command's exit code is this program's.
pub(super) fn shell(
    ui: &Ui,
    client: &Client,
    place: String,
    command: Vec<String>,
    services: bool,
    provider: Option<String>,
) -> Done {
    let command = shell_command(command);
    let exec = ExecRequest { place: Place::Any(place), command, services, provider };
    let attached = client.attach(&AttachRequest { exec, size: tty::size() })?;
    if !std::io::stdin().is_terminal() {
        ui.story("note: standard input is no terminal; `umbra exec` suits scripts better");
    }
    match tty::carry(attached)? {
        AttachEnd::Exit(exit) => Ok(finish_of(exit)),
        AttachEnd::Lost(why) => {
            let message = format!("keep the terminal: {why}");
            Err(CliError::new(Finish::Environment, message))
        }
    }
}

/// The command of a terminal; without one, the best shell the shadow has.
pub(super) fn shell_command(argv: Vec<String>) -> Command {
    let mut command = if argv.is_empty() {
        Command::new([
            "/bin/sh",
            "-c",
            "if command -v bash >/dev/null; then exec bash; fi; exec sh",
        ])
    } else {
        Command::new(argv)
    };
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".into());
    command.cwd = "/".into();
    command.with_env("TERM", terminal)
}

/// Runs a command to its end; its exit code is this program's.
pub(super) fn exec(ui: &Ui, client: &Client, exec: Exec) -> Done {
    let mut command = Command::new(exec.command);
    command.user = exec.user;
    command.cwd = exec.workdir;
    command.timeout = exec.timeout.map(Duration::from_secs);
    if exec.stdin {
        command.stdin = read_stdin()?;
    }
    let place = Place::Any(exec.place);
    let (services, provider) = (exec.services, exec.provider);
    let reply = client.exec(&ExecRequest { place, command, services, provider })?;
    if ui.json() {
        ui.answer_with(&reply, |_| String::new())?;
        return Ok(finish_of(reply.exit));
    }
    ui.answer_bytes(&reply.stdout.0)?;
    // The program's own words, as they are: this is its standard error.
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), &reply.stderr.0);
    if reply.dropped_bytes > 0 {
        ui.story(&format!("warning: {} bytes of output were not kept", reply.dropped_bytes));
    }
    if !matches!(reply.exit, Exit::Code(_)) {
        ui.story(&format!("the command ended: {}", reply.exit));
    }
    Ok(finish_of(reply.exit))
}

fn read_stdin() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(STDIN_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::because(Finish::Environment, "read standard input", &error))?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        let message = format!("send standard input: it is longer than {STDIN_BYTES_MAX} bytes");
        return Err(CliError::new(Finish::Usage, message));
    }
    Ok(bytes)
}

fn finish_of(exit: Exit) -> Finish {
    let clamp = |code: i32| u8::try_from(code).unwrap_or(u8::MAX);
    match exit {
        Exit::Code(code) => Finish::Command(clamp(code)),
        Exit::Signal(signal) => Finish::Command(clamp(SIGNAL_BASE.saturating_add(signal))),
        Exit::TimedOut => Finish::Command(TIMED_OUT),
    }
}

/// Lists, creates and removes shadows.
pub(super) fn shadow(ui: &Ui, client: &Client, command: Shadow) -> Done {
    match command {
        Shadow::Ls => ui.answer_with(&client.shadows()?, |shadows| lists::shadows(shadows))?,
        Shadow::Create { from, name, ttl, services, provider } => {
            let owner = std::env::var("USER").ok().filter(|user| !user.is_empty());
            let request = ShadowRequest { from, name, ttl_s: ttl, owner, services, provider };
            let info = client.create_shadow(&request)?;
            ui.answer_with(&info, |info| format!("{}\n", info.name))?;
        }
        Shadow::Take { primary, labels, keep } => {
            return drift::take(ui, client, primary, labels, keep);
        }
        Shadow::Rm { names } => {
            for name in names {
                client.remove_shadow(&name)?;
            }
        }
    }
    Ok(Finish::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_commands_are_those_of_shells() {
        assert_eq!(finish_of(Exit::Code(7)).code(), 7);
        assert_eq!(finish_of(Exit::Code(-1)).code(), 255);
        assert_eq!(finish_of(Exit::Signal(9)).code(), 137);
        assert_eq!(finish_of(Exit::TimedOut).code(), 124);
    }
}
