//! The text of a file and where things stand in it.

use std::ops::Range;

/// One file's text.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name shown to people: the path as the user gave it.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A piece of one of the files that make up a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Which file: 0 is the one asked for, others are those it brings in.
    pub file: usize,
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The bytes `range` of a file; one that ends before it begins is empty.
    pub fn new(file: usize, range: Range<usize>) -> Self {
        Self { file, start: range.start, end: range.end.max(range.start) }
    }
}

/// A position a person can find: both numbers begin at 1, columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Source {
    /// Where the byte `offset` stands; offsets beyond the end or inside a character count as
    /// the nearest character before.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.floor(offset);
        let before = &self.text[..offset];
        let line_start = self.line_range(offset).start;
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        Position { line, column: self.text[line_start..offset].chars().count() + 1 }
    }

    /// The line that holds the byte `offset`, without its line end (`\n` or `\r\n`).
    pub fn line_range(&self, offset: usize) -> Range<usize> {
        let offset = self.floor(offset);
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[offset..].find('\n').map_or(self.text.len(), |length| offset + length);
        let line = &self.text[start..end];
        start..start + line.strip_suffix('\r').unwrap_or(line).len()
    }

    /// The text of a span of this file; empty where it lies outside.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or("")
    }

    /// The nearest character boundary at or before `offset`.
    pub fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, needle: &str, line: usize, column: usize) {
        let source = Source { name: "x".to_owned(), text: text.to_owned() };
        let offset = text.find(needle).unwrap();
        assert_eq!(source.position(offset), Position { line, column });
    }

    #[test]
    fn positions_count_characters_and_lines_of_either_kind() {
        check("name: x", "name", 1, 1);
        check("größe: ä b", "b", 1, 10);
        check("a: 1\r\nb: 2\r\n  ü: 3", "3", 3, 6);
        check("日本: 語\nb: 😀 c", "c", 2, 6);
    }

    #[test]
    fn lines_come_without_their_end() {
        let source = Source { name: String::new(), text: "ab\r\ncd\n\nef".to_owned() };
        let lines = [0, 4, 7, 8].map(|offset| &source.text[source.line_range(offset)]);
        assert_eq!(lines, ["ab", "cd", "", "ef"]);
    }
}
