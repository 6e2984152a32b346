//! Keys as text; the grammar stands in the [module's description](super).

use super::cursor::Cursor;
use super::dialect::{augeas, json_path};
use std::fmt;
use std::str::FromStr;

/// Names one thing in a [`Tree`](super::Tree).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) steps: Vec<Step>,
    /// What the text means as a path of Augeas, where it can mean both:
    /// `/boot/efi` is a mount point, `/Service/Restart` hardly a name.
    pub(super) path: Option<Vec<Step>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) name: Vec<u8>,
    /// Quoted: the whole name. Otherwise it may be the beginning of one that
    /// has dots in it or, if empty, an element of a list.
    pub(super) exact: bool,
    pub(super) pick: Option<Pick>,
}

/// Which of several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pick {
    Nth(usize),
    Last,
    /// The one whose child of this name, or that itself if none is given, has
    /// this value.
    Where(Option<Vec<u8>>, Vec<u8>),
}

/// A key that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the key {text:?}: {what} at byte {at}")]
pub struct KeyError {
    /// The key.
    pub text: String,
    /// Where in it.
    pub at: usize,
    /// What was expected.
    pub what: &'static str,
}

/// More are no file's.
pub(super) const STEPS_MAX: usize = 128;
/// How many steps may be one name with dots in it.
pub(super) const JOINS_MAX: usize = 16;

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let read = |grammar: fn(&mut Cursor<'_>) -> Result<Vec<Step>, &'static str>| {
            let mut cursor = Cursor::new(text);
            let steps = grammar(&mut cursor);
            steps.map_err(|what| KeyError { text: text.to_owned(), at: cursor.at, what })
        };
        if json_path::is_meant(text) {
            return read(json_path::steps).map(Self::from);
        }
        if !text.starts_with('/') {
            return read(ours).map(Self::from);
        }
        match (read(ours), read(augeas::steps)) {
            (Ok(steps), path) => Ok(Self { steps, path: path.ok() }),
            (Err(_), path) => path.map(Self::from),
        }
    }
}

impl Key {
    /// How many steps down it goes.
    pub fn depth(&self) -> usize {
        self.settings_steps().len()
    }

    /// Its names with dots between them, as services name their settings; none
    /// if it says which of several.
    pub fn dotted(&self) -> Option<String> {
        let name = |step: &Step| match step.pick {
            None => String::from_utf8(step.name.clone()).ok(),
            Some(_) => None,
        };
        let names: Option<Vec<String>> = self.settings_steps().iter().map(name).collect();
        Some(names?.join("."))
    }

    /// No service's setting begins with a slash.
    fn settings_steps(&self) -> &[Step] {
        self.path.as_ref().unwrap_or(&self.steps)
    }

    /// Whether some reading of the one is some reading of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        let readings = |key: &Self| {
            let all = std::iter::once(&key.steps).chain(&key.path);
            all.map(|steps| Self::from(steps.clone()).to_string()).collect::<Vec<_>>()
        };
        let others = readings(other);
        readings(self).iter().any(|reading| others.contains(reading))
    }
}

impl From<Vec<Step>> for Key {
    fn from(steps: Vec<Step>) -> Self {
        Self { steps, path: None }
    }
}

fn ours(cursor: &mut Cursor<'_>) -> Result<Vec<Step>, &'static str> {
    let mut steps = Vec::new();
    let mut is_named = cursor.peek() != Some(b'[');
    loop {
        if steps.len() == STEPS_MAX {
            return Err("expected fewer steps");
        }
        let (name, exact) = if is_named { name(cursor)? } else { (Vec::new(), false) };
        let pick = if cursor.eat(b'[') { Some(pick(cursor)?) } else { None };
        steps.push(Step { name, exact, pick });
        match cursor.peek() {
            None => return Ok(steps),
            Some(b'[') => is_named = false,
            Some(b'.') => {
                cursor.at += 1;
                is_named = true;
            }
            Some(_) => return Err("expected . or ["),
        }
    }
}

fn pick(cursor: &mut Cursor<'_>) -> Result<Pick, &'static str> {
    if cursor.eat_text(b"last]") {
        return Ok(Pick::Last);
    }
    let name = if cursor.peek() == Some(b'=') { None } else { Some(pick_name(cursor)?) };
    if cursor.eat(b']') {
        let digits = name.as_deref().and_then(|n| std::str::from_utf8(n).ok());
        return digits
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|d| d.parse().ok())
            .map(Pick::Nth)
            .ok_or("expected a number or NAME=VALUE before");
    }
    if !cursor.eat(b'=') {
        return Err("expected = or ]");
    }
    let value = if cursor.peek() == Some(b'"') {
        quoted(cursor)?
    } else {
        cursor.run(|b| b != b']' && b != b'"').to_vec()
    };
    if cursor.eat(b']') { Ok(Pick::Where(name, value)) } else { Err("expected ]") }
}

fn pick_name(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, &'static str> {
    if cursor.peek() == Some(b'"') {
        return quoted(cursor);
    }
    let name = cursor.run(|b| b != b'=' && b != b']' && b != b'"');
    if name.is_empty() { Err("expected a number or a name") } else { Ok(name.to_vec()) }
}

/// A name, and whether it stands in quotes.
fn name(cursor: &mut Cursor<'_>) -> Result<(Vec<u8>, bool), &'static str> {
    if cursor.peek() == Some(b'"') {
        return Ok((quoted(cursor)?, true));
    }
    match cursor.run(|b| (is_bare(b) || b == b' ') && b != b'.') {
        [] => Err("expected a name"),
        [b' ', ..] | [.., b' '] => Err("expected a name without space around it"),
        name => Ok((name.to_vec(), false)),
    }
}

fn quoted(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, &'static str> {
    cursor.at += 1;
    let mut name = Vec::new();
    loop {
        match cursor.next().ok_or("expected a closing quote")? {
            b'"' => return Ok(name),
            b'\\' => match cursor.next() {
                Some(b'x') => {
                    let mut digit = || Some((cursor.next()? as char).to_digit(16)? as u8);
                    let high = digit().ok_or("expected two hexadecimal digits")?;
                    let low = digit().ok_or("expected two hexadecimal digits")?;
                    name.push(high << 4 | low);
                }
                Some(b @ (b'"' | b'\\')) => name.push(b),
                _ => return Err("expected \", \\ or xNN after the backslash"),
            },
            b => name.push(b),
        }
    }
}

/// Bytes of names that need no quotes; those beyond ASCII stand as they are.
fn is_bare(b: u8) -> bool {
    !matches!(b, b'[' | b']' | b'"' | b'\\') && (b.is_ascii_graphic() || b >= 0x80)
}

impl Step {
    /// The step to a child called `label`, `nth` of several of that name; its
    /// dots need no quotes if nothing `flat` can be confused with it.
    pub(super) fn to(label: &[u8], nth: Option<usize>, flat: bool) -> Self {
        let parts = || label.split(|&b| b == b'.');
        let exact = !flat || parts().any(<[u8]>::is_empty) || parts().count() > JOINS_MAX;
        Self { name: label.to_vec(), exact, pick: nth.map(Pick::Nth) }
    }

    /// The step to the `nth` element of a list.
    pub(super) fn element(nth: usize) -> Self {
        Self { name: Vec::new(), exact: false, pick: Some(Pick::Nth(nth)) }
    }

    pub(super) fn is_element(&self) -> bool {
        self.name.is_empty() && !self.exact
    }

    fn needs_quotes(&self) -> bool {
        std::str::from_utf8(&self.name).is_err()
            || self.name.is_empty()
            || !self.name.iter().all(|&b| is_bare(b))
            || (self.exact && self.name.contains(&b'.'))
    }

    /// Whether a text that begins with the name could be read as JSONPath.
    fn is_like_a_path(&self) -> bool {
        self.name == b"$" || self.name.starts_with(b"$.")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            if !step.is_element() {
                if index > 0 {
                    f.write_str(".")?;
                }
                let path = index == 0 && step.is_like_a_path();
                if path || step.needs_quotes() {
                    write_quoted(f, &step.name)?;
                } else {
                    f.write_str(&String::from_utf8_lossy(&step.name))?;
                }
            }
            match &step.pick {
                None => {}
                Some(Pick::Nth(n)) => write!(f, "[{n}]")?,
                Some(Pick::Last) => f.write_str("[last]")?,
                Some(Pick::Where(name, value)) => {
                    f.write_str("[")?;
                    if let Some(name) = name {
                        write_quoted(f, name)?;
                    }
                    f.write_str("=")?;
                    write_quoted(f, value)?;
                    f.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, name: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    for &b in name {
        match b {
            b'"' | b'\\' => write!(f, "\\{}", b as char)?,
            b' '..=b'~' => write!(f, "{}", b as char)?,
            b => write!(f, "\\x{b:02x}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        let key: Key = text.parse().unwrap();
        assert_eq!(key.to_string(), printed);
        assert_eq!(key.to_string().parse::<Key>().unwrap().to_string(), printed);
    }

    #[test]
    fn keys_are_read_and_written() {
        check("a", "a");
        check("a.b[2].c", "a.b[2].c");
        check("a[0][1]", "a[0][1]");
        check("[0].URIs", "[0].URIs");
        check(r#""Match User bob".X"#, r#""Match User bob".X"#);
        check("Match User bob.X", r#""Match User bob".X"#);
        check("Leap status", r#""Leap status""#);
        check(r#""a\x00\"".b"#, r#""a\x00\"".b"#);
        check("job[user=root].command", r#"job["user"="root"].command"#);
        check("x[=a b]", r#"x[="a b"]"#);
        check("x[last].y", "x[last].y");
        check("/boot/efi.options", "/boot/efi.options");
    }

    #[test]
    fn bad_keys_say_where() {
        for (text, at) in
            [("", 0), ("a.", 2), ("a[", 2), ("a[x]", 4), ("a\tb", 1), (" a", 2), ("\"a", 2)]
        {
            assert_eq!(text.parse::<Key>().unwrap_err().at, at, "{text}");
        }
    }
}
