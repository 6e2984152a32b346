//! From text to words: numbers, texts, names and signs, each with its place.

use std::ops::Range;

use umbra_state::escape::escape;

use super::ExpressionError;

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Text(String),
    Name(String),
    /// One of [`SIGNS`].
    Sign(&'static str),
}

/// Longer ones first: the first that fits is taken.
const SIGNS: [&str; 24] = [
    "**", "&&", "||", "==", "!=", "<=", ">=", "??", "<", ">", "+", "-", "*", "/", "%", "^", "!",
    "(", ")", "[", "]", "{", "}", ",",
];
/// What stands for the entry of a list.
pub(super) const ENTRY: &str = "#";

/// All words of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let start = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (token, length) = match first {
            '0'..='9' | '.' => number(rest, start)?,
            'a'..='z' | 'A'..='Z' | '_' => name(rest),
            '\'' | '"' => quoted(rest, start)?,
            _ => sign(rest, start)?,
        };
        tokens.push((token, start..start + length));
        rest = &rest[length..];
    }
}

fn number(rest: &str, start: usize) -> Result<(Token, usize), ExpressionError> {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if rest[length..].starts_with('.') {
        length += 1 + digits(length + 1);
    }
    if rest[length..].starts_with(['e', 'E']) {
        let signed = usize::from(rest[length + 1..].starts_with(['+', '-']));
        length += 1 + signed + digits(length + 1 + signed);
    }
    let more = rest[length..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
    let length = length + more.count();
    let text = &rest[..length];
    match text.parse() {
        Ok(number) => Ok((Token::Number(number), length)),
        Err(_) => {
            let message = format!("`{text}` is no number");
            Err(ExpressionError::at(start..start + length, message))
        }
    }
}

fn name(rest: &str) -> (Token, usize) {
    let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    (Token::Name(rest[..length].to_owned()), length)
}

fn quoted(rest: &str, start: usize) -> Result<(Token, usize), ExpressionError> {
    let mut text = String::new();
    let mut chars = rest.char_indices();
    let Some((_, quote)) = chars.next() else { return sign(rest, start) };
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Token::Text(text), at + 1)),
            '\\' => {
                let meant = chars.next().and_then(|(_, c)| escaped(c));
                let place = start + at..start + at + 1;
                let message = "after `\\` comes one of `\\ ' \" n t`";
                text.push(meant.ok_or_else(|| ExpressionError::at(place, message))?);
            }
            _ => text.push(c),
        }
    }
    Err(ExpressionError::at(start..start + 1, "this text does not end"))
}

fn escaped(c: char) -> Option<char> {
    match c {
        '\\' | '\'' | '"' => Some(c),
        'n' => Some('\n'),
        't' => Some('\t'),
        _ => None,
    }
}

fn sign(rest: &str, start: usize) -> Result<(Token, usize), ExpressionError> {
    let known = SIGNS.into_iter().chain([ENTRY]).find(|sign| rest.starts_with(sign));
    if let Some(sign) = known {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let first: String = rest.chars().take(1).collect();
    let shown = escape(first.as_bytes());
    let message = format!("`{shown}` has no meaning here{}", hint(rest));
    Err(ExpressionError::at(start..start + first.len(), message))
}

/// What people may have meant.
fn hint(rest: &str) -> &'static str {
    match rest.as_bytes().first() {
        Some(b'&') => ", did you mean `&&`?",
        Some(b'|') => ", did you mean `||`?",
        Some(b'=') => ", did you mean `==`?",
        _ => "",
    }
}
