//! The view of a tree in which what means nothing is gone.

use super::key::Step;
use super::lines::{Quotes, is_space};
use super::lookup::steps;
use super::tree::{Kind, Node, Order, Tree};
use super::{Format, deb822, ini, json, nft};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A node ready to be compared.
pub(super) struct View<'t> {
    pub(super) node: &'t Node<'t>,
    pub(super) step: Step,
    /// Equal for equal views. It finds candidates only: what is found is
    /// compared in full, so that a collision can hide nothing.
    pub(super) hash: u64,
    /// The value of an entry, normalised.
    pub(super) value: Vec<u8>,
    pub(super) children: Vec<View<'t>>,
}

pub(super) fn view<'t>(tree: &'t Tree<'t>) -> Vec<View<'t>> {
    views(tree, &tree.nodes)
}

fn views<'t>(tree: &'t Tree<'t>, nodes: &'t [Node<'t>]) -> Vec<View<'t>> {
    let of_node = |(node, step): (&'t Node<'t>, Step)| {
        let (children, value) = match node.is_container() {
            true => (views(tree, &node.children), Vec::new()),
            false => (Vec::new(), canonical(tree, node)),
        };
        let mut hasher = DefaultHasher::new();
        (&node.label, node.kind, node.in_force, &value).hash(&mut hasher);
        hash_children(&children, node.order, &mut hasher);
        View { node, step, hash: hasher.finish(), value, children }
    };
    nodes.iter().zip(steps(tree.format, nodes)).map(of_node).collect()
}

fn hash_children(children: &[View<'_>], order: Order, hasher: &mut DefaultHasher) {
    match order {
        Order::Sequence => children.iter().for_each(|c| c.hash.hash(hasher)),
        Order::Free => {
            children.iter().fold(0u64, |sum, c| sum.wrapping_add(c.hash)).hash(hasher);
        }
        Order::ByName => {
            let mut names: HashMap<&[u8], DefaultHasher> = HashMap::new();
            for child in children {
                child.hash.hash(names.entry(&child.node.label).or_default());
            }
            names.values().fold(0u64, |sum, h| sum.wrapping_add(h.finish())).hash(hasher);
        }
    }
}

/// The value of an entry as its format understands it.
fn canonical(tree: &Tree<'_>, node: &Node<'_>) -> Vec<u8> {
    use Format::*;
    let text = tree.text(node.value);
    if node.kind == Kind::Opaque {
        return text.to_vec();
    }
    match tree.format {
        Raw | Passwd | Shadow | Group | Gshadow => text.to_vec(),
        Sysctl => {
            // A dash before the name makes the kernel's refusal no error.
            let before = &tree.bytes[node.span.start()..node.name.start()];
            let dash = before.contains(&b'-');
            let mut value = spaces(text);
            value.extend_from_slice(if dash { b" -" } else { b"" });
            value
        }
        Resolv if *node.label == *b"options" => {
            let mut words: Vec<&[u8]> = text.split(|&b| is_space(b)).collect();
            words.sort_unstable();
            spaces(&words.join(&b' '))
        }
        Ini | Systemd => spaces(&ini::continued(text)),
        Nginx => spaces(&without_comments(text)),
        Nft => nft::without_counters(&spaces(&without_comments(text))),
        Deb822 => spaces(&deb822::without_comments(text)),
        Json => json::decoded(text).into_owned(),
        Toml if text.starts_with(b"[") || text.starts_with(b"{") => {
            unspaced(&without_comments(text))
        }
        Yaml if text.starts_with(b"|") || text.starts_with(b">") => text.to_vec(),
        _ => spaces(text),
    }
}

/// A string without the quotes around it, where it has nothing escaped.
pub(super) fn plain(text: &[u8]) -> &[u8] {
    match text {
        [open @ (b'"' | b'\''), inner @ .., close] if open == close => inner,
        _ => text,
    }
}

/// Runs of white space outside quotes as one space, none at the ends.
pub(super) fn spaces(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut quotes = Quotes::default();
    for &b in text {
        if is_space(b) && !quotes.inside() {
            if !out.is_empty() && out.last() != Some(&b' ') {
                out.push(b' ');
            }
        } else {
            out.push(b);
        }
        quotes.step(b);
    }
    if !quotes.inside() && out.last() == Some(&b' ') {
        out.pop();
    }
    out
}

/// Without white space outside quotes, nor a comma before a closing bracket.
fn unspaced(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut quotes = Quotes::default();
    for &b in text {
        let quoted = quotes.inside();
        quotes.step(b);
        if !quoted && is_space(b) {
            continue;
        }
        if !quoted && b == b']' && out.last() == Some(&b',') {
            out.pop();
        }
        out.push(b);
    }
    out
}

/// Without what follows a `#` outside quotes on each line.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut quotes = Quotes::default();
    let mut comment = false;
    for (at, &b) in text.iter().enumerate() {
        let starts = at == 0 || is_space(text[at - 1]);
        comment = match b {
            b'\n' => false,
            b'#' if starts && !quotes.inside() => true,
            _ => comment,
        };
        if !comment {
            quotes.step(b);
            out.push(b);
        }
    }
    out
}
