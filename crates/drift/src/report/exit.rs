//! Exit codes for scripts.

use super::Check;
use crate::discrepancy::{Discrepancy, Finding};

/// What a program's end says of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExitCodes {
    /// AIDE's: the sum of 1 if something appeared, 2 if something vanished and 4 if something
    /// changed; from 14 on something went wrong.
    #[default]
    Aide,
    /// Terraform's `-detailed-exitcode`: 0 if nothing differs, 1 if something went wrong, 2 if
    /// something differs.
    Terraform,
}

/// What went wrong, as AIDE numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The report could not be written.
    Write = 14,
    /// The command line makes no sense.
    Argument = 15,
    /// The configuration has mistakes.
    Config = 17,
    /// Something could not be read.
    Io = 18,
    /// What was read is of a version that is not known.
    Version = 19,
    /// Somebody else is at work.
    Lock = 21,
    /// There is not enough memory.
    Memory = 22,
    /// A thread could not be started.
    Thread = 23,
    /// What was kept cannot be understood.
    Database = 24,
    /// A signal ended it.
    Signal = 25,
}

impl ExitCodes {
    /// The words for `--exit-code`.
    pub const WORDS: [&'static str; 2] = ["aide", "terraform"];

    /// The codes of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "aide" => Some(Self::Aide),
            "terraform" => Some(Self::Terraform),
            _ => None,
        }
    }

    /// The code of a check. Where something could not be read nobody knows that nothing
    /// differs, and that is what the code says, whatever else was found.
    pub fn of(self, check: &Check) -> u8 {
        if !check.unread.is_empty() {
            return self.failed(Failure::Io);
        }
        match self {
            Self::Aide => {
                check.entries.iter().fold(0, |code, entry| code | bit(&entry.discrepancy))
            }
            Self::Terraform => {
                let differs = check.entries.iter().any(|entry| !entry.discrepancy.is_ahead());
                if differs { 2 } else { 0 }
            }
        }
    }

    /// The code of a check that could not be made.
    pub fn failed(self, failure: Failure) -> u8 {
        match self {
            Self::Aide => failure as u8,
            Self::Terraform => 1,
        }
    }
}

fn bit(discrepancy: &Discrepancy) -> u8 {
    let has = |wanted: &Finding| discrepancy.findings.iter().any(|finding| finding == wanted);
    // What soon will differ does not yet.
    if discrepancy.is_ahead() {
        0
    } else if has(&Finding::Appeared) {
        1
    } else if has(&Finding::Vanished) {
        2
    } else {
        4
    }
}
