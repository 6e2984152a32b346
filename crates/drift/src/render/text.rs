//! Bytes as one printable line, and JSON without unprintable characters.

use std::fmt::Write;

use serde::Serialize;
use umbra_state::escape::escape;

/// A text as it is, of at most `bytes_max`.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// `value` as JSON in which every character is printable: names from outside hold some that
/// JSON leaves as they are and that rewrite a terminal.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    // A value made of strings, numbers and lists is always written.
    printable(&serde_json::to_string(value).unwrap_or_default())
}

/// The same over several lines.
pub(crate) fn json_pretty<T: Serialize + ?Sized>(value: &T) -> String {
    printable(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// JSON whose strings hold only printable characters. Outside of strings there are none others
/// than line ends, and an escape stands for the same character.
fn printable(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_unprintable(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// Whether a terminal would do something else than show it.
pub(crate) fn is_unprintable(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let mut buffer = [0; 4];
    let text = c.encode_utf8(&mut buffer);
    escape(text.as_bytes()).to_string() != *text
}

/// `1 key`, `2 keys`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_printable_and_means_the_same() {
        let value = "a\u{1b}[2J\u{7f}\u{9b}\u{202e}é😀\u{e0001}";
        let json = json(value);
        assert!(!json.chars().any(|c| c.is_control() || c == '\u{202e}'), "{json}");
        assert!(json.contains('é') && json.contains('😀'));
        assert_eq!(serde_json::from_str::<String>(&json).expect("json"), value);
    }

    proptest! {
        #[test]
        fn any_text_survives_json(text: String) {
            let json = json(&text);
            prop_assert!(!json.chars().any(char::is_control), "{:?}", json);
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("json"), text);
        }
    }
}
