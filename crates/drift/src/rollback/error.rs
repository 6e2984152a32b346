//! What can go wrong, in two families: the machine refuses ([`Trouble`], which becomes an
//! outcome), or the journal cannot be kept ([`RollbackError`]).

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use umbra_state::escape::escape;

use super::report::Unfit;

/// Why a step of a rollback cannot be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The kernel refused.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody changed it since the plan was made.
    #[error("{path} is not what it was when the rollback was planned")]
    Moved {
        /// Which, escaped.
        path: String,
    },
    /// It is something a rollback does not touch.
    #[error("change {path}: {why}")]
    Unfit {
        /// Which, escaped.
        path: String,
        /// Why, as a sentence.
        why: String,
    },
    /// So are several places.
    #[error("change {first}: {why}; nor can {} be changed", counted(*.more))]
    UnfitToo {
        /// The first, escaped.
        first: String,
        /// Why, as a sentence.
        why: String,
        /// How many besides.
        more: usize,
    },
    /// Another program is changing the system's files.
    #[error("{program} is at work (it holds {lock}); wait until it is done")]
    Packages {
        /// Which kind of program.
        program: &'static str,
        /// What it holds, and who it is where that is known.
        lock: String,
    },
    /// A file does not hold what was written to it.
    #[error("give {path} its {what}: it did not take")]
    NotTaken {
        /// Which, escaped.
        path: String,
        /// What it should have.
        what: &'static str,
    },
    /// What was displaced is not in the journal any more.
    #[error("find what was displaced from {path} in the journal")]
    Lost {
        /// Which, escaped.
        path: String,
    },
    /// The journal cannot be kept.
    #[error("keep the journal")]
    Journal(#[from] RollbackError),
}

/// Why nothing can be said of a rollback.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The journal cannot be read or written.
    #[error("{doing}")]
    Journal {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process works on this rollback.
    #[error("take the rollback at {}: another process is at work on it", .0.display())]
    Busy(PathBuf),
    /// There is no such rollback, or its journal says nothing.
    #[error("read the rollback at {}: its journal says nothing", .0.display())]
    Empty(PathBuf),
    /// Its journal has a record that no version of this program writes.
    #[error("read the rollback at {}: line {line} of its journal is damaged", path.display())]
    Damaged {
        /// Where the journal is.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// Another rollback of this primary is not over.
    #[error("begin the rollback: the one at {} is not over", .0.display())]
    Unfinished(PathBuf),
    /// The plan has conflicts, or nothing to do.
    #[error("begin the rollback: {0}")]
    Plan(&'static str),
    /// Something stands in its way.
    #[error("begin the rollback: {0}")]
    Blocked(String),
    /// It does not wait for anybody.
    #[error("confirm the rollback: it is {0}")]
    NotWaiting(&'static str),
}

impl Trouble {
    /// That a plan's places are unfit.
    pub(super) fn unfit(first: &Unfit, more: usize) -> Self {
        let (path, why) = (first.place.to_string(), first.why.clone());
        match more {
            0 => Self::Unfit { path, why },
            more => Self::UnfitToo { first: path, why, more },
        }
    }
}

fn counted(more: usize) -> String {
    match more {
        1 => "another place".to_owned(),
        more => format!("{more} other places"),
    }
}

/// For `map_err` on a system call about `path`.
pub(super) fn system(doing: &str, path: &Path) -> impl FnOnce(Errno) -> Trouble {
    let doing = format!("{doing} {}", shown(path));
    move |source| Trouble::System { doing, source: source.into() }
}

/// For `map_err` on what is done to the journal.
pub(super) fn journal(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> RollbackError {
    let doing = format!("{doing} {}", shown(path));
    move |source| RollbackError::Journal { doing, source }
}

/// A path for a message.
pub(super) fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes()).to_string()
}
