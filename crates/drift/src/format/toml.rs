//! TOML 1.0 by statements: a table header, or a key with its value's text.

use super::lines::{Line, is_space, lines, trim};
use super::sections::Sections;
use super::tree::{Node, Order, Span};
use std::borrow::Cow;

pub(super) fn parse(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    let all: Vec<Line> = lines(bytes).collect();
    let mut sections = Sections::default();
    let mut index = 0;
    // A value without an end is looked for once only; then lines end values.
    let mut unended = false;
    while index < all.len() {
        let line = all[index];
        index += 1;
        let content = line.trimmed(bytes);
        let text = &bytes[content.range()];
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        if let Some(name) = header(bytes, content) {
            sections.begin(label(&bytes[name.range()]), name, line);
            continue;
        }
        let Some(cut) = key_end(text).filter(|&cut| cut > 0) else {
            sections.push(line.opaque(), line);
            continue;
        };
        let name = trim(bytes, content.start(), content.start() + cut);
        let start = content.start() + cut + 1;
        let mut limit = if unended { line.end } else { bytes.len() };
        if value_end(bytes, start, limit).is_none() {
            (unended, limit) = (true, line.end);
        }
        let Some(end) = value_end(bytes, start, limit) else {
            sections.push(line.opaque(), line);
            continue;
        };
        let mut last = line;
        while last.end < end && index < all.len() {
            last = all[index];
            index += 1;
        }
        let value = trim(bytes, start, end);
        let span = Span::new(line.start, last.next);
        sections.push(Node::entry(label(&bytes[name.range()]), name, value, span), last);
    }
    (sections.finish(), Order::ByName)
}

/// The name in `[name]` or `[[name]]`, with a comment at most behind it.
fn header(bytes: &[u8], content: Span) -> Option<Span> {
    let text = &bytes[content.range()];
    let brackets = text.iter().take(2).take_while(|&&b| b == b'[').count();
    let close = brackets + scan_key(text.get(brackets..)?, b']')?;
    let rest = text[close..].strip_prefix(&b"]]"[..brackets])?.trim_ascii_start();
    let name = trim(bytes, content.start() + brackets, content.start() + close);
    let named = brackets > 0 && !name.range().is_empty();
    (named && (rest.is_empty() || rest.starts_with(b"#"))).then_some(name)
}

fn key_end(text: &[u8]) -> Option<usize> {
    scan_key(text, b'=')
}

/// Where `end` stands outside quotes.
fn scan_key(text: &[u8], end: u8) -> Option<usize> {
    let mut quotes = super::lines::Quotes::default();
    for (at, &b) in text.iter().enumerate() {
        if b == end && !quotes.inside() {
            return Some(at);
        }
        quotes.step(b);
    }
    None
}

/// A key without the quotes and spaces that mean nothing: `a . "b"` is `a.b`;
/// parts with dots keep their quotes.
fn label(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|&b| is_space(b) || b == b'"' || b == b'\'') {
        return text.into();
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = text;
    loop {
        let cut = scan_key(rest, b'.');
        let part = rest[..cut.unwrap_or(rest.len())].trim_ascii();
        let inner = super::canon::plain(part);
        let bare = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        parts.push(if !inner.is_empty() && inner.iter().all(bare) { inner } else { part });
        match cut {
            Some(cut) => rest = &rest[cut + 1..],
            None => return parts.join(&b'.').into(),
        }
    }
}

/// Where the value that begins at `start` ends: before a comment or the line's
/// end that is in no bracket or string. None if something stays open.
fn value_end(bytes: &[u8], start: usize, limit: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = start;
    while at < limit {
        match bytes[at] {
            b'"' | b'\'' => at = string_end(&bytes[..limit], at)?,
            b'[' | b'{' => (depth, at) = (depth + 1, at + 1),
            b']' | b'}' => (depth, at) = (depth.checked_sub(1)?, at + 1),
            b'#' | b'\n' if depth == 0 => return Some(at),
            b'#' => at += bytes[at..limit].iter().take_while(|&&b| b != b'\n').count(),
            _ => at += 1,
        }
    }
    (depth == 0).then_some(limit)
}

/// The offset behind the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let triple = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if triple { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !triple => return None,
            b if b == quote && !triple => return Some(at + 1),
            b if b == quote && bytes[at..].starts_with(&[quote; 3]) => {
                // Up to two quotes may stand before the three that close.
                let run = bytes[at..].iter().take(5).take_while(|&&b| b == quote).count();
                return Some(at + run);
            }
            _ => {}
        }
        at += 1;
    }
    None
}
