//! Regular expressions of paths, taken apart.
//!
//! What an expression matches becomes [`Way`]s of [`Piece`]s. Where pieces cannot say the same,
//! they lean to one side: to more paths where paths are watched, to fewer where they are left
//! out, so that never less is watched than before.

use std::ops::RangeInclusive;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::pattern::Piece;

/// To which side what cannot be said exactly is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lean {
    /// To more paths.
    Wide,
    /// To fewer.
    Narrow,
}

/// One of the ways in which an expression matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Way {
    pub(super) pieces: Vec<Piece>,
    /// Whether nothing may stand before it.
    begun: bool,
    /// Whether the path ends here; else anything may follow.
    pub(super) ended: bool,
}

/// All ways.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) ways: Vec<Way>,
    /// Whether they are what the expression matches, no more and no less.
    pub(super) exact: bool,
}

/// An expression that becomes nothing, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

const EXPRESSION_BYTES_MAX: usize = 1_000;
const NESTING_MAX: u32 = 40;
const WAYS_MAX: usize = 64;
const PIECES_MAX: usize = 2_000;
/// A shorter repetition is written out.
const REPEAT_MAX: u32 = 3;

/// The ways of an expression that is held against the beginning of a path.
pub(super) fn expand(expression: &str, lean: Lean) -> Result<Ways, Refused> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(Refused(format!("it is longer than {EXPRESSION_BYTES_MAX} bytes")));
    }
    let parser = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .unicode(false)
        .nest_limit(NESTING_MAX)
        .build()
        .parse(expression);
    let hir = parser.map_err(|error| {
        // The last line says what is wrong, those before it draw it.
        let error = error.to_string();
        Refused(error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })?;
    let mut reader = Reader { lean, exact: true };
    let mut ways = reader.read(&hir)?;
    // What does not begin with a slash, or has two in a row, is no path.
    let slash = Piece::Byte(b'/');
    let doubled =
        |way: &Way| way.pieces.windows(2).any(|two| two == [slash.clone(), slash.clone()]);
    ways.retain(|way| way.pieces.first() == Some(&slash) && !doubled(way));
    Ok(Ways { ways, exact: reader.exact })
}

/// What every path that an expression matches begins with, up to its last `/`.
pub(super) fn certain(expression: &str) -> String {
    // One branch of several says nothing about the others.
    if expression.contains('|') {
        return "/".to_owned();
    }
    let end = expression.find(['\\', '.', '[', '(', ')', '{', '*', '+', '?', '^', '$']);
    let known = &expression[..end.unwrap_or(expression.len())];
    known.rfind('/').map_or("/", |slash| &known[..=slash]).to_owned()
}

struct Reader {
    lean: Lean,
    exact: bool,
}

impl Reader {
    fn read(&mut self, hir: &Hir) -> Result<Vec<Way>, Refused> {
        match hir.kind() {
            HirKind::Empty => Ok(vec![Way::default()]),
            HirKind::Literal(literal) => {
                Ok(vec![way_of(literal.0.iter().map(|byte| Piece::Byte(*byte)))])
            }
            HirKind::Class(class) => {
                Ok(self.class(&members(class)).into_iter().map(|piece| way_of([piece])).collect())
            }
            HirKind::Look(look) => self.look(*look),
            HirKind::Repetition(repetition) => self.repetition(repetition),
            HirKind::Capture(capture) => self.read(&capture.sub),
            HirKind::Concat(parts) => {
                let mut ways = vec![Way::default()];
                for part in parts {
                    let part_ways = self.read(part)?;
                    ways = product(&ways, &part_ways)?;
                }
                Ok(ways)
            }
            HirKind::Alternation(branches) => {
                let mut ways = Vec::new();
                for branch in branches {
                    ways.extend(self.read(branch)?);
                    ways = bounded(ways)?;
                }
                Ok(ways)
            }
        }
    }

    fn look(&mut self, look: Look) -> Result<Vec<Way>, Refused> {
        match look {
            Look::Start => Ok(vec![Way { begun: true, ..Way::default() }]),
            Look::End => Ok(vec![Way { ended: true, ..Way::default() }]),
            _ => match self.lean {
                Lean::Wide => {
                    self.exact = false;
                    Ok(vec![Way::default()])
                }
                Lean::Narrow => Err(Refused("no pattern of paths knows `\\b` and its like".into())),
            },
        }
    }

    fn repetition(&mut self, repetition: &Repetition) -> Result<Vec<Way>, Refused> {
        let Repetition { min, max, sub, .. } = repetition;
        let once = self.read(sub)?;
        if let Some(max) = max.filter(|max| *max <= REPEAT_MAX) {
            return copies(&once, *min..=max);
        }
        let endless = match &once[..] {
            [way] if max.is_none() && *min <= REPEAT_MAX => match way.pieces[..] {
                [Piece::Any] => Some(Piece::Deep),
                [Piece::One] => Some(Piece::Star),
                _ => None,
            },
            _ => None,
        };
        if let Some(endless) = endless {
            return product(&copies(&once, *min..=*min)?, &[way_of([endless])]);
        }
        self.exact = false;
        match self.lean {
            Lean::Wide => {
                Ok(vec![way_of([if crosses(&once) { Piece::Deep } else { Piece::Star }])])
            }
            Lean::Narrow if *min <= REPEAT_MAX => {
                copies(&once, *min..=max.unwrap_or(u32::MAX).min(min + 2))
            }
            Lean::Narrow => Err(Refused("no pattern of paths counts that far".to_owned())),
        }
    }

    /// One character out of a set.
    fn class(&mut self, members: &[bool; 256]) -> Vec<Piece> {
        let high = members[0x80..].iter().filter(|member| **member).count();
        if high != 0 && high != 128 {
            self.exact = false;
        }
        let high = high == 128 || (high != 0 && self.lean == Lean::Wide);
        let printable = |wanted: bool| -> Vec<u8> {
            (b' '..=b'~').filter(|b| *b != b'/' && members[usize::from(*b)] == wanted).collect()
        };
        let (inside, outside, slash) =
            (printable(true), printable(false), members[usize::from(b'/')]);
        let mut pieces = match (&inside[..], high) {
            (_, true) if outside.is_empty() && slash => return vec![Piece::Any],
            (_, true) if outside.is_empty() => vec![Piece::One],
            (_, true) => vec![Piece::Class(format!("[!/{}]", bracket(&outside)))],
            ([], false) => Vec::new(),
            ([byte], false) => vec![Piece::Byte(*byte)],
            // These two would mean another thing in front.
            ([b'!', b'^'], false) => vec![Piece::Byte(b'!'), Piece::Byte(b'^')],
            (inside, false) => vec![Piece::Class(format!("[{}]", bracket(inside)))],
        };
        if slash {
            pieces.push(Piece::Byte(b'/'));
        }
        pieces
    }
}

fn way_of(pieces: impl IntoIterator<Item = Piece>) -> Way {
    Way { pieces: pieces.into_iter().collect(), ..Way::default() }
}

fn crosses(ways: &[Way]) -> bool {
    let crossing = |piece: &Piece| matches!(piece, Piece::Byte(b'/') | Piece::Any | Piece::Deep);
    ways.iter().any(|way| way.pieces.iter().any(crossing))
}

/// Every one of these before every one of those.
fn product(before: &[Way], after: &[Way]) -> Result<Vec<Way>, Refused> {
    let mut ways = Vec::new();
    for first in before {
        for second in after {
            // Nothing comes behind the end, and the beginning behind nothing.
            let behind_end = first.ended && !second.pieces.is_empty();
            if behind_end || (second.begun && !first.pieces.is_empty()) {
                continue;
            }
            ways.push(Way {
                pieces: [&first.pieces[..], &second.pieces[..]].concat(),
                begun: first.begun || second.begun,
                ended: first.ended || second.ended,
            });
        }
        ways = bounded(ways)?;
    }
    Ok(ways)
}

fn copies(once: &[Way], counts: RangeInclusive<u32>) -> Result<Vec<Way>, Refused> {
    let mut ways = Vec::new();
    let mut so_far = vec![Way::default()];
    for count in 0..=*counts.end() {
        if counts.contains(&count) {
            ways.extend(so_far.iter().cloned());
            ways = bounded(ways)?;
        }
        if count < *counts.end() {
            so_far = product(&so_far, once)?;
        }
    }
    Ok(ways)
}

fn bounded(ways: Vec<Way>) -> Result<Vec<Way>, Refused> {
    let pieces: usize = ways.iter().map(|way| way.pieces.len()).sum();
    if ways.len() > WAYS_MAX || pieces > PIECES_MAX {
        return Err(Refused("it matches in too many ways".to_owned()));
    }
    Ok(ways)
}

fn members(class: &Class) -> [bool; 256] {
    let mut members = [false; 256];
    let mut add = |first: u32, last: u32| {
        for byte in first..=last.min(255) {
            members[byte as usize] = true;
        }
    };
    match class {
        Class::Bytes(class) => {
            class.iter().for_each(|range| add(range.start().into(), range.end().into()));
        }
        Class::Unicode(class) => {
            class.iter().for_each(|range| add(range.start().into(), range.end().into()));
        }
    }
    members
}

/// Characters as they stand between brackets, in the order in which none has another meaning.
fn bracket(bytes: &[u8]) -> String {
    let special = |byte: &u8| matches!(byte, b']' | b'-' | b'!' | b'^');
    let has = |byte: u8| bytes.contains(&byte);
    let mut text = String::new();
    if has(b']') {
        text.push(']');
    }
    let plain: Vec<u8> = bytes.iter().copied().filter(|byte| !special(byte)).collect();
    for run in plain.chunk_by(|one, next| one + 1 == *next) {
        match run {
            [first, _, .., last] => {
                text.extend([char::from(*first), '-', char::from(*last)]);
            }
            run => text.extend(run.iter().map(|byte| char::from(*byte))),
        }
    }
    // In front it is itself, as it is at the end.
    let (front, end) = if text.is_empty() && has(b'-') { ("-", "") } else { ("", "-") };
    let mut text = format!("{front}{text}");
    text.extend([b'!', b'^'].into_iter().filter(|byte| has(*byte)).map(char::from));
    if has(b'-') {
        text.push_str(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
    use proptest::prelude::*;

    use super::super::pattern::globs;
    use super::*;

    fn all(expression: &str, lean: Lean) -> Option<(Vec<String>, bool)> {
        let Ways { ways, exact } = expand(expression, lean).ok()?;
        let mut found = Vec::new();
        for mut way in ways {
            if !way.ended {
                way.pieces.push(Piece::Deep);
            }
            found.extend(globs(&way.pieces)?);
        }
        Some((found, exact))
    }

    #[track_caller]
    fn check(expression: &str, lean: Lean, expected: &[&str], exact: bool) {
        let expected = expected.iter().map(|glob| (*glob).to_owned()).collect();
        assert_eq!(all(expression, lean), Some((expected, exact)), "{expression}");
    }

    #[test]
    fn expressions_become_globs() {
        for lean in [Lean::Wide, Lean::Narrow] {
            check(r"/etc/hosts\.allow$", lean, &["/etc/hosts.allow"], true);
            check(r"/etc/.*\.gz$", lean, &["/etc/**/*.gz"], true);
            check("/etc/.*~", lean, &["/etc/**/*~*", "/etc/**/*~*/**"], true);
            check("/etc/(a|b)$", lean, &["/etc/[ab]"], true);
            check("/(etc|usr/lib)$", lean, &["/etc", "/usr/lib"], true);
            check("/a.b$", lean, &["/a{?,/}b"], true);
            check("/a[^/]*b$", lean, &["/a*b"], true);
            check("/a[^/x]?$", lean, &["/a", "/a[!/x]"], true);
            check("/a[-!]$", lean, &["/a[-!]"], true);
            check(r"/a[\]^a-z-]$", lean, &["/a[]a-z^-]"], true);
            check("/a[!^]$", lean, &["/a!", "/a^"], true);
            check("/a(b|c$)", lean, &["/ab*", "/ab*/**", "/ac"], true);
            check("/a.+$", lean, &["/a{?,/}*", "/a{?,/}*/**"], true);
            check("^/a$", lean, &["/a"], true);
            check("/a$b|/c^d|e", lean, &[], true);
        }
    }

    #[test]
    fn what_cannot_be_said_leans_to_the_safe_side() {
        check(r"/a\.[0-9]+$", Lean::Wide, &["/a.*"], false);
        let few = ["/a.[0-9]", "/a.[0-9][0-9]", "/a.[0-9][0-9][0-9]"];
        check(r"/a\.[0-9]+$", Lean::Narrow, &few, false);
        check(r"/a\b$", Lean::Wide, &["/a"], false);
        check("/a(b/)*c$", Lean::Wide, &["/a*c", "/a*/**/*c"], false);
        assert_eq!(all(r"/a\b$", Lean::Narrow), None);
        assert_eq!(all("/a(?=b)", Lean::Wide), None);
        assert_eq!(all(&format!("/{}", "(a|b)?".repeat(20)), Lean::Wide), None);
        assert_eq!(all(&"(".repeat(100), Lean::Wide), None);
    }

    #[test]
    fn the_certain_beginning_is_certain() {
        for (expression, begins) in [
            ("/etc/x(a", "/etc/"),
            ("/etc/ssh", "/etc/"),
            ("/etc/a*b", "/etc/"),
            ("/etc/a|/b(", "/"),
            (r"/etc\.d/", "/"),
            ("x", "/"),
        ] {
            assert_eq!(certain(expression), begins, "{expression}");
        }
    }

    fn set(globs: &[String]) -> GlobSet {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(GlobBuilder::new(glob).literal_separator(true).build().expect("a glob"));
        }
        set.build().expect("globs")
    }

    proptest! {
        /// Where paths are watched none is lost, where they are left out none is added.
        #[test]
        fn never_less_is_watched(
            expression in r"/(a|b|/|\.|\\\.|\.\*|\.\+|\[\^/\]\*|\[ab\]|\[\^a\]|\[0-9\]\+|\(a\|b/\)|a\?|\(a\|/\)\*){0,6}\$?",
            path in "(/[ab.1]{1,3}){1,4}",
        ) {
            // No path that is watched has such a name in it.
            prop_assume!(!path.split('/').any(|name| name == "." || name == ".."));
            let pattern = regex::bytes::Regex::new(&format!("^(?-u:{expression})")).expect("one");
            let matches = pattern.is_match(path.as_bytes());
            if let Some((wide, exact)) = all(&expression, Lean::Wide) {
                let found = set(&wide).is_match(&path);
                prop_assert!(found || !matches, "{wide:?}");
                prop_assert!(found == matches || !exact, "{wide:?}");
            }
            if let Some((narrow, exact)) = all(&expression, Lean::Narrow) {
                let found = set(&narrow).is_match(&path);
                prop_assert!(!found || matches, "{narrow:?}");
                prop_assert!(found == matches || !exact, "{narrow:?}");
            }
        }
    }
}
