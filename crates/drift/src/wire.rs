//! What the daemon and an agent say to each other: one JSON document per line, either way.
//!
//! ```text
//! daemon                              agent
//!   begin ───────────────────────────>   reads the configuration, begins to watch
//!         <─────────────────────────── ready, or refused
//!         <─────────────────────────── readings (all of them), then what changes
//!   ask   ───────────────────────────>
//!         <─────────────────────────── an answer with the same number, or why there is none
//!   alive ───────────────────────────>
//!         <─────────────────────────── alive, at once, whatever else the agent does
//!   the line ends ───────────────────>   saves what it remembers and ends
//! ```
//!
//! Instead of beginning, the daemon may ask what a machine has ([`Say::Survey`]), or have the
//! agent forget what it remembers there ([`Say::Forget`]); with the answer that is over.
//!
//! The agent decides nothing: it reads, it says who, and it does what a plan says. Lines are
//! bounded on both sides; what one does not understand ends the conversation.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;

use crate::config::Provenance;
use crate::defaults::Survey;
use crate::discrepancy::Attribution;
use crate::reading::{Item, Reading};
use crate::rollback::plan::Confirmation;
use crate::rollback::{self, Outcome, Plan};
use crate::watch::{Coverage, Mechanism, Receipt};

/// Spoken by this program.
pub const VERSION: u32 = 2;

/// The longest line: a content that is kept, every byte of it escaped, with room for the rest.
pub const LINE_BYTES_MAX: u64 = 16 << 20;

/// Readings in one line, at most.
pub const READINGS_MAX: usize = 128;

/// How an agent is to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// What the daemon speaks.
    pub version: u32,
    /// The primary's root directory; `None` for the agent's own machine.
    pub root: Option<String>,
    /// What problems call the configuration.
    pub config_name: String,
    /// The configuration's text.
    pub config: String,
    /// Where the agent keeps what it remembers between two runs.
    pub state_dir: String,
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum Say {
    /// The first line.
    Begin(Begin),
    /// The first line, where only what a configuration can name is to be found out.
    Survey {
        /// What the daemon speaks.
        version: u32,
        /// The root directory; `None` for the agent's own machine.
        root: Option<String>,
    },
    /// The first line, where a primary is let go of.
    Forget {
        /// What the daemon speaks.
        version: u32,
        /// Where its agent kept what it remembers.
        state_dir: String,
    },
    /// Whether it is alive: answered at once, besides everything else.
    Alive {
        /// Repeated by the answer.
        number: u64,
    },
    /// Something that is answered.
    Ask {
        /// Repeated by the answer.
        number: u64,
        /// What.
        ask: Ask,
    },
}

/// What the daemon asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Every reading, again.
    All,
    /// Whole files, of which parameters tell only keys; by their paths inside the root.
    Files(Vec<Blob>),
    /// Carry a plan out.
    RollBack(Box<RollBack>),
    /// A rollback that waits is good.
    Confirm {
        /// Its name.
        id: String,
    },
    /// Undo a rollback that waits.
    Abort {
        /// Its name.
        id: String,
        /// Why, as a sentence after "because".
        why: String,
    },
    /// What became of a rollback; one that was interrupted is finished or unwound.
    Settle {
        /// Its name.
        id: String,
    },
}

/// A plan, and how it is carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// Its name: letters, digits and `-`.
    pub id: String,
    /// What changes.
    pub plan: Plan,
    /// How it is confirmed, if not as the plan's parameters want it.
    pub confirm: Option<Confirmation>,
    /// Begin although a package manager is at work.
    pub ignore_packages: bool,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "tell")]
pub enum Tell {
    /// It watches.
    Ready {
        /// What the agent speaks.
        version: u32,
        /// Which program it is.
        program: String,
    },
    /// It is alive.
    Alive {
        /// The question.
        number: u64,
        /// How long it has been at one and the same thing, if at any.
        busy_ms: Option<u64>,
    },
    /// What there is that a configuration can name.
    Surveyed(Survey),
    /// What it remembered is gone.
    Forgotten,
    /// It cannot.
    Refused {
        /// Why, as a sentence after "because".
        why: String,
    },
    /// Some of all readings.
    All {
        /// The question, or `None` if nobody asked.
        number: Option<u64>,
        /// They.
        readings: Vec<(Item, Reading)>,
        /// Whether these are the last.
        last: bool,
    },
    /// Readings became others.
    Changed {
        /// They.
        readings: Vec<(Item, Reading)>,
        /// Who made them so.
        attribution: Option<Attribution>,
        /// Whether it is known why.
        provenance: Provenance,
    },
    /// A span of time is covered.
    Receipt(Receipt),
    /// How a filesystem is watched.
    Coverage(Covered),
    /// Something is not as it should be, and goes on.
    Warning {
        /// A sentence.
        what: String,
    },
    /// Whole files; those that are not there, or cannot be read, are not among them.
    Files {
        /// The question.
        number: u64,
        /// They, by path.
        files: Vec<(Blob, Blob)>,
    },
    /// What became of a rollback.
    RolledBack {
        /// The question, or `None` if nobody asked: a rollback that was interrupted was finished
        /// or unwound.
        number: Option<u64>,
        /// Its name.
        id: String,
        /// What became of it.
        outcome: Outcome,
        /// How long it waits still, if it waits.
        left_ms: Option<u64>,
        /// What was done.
        report: Box<rollback::Report>,
    },
    /// What was asked for could not be done.
    Failed {
        /// The question.
        number: u64,
        /// Why, as a sentence after "because".
        why: String,
    },
}

/// How a filesystem is watched, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covered {
    /// Where it is mounted, or the watched path on it.
    pub at: Blob,
    /// Its type.
    pub kind: String,
    /// By what, such as `fanotify`.
    pub by: String,
    /// What that misses, and why there is nothing better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misses: Option<String>,
}

impl Covered {
    /// In words.
    pub fn of(coverage: &Coverage) -> Self {
        let (by, misses) = match &coverage.by {
            Mechanism::Fanotify(_) => ("fanotify", None),
            Mechanism::Directories { watches, unwatched, why, .. } => {
                let beyond = format!("{unwatched} directories beyond the {watches} marked");
                let misses = format!("{beyond}, since a mark of all was refused: {why}");
                ("fanotify, directory by directory", Some(misses))
            }
            Mechanism::Inotify { watches, unwatched, why } => {
                let beyond =
                    format!("who, and {unwatched} directories beyond the {watches} watched");
                ("inotify", Some(format!("{beyond}, since a mark was refused: {why}")))
            }
            Mechanism::Polled { why } => (
                "reading again and again",
                Some(format!("what is undone in between, and who: {why}")),
            ),
        };
        Self {
            at: Blob(coverage.at.as_os_str().as_bytes().to_vec()),
            kind: coverage.kind.clone(),
            by: by.to_owned(),
            misses,
        }
    }
}

/// Writes one line.
///
/// # Errors
/// What the writer fails with; a value with no JSON form.
pub fn write(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one line; `None` if there are no more.
///
/// # Errors
/// What the reader fails with; a line that is too long, cut off or not understood.
pub fn read<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        Some(_) if line.len() as u64 + 1 == LINE_BYTES_MAX => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_one_by_one() {
        let said = [Say::Ask { number: 1, ask: Ask::All }, Say::Ask { number: 2, ask: Ask::All }];
        let mut bytes = Vec::new();
        said.iter().for_each(|say| write(&mut bytes, say).expect("written"));
        let mut from = &bytes[..];
        for say in said {
            assert_eq!(read::<Say>(&mut from).expect("read"), Some(say));
        }
        assert_eq!(read::<Say>(&mut from).expect("read"), None);
    }

    #[test]
    fn what_is_cut_off_or_not_understood_is_an_error() {
        let read = |bytes: &[u8]| read::<Say>(&mut &bytes[..]).map_err(|error| error.kind());
        assert_eq!(read(b"{\"say\":"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(b"{}\n"), Err(io::ErrorKind::InvalidData));
        assert_eq!(read(b"\n"), Err(io::ErrorKind::UnexpectedEof));
    }
}
