//! Keys as text; the grammar stands in the [module's description](super).

use std::fmt;
use std::str::FromStr;

/// Names one thing in a [`Tree`](super::Tree).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) steps: Vec<Step>,
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
const STEPS_MAX: usize = 128;
/// How many steps may be one name with dots in it.
pub(super) const JOINS_MAX: usize = 16;

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        match reader.key() {
            Ok(steps) => Ok(Self { steps }),
            Err(what) => Err(KeyError { text: text.to_owned(), at: reader.at, what }),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn key(&mut self) -> Result<Vec<Step>, &'static str> {
        let mut steps = Vec::new();
        let mut named = self.peek() != Some(b'[');
        loop {
            if steps.len() == STEPS_MAX {
                return Err("fewer steps");
            }
            let (name, exact) = if named { self.name()? } else { (Vec::new(), false) };
            let pick = if self.eat(b'[') { Some(self.pick()?) } else { None };
            steps.push(Step { name, exact, pick });
            match self.peek() {
                None => return Ok(steps),
                Some(b'[') => named = false,
                Some(b'.') => {
                    self.at += 1;
                    named = true;
                }
                Some(_) => return Err("expected . or ["),
            }
        }
    }

    fn pick(&mut self) -> Result<Pick, &'static str> {
        let name = if self.peek() == Some(b'=') { None } else { Some(self.pick_name()?) };
        if self.eat(b']') {
            let digits = name.as_deref().and_then(|n| std::str::from_utf8(n).ok());
            return digits
                .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|d| d.parse().ok())
                .map(Pick::Nth)
                .ok_or("expected a number or NAME=VALUE before");
        }
        if !self.eat(b'=') {
            return Err("expected = or ]");
        }
        let value = if self.peek() == Some(b'"') {
            self.quoted()?
        } else {
            self.run(|b| b != b']' && b != b'"')
        };
        if self.eat(b']') { Ok(Pick::Where(name, value)) } else { Err("expected ]") }
    }

    fn pick_name(&mut self) -> Result<Vec<u8>, &'static str> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let name = self.run(|b| b != b'=' && b != b']' && b != b'"');
        if name.is_empty() { Err("expected a number or a name") } else { Ok(name) }
    }

    fn name(&mut self) -> Result<(Vec<u8>, bool), &'static str> {
        if self.peek() == Some(b'"') {
            return Ok((self.quoted()?, true));
        }
        let name = self.run(|b| (is_bare(b) || b == b' ') && b != b'.');
        match name.as_slice() {
            [] => Err("expected a name"),
            [b' ', ..] | [.., b' '] => Err("expected a name without space around it"),
            _ => Ok((name, false)),
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, &'static str> {
        self.at += 1;
        let mut name = Vec::new();
        loop {
            let b = self.next().ok_or("expected a closing quote")?;
            match b {
                b'"' => return Ok(name),
                b'\\' => match self.next() {
                    Some(b'x') => {
                        let mut digit = || Some((self.next()? as char).to_digit(16)? as u8);
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

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> Vec<u8> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| !belongs(b)).unwrap_or(rest.len());
        self.at += length;
        rest[..length].to_vec()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let b = self.peek()?;
        self.at += 1;
        Some(b)
    }

    fn eat(&mut self, b: u8) -> bool {
        let found = self.peek() == Some(b);
        self.at += usize::from(found);
        found
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
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            if !step.is_element() {
                if index > 0 {
                    f.write_str(".")?;
                }
                if step.needs_quotes() {
                    write_quoted(f, &step.name)?;
                } else {
                    f.write_str(&String::from_utf8_lossy(&step.name))?;
                }
            }
            match &step.pick {
                None => {}
                Some(Pick::Nth(n)) => write!(f, "[{n}]")?,
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
