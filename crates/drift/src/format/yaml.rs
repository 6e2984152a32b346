//! Block style YAML: maps and lists by their indentation. A scalar is its text
//! with all lines indented deeper; flow collections, anchors and tags are
//! scalars here too.

use super::DEPTH_MAX;
use super::canon::plain;
use super::lines::{Line, comment, is_space, lines, trim};
use super::tree::{Kind, Node, Order, Span};

pub(super) fn parse(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    let lines = lines(bytes).collect();
    let mut reader = Reader { bytes, lines, index: 0, within: None, unended: false };
    let mut nodes = Vec::new();
    let mut documents = false;
    while let Some(indent) = reader.here() {
        let kind = reader.kind_here();
        let found = reader.block(indent, kind, 0);
        documents |= found.iter().any(|n| n.kind == Kind::Opaque);
        nodes.extend(found);
    }
    let list = nodes.iter().any(|n| n.label.is_empty());
    (nodes, if list || documents { Order::Sequence } else { Order::ByName })
}

struct Reader<'a> {
    bytes: &'a [u8],
    lines: Vec<Line>,
    index: usize,
    /// Where the rest of the current line begins, behind a dash.
    within: Option<usize>,
    /// A flow collection without an end was met; none is looked for again.
    unended: bool,
}

impl<'a> Reader<'a> {
    /// The column of what comes next; blank and comment lines are passed by.
    fn here(&mut self) -> Option<usize> {
        loop {
            let line = *self.lines.get(self.index)?;
            if self.within.is_some() {
                return Some(self.at() - line.start);
            }
            let text = &self.bytes[line.trimmed(self.bytes).range()];
            if !text.is_empty() && !text.starts_with(b"#") {
                return Some(self.at() - line.start);
            }
            self.index += 1;
        }
    }

    /// Where the content of the current line begins; only spaces indent.
    fn at(&self) -> usize {
        let line = self.lines[self.index];
        let indent = || self.bytes[line.start..line.end].iter().take_while(|&&b| b == b' ');
        self.within.unwrap_or_else(|| line.start + indent().count())
    }

    fn text(&self) -> &'a [u8] {
        &self.bytes[self.at()..self.lines[self.index].end]
    }

    fn kind_here(&self) -> Kind {
        if is_dash(self.text()) { Kind::List } else { Kind::Map }
    }

    fn advance(&mut self) -> Line {
        let line = self.lines[self.index];
        self.index += 1;
        self.within = None;
        line
    }

    /// The nodes at column `indent`, up to the first line left of it.
    fn block(&mut self, indent: usize, kind: Kind, depth: usize) -> Vec<Node<'a>> {
        let mut nodes = Vec::new();
        while let Some(column) = self.here() {
            let same = self.kind_here() == kind;
            if column < indent || (column == indent && !same && kind == Kind::List) {
                break;
            }
            nodes.push(if column == indent && same {
                self.node(indent, depth)
            } else {
                self.odd()
            });
        }
        nodes
    }

    /// A line that fits nowhere.
    fn odd(&mut self) -> Node<'a> {
        let start = self.within;
        let line = self.advance();
        start.map_or(line.opaque(), |start| Node::opaque(start, line.end, line.next))
    }

    fn node(&mut self, indent: usize, depth: usize) -> Node<'a> {
        let (at, text, line) = (self.at(), self.text(), self.lines[self.index]);
        let start = self.within.unwrap_or(line.start);
        let dash = is_dash(text);
        let (label, name, after) = if dash {
            (&b""[..], None, at + 1)
        } else if let Some((length, colon)) = key(text) {
            let name = Span::new(at, at + length);
            (plain(&self.bytes[name.range()]), Some(name), at + colon + 1)
        } else {
            return self.odd();
        };
        let rest = trim(self.bytes, after, comment(self.bytes, after, line.end));
        let rest_text = &self.bytes[rest.range()];
        let nested = if rest_text.is_empty() {
            self.advance();
            // A list may stand right below its key.
            self.here()
                .filter(|&c| c > indent || (c == indent && !dash && self.kind_here() == Kind::List))
        } else if dash && (is_dash(rest_text) || key(rest_text).is_some()) {
            self.within = Some(rest.start());
            Some(rest.start() - line.start)
        } else {
            self.advance();
            None
        };
        let known = |r: &Self| r.kind_here() == Kind::List || key(r.text()).is_some();
        let nested = nested.filter(|_| depth < DEPTH_MAX && known(self));
        let Some(column) = nested else {
            let first = if self.within.take().is_some() { self.advance() } else { line };
            let (value, last) = self.scalar(rest, first, indent);
            let name = name.unwrap_or(Span::new(value.start(), value.start()));
            return Node::entry(label, name, value, Span::new(start, last.next));
        };
        let kind = self.kind_here();
        let children = self.block(column, kind, depth + 1);
        let last = self.lines[self.index - 1];
        let last = self.last_content(last, &children);
        let body = match children.first() {
            Some(first) => Span::new(first.span.start(), last.end),
            None => rest,
        };
        let name = name.unwrap_or(Span::new(body.start(), body.start()));
        let order = if kind == Kind::List { Order::Sequence } else { Order::ByName };
        Node::entry(label, name, body, Span::new(start, last.next)).holding(kind, children, order)
    }

    /// The line on which the last of `children` ends.
    fn last_content(&self, read: Line, children: &[Node<'a>]) -> Line {
        let Some(next) = children.last().map(|c| c.span.end()) else { return read };
        let at = self.lines.partition_point(|l| l.next < next);
        self.lines.get(at).copied().unwrap_or(read)
    }

    /// A value that begins with `rest` on the line `first`, and its last line.
    fn scalar(&mut self, rest: Span, first: Line, indent: usize) -> (Span, Line) {
        let text = &self.bytes[rest.range()];
        if matches!(text.first(), Some(b'[' | b'{'))
            && let Some((end, last)) = self.flow(rest.start())
        {
            return (Span::new(rest.start(), end), last);
        }
        let verbatim = matches!(text.first(), Some(b'|' | b'>'));
        let (mut end, mut last) = (rest.end(), first);
        let mut next = self.index;
        while let Some(&line) = self.lines.get(next) {
            next += 1;
            let content = line.trimmed(self.bytes);
            let text = &self.bytes[content.range()];
            if text.is_empty() || (text.starts_with(b"#") && !verbatim) {
                continue;
            }
            if content.start() - line.start <= indent {
                break;
            }
            (end, last) = (content.end(), line);
            self.index = next;
        }
        (Span::new(rest.start(), end.max(rest.start())), last)
    }

    /// Where the flow collection at `start` ends, if it does and nothing but a
    /// comment follows.
    fn flow(&mut self, start: usize) -> Option<(usize, Line)> {
        if self.unended {
            return None;
        }
        let mut quotes = super::lines::Quotes::default();
        let mut depth = 0usize;
        for (at, &b) in self.bytes.iter().enumerate().skip(start) {
            if !quotes.inside() {
                match b {
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth -= 1,
                    _ => {}
                }
            }
            quotes.step(b);
            if depth == 0 {
                self.index = self.lines.partition_point(|l| l.next <= at) + 1;
                let last = self.lines[self.index - 1];
                let clean = trim(self.bytes, at + 1, comment(self.bytes, at + 1, last.end));
                return Some((if clean.range().is_empty() { at + 1 } else { clean.end() }, last));
            }
        }
        self.unended = true;
        None
    }
}

fn is_dash(text: &[u8]) -> bool {
    text.starts_with(b"-") && text.get(1).is_none_or(|&b| is_space(b))
}

/// The length of the key a line begins with, and where its colon stands.
fn key(text: &[u8]) -> Option<(usize, usize)> {
    let quote = *text.first()?;
    if b"[]{}#&*!|>%@`,?".contains(&quote) || is_dash(text) {
        return None;
    }
    let divides = |at: usize| text[at] == b':' && text.get(at + 1).is_none_or(|&b| is_space(b));
    if quote == b'"' || quote == b'\'' {
        let close = text[1..].iter().position(|&b| b == quote)? + 1;
        let colon = close + 1 + text[close + 1..].iter().take_while(|&&b| b == b' ').count();
        return (colon < text.len() && divides(colon)).then_some((close + 1, colon));
    }
    let colon = (0..comment(text, 0, text.len())).find(|&at| divides(at))?;
    let length = text[..colon].trim_ascii_end().len();
    (length > 0).then_some((length, colon))
}
