//! What a user takes from one answer into later requests: `${name}` in their path, headers and
//! body stands for it, `$${` for `${` itself.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use umbra_state::escape::escape;

use crate::check::http::client::Response;
use crate::check::http::{HttpRequest, JsonPath};
use crate::pattern::Pattern;

/// A value is no longer.
const VALUE_BYTES_MAX: usize = 8 << 10;
const NAME_CHARS_MAX: usize = 40;

/// Something to take from an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Extract {
    /// What later requests call it: see [`is_name`].
    pub name: String,
    /// Where it is.
    pub from: Place,
}

/// Where in an answer something is.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A text or a number in a JSON body.
    Json(JsonPath),
    /// A header's value.
    Header(String),
    /// What the first group of a match in the body holds, or the whole match.
    Regex(Pattern),
}

/// Values by their names.
pub(super) type Values = BTreeMap<String, String>;

/// Letters, digits and `_`, not beginning with a digit.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text.chars().all(fits)
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Takes what is wanted from an answer, or says what is not there.
pub(super) fn take(
    wanted: &[Extract],
    response: &Response,
    values: &mut Values,
) -> Result<(), String> {
    // Once for all of them, and not for nothing: users wait for each other meanwhile.
    let json = LazyCell::new(|| serde_json::from_slice(&response.body).ok());
    for extract in wanted {
        let value = extract.find(response, || json.as_ref())?;
        values.insert(extract.name.clone(), value);
    }
    Ok(())
}

impl Extract {
    /// The value, or why there is none.
    fn find<'j>(
        &self,
        response: &Response,
        json: impl FnOnce() -> Option<&'j Value>,
    ) -> Result<String, String> {
        let nothing = |place: &str| {
            let place = escape(place.as_bytes());
            format!("nothing to take as {} at {place}", self.name)
        };
        let value = match &self.from {
            Place::Json(path) => {
                let found = json().and_then(|json| path.find(json)).and_then(|value| match value {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    Value::Bool(bool) => Some(bool.to_string()),
                    _ => None,
                });
                found.ok_or_else(|| nothing(&path.to_string()))?
            }
            Place::Header(name) => {
                let value = response.headers.get(name);
                let text = value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
                text.ok_or_else(|| nothing(name))?.to_owned()
            }
            Place::Regex(pattern) => {
                let found = pattern.capture(&response.body);
                let text = found.and_then(|found| std::str::from_utf8(found).ok());
                text.ok_or_else(|| nothing(pattern.as_str()))?.to_owned()
            }
        };
        match value.len() <= VALUE_BYTES_MAX {
            true => Ok(value),
            false => Err(format!("{} is longer than {VALUE_BYTES_MAX} bytes", self.name)),
        }
    }
}

/// A text, in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Plain(&'a str),
    Reference(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix("$${") {
            let piece = &rest[1..3];
            rest = after;
            return Some(Piece::Plain(piece));
        }
        if let Some((name, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}'))
            && is_name(name)
        {
            rest = after;
            return Some(Piece::Reference(name));
        }
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest[first..].find('$').map_or(rest.len(), |at| first + at);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Plain(piece))
    })
}

/// The names a text refers to.
pub fn references(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Reference(name) => Some(name),
        Piece::Plain(_) => None,
    })
}

/// A text that stands for this one where references are replaced.
pub fn literal(text: &str) -> Cow<'_, str> {
    match text.contains("${") {
        true => text.replace("${", "$${").into(),
        false => text.into(),
    }
}

/// What is asked with these values; unchanged where nothing refers to one.
pub(super) fn filled<'a>(
    request: &'a HttpRequest,
    values: &Values,
) -> Result<Cow<'a, HttpRequest>, String> {
    let refers = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == b"${");
    let headers = request.headers.iter().any(|(_, value)| refers(value.as_bytes()));
    if !headers && !refers(request.path.as_bytes()) && !refers(&request.body) {
        return Ok(Cow::Borrowed(request));
    }
    let mut filled = request.clone();
    filled.path = fill(&request.path, values, in_path)?;
    for (_, value) in &mut filled.headers {
        *value = fill(value, values, str::to_owned)?;
    }
    if let Ok(body) = std::str::from_utf8(&request.body) {
        filled.body = fill(body, values, str::to_owned)?.into_bytes();
    }
    Ok(Cow::Owned(filled))
}

fn fill(text: &str, values: &Values, put: fn(&str) -> String) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => filled.push_str(plain),
            Piece::Reference(name) => {
                let value =
                    values.get(name).ok_or_else(|| format!("nothing was taken as {name}"))?;
                filled.push_str(&put(value));
            }
        }
    }
    Ok(filled)
}

/// A value as one segment of a path, or one value of a query: it cannot become more than that.
fn in_path(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@!$'()*,".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn values() -> Values {
        [("id", "a/b 1"), ("n", "7")].map(|(name, value)| (name.into(), value.into())).into()
    }

    #[track_caller]
    fn check(text: &str, filled: Result<&str, &str>) {
        let is = fill(text, &values(), in_path);
        assert_eq!(is.as_deref().map_err(String::as_str), filled, "{text}");
    }

    #[test]
    fn references_are_replaced() {
        check("/x/${id}?n=${n}", Ok("/x/a%2Fb%201?n=7"));
        check("$${id} $$${n} ${} ${1} $ ${{ x }} ${n", Ok("${id} $${n} ${} ${1} $ ${{ x }} ${n"));
        check("/${no}", Err("nothing was taken as no"));
    }

    #[test]
    fn values_are_taken_from_answers() {
        let body = br#"{"a": {"id": 12, "list": ["x"]}, "token=abc;": null}"#.to_vec();
        let mut headers = hyper::HeaderMap::new();
        headers.insert("location", "/orders/5".parse().expect("a value"));
        let response =
            Response { status: 200, headers, body, truncated: false, latency: Duration::ZERO };
        #[track_caller]
        fn check(response: &Response, from: Place, value: Result<&str, &str>) {
            let extract = Extract { name: "x".into(), from };
            let mut values = Values::new();
            let is = take(&[extract], response, &mut values).map(|()| values["x"].clone());
            assert_eq!(is.as_deref().map_err(String::as_str), value);
        }
        let json = |path: &str| Place::Json(path.parse().expect("a path"));
        let regex = |text: &str| Place::Regex(Pattern::new(text).expect("a pattern"));
        check(&response, json("a.id"), Ok("12"));
        check(&response, json("a.list[0]"), Ok("x"));
        check(&response, json("a.list"), Err("nothing to take as x at $.a.list"));
        check(&response, Place::Header("Location".into()), Ok("/orders/5"));
        check(&response, Place::Header("ETag".into()), Err("nothing to take as x at ETag"));
        check(&response, regex("token=([a-z]+);"), Ok("abc"));
        check(&response, regex("tok.n"), Ok("token"));
        check(&response, regex("none"), Err("nothing to take as x at none"));
    }

    proptest! {
        #[test]
        fn a_literal_stands_for_itself(text in "(\\$|\\{|\\}|id|é){0,12}") {
            prop_assert_eq!(fill(&literal(&text), &values(), in_path), Ok(text));
        }
    }
}
