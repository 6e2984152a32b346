//! Statements and blocks in braces: the walk that nginx and nftables share.

use super::DEPTH_MAX;
use super::canon::spaces;
use super::lines::{is_space, raw};
use super::tree::{Kind, Node, Order, Span};

/// What one format's braces mean.
pub(super) struct Grammar {
    /// Whether the end of a line ends a statement too.
    pub(super) lines: bool,
    /// What a brace after `statement`, in a block whose header is `parent`, opens.
    pub(super) brace: fn(statement: &[u8], parent: &[u8]) -> Brace,
    /// How many of a statement's first bytes name it, and its label.
    pub(super) name: Name,
    /// What the order in a block means.
    pub(super) order: fn(header: &[u8], children: &[Node<'_>]) -> Order,
}

/// From a statement and the header of the block it stands in.
type Name = for<'a> fn(&'a [u8], &[u8]) -> (usize, &'a [u8]);

pub(super) enum Brace {
    /// A block of statements.
    Block,
    /// Part of the statement up to its match.
    Inline,
    /// A block of text that ends the statement.
    Text,
}

struct Frame<'a> {
    head: Span,
    label: Vec<u8>,
    children: Vec<Node<'a>>,
}

pub(super) fn parse<'a>(bytes: &'a [u8], grammar: &Grammar) -> (Vec<Node<'a>>, Order) {
    let root = Frame { head: Span::new(0, 0), label: Vec::new(), children: Vec::new() };
    let mut stack = vec![root];
    let mut at = 0;
    while at < bytes.len() {
        let depth = stack.len();
        let Some(frame) = stack.last_mut() else { break };
        match bytes[at] {
            b if is_space(b) || b == b';' => at += 1,
            b'#' => at = line_end(bytes, at),
            b'}' if depth > 1 => {
                let Some(Frame { head, label, children }) = stack.pop() else { break };
                let body = Span::new(head.end() + 1, at);
                let order = (grammar.order)(&label, &children);
                let name = Span::new(head.start(), trimmed_end(bytes, head));
                let span = whole_lines(bytes, head.start(), at + 1);
                let block = Node::entry(label, name, body, span);
                if let Some(parent) = stack.last_mut() {
                    parent.children.push(block.holding(Kind::Map, children, order));
                }
                at += 1;
            }
            b'}' => {
                frame.children.push(Node::opaque(at, at + 1, at + 1));
                at += 1;
            }
            _ => {
                let (end, stop) = statement(bytes, at, &frame.label, grammar);
                let head = Span::new(at, end);
                let text = &bytes[at..trimmed_end(bytes, head)];
                match stop {
                    Stop::Block => {
                        if depth > DEPTH_MAX {
                            return (raw(bytes), Order::Sequence);
                        }
                        stack.push(Frame { head, label: spaces(text), children: Vec::new() });
                        at = end + 1;
                    }
                    Stop::Text(close) => {
                        let name = Span::new(at, at + text.len());
                        let body = Span::new(end + 1, close);
                        let span = whole_lines(bytes, at, close + 1);
                        frame.children.push(Node::entry(text, name, body, span));
                        at = close + 1;
                    }
                    Stop::Ended => {
                        frame.children.push(simple(bytes, at, text, end, grammar, &frame.label));
                        at = end;
                    }
                    Stop::Cut => {
                        let end = at + text.len();
                        frame.children.push(Node::opaque(at, end, end));
                        at = end;
                    }
                }
            }
        }
    }
    // A block without an end is text from its first byte on.
    let mut frames = stack.into_iter();
    let mut nodes = frames.next().map(|root| root.children).unwrap_or_default();
    if let Some(open) = frames.next() {
        nodes.push(Node::opaque(open.head.start(), bytes.len(), bytes.len()));
    }
    let order = (grammar.order)(b"", &nodes);
    (nodes, order)
}

fn simple<'a>(
    bytes: &'a [u8],
    at: usize,
    text: &'a [u8],
    end: usize,
    grammar: &Grammar,
    parent: &[u8],
) -> Node<'a> {
    let (length, label) = (grammar.name)(text, parent);
    let rest = &text[length..];
    let start = at + length + rest.iter().position(|&b| !is_space(b)).unwrap_or(0);
    let after = end + usize::from(bytes.get(end) == Some(&b';'));
    let value = Span::new(start, at + text.len());
    Node::entry(label, Span::new(at, at + length), value, whole_lines(bytes, at, after))
}

enum Stop {
    Ended,
    /// No terminator where one is needed.
    Cut,
    Block,
    /// Text up to the brace at this offset.
    Text(usize),
}

/// Where the statement that begins at `start` ends, and at what.
fn statement(bytes: &[u8], start: usize, parent: &[u8], grammar: &Grammar) -> (usize, Stop) {
    let unended = || if grammar.lines { Stop::Ended } else { Stop::Cut };
    let mut at = start;
    let mut inline = 0usize;
    let mut quote = None;
    while at < bytes.len() {
        let b = bytes[at];
        let first = at == start || is_space(bytes[at - 1]) || b"{(,=~".contains(&bytes[at - 1]);
        match (b, quote) {
            (b'\\', _) => at += 1,
            (_, Some(open)) => quote = quote.filter(|_| b != open),
            (b'"' | b'\'', None) if first => quote = Some(b),
            (b'#', None) if first && grammar.lines && inline == 0 => return (at, Stop::Ended),
            (b'#', None) if first => at = line_end(bytes, at),
            (b';', None) if inline == 0 => return (at, Stop::Ended),
            (b'\n', None) if grammar.lines && inline == 0 => return (at, Stop::Ended),
            (b'}', None) if inline == 0 => return (at, unended()),
            (b'}', None) => inline -= 1,
            (b'{', None) if inline > 0 => inline += 1,
            (b'{', None) if at > start && bytes[at - 1] != b'$' => {
                match (grammar.brace)(&bytes[start..at], parent) {
                    Brace::Block => return (at, Stop::Block),
                    Brace::Inline => inline = 1,
                    Brace::Text => match closing(bytes, at) {
                        Some(close) => return (at, Stop::Text(close)),
                        None => return (bytes.len(), Stop::Cut),
                    },
                }
            }
            (b'{', None) => inline = 1,
            _ => {}
        }
        at += 1;
    }
    let complete = quote.is_none() && inline == 0;
    (bytes.len(), if complete { unended() } else { Stop::Cut })
}

/// The brace that closes the one at `open`, quotes not minded.
fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, &b) in bytes.iter().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n)
}

fn trimmed_end(bytes: &[u8], span: Span) -> usize {
    span.start() + bytes[span.range()].trim_ascii_end().len()
}

/// `start..end` with the rest of its lines, where that is only white space.
pub(super) fn whole_lines(bytes: &[u8], start: usize, end: usize) -> Span {
    let blank = |b: &&u8| matches!(b, b' ' | b'\t');
    let before = start - bytes[..start].iter().rev().take_while(blank).count();
    let after = end + bytes[end..].iter().take_while(|b| blank(b) || **b == b'\r').count();
    let alone = before == 0 || bytes[before - 1] == b'\n';
    match bytes.get(after) {
        Some(b'\n') if alone => Span::new(before, after + 1),
        _ => Span::new(start, end),
    }
}
