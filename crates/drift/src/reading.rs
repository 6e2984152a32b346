//! Readings: what one side says of one fact at one time.
//!
//! A parameter is one fact or many: a tree is one per path, a pattern of kernel settings one per
//! setting. Each is an [`Item`]. Absent, unreadable and empty are three different readings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_state::Digest;

use crate::config::Attribute;

/// One comparable fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The parameter's name.
    pub parameter: String,
    /// Which of its facts, if it can have several: a path of a tree, a setting of a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Blob>,
}

/// What one side says of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// There is no such thing.
    Absent,
    /// Something is there, and nobody knows what it says.
    Unreadable {
        /// Why, as a sentence after "because".
        why: String,
    },
    /// What it says.
    Present(Value),
}

/// A value, and what else is known of the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// What it says; `None` for what says nothing, such as a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// All attributes of a path besides its content, whichever of them are compared: a rollback
    /// needs the others. Empty for what is no path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<Attribute, Blob>,
}

/// What a value says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    /// All of it.
    Bytes(Blob),
    /// Only what it can be recognised by: it is too long to be kept, or must not leave the
    /// machine.
    Digest {
        /// BLAKE3 of the bytes.
        blake3: Digest,
        /// How many there are.
        bytes: u64,
    },
}

/// All readings of one side at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// By item.
    pub readings: BTreeMap<Item, Reading>,
}

impl Item {
    /// What stands for the machine itself where a parameter's name would be; no parameter has it.
    pub const PRIMARY: &'static str = "the primary";

    /// The machine itself: whether it is watched at all.
    pub fn primary() -> Self {
        Self::whole(Self::PRIMARY)
    }

    /// The fact of a parameter that has one.
    pub fn whole(parameter: &str) -> Self {
        Self { parameter: parameter.to_owned(), part: None }
    }

    /// One of several facts of a parameter.
    pub fn part(parameter: &str, part: &[u8]) -> Self {
        Self { parameter: parameter.to_owned(), part: Some(Blob(part.to_vec())) }
    }
}

impl Reading {
    /// A value that is no path's.
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        let content = Some(Content::Bytes(Blob(bytes.into())));
        Self::Present(Value { content, attributes: BTreeMap::new() })
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unreadable { .. } => None,
        }
    }

    /// The bytes, where all of them are known.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.value()?.content.as_ref()?.bytes()
    }
}

impl Content {
    /// The bytes, where all of them are known.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(&bytes.0),
            Self::Digest { .. } => None,
        }
    }

    /// What these bytes can be recognised by.
    pub fn digest_of(bytes: &[u8]) -> Self {
        let blake3 = Digest::new(*blake3::hash(bytes).as_bytes());
        Self::Digest { blake3, bytes: bytes.len() as u64 }
    }

    /// Whether both stand for the same bytes.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(bytes), digest @ Self::Digest { .. })
            | (digest @ Self::Digest { .. }, Self::Bytes(bytes)) => {
                Self::digest_of(&bytes.0) == *digest
            }
            _ => self == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_their_digest_are_the_same() {
        let bytes = Content::Bytes(Blob(b"nameserver 1.1.1.1\n".to_vec()));
        let digest = Content::digest_of(b"nameserver 1.1.1.1\n");
        assert!(bytes.same(&digest) && digest.same(&bytes) && digest.same(&digest));
        assert!(!Content::digest_of(b"").same(&bytes));
    }

    #[test]
    fn the_wire_form_is_readable() {
        let reading = Reading::text("60\n");
        let json = serde_json::to_string(&reading).expect("serialisable");
        assert_eq!(json, r#"{"present":{"content":{"bytes":"60\n"}}}"#);
        let back: Reading = serde_json::from_str(&json).expect("readable");
        assert_eq!(back, reading);
        assert_eq!(serde_json::to_string(&Reading::Absent).expect("serialisable"), "\"absent\"");
        assert!(serde_json::from_str::<Reading>(r#"{"unreadable":{}}"#).is_err());
    }
}
