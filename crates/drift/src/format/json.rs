//! JSON (RFC 8259). What is not JSON as a whole is text.

use super::DEPTH_MAX;
use super::lines::{is_space, raw};
use super::tree::{Kind, Node, Order, Span};
use std::borrow::Cow;

pub(super) fn parse(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    let mut reader = Reader { bytes, at: 0 };
    let document = reader.value(0);
    reader.space();
    match document {
        // Members of the outermost object are the file's keys; an element of
        // the outermost list stands alone, as does a lone value.
        Some(value) if reader.at == bytes.len() => {
            if value.kind == Kind::Entry {
                (vec![value.node(&b""[..], None)], Order::ByName)
            } else {
                (value.children, value.order)
            }
        }
        _ => (raw(bytes), Order::Sequence),
    }
}

struct Value<'a> {
    kind: Kind,
    span: Span,
    children: Vec<Node<'a>>,
    order: Order,
}

impl<'a> Value<'a> {
    fn node(self, label: impl Into<Cow<'a, [u8]>>, name: Option<Span>) -> Node<'a> {
        let start = name.map_or(self.span.start(), |n| n.start());
        let name = name.unwrap_or(Span::new(start, start));
        let span = Span::new(start, self.span.end());
        Node::entry(label, name, self.span, span).holding(self.kind, self.children, self.order)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        self.space();
        let start = self.at;
        let (kind, children, order) = match self.bytes.get(start)? {
            b'{' | b'[' if depth == DEPTH_MAX => return None,
            b'{' => (Kind::Map, self.items(b'}', depth)?, Order::ByName),
            b'[' => (Kind::List, self.items(b']', depth)?, Order::Sequence),
            b'"' => {
                self.string()?;
                (Kind::Entry, Vec::new(), Order::ByName)
            }
            _ => {
                self.word()?;
                (Kind::Entry, Vec::new(), Order::ByName)
            }
        };
        Some(Value { kind, span: Span::new(start, self.at), children, order })
    }

    /// The members or elements up to `close`.
    fn items(&mut self, close: u8, depth: usize) -> Option<Vec<Node<'a>>> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(close) {
            return Some(items);
        }
        loop {
            self.space();
            items.push(if close == b'}' {
                let name = self.string()?;
                self.space();
                if !self.eat(b':') {
                    return None;
                }
                let inner = &self.bytes[name.start() + 1..name.end() - 1];
                self.value(depth + 1)?.node(decoded(inner), Some(name))
            } else {
                self.value(depth + 1)?.node(&b""[..], None)
            });
            self.space();
            if self.eat(close) {
                return Some(items);
            }
            if !self.eat(b',') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<Span> {
        let start = self.at;
        if !self.eat(b'"') {
            return None;
        }
        loop {
            match self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                b if *b < b' ' => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(Span::new(start, self.at))
    }

    fn word(&mut self) -> Option<()> {
        let rest = &self.bytes[self.at..];
        let belongs = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
        let word = &rest[..rest.iter().position(|b| !belongs(b)).unwrap_or(rest.len())];
        self.at += word.len();
        let number = |w: &[u8]| {
            let digits = w.strip_prefix(b"-").unwrap_or(w);
            digits.first().is_some_and(u8::is_ascii_digit)
                && std::str::from_utf8(w).is_ok_and(|w| w.parse::<f64>().is_ok())
        };
        (matches!(word, b"true" | b"false" | b"null") || number(word)).then_some(())
    }

    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|&b| is_space(b)) {
            self.at += 1;
        }
    }

    fn eat(&mut self, b: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&b);
        self.at += usize::from(found);
        found
    }
}

/// A string's text without its escapes; those that are none stay as they are.
pub(super) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let unicode = |t: &[u8]| {
            let hex = std::str::from_utf8(t.get(1..5)?).ok()?;
            if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            // Halves of a pair stay escaped, in one spelling.
            char::from_u32(u32::from_str_radix(hex, 16).ok()?)
        };
        let (bytes, used): (&[u8], usize) = match (first, tail) {
            (b'\\', [b @ (b'"' | b'/'), ..]) => (std::slice::from_ref(b), 2),
            (b'\\', [b'u', ..]) => match unicode(tail) {
                // A backslash and a quote stay told apart from syntax.
                Some(c) if c != '\\' && c >= ' ' => {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    (&[], 6)
                }
                _ => (&rest[..2], 2),
            },
            (b'\\', [_, ..]) => (&rest[..2], 2),
            _ => (std::slice::from_ref(first), 1),
        };
        out.extend_from_slice(bytes);
        rest = &rest[used..];
    }
    out.into()
}
