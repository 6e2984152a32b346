//! From a tree that has passed the structural check to plain values.
//!
//! Every function gives `None` for a tree that has not: the check has said why.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::scalar::ScalarType;
use crate::units;
use crate::yaml::{Node, Scalar};

/// The text of a scalar.
pub fn text(node: &Node) -> Option<String> {
    node.text().map(str::to_owned)
}

/// One text as a list of one, or a list.
pub fn texts(node: Option<&Node>) -> Option<Vec<String>> {
    match node {
        Some(node) if node.text().is_some() => text(node).map(|text| vec![text]),
        _ => each(node, text),
    }
}

/// The texts of a mapping by its keys; empty for one that is not given.
pub fn texts_by_name(node: Option<&Node>) -> Option<BTreeMap<String, String>> {
    let entries = node.map(Node::map).unwrap_or_default();
    entries.iter().map(|(key, value)| Some((key.text.clone(), text(value)?))).collect()
}

/// `true` or `false`.
pub fn bool(node: Option<&Node>) -> Option<Option<bool>> {
    optional(node, |node| match node.scalar()?.value_type() {
        ScalarType::Bool(value) => Some(value),
        _ => None,
    })
}

/// A whole number.
pub fn int<T: TryFrom<i64>>(node: &Node) -> Option<T> {
    match node.scalar()?.value_type() {
        ScalarType::Int(value) => T::try_from(value).ok(),
        _ => None,
    }
}

/// A number; whole ones count, as far as a float tells them apart.
pub fn number(scalar: &Scalar) -> Option<f64> {
    match scalar.value_type() {
        ScalarType::Int(value) => (value.unsigned_abs() <= 1 << 53).then_some(value as f64),
        ScalarType::Float(value) => Some(value),
        _ => None,
    }
}

/// A span of time.
pub fn duration(node: Option<&Node>) -> Option<Option<Duration>> {
    optional(node, |node| units::duration(node.text()?).ok())
}

/// `Some(None)` for a value that is not given, `None` for one that cannot be read.
pub fn optional<T>(
    node: Option<&Node>,
    read: impl FnOnce(&Node) -> Option<T>,
) -> Option<Option<T>> {
    match node {
        Some(node) => read(node).map(Some),
        None => Some(None),
    }
}

/// All entries of a list, none for one that is not given.
pub fn each<T>(node: Option<&Node>, read: impl Fn(&Node) -> Option<T>) -> Option<Vec<T>> {
    node.map(Node::list).unwrap_or_default().iter().map(read).collect()
}
