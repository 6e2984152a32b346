//! Wazuh's simple expressions of paths (`sregex`): texts that a path contains, `^` and `$` for
//! its ends, `|` between several. Case means nothing to them.

use super::super::expression::Lean;
use super::super::pattern::{Piece, literal};

/// One of the texts of an expression.
struct Text<'a> {
    text: &'a str,
    begins: bool,
    ends: bool,
}

fn texts(expression: &str) -> impl Iterator<Item = Text<'_>> {
    expression.split('|').map(|text| {
        let (text, begins) = text.strip_prefix('^').map_or((text, false), |text| (text, true));
        let (text, ends) = text.strip_suffix('$').map_or((text, false), |text| (text, true));
        Text { text, begins, ends }
    })
}

/// What paths that match begin with and go on with, one list of pieces for each way.
pub(super) fn anywhere(expression: &str, lean: Lean) -> Vec<Vec<Piece>> {
    below("", expression, lean)
}

/// The same of paths below a directory, which has no slash at its end.
pub(super) fn below(directory: &str, expression: &str, lean: Lean) -> Vec<Vec<Piece>> {
    let above = format!("{directory}/");
    let mut ways = Vec::new();
    // Nothing at all is in every path, and hardly meant to leave out every path.
    let said = texts(expression).filter(|one| lean == Lean::Wide || !one.text.is_empty());
    for Text { text, begins, ends } in said {
        let tail = || if ends { Vec::new() } else { vec![Piece::Deep] };
        // How much of the text the directory itself may be: its beginning, if that is the
        // directory's end, and all of it if it is somewhere inside.
        let inside = !ends && found(&above, text, lean, begins);
        if inside {
            ways.push([literal(&above), vec![Piece::Deep]].concat());
        }
        let splits = (1..=text.len().min(above.len())).filter(|at| text.is_char_boundary(*at));
        for at in splits {
            let (before, after) = text.split_at(at);
            let fits =
                if begins { same(&above, before, lean) } else { ends_with(&above, before, lean) };
            if fits && !inside {
                ways.push([literal(&above), written(after, lean), tail()].concat());
            }
        }
        if !begins && !inside {
            let deep = [literal(&above), vec![Piece::Deep]].concat();
            ways.push([deep, written(text, lean), tail()].concat());
        }
    }
    ways
}

/// The text's pieces, in whatever case it may be if more rather than less is to match.
fn written(text: &str, lean: Lean) -> Vec<Piece> {
    let piece = |byte: u8| match byte.is_ascii_alphabetic() && lean == Lean::Wide {
        true => {
            let [small, large] = [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
            Piece::Class(format!("[{}{}]", char::from(small), char::from(large)))
        }
        false => Piece::Byte(byte),
    };
    text.bytes().map(piece).collect()
}

fn same(one: &str, other: &str, lean: Lean) -> bool {
    match lean {
        Lean::Wide => one.eq_ignore_ascii_case(other),
        Lean::Narrow => one == other,
    }
}

fn ends_with(text: &str, end: &str, lean: Lean) -> bool {
    let at = text.len().checked_sub(end.len());
    at.and_then(|at| text.get(at..)).is_some_and(|tail| same(tail, end, lean))
}

/// Whether the text has the other in it, or begins with it.
fn found(text: &str, wanted: &str, lean: Lean, at_begin: bool) -> bool {
    let starts = |from: usize| {
        text.get(from..from + wanted.len()).is_some_and(|part| same(part, wanted, lean))
    };
    match at_begin {
        true => starts(0),
        false => (0..=text.len()).any(starts),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::pattern::globs;
    use super::*;

    #[track_caller]
    fn check(directory: &str, expression: &str, lean: Lean, expected: &[&str]) {
        let ways = below(directory, expression, lean);
        let all: Vec<String> = ways.iter().flat_map(|way| globs(way).expect("globs")).collect();
        assert_eq!(all, expected, "{expression}");
    }

    #[test]
    fn texts_match_anywhere() {
        check("", ".log$|.swp$", Lean::Narrow, &["/**/*.log", "/**/*.swp"]);
        check("", "^/proc", Lean::Narrow, &["/proc*", "/proc*/**"]);
        check("", "/x/", Lean::Narrow, &["/x/**", "/*/**/x/**"]);
        check("/etc", ".conf$", Lean::Wide, &["/etc/**/*.[cC][oO][nN][fF]"]);
        check("/etc", "ETC", Lean::Wide, &["/etc/**"]);
        check("/etc", "tc/1$", Lean::Wide, &["/etc/1", "/etc/**/*[tT][cC]/1"]);
        check("/etc", "^/etc/1$", Lean::Wide, &["/etc/1"]);
        check("/etc", "^/usr/", Lean::Wide, &[]);
        check("/etc", "^/e", Lean::Wide, &["/etc/**"]);
        check("", "x$|", Lean::Narrow, &["/**/*x"]);
    }
}
