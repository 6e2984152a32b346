//! Why a command ended early: one sentence for a person, one exit code for CI.

use std::fmt;

/// See the module. Codes are those of `umbra` itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Looked, and it is bad: a test failed, the demo did not go as it must.
    Failed(String),
    /// The command makes no sense.
    Usage(String),
    /// The machine lacks something.
    Missing {
        /// What, as a sentence without its full stop.
        what: String,
        /// What to do about it.
        advice: String,
    },
    /// A signal asked for the end.
    Interrupted,
}

impl Stop {
    pub(crate) fn missing(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), advice: advice.into() }
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Missing { .. } => 3,
            Self::Interrupted => 130,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(what) => write!(f, "xtask: {what}"),
            Self::Usage(what) => write!(f, "xtask: {what}; `cargo xtask help` lists what there is"),
            Self::Missing { what, advice } => write!(f, "xtask: {what}: {advice}"),
            Self::Interrupted => f.write_str("xtask: interrupted"),
        }
    }
}
