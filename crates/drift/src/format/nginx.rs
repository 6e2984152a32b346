//! nginx's configuration: directives end with a semicolon, blocks stand in braces.

use super::braces::{Brace, Grammar, parse as braces};
use super::lines::is_space;
use super::tree::{Node, Order};

const GRAMMAR: Grammar = Grammar { lines: false, brace, name, order };

pub(super) fn parse(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    braces(bytes, &GRAMMAR)
}

fn brace(statement: &[u8], _: &[u8]) -> Brace {
    let (length, _) = name(statement, b"");
    if statement[..length].ends_with(b"_by_lua_block") { Brace::Text } else { Brace::Block }
}

/// A directive is called by its first word.
fn name<'a>(statement: &'a [u8], _: &[u8]) -> (usize, &'a [u8]) {
    let length = statement.iter().position(|&b| is_space(b)).unwrap_or(statement.len());
    (length, &statement[..length])
}

/// Access rules, the rewrite module's instructions and locations by pattern
/// are tried in the order they stand in.
fn order(_: &[u8], children: &[Node<'_>]) -> Order {
    const ORDERED: [&[u8]; 7] =
        [b"allow", b"deny", b"set", b"rewrite", b"return", b"break", b"include"];
    let ordered = |n: &Node<'_>| {
        let label = n.label.as_ref();
        ORDERED.contains(&label) || label.starts_with(b"if ") || label.starts_with(b"location ~")
    };
    if children.iter().any(ordered) { Order::Sequence } else { Order::ByName }
}
