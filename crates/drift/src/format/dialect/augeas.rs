//! Paths of Augeas, as far as they name one thing:
//! `/Match[1]/X11Forwarding`, `/*[canonical='db']/ipaddr`, `/server[last()]`.
//!
//! Augeas counts from 1. A name that is a number is a row, or the element of a
//! list: so its lenses call what has no name.

use super::super::cursor::Cursor;
use super::super::key::{Pick, STEPS_MAX, Step};
use super::super::lines::is_space;
use super::{add_pick, named};

const FROM_ONE: &str = "expected 1 or more: Augeas counts from 1";

/// The steps that a text says which begins with a slash.
pub(in crate::format) fn steps(cursor: &mut Cursor<'_>) -> Result<Vec<Step>, &'static str> {
    let mut steps = Vec::new();
    while cursor.peek().is_some() {
        if !cursor.eat(b'/') {
            return Err("expected / or [");
        }
        if steps.len() == STEPS_MAX {
            return Err("expected fewer steps");
        }
        step(cursor, &mut steps)?;
    }
    Ok(steps)
}

fn step(cursor: &mut Cursor<'_>, steps: &mut Vec<Step>) -> Result<(), &'static str> {
    let rest = cursor.rest();
    // A colon is a name's as well: `::1` is an address.
    let axis = ["self", "child", "parent", "ancestor", "root", "seq", "descendant"];
    let axis = axis.iter().any(|axis| {
        let after = rest.strip_prefix(axis.as_bytes());
        after.is_some_and(|after| after.starts_with(b"::") || after.starts_with(b"-or-self::"))
    });
    match rest {
        [b'/', ..] => return Err("recursive descent is not understood"),
        [b'#', ..] => return Err("a comment is no key"),
        [b'.'] | [b'.', b'/' | b'[', ..] | [b'.', b'.', ..] => {
            return Err("only ways down are understood");
        }
        _ if axis => return Err("an axis is not understood"),
        _ => {}
    }
    if cursor.eat(b'*') {
        let pick = pick(cursor)?;
        let Some(pick) = pick else {
            return cursor.fail(1, "* alone is not understood, as it can be more than one thing");
        };
        add_pick(steps, pick);
        return Ok(());
    }
    let name = name(cursor)?;
    if name.iter().all(u8::is_ascii_digit) {
        let Some(place) = place(&name) else { return cursor.fail(name.len(), FROM_ONE) };
        add_pick(steps, place);
        return match cursor.peek() {
            Some(b'[') => Err("expected /: a number is one thing already"),
            _ => Ok(()),
        };
    }
    let pick = pick(cursor)?;
    steps.push(Step { pick, ..named(name) });
    Ok(())
}

fn place(digits: &[u8]) -> Option<Pick> {
    let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_sub(1).map(Pick::Nth)
}

/// What means something to a path stands in a name behind a backslash.
fn name(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, &'static str> {
    let mut name = Vec::new();
    loop {
        let part = cursor.run(|b| !b"\\/[]|=()!<>,'\"".contains(&b) && !is_space(b));
        name.extend_from_slice(part);
        if !cursor.eat(b'\\') {
            break;
        }
        name.push(cursor.next().ok_or("expected what the backslash is for")?);
    }
    match cursor.peek() {
        Some(b'(') => Err("a function is not understood"),
        Some(b'|') => Err("a union is not understood"),
        _ if name.is_empty() => Err("expected a name"),
        _ => Ok(name),
    }
}

/// The one predicate of a step, if it has any.
fn pick(cursor: &mut Cursor<'_>) -> Result<Option<Pick>, &'static str> {
    if !cursor.eat(b'[') {
        return Ok(None);
    }
    cursor.run(is_space);
    let pick = predicate(cursor)?;
    cursor.run(is_space);
    match cursor.peek() {
        Some(b']') => cursor.at += 1,
        Some(b'+' | b'-' | b'*') => return Err("arithmetic is not understood"),
        Some(b'a' | b'o') => return Err("conditions are not combined"),
        _ => return Err("expected ]"),
    }
    match cursor.peek() {
        Some(b'[') => Err("a second predicate is not understood"),
        _ => Ok(Some(pick)),
    }
}

fn predicate(cursor: &mut Cursor<'_>) -> Result<Pick, &'static str> {
    if cursor.eat_text(b"last()") {
        return Ok(Pick::Last);
    }
    let digits = cursor.run(|b| b.is_ascii_digit());
    if !digits.is_empty() {
        return place(digits).map_or_else(|| cursor.fail(digits.len(), FROM_ONE), Ok);
    }
    let name = if cursor.eat(b'.') { None } else { Some(name(cursor)?) };
    cursor.run(is_space);
    match cursor.rest() {
        [b'=', b'~', ..] => return Err("a regular expression is not understood"),
        [b'=', ..] => cursor.at += 1,
        [b'!' | b'<' | b'>', ..] => return Err("of comparisons only = is understood"),
        [b'/', ..] => return Err("a path in a predicate is not understood"),
        _ => return Err("expected ="),
    }
    cursor.run(is_space);
    match cursor.peek() {
        Some(quote @ (b'"' | b'\'')) => {
            cursor.at += 1;
            let value = cursor.run(|b| b != quote).to_vec();
            if cursor.eat(quote) {
                Ok(Pick::Where(name, value))
            } else {
                Err("expected a closing quote")
            }
        }
        _ => Err("expected a value in quotes"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{check, refused};

    #[test]
    fn paths_become_keys_of_ours() {
        check("/Match[1]/PermitRootLogin", "Match[0].PermitRootLogin");
        check("/*[canonical='x']/ipaddr", r#"["canonical"="x"].ipaddr"#);
        check("/server[last()]/listen", "server[last].listen");
        check("/hosts[.='a b']/x", r#"hosts[="a b"].x"#);
        check("/*[ 2 ]/x", "[1].x");
        check("/list/2/x[1]/y", "list[1].x[0].y");
        check(r"/Match\ User\ bob[1]/net.ipv4", r#""Match User bob"[0]."net.ipv4""#);
        check(r#"/a[b = "c'd"]/e"#, r#"a["b"="c'd"].e"#);
    }

    #[test]
    fn what_is_no_one_thing_is_refused_where_it_stands() {
        refused(&[
            ("/a[1]//b", 6, "recursive descent"),
            ("//b[1]/c", 1, "recursive descent"),
            ("/a[1]/*", 6, "* alone"),
            ("/a[0]/b", 3, "from 1"),
            ("/a[1]/0", 6, "from 1"),
            ("/a[last()-1]/b", 9, "arithmetic"),
            ("/a[1+1]/b", 4, "arithmetic"),
            ("/a[position()=1]/b", 11, "function"),
            ("/a[b!='c']/d", 4, "only ="),
            ("/a[b > 3]/d", 5, "only ="),
            ("/a[b=~regexp('c')]/d", 4, "regular expression"),
            ("/a[b='c' and d='e']/f", 9, "combined"),
            ("/a[b='c'][2]/d", 9, "second predicate"),
            ("/a[b/c='d']/e", 4, "path in a predicate"),
            ("/a[b]/c", 4, "expected ="),
            ("/a[b=c d]/e", 5, "in quotes"),
            ("/a[b='c]/e", 10, "closing quote"),
            ("/a[1]/#comment[1]", 6, "comment"),
            ("/a[1]/../b", 6, "ways down"),
            ("/a[1]/child::b", 6, "axis"),
            ("/a[1]/b|/c", 7, "union"),
            ("/1[2]/b", 2, "already"),
            ("/a[1]b", 5, "expected / or ["),
            ("/a[1]/", 6, "a name"),
        ]);
    }
}
