//! crontab(5): settings, and jobs with their schedule.

use super::lines::{Line, lines, trim, words};
use super::tree::{Kind, Node, Order, Span};

/// With `users`, each job says as whom it runs.
pub(super) fn parse(bytes: &[u8], users: bool) -> (Vec<Node<'_>>, Order) {
    let mut nodes = Vec::new();
    let mut order = Order::Free;
    for line in lines(bytes) {
        let content = line.trimmed(bytes);
        let text = &bytes[content.range()];
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        nodes.push(if let Some(setting) = setting(bytes, line, content) {
            // A setting is for the jobs after it.
            order = Order::Sequence;
            setting
        } else {
            job(bytes, line, content, users).unwrap_or_else(|| line.opaque())
        });
    }
    (nodes, order)
}

fn setting<'a>(bytes: &'a [u8], line: Line, content: Span) -> Option<Node<'a>> {
    let cut = bytes[content.range()].iter().position(|&b| b == b'=')?;
    let name = trim(bytes, content.start(), content.start() + cut);
    let text = &bytes[name.range()];
    let named = !text.is_empty()
        && !text[0].is_ascii_digit()
        && text.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_');
    let value = trim(bytes, content.start() + cut + 1, content.end());
    named.then(|| Node::entry(text, name, value, line.span()))
}

fn job<'a>(bytes: &'a [u8], line: Line, content: Span, users: bool) -> Option<Node<'a>> {
    let mut fields = words(bytes, content.start(), content.end());
    let first = fields.next()?;
    let last = if bytes[first.start()] == b'@' { first } else { fields.nth(3)? };
    let schedule = Span::new(first.start(), last.end());
    let user = if users { Some(fields.next()?) } else { None };
    let command = trim(bytes, user.unwrap_or(last).end(), content.end());
    if command.range().is_empty() {
        return None;
    }
    let field = |label: &'static [u8], span: Span| {
        Node::entry(label, Span::new(span.start(), span.start()), span, span)
    };
    let mut children = vec![field(b"schedule", schedule)];
    children.extend(user.map(|user| field(b"user", user)));
    children.push(field(b"command", command));
    let nowhere = Span::new(content.start(), content.start());
    Some(Node::entry(&b"job"[..], nowhere, content, line.span()).holding(
        Kind::Map,
        children,
        Order::Free,
    ))
}
