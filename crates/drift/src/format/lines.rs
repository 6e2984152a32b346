//! Lines, words and quotes: what most formats are made of.

use super::tree::{Node, Span};

/// One line: its content is `start..end`, `next` is where the following begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) next: usize,
}

impl Line {
    /// The content without white space around it.
    pub(super) fn trimmed(self, bytes: &[u8]) -> Span {
        trim(bytes, self.start, self.end)
    }

    pub(super) fn span(self) -> Span {
        Span::new(self.start, self.next)
    }

    pub(super) fn opaque<'a>(self) -> Node<'a> {
        Node::opaque(self.start, self.end, self.next)
    }
}

/// The lines of `bytes`; `\r\n` ends a line too, and the last one may lack an end.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= bytes.len() {
            return None;
        }
        let rest = &bytes[start..];
        let line = match rest.iter().position(|&b| b == b'\n') {
            Some(n) => {
                let cut = usize::from(rest[..n].ends_with(b"\r"));
                Line { start, end: start + n - cut, next: start + n + 1 }
            }
            None => Line { start, end: bytes.len(), next: bytes.len() },
        };
        start = line.next;
        Some(line)
    })
}

/// Every line as text, blank ones too.
pub(super) fn raw<'a>(bytes: &[u8]) -> Vec<Node<'a>> {
    lines(bytes).map(Line::opaque).collect()
}

pub(super) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

/// `start..end` without white space at its ends; empty at `start` if there is
/// nothing else.
pub(super) fn trim(bytes: &[u8], start: usize, end: usize) -> Span {
    let part = &bytes[start..end];
    match part.iter().position(|&b| !is_space(b)) {
        None => Span::new(start, start),
        Some(first) => {
            let last = part.iter().rposition(|&b| !is_space(b)).unwrap_or(first);
            Span::new(start + first, start + last + 1)
        }
    }
}

/// The words of `start..end`, divided by white space.
pub(super) fn words(bytes: &[u8], start: usize, end: usize) -> impl Iterator<Item = Span> {
    let mut at = start;
    std::iter::from_fn(move || {
        at += bytes[at..end].iter().position(|&b| !is_space(b))?;
        let length = bytes[at..end].iter().position(|&b| is_space(b)).unwrap_or(end - at);
        let word = Span::new(at, at + length);
        at += length;
        Some(word)
    })
}

/// Where the first `#` begins a comment in `start..end`: outside quotes and
/// after white space (or at the start); else `end`.
pub(super) fn comment(bytes: &[u8], start: usize, end: usize) -> usize {
    let mut quotes = Quotes::default();
    for at in start..end {
        let b = bytes[at];
        if b == b'#' && !quotes.inside() && (at == start || is_space(bytes[at - 1])) {
            return at;
        }
        quotes.step(b);
    }
    end
}

/// Follows double and single quotes and backslashes byte by byte.
#[derive(Default)]
pub(super) struct Quotes {
    open: Option<u8>,
    escaped: bool,
}

impl Quotes {
    /// Whether the next byte is quoted or escaped.
    pub(super) fn inside(&self) -> bool {
        self.open.is_some() || self.escaped
    }

    pub(super) fn step(&mut self, b: u8) {
        if self.escaped {
            self.escaped = false;
        } else if b == b'\\' && self.open != Some(b'\'') {
            self.escaped = true;
        } else if self.open == Some(b) {
            self.open = None;
        } else if self.open.is_none() && (b == b'"' || b == b'\'') {
            self.open = Some(b);
        }
    }
}
