//! What a checked file says, as plain values with every default filled in.

use std::collections::BTreeSet;
use std::time::Duration;

use umbra_api::blob::Blob;

use super::notify::Notify;
use super::number::Numbers;
use super::policy::Policy;
use super::severity::Severities;
use super::source::Source;
use super::tolerance::Tolerance;
use super::words::words;
use crate::reading::{Item, Snapshot};

/// A whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What counts as a number, by the file's version.
    pub numbers: Numbers,
    /// What is watched, in the order of the file; no two have one name.
    pub parameters: Vec<Parameter>,
    /// Which shadows of the past are kept.
    pub history: History,
    /// What may be done without asking.
    pub policy: Policy,
    /// Who is told.
    pub notify: Vec<Notify>,
}

/// Which shadows of the past are kept. The known good one always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// So many.
    pub count: u32,
    /// None that is older.
    pub age: Duration,
    /// How often one is taken by itself, if something changed.
    pub every: Duration,
}

impl Config {
    /// The path inside the primary's root that an item is about, if it is about one.
    pub fn path_of(&self, item: &Item) -> Option<Blob> {
        let parameter = self.parameters.iter().find(|one| one.name == item.parameter)?;
        match &parameter.source {
            Source::File { path, .. } => Some(Blob(path.clone().into_bytes())),
            Source::Tree { .. } => item.part.clone(),
            _ => None,
        }
    }

    /// What of a snapshot is held against a shadow: all but what moves by itself. Only that is
    /// worth a shadow of its own.
    pub fn held(&self, snapshot: &Snapshot) -> Snapshot {
        let free: BTreeSet<&str> = self
            .parameters
            .iter()
            .filter(|one| !one.tolerance.is_held())
            .map(|one| one.name.as_str())
            .collect();
        let readings = snapshot.readings.iter();
        let held = readings.filter(|(item, _)| !free.contains(item.parameter.as_str()));
        Snapshot { readings: held.map(|(item, reading)| (item.clone(), reading.clone())).collect() }
    }
}

/// One thing that is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name, unique in the file.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
    /// How far it may be from the shadow's.
    pub tolerance: Tolerance,
    /// How grave a drift of it is.
    pub severity: Severities,
    /// What holds whatever the shadow says.
    pub expect: Expect,
    /// What to do about a drift.
    pub on_drift: OnDrift,
    /// How long it must be quiet before it is looked at.
    pub debounce: Duration,
    /// How often it is looked at where nothing tells of changes.
    pub poll: Duration,
    /// What of it means nothing.
    pub ignore: Ignore,
    /// What of it never leaves the machine.
    pub nodiff: NoDiff,
    /// Whose changes are expected.
    pub owned_by: Vec<String>,
    /// A command that accepts a good file; `{file}` stands for its path.
    pub validate: Vec<String>,
    /// What makes a changed file count.
    pub apply: Option<Apply>,
    /// How a rollback of it is confirmed, if it must be.
    pub confirm: Option<Confirm>,
    /// How it is put back.
    pub rollback: Rollback,
}

words! {
    /// What to do about a drift.
    OnDrift {
        /// Tell.
        Alert = "alert",
        /// Tell, and try on a shadow what it would break.
        Rehearse = "rehearse",
        /// Tell, and put the shadow's value back as the policy allows.
        Rollback = "rollback",
    }
}

/// What holds whatever the shadow says; empty for nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expect {
    /// The value is one of these; empty for any.
    pub one_of: Vec<String>,
    /// It is a number and not below this.
    pub ge: Option<f64>,
    /// It is a number and not above this.
    pub le: Option<f64>,
}

/// Differences that mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignore {
    /// Keys, or `PATH:KEY` in a tree; `*` stands for any part.
    pub keys: Vec<String>,
    /// Regular expressions of lines.
    pub lines: Vec<String>,
    /// The order of lines.
    pub order: bool,
    /// White space around and between words, and empty lines.
    pub whitespace: bool,
}

/// What never leaves the machine; only its digest is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoDiff {
    /// Nothing or everything.
    Whole(bool),
    /// Paths of a tree that match one of these patterns.
    Paths(Vec<String>),
}

/// What makes a changed file count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// A unit reads it again.
    Reload(String),
    /// A unit starts again.
    Restart(String),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// How a rollback is confirmed; without, it is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    /// How long there is to confirm it.
    pub timeout: Duration,
    /// An address that must accept connections, `{host}` standing for the primary; a person
    /// confirms if not given.
    pub probe: Option<String>,
}

/// How a parameter is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// In which manner.
    pub mode: RollbackMode,
    /// Paths of a tree that are never put back.
    pub never: Vec<String>,
}

words! {
    /// In which manner a parameter is put back.
    RollbackMode {
        /// As the shadow has it, as a whole.
        Restore = "restore",
        /// Only the keys that drifted, unrelated changes staying.
        Merge = "merge",
        /// Not at all.
        Never = "never",
    }
}
