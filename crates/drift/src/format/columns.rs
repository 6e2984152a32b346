//! Rows of fields: hosts, fstab and crypttab, passwd and its kin.

use super::lines::{comment, lines, trim, words};
use super::tree::{Kind, Node, Order, Span};
use std::collections::HashSet;

/// The fields of a row in their order; rows with fewer than `least` or more
/// than all of them are not understood.
pub(super) struct Schema {
    fields: &'static [&'static str],
    least: usize,
    /// Which one names the row.
    label: usize,
}

pub(super) const FSTAB: Schema =
    Schema { fields: &["spec", "file", "type", "options", "dump", "pass"], least: 3, label: 1 };
pub(super) const CRYPTTAB: Schema =
    Schema { fields: &["name", "device", "key", "options"], least: 2, label: 0 };
pub(super) const PASSWD: Schema = Schema {
    fields: &["name", "password", "uid", "gid", "gecos", "home", "shell"],
    least: 7,
    label: 0,
};
pub(super) const SHADOW: Schema = Schema {
    fields: &[
        "name", "password", "changed", "min", "max", "warn", "inactive", "expires", "reserved",
    ],
    least: 9,
    label: 0,
};
pub(super) const GROUP: Schema =
    Schema { fields: &["name", "password", "gid", "members"], least: 4, label: 0 };
pub(super) const GSHADOW: Schema =
    Schema { fields: &["name", "password", "administrators", "members"], least: 4, label: 0 };

/// Rows of fields divided by white space.
pub(super) fn spaced<'a>(bytes: &'a [u8], schema: &Schema) -> (Vec<Node<'a>>, Order) {
    let nodes = lines(bytes).filter_map(|line| {
        let content = trim(bytes, line.start, comment(bytes, line.start, line.end));
        if content.range().is_empty() {
            return None;
        }
        let fields: Vec<Span> =
            words(bytes, content.start(), content.end()).take(schema.fields.len() + 1).collect();
        let row = row(bytes, schema, &fields, content, line.span());
        Some(row.unwrap_or_else(|| line.opaque()))
    });
    // systemd orders mounts by their paths; the same mount point twice stacks.
    (nodes.collect(), Order::ByName)
}

/// Rows of fields divided by colons.
pub(super) fn colons<'a>(bytes: &'a [u8], schema: &Schema) -> (Vec<Node<'a>>, Order) {
    let mut nodes = Vec::new();
    let mut ids = HashSet::new();
    let mut order = Order::ByName;
    for line in lines(bytes) {
        let content = Span::new(line.start, line.end);
        let text = &bytes[content.range()];
        if line.trimmed(bytes).range().is_empty() || text.starts_with(b"#") {
            continue;
        }
        let mut at = line.start;
        let fields: Vec<Span> = text
            .split(|&b| b == b':')
            .take(schema.fields.len() + 1)
            .map(|field| {
                let span = Span::new(at, at + field.len());
                at = span.end() + 1;
                span
            })
            .collect();
        // Of two with one id, the first is whom the id belongs to.
        let id = schema.fields.iter().position(|f| *f == "uid" || *f == "gid");
        let id = id.and_then(|id| fields.get(id)).map(|id| &bytes[id.range()]);
        if id.is_some_and(|id| !id.is_empty() && !ids.insert(id)) {
            order = Order::Sequence;
        }
        let row = row(bytes, schema, &fields, content, line.span());
        nodes.push(row.unwrap_or_else(|| line.opaque()));
    }
    (nodes, order)
}

fn row<'a>(
    bytes: &'a [u8],
    schema: &Schema,
    fields: &[Span],
    content: Span,
    span: Span,
) -> Option<Node<'a>> {
    if !(schema.least..=schema.fields.len()).contains(&fields.len()) {
        return None;
    }
    let name = fields[schema.label];
    let label = &bytes[name.range()];
    let field = |(field, &span): (&&'static str, &Span)| {
        let nowhere = Span::new(span.start(), span.start());
        Node::entry(field.as_bytes(), nowhere, span, span)
    };
    let children = schema.fields.iter().zip(fields).map(field).collect();
    (!label.is_empty())
        .then(|| Node::entry(label, name, content, span).holding(Kind::Map, children, Order::Free))
}

/// Parts of a row of hosts that keys find one by one.
const PARTS_MAX: usize = 32;

/// An address and its names on each line, which are parts of the row: it is
/// compared as a whole, and keys find them. Between lines that share a name of
/// one address family the first decides, so that then their order counts.
pub(super) fn hosts(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    let mut nodes = Vec::new();
    let mut names = HashSet::new();
    let mut order = Order::ByName;
    for line in lines(bytes) {
        let content = trim(bytes, line.start, comment(bytes, line.start, line.end));
        let mut fields = words(bytes, content.start(), content.end());
        let Some(address) = fields.next() else { continue };
        let value = trim(bytes, address.end(), content.end());
        if value.range().is_empty() {
            nodes.push(line.opaque());
            continue;
        }
        let label = &bytes[address.range()];
        let part = |label: &'static [u8], span: Span| {
            Node::entry(label, Span::new(span.start(), span.start()), span, span)
        };
        let mut parts = vec![part(b"ipaddr", address)];
        for name in fields {
            if !names.insert((label.contains(&b':'), &bytes[name.range()])) {
                order = Order::Sequence;
            }
            if parts.len() == PARTS_MAX {
                continue;
            }
            parts.push(part(if parts.len() == 1 { b"canonical" } else { b"alias" }, name));
        }
        let row = Node::entry(label, address, value, line.span());
        nodes.push(row.holding(Kind::Entry, parts, Order::Sequence));
    }
    (nodes, order)
}
