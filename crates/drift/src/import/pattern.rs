//! Which paths a pattern stands for, as globs of a drift configuration.
//!
//! Other tools let a wildcard stand for a `/`; in a glob only `**` between two slashes does. A
//! pattern is therefore taken apart into [`Piece`]s, and one that crosses directories becomes
//! several globs, which together match the same paths.

/// A piece of a pattern of absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// This byte.
    Byte(u8),
    /// One character of a name.
    One,
    /// One character, and be it a `/`.
    Any,
    /// One of some characters of a name, as a glob writes them.
    Class(String),
    /// The rest of a name, or a part of it.
    Star,
    /// Anything, and be it many names.
    Deep,
}

/// More globs of one pattern are none that a person would read.
const GLOBS_MAX: usize = 64;

/// A text as it is.
pub(super) fn literal(text: &str) -> Vec<Piece> {
    text.bytes().map(Piece::Byte).collect()
}

/// The globs that together match what the pieces do; `None` if they are too many, or no glob
/// can hold them.
pub(super) fn globs(pieces: &[Piece]) -> Option<Vec<String>> {
    let pieces = simplified(pieces);
    let mut ways = vec![Vec::new()];
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Byte(byte) => append(&mut ways, &escaped(*byte)),
            Piece::One => append(&mut ways, b"?"),
            Piece::Any => append(&mut ways, b"{?,/}"),
            Piece::Class(class) => append(&mut ways, class.as_bytes()),
            Piece::Star => append(&mut ways, b"*"),
            Piece::Deep => {
                let after_slash = at > 0 && pieces.get(at - 1) == Some(&Piece::Byte(b'/'));
                match (after_slash, pieces.get(at + 1)) {
                    (true, None) => append(&mut ways, b"**"),
                    (_, Some(Piece::Byte(b'/'))) => append(&mut ways, b"*/**"),
                    (true, Some(_)) => append(&mut ways, b"**/*"),
                    (false, None) => fork(&mut ways, b"*/**"),
                    (false, Some(_)) => fork(&mut ways, b"*/**/*"),
                }
            }
        }
        if ways.len() > GLOBS_MAX {
            return None;
        }
    }
    let text = |way: Vec<u8>| String::from_utf8(way).ok().filter(|text| holds(text));
    ways.into_iter().map(text).collect()
}

/// Whether a configuration can hold the text as a pattern.
fn holds(text: &str) -> bool {
    text.starts_with('/') && !text.contains(char::is_control)
}

/// The same paths in fewer pieces.
fn simplified(pieces: &[Piece]) -> Vec<Piece> {
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (kept.last(), piece) {
            (Some(Piece::Deep), Piece::Deep | Piece::Star) => {}
            (Some(Piece::Star), Piece::Star) => {}
            (Some(Piece::Star), Piece::Deep) => {
                kept.pop();
                kept.push(Piece::Deep);
            }
            // No path has two in a row.
            (Some(Piece::Byte(b'/')), Piece::Byte(b'/')) => {}
            (Some(Piece::Byte(b'/')), Piece::Any) => kept.push(Piece::One),
            _ => kept.push(piece.clone()),
        }
    }
    // A name has at least one character anyway.
    if let [.., Piece::Byte(b'/'), Piece::One, Piece::Deep] = kept[..] {
        kept.remove(kept.len() - 2);
    }
    kept
}

fn append(ways: &mut [Vec<u8>], more: &[u8]) {
    ways.iter_mut().for_each(|way| way.extend_from_slice(more));
}

/// Within one name, or `across` many.
fn fork(ways: &mut Vec<Vec<u8>>, across: &[u8]) {
    let crossing: Vec<Vec<u8>> = ways.iter().map(|way| [way, across].concat()).collect();
    append(ways, b"*");
    ways.extend(crossing);
}

fn escaped(byte: u8) -> Vec<u8> {
    match byte {
        b'*' | b'?' | b'[' | b'{' | b'}' | b'\\' => vec![b'\\', byte],
        byte => vec![byte],
    }
}

/// The directory all paths of a pattern lie in, with a `/` behind, as far as it is known.
pub(super) fn directory(pieces: &[Piece]) -> Vec<u8> {
    let byte = |piece: &Piece| if let Piece::Byte(byte) = piece { Some(*byte) } else { None };
    let known: Vec<u8> = pieces.iter().map_while(byte).collect();
    let end = known.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    known[..end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Piece::{Any, Deep, One, Star};

    #[track_caller]
    fn check(pieces: &[Piece], expected: &[&str]) {
        assert_eq!(globs(pieces).expect("globs"), expected);
        for glob in expected {
            globset::Glob::new(glob).expect(glob);
        }
    }

    fn with(before: &str, piece: Piece, after: &str) -> Vec<Piece> {
        [literal(before), vec![piece], literal(after)].concat()
    }

    #[test]
    fn what_crosses_directories_becomes_several() {
        check(&literal("/etc/a{b}"), &[r"/etc/a\{b\}"]);
        check(&with("/etc/", Deep, ""), &["/etc/**"]);
        check(&with("/etc/a", Deep, ""), &["/etc/a*", "/etc/a*/**"]);
        check(&with("/etc/", Deep, ".gz"), &["/etc/**/*.gz"]);
        check(&with("/etc/", Deep, "/x"), &["/etc/*/**/x"]);
        check(&with("/etc/a", Deep, "/x"), &["/etc/a*/**/x"]);
        check(&with("/etc/a", Deep, "b"), &["/etc/a*b", "/etc/a*/**/*b"]);
        check(&with("/etc/a", Any, "b"), &["/etc/a{?,/}b"]);
        check(&with("/etc/", Any, "b"), &["/etc/?b"]);
        check(&[literal("/etc/"), vec![Any, Deep]].concat(), &["/etc/**"]);
        check(&[literal("/a"), vec![Star, Star, Deep, Star, One]].concat(), &["/a*?", "/a*/**/*?"]);
    }

    #[test]
    fn what_no_glob_can_hold_is_none() {
        assert_eq!(globs(&literal("/a\nb")), None);
        assert_eq!(globs(&literal("a")), None);
        assert_eq!(globs(&[Piece::Byte(b'/'), Piece::Byte(0xff)]), None);
        let many: Vec<Piece> = (0..20).flat_map(|_| [Deep, Piece::Byte(b'a')]).collect();
        assert_eq!(globs(&[literal("/b"), many].concat()), None);
    }

    #[test]
    fn a_directory_is_known_as_far_as_it_is_written() {
        assert_eq!(directory(&literal("/etc/ssh/x")), b"/etc/ssh/");
        assert_eq!(directory(&with("/etc/s", Star, "/x")), b"/etc/");
    }
}
