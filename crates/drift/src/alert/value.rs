//! What is told of a discrepancy.

use std::fmt;

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;

use crate::config::Severity;
use crate::discrepancy::{Attribution, Discrepancy};
use crate::reading::Item;

/// Whose fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The machine's name.
    pub primary: String,
    /// Which of its facts.
    pub item: Item,
}

/// What is told of one discrepancy, from its opening to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its name, the same from opening to end.
    pub id: String,
    /// How many times it was told; with the id it names one telling.
    pub told: u64,
    /// When it was told last.
    pub told_at_ms: i64,
    /// The machine it is about.
    pub primary: String,
    /// What differs now, or differed last.
    pub discrepancy: Discrepancy,
    /// The path it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Blob>,
    /// Who made it so; `None` if nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// Where in its life it is.
    pub standing: Standing,
    /// Why it is told this time.
    pub news: News,
    /// When it was opened, in milliseconds since 1970 UTC.
    pub opened_at_ms: i64,
    /// Since when it is as it is; once it is over, when it ended.
    pub since_ms: i64,
    /// How often a comparison had something new to say about it, the first time included.
    pub seen: u64,
    /// Every severity it was told with, the gravest last.
    pub severities: Vec<Severity>,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What might be done about its coming again and again. Offered, never done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
    /// Commands a person can type now.
    pub next_steps: Vec<String>,
}

/// Where in its life an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It differs.
    Open,
    /// It differs and agrees in turns.
    Flapping,
    /// It is over.
    Resolved,
}

/// Why an alert is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// It differs, and did not.
    Opened,
    /// It differs in another way.
    Changed,
    /// It is graver than it was.
    Escalated,
    /// It changes so often that nothing more is told until it settles.
    Flapping,
    /// It has settled, and differs.
    Settled,
    /// It came so often that an `ignore` rule is worth a thought.
    Repeated,
    /// It still differs.
    Reminder,
    /// It is over.
    Resolved,
}

/// How an alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The readings agree again.
    Agrees,
    /// A rollback put the shadow's value back.
    RolledBack,
    /// The primary's value is the good one now.
    Accepted,
    /// Nobody watches the item any more.
    Unwatched,
    /// Somebody watches the primary again.
    Watched,
}

/// That an item came again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// How often.
    pub repeats: u64,
    /// Within which time.
    pub within_ms: i64,
}

impl Alert {
    /// The machine and the fact it is about.
    pub fn key(&self) -> Key {
        Key { primary: self.primary.clone(), item: self.discrepancy.item.clone() }
    }

    /// Names this telling: who gets it twice can tell.
    pub fn telling(&self) -> String {
        format!("{}/{}", self.id, self.told)
    }

    /// Since when it differs as is told. Of what agrees now, that is since its opening: when it
    /// ended is another moment.
    pub fn differs_since_ms(&self) -> i64 {
        if self.ended.is_some() { self.opened_at_ms } else { self.since_ms }
    }
}

impl News {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Opened,
        Self::Changed,
        Self::Escalated,
        Self::Flapping,
        Self::Settled,
        Self::Repeated,
        Self::Reminder,
        Self::Resolved,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Changed => "changed",
            Self::Escalated => "escalated",
            Self::Flapping => "flapping",
            Self::Settled => "settled",
            Self::Repeated => "repeated",
            Self::Reminder => "reminder",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Ended {
    /// How, as a sentence after "because".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agrees => "primary and shadow agree again",
            Self::RolledBack => "a rollback put the shadow's value back",
            Self::Accepted => "the primary's value was accepted",
            Self::Unwatched => "it is not watched any more",
            Self::Watched => "it is watched again",
        }
    }
}
