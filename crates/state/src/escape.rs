//! Bytes from outside, made safe to print.
//!
//! A file name may hold a newline or an escape sequence that rewrites a terminal. Every
//! name, path or output of a foreign program passes through here before a person sees it.

use std::fmt;

/// Displays bytes as text in which every control character, every backslash and every
/// byte that is no UTF-8 is written as an escape, so that the result is one printable line
/// and two different names never print alike.
pub fn escape(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, keep_newlines: false }
}

/// Like [`escape`], for the output of a program: newlines and tabs stay, and so do
/// backslashes, since output is read and not compared.
pub fn escape_output(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, keep_newlines: true }
}

/// Bytes as one printable line of at most `chars_max` characters; what is left out is counted.
pub fn line(bytes: &[u8], chars_max: usize) -> String {
    // One byte is at most ten characters: what is certainly left out is not even escaped.
    let looked_at = &bytes[..bytes.len().min(chars_max.saturating_mul(4).saturating_add(4))];
    let shown = escape(looked_at).to_string();
    let fits = looked_at.len() == bytes.len() && shown.chars().count() <= chars_max;
    if fits {
        return shown;
    }
    let rest = format!("... ({} bytes)", bytes.len());
    let kept = chars_max.saturating_sub(rest.len());
    let mut cut: String = shown.chars().take(kept).collect();
    cut.push_str(&rest);
    cut
}

/// See [`escape`] and [`escape_output`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    keep_newlines: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' | '\t' if self.keep_newlines => fmt::Write::write_char(f, c)?,
                    '\\' if !self.keep_newlines => f.write_str("\\\\")?,
                    c if c.is_control() || is_invisible(c) => write!(f, "{}", c.escape_unicode())?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Characters that reorder or hide what stands beside them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], shown: &str) {
        assert_eq!(escape(bytes).to_string(), shown);
    }

    #[test]
    fn names_print_as_one_unambiguous_line() {
        check(b"etc/nginx", "etc/nginx");
        check("größe".as_bytes(), "größe");
        check(b"a\nb", "a\\u{a}b");
        check(b"\x1b[2J", "\\u{1b}[2J");
        check(b"caf\xe9", "caf\\xe9");
        check(b"a\\nb", "a\\\\nb");
        check("x\u{202e}gpj.exe".as_bytes(), "x\\u{202e}gpj.exe");
    }

    #[test]
    fn output_keeps_its_lines() {
        assert_eq!(escape_output(b"one\ntwo\t\\3\x07").to_string(), "one\ntwo\t\\3\\u{7}");
    }

    #[test]
    fn lines_are_cut_and_say_so() {
        assert_eq!(line(b"a\nb", 10), "a\\u{a}b");
        assert_eq!(line(&[b'x'; 100], 20), "xxxxx... (100 bytes)");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_printable_line(
            bytes in prop::collection::vec(any::<u8>(), 0..300), max in 30usize..80,
        ) {
            let line = line(&bytes, max);
            prop_assert!(line.chars().count() <= max);
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
        }
    }
}
