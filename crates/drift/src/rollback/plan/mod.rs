//! Plans: what a rollback would change, what not and why, as a value that is shown, stored and
//! sent. Making one touches nothing.

mod content;
mod gather;
mod make;
mod merge;
mod never;
mod path;
mod show;
mod sides;
mod single;
#[cfg(test)]
mod tests;

pub use make::{Request, plan};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;

use super::activate::Action;
use super::report::Unfit;
use crate::config::Attribute;
use crate::discrepancy::KeyChange;
use crate::reading::{Item, Reading};

/// Which drifts are put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All.
    Everything,
    /// What lies at a path or below it.
    Path(PathBuf),
    /// What a parameter tells.
    Parameter(String),
    /// One key of the file at a path.
    Key {
        /// The file.
        path: PathBuf,
        /// The key, in any spelling that [`format`](mod@crate::format) reads.
        key: String,
    },
}

/// What is done where primary, last known good and target are three different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflicts {
    /// It is a conflict, and nothing is done while there is one.
    #[default]
    Stop,
    /// The target counts.
    Target,
}

/// What a rollback would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What would change, in the order of places.
    pub changes: Vec<Change>,
    /// What has drifted and would stay.
    pub left: Vec<Left>,
    /// What must be decided first.
    pub conflicts: Vec<Conflict>,
    /// How the rollback is confirmed, as the parameters it touches want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirmation>,
}

/// One place that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// In which manner.
    pub class: Class,
    /// What is there now; nothing is done if it is something else by then.
    pub from: Reading,
    /// What would be there.
    pub to: Aim,
    /// The keys that would change, where the file's format is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
    /// What the items say afterwards.
    pub items: Vec<Expected>,
    /// Commands of the configuration that must accept the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Vec<String>>,
    /// What makes it count, by the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// An item, and what it says when the rollback is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Which fact.
    pub item: Item,
    /// What it says then; attributes not listed do not matter.
    pub reading: Reading,
}

/// Something that can be changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// An absolute path inside the primary's root.
    Path(Blob),
    /// A setting of the kernel, as its path below `/proc/sys`.
    Setting(String),
}

/// In which manner something is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// As a whole.
    Restore,
    /// Only the keys that drifted.
    Merge,
}

/// What would be at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// Nothing.
    Absent,
    /// Something.
    Present {
        /// Its bytes; `None` leaves them as they are.
        content: Option<Blob>,
        /// What is set; what is not listed stays as it is. An empty list of control, empty
        /// capabilities and empty extended attributes are removed.
        attributes: BTreeMap<Attribute, Blob>,
    },
}

/// What has drifted and stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// Which fact.
    pub item: Item,
    /// Which of its keys, if it is not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Why, as a sentence after "because".
    pub why: String,
}

/// Something of which primary, last known good and target say three different things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// Which fact.
    pub item: Item,
    /// Which key of it, or which attribute; the whole if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// What the last known good says.
    pub base: Option<Blob>,
    /// What the primary says.
    pub current: Option<Blob>,
    /// What the target says.
    pub target: Option<Blob>,
}

/// How a rollback is confirmed; without, it is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// How long there is to confirm it, in milliseconds.
    pub timeout_ms: u64,
    /// Addresses that must accept connections, `tcp://HOST:PORT`.
    pub probes: Vec<String>,
    /// Whether a person must say so.
    pub by_person: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The same plan, these places left as they are.
    pub fn without(mut self, unfit: &[Unfit]) -> Self {
        for Unfit { place, why } in unfit {
            for change in self.changes.extract_if(.., |change| change.place == *place) {
                let left = change.items.into_iter().map(|expected| Left {
                    item: expected.item,
                    key: None,
                    why: why.clone(),
                });
                self.left.extend(left);
            }
        }
        self
    }
}

impl Place {
    /// The path, if it is one.
    pub fn path(&self) -> Option<&Path> {
        use std::os::unix::ffi::OsStrExt;
        match self {
            Self::Path(path) => Some(Path::new(std::ffi::OsStr::from_bytes(&path.0))),
            Self::Setting(_) => None,
        }
    }
}
