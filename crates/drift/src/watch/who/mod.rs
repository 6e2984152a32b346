//! Who made a change, even if it is gone by the time the event is read.
//!
//! Executions arrive in the same queue as changes, so replaying them in order says what
//! each process was at the time of its write. Where the process still lives, `/proc` adds
//! what an event does not say (arguments, user, parent, unit), believed only if its pidfd
//! shows afterwards that the number had not passed to another process.
//!
//! A process that forked and never executed is what its parent is: the kernel's process
//! connector says who forked whom.
//!
//! Limits: without the connector such a process is known only while it lives; events carry
//! no user; parents of a process that ended before its execution was read are not known
//! without it either. From within a process namespace nobody outside can be told from
//! another ([`Known::Outside`]).

pub mod class;
mod forks;
pub mod origin;
mod process;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use class::Class;
pub use origin::Origin;
pub use process::ProcessRef;
pub use table::Executions;

/// A process and the program it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its number.
    pub pid: i32,
    /// The file it executed; for a script its interpreter. `None` if that is not known.
    #[serde(with = "crate::raw::path", default)]
    pub exe: Option<PathBuf>,
    /// The script, if `exe` is its interpreter.
    #[serde(with = "crate::raw::path", default)]
    pub script: Option<PathBuf>,
}

/// How a writer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// It lived when it was looked at.
    Alive,
    /// It was gone; executions replayed say what it had been.
    Replayed,
    /// Nothing is known but its number.
    Not,
    /// It runs outside of this process namespace, which shows nothing of it.
    Outside,
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Its process number; 0 for one outside of this namespace.
    pub pid: i32,
    /// What it ran.
    pub program: Program,
    /// Its command line as it showed itself, which any process can change; at most 4 KiB.
    #[serde(with = "crate::raw::names", default)]
    pub argv: Vec<OsString>,
    /// Its effective user.
    pub uid: Option<u32>,
    /// The user who once logged in, whatever `su` or `sudo` came after.
    pub login_uid: Option<u32>,
    /// Its parents, nearest first; at most 16.
    pub parents: Vec<Program>,
    /// Its unit, session and container.
    pub origin: Origin,
    /// Whether its kind is known to change files by design.
    pub class: Class,
    /// How this is known.
    pub known: Known,
}

impl Writer {
    /// A process of which only the number is known.
    pub fn unknown(pid: i32) -> Self {
        Self {
            pid,
            program: Program { pid, exe: None, script: None },
            argv: Vec::new(),
            uid: None,
            login_uid: None,
            parents: Vec::new(),
            origin: Origin::default(),
            class: Class::Unexplained,
            known: if pid == 0 { Known::Outside } else { Known::Not },
        }
    }
}
