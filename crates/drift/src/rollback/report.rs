//! What was done and what is: the end of a rollback as a value.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;

use super::activate::Activation;
use super::journal;
use super::plan::Place;
use super::timer::Deadline;
use super::validate::Checked;
use crate::reading::{Content, Value};

/// What became of a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// It is done, verified and confirmed.
    Done,
    /// It is done and verified; it is undone at the deadline unless it is confirmed.
    Waiting {
        /// Until when.
        deadline: Deadline,
    },
    /// It was undone: the primary is as it was before. No success.
    Reverted {
        /// Why, as a sentence after "because".
        why: String,
    },
    /// Nothing was changed.
    Refused {
        /// Why, as a sentence after "because".
        why: String,
    },
    /// It could not be undone either; what was displaced is in the journal.
    Stuck {
        /// Why, as a sentence after "because".
        why: String,
    },
}

impl Outcome {
    /// Whether the primary is as the plan says, for good. What was reverted never is.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Whether nothing more will happen by itself.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Waiting { .. })
    }
}

/// What was done and what is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What the validators said.
    pub checked: Vec<Checked>,
    /// What was done to make changes count, in order; after a revert twice.
    pub activated: Vec<Activation>,
    /// What was there before, for the timeline.
    pub displaced: Vec<Displaced>,
    /// What somebody should know, in sentences.
    pub notes: Vec<String>,
    /// All places for which it was refused; [`Plan::without`](super::Plan::without) them, the
    /// rest may go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfit: Vec<Unfit>,
}

/// A place of a plan that this machine does not let a rollback change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfit {
    /// Which.
    pub place: Place,
    /// Why, as a sentence after "because".
    pub why: String,
}

/// What was at a path before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Displaced {
    /// The absolute path inside the root.
    pub path: Blob,
    /// Its attributes and the digest of its content.
    pub value: Value,
}

impl Displaced {
    /// Its content, from the journal in `dir`; `None` for what has none.
    ///
    /// # Errors
    /// The journal has lost it.
    pub fn content(&self, dir: &Path) -> io::Result<Option<std::fs::File>> {
        match &self.value.content {
            Some(Content::Digest { blake3, .. }) => journal::kept(dir, blake3).map(Some),
            _ => Ok(None),
        }
    }
}
