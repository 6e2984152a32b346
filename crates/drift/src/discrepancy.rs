//! Discrepancies: readings of a primary and its shadow that differ beyond tolerance, and who is
//! known to have made them so. Values only.

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;

use crate::config::{Attribute, Difference, Provenance, Severity};
use crate::forecast::{Bound, Breach};
use crate::reading::{Item, Reading};
use crate::watch::who::Writer;

/// An item that differs beyond its parameter's tolerance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discrepancy {
    /// Which fact.
    pub item: Item,
    /// How grave.
    pub severity: Severity,
    /// Whether it is known why.
    pub provenance: Provenance,
    /// What the shadow says.
    pub shadow: Reading,
    /// What the primary says now.
    pub primary: Reading,
    /// What differs, the gravest first; never empty.
    pub findings: Vec<Finding>,
    /// What would have been tolerated, in words; `None` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<String>,
}

/// One thing that differs about an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// It is there, and was not.
    Appeared,
    /// It was there, and is not.
    Vanished,
    /// Nobody knows what the primary says.
    Unreadable {
        /// Why, as a sentence after "because".
        why: String,
    },
    /// The value is another.
    Value {
        /// How far from the shadow's.
        difference: Difference,
        /// The keys that differ, where the text has a format; at most [`CHANGES_MAX`].
        changes: Vec<KeyChange>,
        /// Keys beyond those.
        #[serde(default)]
        more_changes: u64,
    },
    /// An attribute is another.
    Attribute {
        /// Which.
        attribute: Attribute,
        /// On the shadow; `None` if it has none.
        shadow: Option<Blob>,
        /// On the primary.
        primary: Option<Blob>,
    },
    /// What must hold whatever the shadow says does not.
    Unexpected {
        /// What was expected, in words.
        expected: String,
    },
    /// Nothing differs yet, but its number will soon be where it must not be.
    Nears {
        /// Where that is.
        bound: Bound,
        /// When it will be there.
        breach: Breach,
    },
    /// Nothing is known of the primary: nobody watches it.
    Unwatched {
        /// Why, as a sentence after "because".
        why: String,
    },
}

impl Finding {
    /// Whether it is about what is expected, whatever the shadow says: then there is nothing to
    /// put back, and to accept it would change nothing.
    pub fn is_of_expectation(&self) -> bool {
        matches!(self, Self::Unexpected { .. } | Self::Nears { .. })
    }
}

impl Discrepancy {
    /// Whether nothing differs yet: it is told because it soon will.
    pub fn is_ahead(&self) -> bool {
        let nears = |finding: &Finding| matches!(finding, Finding::Nears { .. });
        !self.findings.is_empty() && self.findings.iter().all(nears)
    }

    /// That nobody watches the primary, and why, as a value that alerts tell of as of any other.
    pub fn unwatched(why: String) -> Self {
        Self {
            item: Item::primary(),
            severity: Severity::High,
            provenance: Provenance::Unexplained,
            shadow: Reading::Absent,
            primary: Reading::Absent,
            findings: vec![Finding::Unwatched { why }],
            tolerance: None,
        }
    }

    /// Why nobody watches the primary, if it is that and no difference.
    pub fn why_unwatched(&self) -> Option<&str> {
        self.findings.iter().find_map(|finding| match finding {
            Finding::Unwatched { why } => Some(why.as_str()),
            _ => None,
        })
    }
}

/// A key of a text that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The key, as [`format`](mod@crate::format) writes it.
    pub key: String,
    /// Its value on the shadow; `None` if it has none.
    pub shadow: Option<Blob>,
    /// Its value on the primary.
    pub primary: Option<Blob>,
    /// False where other lines keep it from having an effect.
    pub in_force: bool,
}

/// Keys listed of one item.
pub const CHANGES_MAX: usize = 64;

/// Who made an item differ, and when, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// When the change was seen, in milliseconds since 1970 UTC.
    pub seen_at_ms: i64,
    /// It happened after this, where nobody saw it happen: it was found by a scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<i64>,
    /// Who had a hand in it, in order; empty if nobody saw.
    pub writers: Vec<Writer>,
    /// Writers beyond those.
    #[serde(default)]
    pub more_writers: u64,
}
