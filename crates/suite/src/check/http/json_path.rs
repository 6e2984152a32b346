//! A place in a JSON document, written `$.items[0].name`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

const STEPS_MAX: usize = 64;

/// A place in a JSON document: names and indices, nothing that searches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// A text that is no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read JSON path at character {position}: expected {expected}")]
pub struct JsonPathError {
    position: usize,
    expected: &'static str,
}

impl JsonPath {
    /// What stands there.
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Name(name) => value.as_object()?.get(name),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|step| match step {
            Step::Name(name) => write!(f, ".{}", umbra_state::escape::escape(name.as_bytes())),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    /// Reads `$.a.b[0]`; the leading `$` and the first dot may be left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut first = !text.starts_with('$');
        while !rest.is_empty() || first {
            let position = text.chars().count() - rest.chars().count() + 1;
            let refuse = |expected| JsonPathError { position, expected };
            if let Some(inner) = rest.strip_prefix('[') {
                let (digits, after) =
                    inner.split_once(']').ok_or_else(|| refuse("a closing bracket"))?;
                let index = digits.parse().map_err(|_| refuse("an index"))?;
                steps.push(Step::Index(index));
                rest = after;
            } else {
                let name = match rest.strip_prefix('.') {
                    Some(name) => name,
                    None if first => rest,
                    None => return Err(refuse("a dot or a bracket")),
                };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                if end == 0 {
                    return Err(refuse("a name"));
                }
                steps.push(Step::Name(name[..end].to_owned()));
                rest = &name[end..];
            }
            first = false;
            if steps.len() > STEPS_MAX {
                return Err(refuse("at most 64 steps"));
            }
        }
        Ok(Self(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn places_are_found() {
        let value = json!({"a": {"b": [10, {"c d": true}]}});
        for (path, expected) in [
            ("$", Some(value.clone())),
            ("a.b[0]", Some(json!(10))),
            ("$.a.b[1].c d", Some(json!(true))),
            ("$.a.b[2]", None),
            ("$.a.x", None),
            ("$.a[0]", None),
        ] {
            let parsed: JsonPath = path.parse().expect(path);
            assert_eq!(parsed.find(&value).cloned(), expected, "{path}");
        }
    }

    #[test]
    fn errors_have_a_position() {
        for (path, position) in [("", 1), ("$x", 2), ("$.a..b", 4), ("$.a[x]", 4), ("$.a[1", 4)] {
            assert_eq!(path.parse::<JsonPath>().expect_err(path).position, position, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "[$.\\[\\]a-c0-9é]{0,30}") {
            if let Ok(path) = text.parse::<JsonPath>() {
                prop_assert_eq!(path.to_string().parse::<JsonPath>(), Ok(path));
            }
        }
    }
}
