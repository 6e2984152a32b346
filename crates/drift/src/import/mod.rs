//! A `monitoring_config.yml` out of another tool's configuration.
//!
//! Pure functions from text to text. What a drift configuration cannot say, or says
//! differently, becomes a [`Note`]: it is told, and stands as a comment beside what was written
//! instead. Where something must be said more widely or more narrowly than there, never less is
//! watched than before.
//!
//! | module | reads |
//! |---|---|
//! | `aide` | `aide.conf`: groups of attributes, lines that select |
//! | `osquery` | `osquery.conf`: `file_paths` and `exclude_paths` |
//! | `wazuh` | `ossec.conf`: `<syscheck>` |
//! | `goss` | `goss.yaml`: what has a source in a drift configuration |
//! | `expression`, `pattern` | paths that expressions match, as globs |
//! | `index` | globs that can match the same |
//! | `draft` | what is written |

mod aide;
mod draft;
mod expression;
mod goss;
mod index;
mod osquery;
mod pattern;
#[cfg(test)]
mod tests;
mod wazuh;

use std::path::Path;

use umbra_document::Problems;
use umbra_document::file::{ReadError, read_text};
use umbra_state::escape::escape;

use draft::Draft;

/// Another tool's file may be this long.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A tool whose configuration can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// AIDE: `aide.conf`.
    Aide,
    /// osquery: `osquery.conf`.
    Osquery,
    /// Wazuh, and OSSEC: `ossec.conf`, `agent.conf`.
    Wazuh,
    /// goss: `goss.yaml`.
    Goss,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The text of a drift configuration; it passes every check.
    pub text: String,
    /// How many parameters it has.
    pub parameters: usize,
    /// What it does not say as the other file did, in the order of its text.
    pub notes: Vec<Note>,
}

/// Something that could not be taken over as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line in the other file, from 1.
    pub line: usize,
    /// What is different; printable, on one line.
    pub what: String,
}

/// A file that becomes no configuration. `Display` reads on after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("read {path}")]
    Unreadable {
        /// Its path, escaped.
        path: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// It is longer than [`FILE_BYTES_MAX`].
    #[error("read more than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// It is not what the tool reads.
    #[error("understand line {line}: {why}")]
    Malformed {
        /// Where it stops being that, from 1.
        line: usize,
        /// What was found; printable.
        why: String,
    },
    /// There are mistakes in it.
    #[error("understand it")]
    Mistakes(Problems),
    /// It becomes more than a drift configuration may hold.
    #[error("hold all of it: it becomes more than a drift configuration may be")]
    TooMuch,
    /// Nothing in it has a counterpart.
    #[error("find anything in it that a drift configuration can say")]
    Nothing {
        /// What was found instead.
        notes: Vec<Note>,
    },
}

impl Tool {
    /// Its name, as it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Aide => "aide",
            Self::Osquery => "osquery",
            Self::Wazuh => "wazuh",
            Self::Goss => "goss",
        }
    }
}

/// Reads a file of a tool.
pub fn load(tool: Tool, path: &Path) -> Result<Imported, ImportError> {
    let text = read_text(path, FILE_BYTES_MAX).map_err(|source| {
        let path = escape(path.as_os_str().as_encoded_bytes()).to_string();
        ImportError::Unreadable { path, source }
    })?;
    parse(tool, &text)
}

/// Reads the text of a tool's file.
pub fn parse(tool: Tool, text: &str) -> Result<Imported, ImportError> {
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ImportError::TooLong);
    }
    let mut draft = Draft::new(tool);
    match tool {
        Tool::Aide => aide::read(text, &mut draft),
        Tool::Osquery => osquery::read(text, &mut draft)?,
        Tool::Wazuh => wazuh::read(text, &mut draft)?,
        Tool::Goss => goss::read(text, &mut draft)?,
    }
    draft.finish()
}
