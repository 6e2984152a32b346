//! One name and its value on each line: key-value files, sysctl, resolv.conf.

use super::lines::{Line, is_space, lines, trim};
use super::tree::{Node, Order, Span};
use std::collections::HashMap;

/// What divides a name from its value, and what begins a comment.
pub(super) struct Style {
    separators: &'static [u8],
    /// Whether white space alone divides as well.
    spaces: bool,
    comments: &'static [u8],
}

pub(super) const KEY_VALUE: Style = Style { separators: b"=:", spaces: true, comments: b"#" };
pub(super) const RESOLV: Style = Style { separators: b"", spaces: true, comments: b"#;" };
const SYSCTL: Style = Style { separators: b"=", spaces: false, comments: b"#;" };

pub(super) fn parse<'a>(bytes: &'a [u8], style: &Style) -> (Vec<Node<'a>>, Order) {
    let nodes = lines(bytes).filter_map(|line| {
        let content = line.trimmed(bytes);
        match bytes[content.range()].first() {
            None => None,
            Some(b) if style.comments.contains(b) => None,
            Some(_) => Some(entry(bytes, line, content, style).unwrap_or_else(|| line.opaque())),
        }
    });
    (nodes.collect(), Order::ByName)
}

/// sysctl.d(5): the last assignment of a name is the one in force.
pub(super) fn sysctl(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    let (mut nodes, order) = parse(bytes, &SYSCTL);
    for node in &mut nodes {
        if node.name.range().is_empty() {
            continue;
        }
        if bytes[node.name.start()] == b'-' {
            node.name = trim(bytes, node.name.start() + 1, node.name.end());
        }
        node.label = sysctl_name(&bytes[node.name.range()]).into();
    }
    let mut last: HashMap<Vec<u8>, usize> = HashMap::new();
    for index in 0..nodes.len() {
        if let Some(earlier) = last.insert(nodes[index].label.to_vec(), index) {
            nodes[earlier].in_force = nodes[earlier].name.range().is_empty();
        }
    }
    (nodes, order)
}

/// A parameter's name with dots: if a slash comes first, slashes divide and
/// dots are part of names, so both change places.
pub(super) fn sysctl_name(name: &[u8]) -> Vec<u8> {
    let divider = name.iter().find(|&&b| b == b'.' || b == b'/');
    if divider != Some(&b'/') {
        return name.to_vec();
    }
    let swap = |&b: &u8| match b {
        b'/' => b'.',
        b'.' => b'/',
        b => b,
    };
    name.iter().map(swap).collect()
}

/// The entry on one line; none if nothing divides it.
pub(super) fn entry<'a>(
    bytes: &'a [u8],
    line: Line,
    content: Span,
    style: &Style,
) -> Option<Node<'a>> {
    let text = &bytes[content.range()];
    let divides = |&b: &u8| style.separators.contains(&b) || (style.spaces && is_space(b));
    let cut = content.start() + text.iter().position(divides)?;
    let name = trim(bytes, content.start(), cut);
    let mut value = trim(bytes, cut, content.end());
    if bytes[value.range()].first().is_some_and(|b| style.separators.contains(b)) {
        value = trim(bytes, value.start() + 1, content.end());
    }
    (!name.range().is_empty()).then(|| Node::entry(&bytes[name.range()], name, value, line.span()))
}
