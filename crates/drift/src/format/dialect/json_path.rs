//! JSONPath (RFC 9535), as far as it names one thing: `$.a[0]['b c']`.

use super::super::cursor::Cursor;
use super::super::json::decoded;
use super::super::key::{Pick, STEPS_MAX, Step};
use super::{add_pick, named};

/// Whether a text is meant so. `$` alone, `$schema` and `$ModLoad` are names in
/// JSON and in rsyslog's files.
pub(in crate::format) fn is_meant(text: &str) -> bool {
    text.starts_with("$.") || text.starts_with("$[")
}

/// The steps that a text says which is meant so.
pub(in crate::format) fn steps(cursor: &mut Cursor<'_>) -> Result<Vec<Step>, &'static str> {
    let mut steps = Vec::new();
    cursor.at += 1;
    while cursor.peek().is_some() {
        if steps.len() == STEPS_MAX {
            return Err("expected fewer steps");
        }
        if cursor.eat(b'.') {
            steps.push(named(name(cursor)?));
        } else if cursor.eat(b'[') {
            bracket(cursor, &mut steps)?;
        } else {
            return Err("expected . or [");
        }
    }
    Ok(steps)
}

fn name(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, &'static str> {
    match cursor.peek() {
        Some(b'.' | b'[') => Err("recursive descent is not understood"),
        Some(b'*') => Err("a wildcard is not understood, as it can be more than one thing"),
        _ => {
            let belongs =
                |b: u8| (b.is_ascii_graphic() && !b".[]'\"\\*?@,:()".contains(&b)) || !b.is_ascii();
            let name = cursor.run(belongs);
            if name.is_empty() { Err("expected a name") } else { Ok(name.to_vec()) }
        }
    }
}

/// What stands behind an opening bracket, with the closing one.
fn bracket(cursor: &mut Cursor<'_>, steps: &mut Vec<Step>) -> Result<(), &'static str> {
    let space = |b: u8| b == b' ';
    cursor.run(space);
    match cursor.peek() {
        Some(quote @ (b'"' | b'\'')) => steps.push(named(quoted(cursor, quote)?)),
        Some(b'0'..=b'9' | b'-') => add_pick(steps, index(cursor)?),
        Some(b'?') => return Err("a filter is not understood"),
        Some(b'*') => return Err("a wildcard is not understood, as it can be more than one thing"),
        Some(b':') => return Err("a slice is not understood"),
        Some(b'(') => return Err("an expression is not understood"),
        _ => return Err("expected a number or a name in quotes"),
    }
    cursor.run(space);
    match cursor.peek() {
        Some(b']') => {
            cursor.at += 1;
            Ok(())
        }
        Some(b':') => Err("a slice is not understood"),
        Some(b',') => Err("a list of selectors is not understood"),
        _ => Err("expected ]"),
    }
}

fn index(cursor: &mut Cursor<'_>) -> Result<Pick, &'static str> {
    let text = cursor.run(|b| b == b'-' || b.is_ascii_digit());
    if text == b"-1" {
        return Ok(Pick::Last);
    }
    let number = std::str::from_utf8(text).ok().and_then(|digits| digits.parse().ok());
    match number {
        Some(number) => Ok(Pick::Nth(number)),
        None if text.starts_with(b"-") => {
            cursor.fail(text.len(), "of numbers from the end only -1 is understood")
        }
        None => cursor.fail(text.len(), "expected a number that can be counted to"),
    }
}

/// A name in quotes, its escapes read as those of a file's names are.
fn quoted(cursor: &mut Cursor<'_>, quote: u8) -> Result<Vec<u8>, &'static str> {
    cursor.at += 1;
    let mut text = Vec::new();
    loop {
        match cursor.next().ok_or("expected a closing quote")? {
            b if b == quote => return Ok(decoded(&text).into_owned()),
            b'\\' => match cursor.next() {
                Some(b'\'') => text.push(b'\''),
                Some(b) if b"\"\\/bfnrtu".contains(&b) => text.extend([b'\\', b]),
                _ => return Err("expected an escape of JSON before"),
            },
            b => text.push(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{check, refused};

    #[test]
    fn paths_become_keys_of_ours() {
        check("$.a", "a");
        check("$.a[0]", "a[0]");
        check("$.a['b c']", r#"a."b c""#);
        check("$['a']", "a");
        check(r#"$["a"]["b"][1][2].c"#, "a.b[1][2].c");
        check("$[0].a", "[0].a");
        check("$.a[-1]", "a[last]");
        check("$[ 'a.b' ][ 3 ]", r#""a.b"[3]"#);
        check("$.log-opts.max-size", "log-opts.max-size");
        check("$['']", r#""""#);
        check(r"$['it\'s']", "it's");
        check(r#"$["\u00e9\"]"]"#, r#""\xc3\xa9\"]""#);
    }

    #[test]
    fn a_dollar_may_begin_a_name_of_ours() {
        for (text, ours) in [("$schema", "$schema"), ("$ModLoad[1]", "$ModLoad[1]")] {
            check(text, ours);
        }
        // Printed so that it is not read as a path.
        check("$", "\"$\"");
        check("\"$\".a", "\"$\".a");
    }

    #[test]
    fn what_is_no_one_thing_is_refused_where_it_stands() {
        refused(&[
            ("$..a", 2, "recursive descent"),
            ("$.a.*", 4, "wildcard"),
            ("$.a[*]", 4, "wildcard"),
            ("$.a[1:2]", 5, "slice"),
            ("$.a[:2]", 4, "slice"),
            ("$.a['b','c']", 7, "list of selectors"),
            ("$.a[?(@.b==1)]", 4, "filter"),
            ("$.a[(@.length-1)]", 4, "expression"),
            ("$.a[-2]", 4, "only -1"),
            ("$.a[99999999999999999999999]", 4, "counted"),
            ("$.a[b]", 4, "name in quotes"),
            ("$.a['b", 6, "closing quote"),
            ("$.a['b'", 7, "expected ]"),
            (r"$['\x']", 5, "escape"),
            ("$.", 2, "a name"),
            ("$.a b", 3, "expected . or ["),
        ]);
    }
}
