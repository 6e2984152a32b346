//! Lines that select paths, one at a time.

use std::collections::BTreeSet;

use super::super::expression::{Lean, Refused, Way, Ways, certain, expand};
use super::super::pattern::{Piece, directory, globs, literal};

/// How a line selects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Matches, and what is below.
    Regular,
    /// Matches only.
    Equal,
    /// Leaves matches out.
    Negative,
    /// Leaves matches out, and what is below them.
    Pruning,
}

impl Manner {
    /// Whether paths are left out rather than watched.
    pub(super) fn leaves_out(self) -> bool {
        matches!(self, Self::Negative | Self::Pruning)
    }
}

/// What a line selects.
#[derive(Debug)]
pub(super) struct Selected {
    /// Where all of it lies.
    pub(super) directory: Vec<u8>,
    pub(super) globs: Vec<String>,
    /// How the globs differ from the expression.
    pub(super) difference: Option<String>,
    /// Whether AIDE would also take names that only begin as the path does.
    pub(super) goes_on: bool,
}

/// What an expression selects; an error is why it selects nothing.
pub(super) fn select(expression: &str, manner: Manner) -> Result<Selected, String> {
    if !expression.starts_with('/') {
        return Err("a path begins with `/`".to_owned());
    }
    let lean = if manner.leaves_out() { Lean::Narrow } else { Lean::Wide };
    let Ways { ways, exact } = match expand(expression, lean) {
        Ok(ways) => ways,
        Err(Refused(why)) => return instead(expression, lean, &why),
    };
    let (mut all, mut goes_on) = (BTreeSet::new(), false);
    let mut shared: Option<Vec<u8>> = None;
    for way in ways {
        let below = directory(&way.pieces);
        shared = Some(shared.map_or(below.clone(), |shared| common(&shared, &below)));
        goes_on |= matches!(manner, Manner::Regular | Manner::Negative | Manner::Pruning)
            && is_open_path(&way);
        for pieces in variants(way, manner) {
            match globs(&pieces) {
                Some(globs) => all.extend(globs),
                None => return instead(expression, lean, "too many, or more than text"),
            }
        }
    }
    if all.is_empty() {
        return Err("no path matches it".to_owned());
    }
    let difference = match lean {
        _ if exact => None,
        Lean::Wide => Some("more paths match here".to_owned()),
        Lean::Narrow => Some("fewer paths are left out here".to_owned()),
    };
    let globs = all.into_iter().collect();
    Ok(Selected { directory: shared.unwrap_or_default(), globs, difference, goes_on })
}

/// What is selected where no pattern says what the expression does: everything it could match,
/// or, if it leaves out, nothing.
fn instead(expression: &str, lean: Lean, why: &str) -> Result<Selected, String> {
    if lean == Lean::Narrow {
        return Err(format!("no pattern says it ({why})"));
    }
    let below = certain(expression);
    let pieces = [literal(&below), vec![Piece::Deep]].concat();
    Ok(Selected {
        globs: globs(&pieces).ok_or("no configuration can hold the path")?,
        difference: Some(format!("no pattern says it ({why}): all below `{below}` is watched")),
        directory: below.into_bytes(),
        goes_on: false,
    })
}

/// Whether it is a path whose last name could go on.
fn is_open_path(way: &Way) -> bool {
    let plain = way.pieces.iter().all(|piece| matches!(piece, Piece::Byte(_)));
    plain && !way.ended && !ends_a_directory(way)
}

fn ends_a_directory(way: &Way) -> bool {
    way.pieces.last() == Some(&Piece::Byte(b'/'))
}

/// The patterns that together select what a way of an expression does in a manner.
fn variants(way: Way, manner: Manner) -> Vec<Vec<Piece>> {
    let with = |more: &[Piece]| [&way.pieces[..], more].concat();
    let below = || with(&[Piece::Byte(b'/'), Piece::Deep]);
    match manner {
        Manner::Equal if ends_a_directory(&way) => {
            let itself = way.pieces[..way.pieces.len().max(2) - 1].to_vec();
            vec![itself, with(&[Piece::Star])]
        }
        Manner::Equal if !way.ended => vec![with(&[Piece::Star])],
        Manner::Pruning if way.ended => vec![way.pieces.clone(), below()],
        _ if way.ended => vec![way.pieces],
        // What also takes names that go on would be looked for from the root on.
        _ if is_open_path(&way) => vec![way.pieces.clone(), below()],
        _ => vec![with(&[Piece::Deep])],
    }
}

/// The directory both lie in.
fn common(one: &[u8], other: &[u8]) -> Vec<u8> {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let end = one[..same].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    one[..end].to_vec()
}

/// The words of a line, what a backslash protects being no space.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ (' ' | '@' | '\\')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => word.push('\\'),
            },
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Types of files, types of filesystems, or both.
pub(super) fn is_restriction(word: &str) -> bool {
    let types = word.split_once('=').map_or(word, |(types, _)| types);
    types
        .split(',')
        .all(|one| matches!(one, "" | "0" | "f" | "d" | "l" | "c" | "b" | "p" | "s" | "D" | "P"))
}

/// An expression whose `%20` and the like are the characters they stand for.
pub(super) fn decoded(expression: &str) -> Result<String, String> {
    let (mut bytes, mut rest) = (Vec::new(), expression.as_bytes());
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let hex = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "the path is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_protect_spaces() {
        assert_eq!(words(r"/a\ b\@\\.c\d  f  p+u "), [r"/a b@\.c\d", "f", "p+u"]);
        assert!(words("  ").is_empty());
    }

    #[test]
    fn percent_stands_for_a_byte() {
        for (written, meant) in
            [("/a%20b", "/a b"), ("/100%", "/100%"), ("/%zz%2", "/%zz%2"), ("/%c3%A9", "/é")]
        {
            assert_eq!(decoded(written).as_deref(), Ok(meant));
        }
        assert!(decoded("/%ff").is_err());
    }

    #[test]
    fn restrictions_are_types() {
        for word in ["f", "d,f", "=vfat", "d=0x01021994", "0"] {
            assert!(is_restriction(word), "{word}");
        }
        for word in ["Full", "p+u", "f+p"] {
            assert!(!is_restriction(word), "{word}");
        }
    }

    #[test]
    fn all_of_a_line_lies_in_one_directory() {
        let directory = |expression: &str| select(expression, Manner::Regular).map(|s| s.directory);
        assert_eq!(directory("/etc/(a/b|a/c|ab)"), Ok(b"/etc/".to_vec()));
        assert_eq!(directory("/(etc|usr)/x"), Ok(b"/".to_vec()));
    }
}
