//! deb822(5): stanzas of fields, divided by empty lines.

use super::lines::{Line, lines, trim};
use super::tree::{Kind, Node, Order, Span};

pub(super) fn parse(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    let mut stanzas = Vec::new();
    let mut fields: Vec<Node<'_>> = Vec::new();
    let mut end = Line { start: 0, end: 0, next: 0 };
    for line in lines(bytes) {
        let text = &bytes[line.start..line.end];
        if line.trimmed(bytes).range().is_empty() {
            close(&mut stanzas, &mut fields, end);
            continue;
        }
        if text.starts_with(b"#") {
            continue;
        }
        let continues = text[0] == b' ' || text[0] == b'\t';
        match fields.last_mut().filter(|f| continues && f.kind == Kind::Entry) {
            Some(field) => {
                let value = trim(bytes, field.value.start(), line.end);
                field.value = Span::new(field.value.start().min(value.start()), value.end());
                field.span = Span::new(field.span.start(), line.next);
            }
            None => fields.push(field(bytes, line).unwrap_or_else(|| line.opaque())),
        }
        end = line;
    }
    close(&mut stanzas, &mut fields, end);
    (stanzas, Order::Sequence)
}

fn field<'a>(bytes: &'a [u8], line: Line) -> Option<Node<'a>> {
    let cut = bytes[line.start..line.end].iter().position(|&b| b == b':')?;
    let name = Span::new(line.start, line.start + cut);
    let text = &bytes[name.range()];
    let named = !text.is_empty() && text.iter().all(|b| b.is_ascii_graphic());
    let value = trim(bytes, line.start + cut + 1, line.end);
    named.then(|| Node::entry(text, name, value, line.span()))
}

fn close<'a>(stanzas: &mut Vec<Node<'a>>, fields: &mut Vec<Node<'a>>, end: Line) {
    let Some(first) = fields.first() else { return };
    let start = first.span.start();
    let nowhere = Span::new(start, start);
    let stanza =
        Node::entry(&b""[..], nowhere, Span::new(start, end.end), Span::new(start, end.next));
    stanzas.push(stanza.holding(Kind::Map, std::mem::take(fields), Order::ByName));
}

/// A value without the comment lines in it.
pub(super) fn without_comments(text: &[u8]) -> Vec<u8> {
    let kept: Vec<&[u8]> = text.split(|&b| b == b'\n').filter(|l| !l.starts_with(b"#")).collect();
    kept.join(&b'\n')
}
