//! A JSON document as leaves by path.
//!
//! Paths are stable from one document to the next: places in arrays are folded
//! (`body.items[].price`), and so are keys that look like ids (`body.users.*.name`). Where a leaf
//! really stands is told beside its path, so that nothing of a document is lost by that.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep paths go; what is deeper is told of the path where they end.
const DEPTH_MAX: usize = 24;
/// As much of a key as stands in a path.
const KEY_BYTES_MAX: usize = 64;

/// A value without parts, or what holds none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaf<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction, however it is written.
    Whole(i128),
    /// Any other number, in double precision.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// `{}`.
    NoMembers,
    /// How many elements an array has, whose path this is.
    Elements(u64),
}

/// Where in a document something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// In an array.
    Element(u64),
    /// Under a key that its path does not tell.
    Key(String),
}

/// Tells all leaves of a document below `root`, each with its path and place; of what is no
/// document, those before its fault. Says whether it is one.
pub fn walk(document: &[u8], root: &str, heard: &mut impl FnMut(&str, &[Step], Leaf<'_>)) -> bool {
    let mut parser = serde_json::Deserializer::from_slice(document);
    let mut walk = Walk { path: root.to_owned(), place: Vec::new(), depth: 0, heard };
    (&mut walk).deserialize(&mut parser).is_ok() && parser.end().is_ok()
}

/// Whether this is a JSON document.
pub fn is_document(bytes: &[u8]) -> bool {
    walk(bytes, "", &mut |_, _, _| {})
}

struct Walk<'a, F> {
    path: String,
    place: Vec<Step>,
    depth: usize,
    heard: &'a mut F,
}

impl<F: FnMut(&str, &[Step], Leaf<'_>)> Walk<'_, F> {
    fn leaf<E>(&mut self, leaf: Leaf<'_>) -> Result<(), E> {
        (self.heard)(&self.path, &self.place, leaf);
        Ok(())
    }

    /// Walks what is one deeper, and comes back.
    fn deeper<E>(
        &mut self,
        step: Option<Step>,
        word: &str,
        walk: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let (path, place) = (self.path.len(), self.place.len());
        self.depth += 1;
        self.path.push_str(word);
        self.place.extend(step);
        let walked = walk(self);
        self.path.truncate(path);
        self.place.truncate(place);
        self.depth -= 1;
        walked
    }

    fn element(&mut self, number: u64) -> (Option<Step>, &'static str) {
        let word = if self.depth < DEPTH_MAX { "[]" } else { "" };
        (Some(Step::Element(number)), word)
    }

    fn key(&self, key: String) -> (Option<Step>, String) {
        if self.depth >= DEPTH_MAX {
            return (Some(Step::Key(key)), String::new());
        }
        if is_id(&key) {
            return (Some(Step::Key(key)), ".*".to_owned());
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.bytes().all(plain) {
            return (None, format!(".{key}"));
        }
        if key.len() <= KEY_BYTES_MAX {
            return (None, format!("[{key:?}]"));
        }
        let begins = &key[..key.floor_char_boundary(KEY_BYTES_MAX)];
        let word = format!("[{begins:?}...]");
        (Some(Step::Key(key)), word)
    }
}

/// Whether a key names one of many: a number, a UUID, a digest. Paths of its own for each would be
/// new ones for ever.
fn is_id(key: &str) -> bool {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    let of_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    digits > 0 && (digits == key.len() || (key.len() >= 16 && key.bytes().all(of_id)))
}

impl<'de, F: FnMut(&str, &[Step], Leaf<'_>)> DeserializeSeed<'de> for &mut Walk<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&str, &[Step], Leaf<'_>)> Visitor<'de> for &mut Walk<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.leaf(Leaf::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.leaf(Leaf::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.leaf(Leaf::Whole(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.leaf(Leaf::Whole(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // What a double holds exactly; beyond that it has no fraction anyway.
        let whole = value.fract() == 0.0 && value.abs() < 1e30;
        self.leaf(if whole { Leaf::Whole(value as i128) } else { Leaf::Number(value) })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.leaf(Leaf::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut number = 0;
        loop {
            let (step, word) = self.element(number);
            let mut more = false;
            self.deeper(step, word, |walk| {
                more = elements.next_element_seed(walk)?.is_some();
                Ok(())
            })?;
            if !more {
                break;
            }
            number += 1;
        }
        let (_, word) = self.element(number);
        self.deeper(None, word, |walk| walk.leaf(Leaf::Elements(number)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut none = true;
        while let Some(key) = members.next_key::<String>()? {
            none = false;
            let (step, word) = self.key(key);
            self.deeper(step, &word, |walk| members.next_value_seed(walk))?;
        }
        if none { self.leaf(Leaf::NoMembers) } else { Ok(()) }
    }
}

impl fmt::Display for Leaf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::NoMembers => f.write_str("{}"),
            Self::Elements(count) => write!(f, "{count} elements"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element(number) => write!(f, "[{number}]"),
            Self::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(document: &str) -> Vec<String> {
        let mut told = Vec::new();
        let walked = walk(document.as_bytes(), "body", &mut |path, place, leaf| {
            let place: String = place.iter().map(Step::to_string).collect();
            told.push(format!("{path} {place} {leaf}"));
        });
        assert!(walked, "{document}");
        told
    }

    #[track_caller]
    fn check(document: &str, told: &[&str]) {
        assert_eq!(leaves(document), told, "{document}");
    }

    #[test]
    fn leaves_have_stable_paths() {
        check(r#"{"a": {"b": null}, "c-d": true}"#, &["body.a.b  null", "body.c-d  true"]);
        check(
            r#"[{"price": 1}, {"price": 2}]"#,
            &["body[].price [0] 1", "body[].price [1] 2", "body[]  2 elements"],
        );
        check("[]", &["body[]  0 elements"]);
        check("{}", &["body  {}"]);
        check(r#"{"": "", "a.b": 1}"#, &["body[\"\"]  \"\"", "body[\"a.b\"]  1"]);
        check(
            r#"{"17": {"name": "x"}, "0b4f3c1e-8d1a-4c3b-9a51-2f6f0f7c1d2e": 1}"#,
            &["body.*.name [\"17\"] \"x\"", "body.* [\"0b4f3c1e-8d1a-4c3b-9a51-2f6f0f7c1d2e\"] 1"],
        );
        check(r#"{"a": 1, "a": 2}"#, &["body.a  1", "body.a  2"]);
    }

    #[test]
    fn a_number_is_its_value() {
        for one in ["1", "1.0", "1e0", "10e-1"] {
            check(one, &["body  1"]);
        }
        check("0.5", &["body  0.5"]);
        check("-0.0", &["body  0"]);
        check("18446744073709551615", &["body  18446744073709551615"]);
        check("\"1\"", &["body  \"1\""]);
    }

    #[test]
    fn depth_and_keys_are_bounded() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let told = leaves(&deep);
        assert!(told.iter().all(|line| line.split(' ').next().unwrap().len() <= 4 + 2 * DEPTH_MAX));
        assert!(!is_document(format!("{}1{}", "[".repeat(500), "]".repeat(500)).as_bytes()));
        let long = leaves(&format!("{{\"{}\": 1}}", "ö".repeat(500)));
        assert!(long[0].split(' ').next().unwrap().len() < 80, "{long:?}");
    }

    #[test]
    fn what_is_no_document_is_said_to_be_none() {
        for bad in ["", "{", "[1,]", "nul", "{\"a\":1}x", "1e999", "\u{feff}{}"] {
            assert!(!is_document(bad.as_bytes()), "{bad}");
        }
    }
}
