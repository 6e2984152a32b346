//! Lines under headers: a section goes on until the next header.

use super::lines::Line;
use super::tree::{Kind, Node, Order, Span};
use std::borrow::Cow;

/// Gathers nodes, those after a header into its section.
#[derive(Default)]
pub(super) struct Sections<'a> {
    nodes: Vec<Node<'a>>,
    open: Option<Node<'a>>,
}

impl<'a> Sections<'a> {
    pub(super) fn begin(&mut self, label: Cow<'a, [u8]>, name: Span, header: Line) {
        self.close();
        let body = Span::new(header.next, header.next);
        let section = Node::entry(label, name, body, header.span());
        self.open = Some(section.holding(Kind::Map, Vec::new(), Order::ByName));
    }

    /// Adds what ends with `line`.
    pub(super) fn push(&mut self, node: Node<'a>, line: Line) {
        match &mut self.open {
            Some(section) => {
                section.span = Span::new(section.span.start(), line.next);
                section.value = Span::new(section.value.start(), line.end);
                section.children.push(node);
            }
            None => self.nodes.push(node),
        }
    }

    pub(super) fn finish(mut self) -> Vec<Node<'a>> {
        self.close();
        self.nodes
    }

    fn close(&mut self) {
        self.nodes.extend(self.open.take());
    }
}
