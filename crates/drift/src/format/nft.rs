//! An nftables ruleset as `nft list ruleset` prints it and `nft -f` reads it.

use super::braces::{Brace, Grammar, parse as braces};
use super::lines::is_space;
use super::tree::{Node, Order};

const GRAMMAR: Grammar = Grammar { lines: true, brace, name, order };

/// What may have a block of its own in a table, and the table.
const OBJECTS: [&[u8]; 11] = [
    b"table",
    b"chain",
    b"set",
    b"map",
    b"flowtable",
    b"counter",
    b"quota",
    b"limit",
    b"secmark",
    b"synproxy",
    b"ct",
];

/// What may stand in a chain beside its rules.
const ABOUT_CHAIN: [&[u8]; 4] = [b"type", b"policy", b"comment", b"devices"];

pub(super) fn parse(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    braces(bytes, &GRAMMAR)
}

fn first_word(text: &[u8]) -> &[u8] {
    let length = text.iter().position(|&b| is_space(b)).unwrap_or(text.len());
    &text[..length]
}

fn is_chain(header: &[u8]) -> bool {
    first_word(header) == b"chain"
}

fn brace(statement: &[u8], parent: &[u8]) -> Brace {
    let block = OBJECTS.contains(&first_word(statement)) && !is_chain(parent);
    if block { Brace::Block } else { Brace::Inline }
}

/// Rules have no names of their own.
fn name<'a>(statement: &'a [u8], parent: &[u8]) -> (usize, &'a [u8]) {
    let word = first_word(statement);
    if is_chain(parent) && !ABOUT_CHAIN.contains(&word) { (0, b"rule") } else { (word.len(), word) }
}

/// Rules are tried one after the other, a file's commands run so; the chains
/// and sets of a table have names.
fn order(header: &[u8], _: &[Node<'_>]) -> Order {
    if header.is_empty() { Order::Sequence } else { Order::ByName }
}

/// A statement without what its counters have counted.
pub(super) fn without_counters(text: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = text.split(|&b| b == b' ').collect();
    let number = |w: &[u8]| !w.is_empty() && w.iter().all(u8::is_ascii_digit);
    let mut kept: Vec<&[u8]> = Vec::with_capacity(words.len());
    let mut rest = words.as_slice();
    while let [word, after @ ..] = rest {
        kept.push(word);
        rest = match (*word, after) {
            (b"counter", [b"packets", packets, b"bytes", bytes, after @ ..])
                if number(packets) && number(bytes) =>
            {
                after
            }
            _ => after,
        };
    }
    kept.join(&b' ')
}
