//! The one tree all formats are read into.

use super::{Format, Key};
use std::borrow::Cow;
use std::ops::Range;

/// A file read as keys and values, over its bytes.
#[derive(Clone, Debug)]
pub struct Tree<'a> {
    pub(super) format: Format,
    pub(super) bytes: &'a [u8],
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) order: Order,
}

/// Half-open range of byte offsets; input is bounded far below 4 GiB, and
/// there are three of these in every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        // Input too large for this is one opaque node, whose tree clamps.
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start()..self.end()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A name with a value.
    Entry,
    /// A name with named nodes in it.
    Map,
    /// Elements, which have no names.
    List,
    /// Text of which only the bytes are known.
    Opaque,
}

/// What the order of sibling nodes means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Nothing.
    Free,
    /// Something among those of one name.
    ByName,
    /// Something among all.
    Sequence,
}

/// One thing in a file. `name`, `value` and the spans of `children` lie in
/// `span`; what has lines of its own ends behind its line's end, so that the
/// last child may reach beyond `value` by that. Siblings stand one after the
/// other and share no byte.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) kind: Kind,
    /// The name as keys have it: folded, unquoted. Empty for a list's element.
    pub(super) label: Cow<'a, [u8]>,
    /// Where the name stands; empty where none is written.
    pub(super) name: Span,
    /// What goes when the node is removed: its lines, or its bytes.
    pub(super) span: Span,
    /// The value; for a container the text that holds its children.
    pub(super) value: Span,
    /// Of an entry, the parts of its value: keys find them, and they are not
    /// compared on their own.
    pub(super) children: Vec<Node<'a>>,
    /// Of the children.
    pub(super) order: Order,
    /// False where another line of this file makes this one have no effect.
    pub(super) in_force: bool,
}

/// The label of opaque nodes.
pub(super) const OPAQUE: &[u8] = b"?";

impl<'a> Node<'a> {
    pub(super) fn entry(
        label: impl Into<Cow<'a, [u8]>>,
        name: Span,
        value: Span,
        span: Span,
    ) -> Self {
        Self {
            kind: Kind::Entry,
            label: label.into(),
            name,
            span,
            value,
            children: Vec::new(),
            order: Order::ByName,
            in_force: true,
        }
    }

    /// A line, or whatever is text only: its content ends at `end`, and what
    /// goes with it when it is removed at `next`.
    pub(super) fn opaque(start: usize, end: usize, next: usize) -> Self {
        let mut node = Self::entry(
            OPAQUE,
            Span::new(start, start),
            Span::new(start, end),
            Span::new(start, next),
        );
        node.kind = Kind::Opaque;
        node
    }

    pub(super) fn holding(mut self, kind: Kind, children: Vec<Node<'a>>, order: Order) -> Self {
        self.kind = kind;
        self.children = children;
        self.order = order;
        self
    }

    pub(super) fn is_container(&self) -> bool {
        matches!(self.kind, Kind::Map | Kind::List)
    }
}

/// Where a node is: the index among its siblings, from the root down.
pub(super) type Path = Vec<usize>;

impl<'a> Tree<'a> {
    pub(super) fn new(format: Format, bytes: &'a [u8], nodes: Vec<Node<'a>>, order: Order) -> Self {
        Self { format, bytes, nodes, order }
    }

    /// What the file was read as.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The file, byte for byte.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The text of a key's value, of a container all that is in it; none if
    /// there is no such key.
    pub fn get(&self, key: &Key) -> Option<&'a [u8]> {
        let path = self.find(key)?;
        Some(self.text(self.node(&path)?.value))
    }

    /// Whether there are lines that were not understood.
    pub fn is_understood(&self) -> bool {
        fn known(nodes: &[Node<'_>]) -> bool {
            nodes.iter().all(|n| n.kind != Kind::Opaque && known(&n.children))
        }
        known(&self.nodes)
    }

    pub(super) fn text(&self, span: Span) -> &'a [u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }

    pub(super) fn node(&self, path: &[usize]) -> Option<&Node<'a>> {
        let (last, parents) = path.split_last()?;
        let mut nodes = &self.nodes;
        for &index in parents {
            nodes = &nodes.get(index)?.children;
        }
        nodes.get(*last)
    }
}
