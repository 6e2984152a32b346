//! What several resources ask for is looked up once per test.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use umbra_state::{Command, Output};

use super::accounts::Accounts;
use super::packages::Packages;
use crate::check::remaining;
use crate::target::{ProbeError, Target, root};

const FILE_BYTES_MAX: u64 = 32 << 20;

/// One shadow during one attempt of one test.
pub(super) struct World<'a> {
    pub(super) target: &'a dyn Target,
    deadline: Instant,
    accounts: OnceCell<Accounts>,
    packages: OnceCell<Packages>,
    processes: OnceCell<Vec<String>>,
}

impl<'a> World<'a> {
    pub(super) fn new(target: &'a dyn Target, deadline: Instant) -> Self {
        let (accounts, packages) = (OnceCell::new(), OnceCell::new());
        Self { target, deadline, accounts, packages, processes: OnceCell::new() }
    }

    /// How long something may take that would like to take `wanted`.
    pub(super) fn time(&self, wanted: Option<Duration>) -> Duration {
        let left = remaining(self.deadline);
        wanted.map_or(left, |wanted| wanted.min(left))
    }

    pub(super) fn run(
        &self,
        command: Command,
        wanted: Option<Duration>,
    ) -> Result<Output, ProbeError> {
        self.target.run(&command.with_timeout(self.time(wanted)))
    }

    /// What a small script of ours prints; it must succeed.
    pub(super) fn ask(&self, script: &str) -> Result<Vec<u8>, ProbeError> {
        let output = self.run(Command::shell(script), None)?;
        if output.exit.success() && output.dropped_bytes == 0 {
            return Ok(output.stdout);
        }
        let said = umbra_state::escape::escape(&output.stderr[..output.stderr.len().min(200)]);
        Err(ProbeError::Tool {
            tool: script.chars().take(60).collect(),
            detail: format!("{}, {} bytes lost: {said}", output.exit, output.dropped_bytes),
        })
    }

    pub(super) fn file(&self, path: &[u8]) -> Result<Option<Vec<u8>>, ProbeError> {
        root::read_file(self.target.root(), path, FILE_BYTES_MAX)
    }

    pub(super) fn accounts(&self) -> Result<&Accounts, ProbeError> {
        once(&self.accounts, || Accounts::read(self))
    }

    pub(super) fn packages(&self) -> Result<&Packages, ProbeError> {
        once(&self.packages, || Packages::read(self))
    }

    /// The names of running processes, as the kernel keeps them (15 bytes).
    pub(super) fn processes(&self) -> Result<&[String], ProbeError> {
        let read = || {
            let text = self.ask("for f in /proc/[0-9]*/comm; do read -r name < \"$f\" && printf '%s\\n' \"$name\"; done 2>/dev/null; true")?;
            let names = text.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
            Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
        };
        once(&self.processes, read).map(Vec::as_slice)
    }
}

/// The value of a cell, made when it is first asked for; a failure is not remembered.
fn once<T>(
    cell: &OnceCell<T>,
    make: impl FnOnce() -> Result<T, ProbeError>,
) -> Result<&T, ProbeError> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
