//! How two sides of a drift compare.

use std::collections::BTreeMap;

use crate::attributes::Kind;
use crate::config::{Attribute, Parameter, Source};
use crate::reading::{Reading, Value};

/// The key, where nothing else of a file is watched.
pub(super) fn key_of(source: &Source) -> Option<&str> {
    match source {
        Source::File { key: Some(key), .. } => Some(&key.key),
        _ => None,
    }
}

/// The attributes that are watched.
pub(super) fn counted(source: &Source) -> &[Attribute] {
    match source {
        Source::File { attributes, .. } | Source::Tree { attributes, .. } => attributes,
        _ => &[],
    }
}

/// What lies there, where that is known.
pub(super) fn kind_of(value: &Value) -> Option<Kind> {
    Kind::read(value.attributes.get(&Attribute::Type)?)
}

/// Whether something of another kind is there, or nothing.
pub(super) fn retyped(value: &Value, current: &Reading) -> bool {
    match current.value() {
        None => true,
        Some(now) => kind_of(now).zip(kind_of(value)).is_some_and(|(now, then)| now != then),
    }
}

/// Whether two readings agree in all that counts.
pub(super) fn same(parameter: &Parameter, a: &Reading, b: &Reading) -> bool {
    let (Reading::Present(a), Reading::Present(b)) = (a, b) else { return a == b };
    let counted = counted(&parameter.source);
    let contents = match (&a.content, &b.content) {
        (Some(a), Some(b)) => a.same(b),
        (a, b) => a == b,
    };
    let content_counts = counted.is_empty() || counted.contains(&Attribute::Content);
    (contents || !content_counts)
        && counted
            .iter()
            .all(|attribute| a.attributes.get(attribute) == b.attributes.get(attribute))
}

/// Without attributes.
pub(super) fn bare(reading: &Reading) -> Reading {
    match reading {
        Reading::Present(value) => {
            Reading::Present(Value { content: value.content.clone(), attributes: BTreeMap::new() })
        }
        other => other.clone(),
    }
}
