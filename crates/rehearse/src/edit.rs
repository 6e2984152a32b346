//! Edits: what lies at a path afterwards, and lists of them as one set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_drift::reading::Reading;

/// What one path is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The path, from the root.
    pub path: Blob,
    /// What is to lie there. Without attributes, content goes where the path leads, and the
    /// file there keeps its own; with attributes, they are all it has.
    pub to: Reading,
}

impl Edit {
    /// Of a path.
    pub fn new(path: impl Into<Vec<u8>>, to: Reading) -> Self {
        Self { path: Blob(path.into()), to }
    }
}

/// Edits made one list after the other, as one set: the last word on each path.
pub(crate) type Changes<'a> = BTreeMap<&'a [u8], &'a Reading>;

/// What several lists come to.
pub(crate) fn together<'a>(lists: impl IntoIterator<Item = &'a [Edit]>) -> Changes<'a> {
    let edits = lists.into_iter().flatten();
    edits.map(|edit| (edit.path.0.as_slice(), &edit.to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let first = [Edit::new("/a", Reading::text("1")), Edit::new("/b", Reading::text("1"))];
        let second = [Edit::new("/a", Reading::Absent)];
        let (one, two) = (Reading::Absent, Reading::text("1"));
        let expected = Changes::from([(&b"/a"[..], &one), (&b"/b"[..], &two)]);
        assert_eq!(together([&first[..], &second[..]]), expected);
    }
}
