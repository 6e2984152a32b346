//! `ip` and `tc`, which make the kernel copy packets.

use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;
use umbra_state::escape;

/// Why one of them did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("run {program} (of the package iproute2)")]
    Missing {
        /// Which.
        program: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("{program} {arguments}: {said}")]
    Refused {
        /// Which.
        program: &'static str,
        /// What it was to do.
        arguments: String,
        /// What it said, escaped.
        said: String,
    },
    /// It says what nobody understands.
    #[error("read what {program} {arguments} says")]
    Unreadable {
        /// Which.
        program: &'static str,
        /// What it was to say.
        arguments: String,
        /// Where it is no JSON.
        #[source]
        source: serde_json::Error,
    },
}

/// Root's programs are needed although not every account's PATH has them.
const ROOTS_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// The words of a command, which are separated by single spaces.
pub fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

/// Has `ip` or `tc` do something.
///
/// # Errors
/// Where it is not there, or refuses.
pub fn run(program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.env("PATH", format!("{path}:{ROOTS_PATH}"));
    let output = command.output().map_err(|source| ToolError::Missing { program, source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = escape::line(output.stderr.trim_ascii(), 300);
    let arguments = escape::line(arguments.join(" ").as_bytes(), 200);
    Err(ToolError::Refused { program, arguments, said })
}

/// Asks `ip` or `tc` for a list.
///
/// # Errors
/// Where it is not there, refuses, or answers no JSON.
pub fn ask(program: &'static str, arguments: &str) -> Result<Vec<Value>, ToolError> {
    let answer = run(program, &words(&format!("-j {arguments}")))?;
    // Of nothing some versions say nothing at all.
    if answer.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&answer).map_err(|source| ToolError::Unreadable {
        program,
        arguments: escape::line(arguments.as_bytes(), 200),
        source,
    })
}
