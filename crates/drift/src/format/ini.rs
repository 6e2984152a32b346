//! Sections of assignments: ini files and systemd units.

use super::lines::{Line, lines, trim};
use super::sections::Sections;
use super::tree::{Node, Order, Span};
use std::collections::HashMap;

/// With `resets`, an empty assignment empties the list built before it.
pub(super) fn parse(bytes: &[u8], resets: bool) -> (Vec<Node<'_>>, Order) {
    let all: Vec<Line> = lines(bytes).collect();
    let mut sections = Sections::default();
    let mut index = 0;
    while index < all.len() {
        let line = all[index];
        index += 1;
        let content = line.trimmed(bytes);
        let text = &bytes[content.range()];
        if text.is_empty() || is_comment(text) {
            continue;
        }
        if let Some(name) = header(bytes, content) {
            sections.begin(bytes[name.range()].into(), name, line);
            continue;
        }
        let Some(cut) = divider(text).filter(|&cut| cut > 0) else {
            sections.push(line.opaque(), line);
            continue;
        };
        let mut last = line;
        while bytes[..last.end].ends_with(b"\\") && index < all.len() {
            last = all[index];
            index += 1;
            // Comments between continued lines do not end the value.
            while is_comment(&bytes[last.trimmed(bytes).range()]) && index < all.len() {
                last = all[index];
                index += 1;
            }
        }
        let name = trim(bytes, content.start(), content.start() + cut);
        let value = trim(bytes, content.start() + cut + 1, last.end);
        let span = Span::new(line.start, last.next);
        sections.push(Node::entry(&bytes[name.range()], name, value, span), last);
    }
    let mut nodes = sections.finish();
    if resets {
        nodes.iter_mut().for_each(|section| reset(&mut section.children));
    }
    // Which of two equally named sections comes first decides nothing that
    // their names would not.
    (nodes, Order::ByName)
}

fn is_comment(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'#' | b';'))
}

/// The name between brackets, if they are all there is but a comment.
fn header(bytes: &[u8], content: Span) -> Option<Span> {
    let text = &bytes[content.range()];
    let close = text.strip_prefix(b"[")?.iter().position(|&b| b == b']')? + 1;
    let rest = text[close + 1..].trim_ascii_start();
    let name = Span::new(content.start() + 1, content.start() + close);
    ((rest.is_empty() || is_comment(rest)) && close > 1).then_some(name)
}

fn divider(text: &[u8]) -> Option<usize> {
    text.iter().position(|&b| b == b'=').or_else(|| text.iter().position(|&b| b == b':'))
}

/// What stands before the last empty assignment of its name has no effect.
fn reset(nodes: &mut [Node<'_>]) {
    let mut last_empty: HashMap<Vec<u8>, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.value.range().is_empty() {
            last_empty.insert(node.label.to_vec(), index);
        }
    }
    for (index, node) in nodes.iter_mut().enumerate() {
        node.in_force = last_empty.get(node.label.as_ref()).is_none_or(|&empty| index >= empty);
    }
}

/// A value over several lines as one: without backslashes at line ends and
/// comment lines between.
pub(super) fn continued(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (index, line) in text.split(|&b| b == b'\n').enumerate() {
        let line = line.trim_ascii_end();
        if index > 0 {
            if is_comment(line.trim_ascii_start()) {
                continue;
            }
            out.push(b' ');
        }
        out.extend_from_slice(line.strip_suffix(b"\\").unwrap_or(line));
    }
    out
}
