//! YAML as a tree of values that know their place.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use umbra_state::escape::escape;

/// A plain value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// A value, with where it stands (from 1; 0 when unknown).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) line: u64,
    pub(crate) column: u64,
    /// The parts of a list or a map, each with its own place.
    pub(crate) parts: Vec<Part>,
}

/// One element; those of a map have a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) key: Option<Key>,
    pub(crate) node: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// Text that is no YAML.
#[derive(Debug)]
pub(crate) struct YamlError {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) message: String,
}

const TEXT_BYTES_MAX: usize = 4 << 20;
/// A value holds copies of what is inside it, so a text costs as often as it is deep.
const DEPTH_MAX: usize = 48;

/// Reads one document.
pub(crate) fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("it is larger than {TEXT_BYTES_MAX} bytes");
        return Err(YamlError { line: 1, column: 1, message });
    }
    let options = serde_saphyr::options! {
        // A mode is written 0644 and means these four characters.
        leading_zero_numbers_as_strings: true,
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_total_scalar_bytes: TEXT_BYTES_MAX,
        },
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location();
            let message = escape(error.without_snippet().to_string().as_bytes()).to_string();
            let (line, column) = place.map_or((0, 0), |place| (place.line(), place.column()));
            YamlError { line, column, message }
        })?;
    node(raw)
}

impl Value {
    /// What a scalar looks like as text.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(value) => Some(value.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// A number, or text that is one.
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// The value as a noun.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{}", escape(text.as_bytes())),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{}: {value}", escape(key.as_bytes()))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// What the YAML reader hands over before it is made into a [`Node`].
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>) -> Result<Node, YamlError> {
    let (line, column) = (raw.referenced.line(), raw.referenced.column());
    let mut parts = Vec::new();
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => {
            for item in items {
                parts.push(Part { key: None, node: node(item)? });
            }
            Value::List(parts.iter().map(|part| part.node.value.clone()).collect())
        }
        Raw::Map(entries) => {
            let mut pairs = Vec::new();
            for (raw_key, raw_value) in entries {
                let key = key(raw_key)?;
                let node = node(raw_value)?;
                pairs.push((key.text.clone(), node.value.clone()));
                parts.push(Part { key: Some(key), node });
            }
            Value::Map(pairs)
        }
    };
    Ok(Node { value, line, column, parts })
}

/// A key is a scalar; `{{ template }}` for instance is a map whose key is a map.
fn key(raw: Spanned<Raw>) -> Result<Key, YamlError> {
    let Node { value, line, column, .. } = node(raw)?;
    let refuse =
        || YamlError { line, column, message: format!("expected a name, found {}", value.kind()) };
    let text = value.scalar_text().ok_or_else(refuse)?;
    Ok(Key { text, line, column })
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Number(value as f64)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_their_types_and_places() {
        let root = parse("a: 0644\nb: [1, yes, true]\n\"c\":\n  d: ~\n8080: x\n").expect("yaml");
        let keys: Vec<_> = root
            .parts
            .iter()
            .filter_map(|part| part.key.as_ref())
            .map(|key| (key.text.as_str(), key.line, key.column))
            .collect();
        assert_eq!(keys, [("a", 1, 1), ("b", 2, 1), ("c", 3, 1), ("8080", 5, 1)]);
        assert_eq!(root.parts[0].node.value, Value::Text("0644".into()));
        let list = vec![Value::Number(1.0), Value::Text("yes".into()), Value::Bool(true)];
        assert_eq!(root.parts[1].node.value, Value::List(list));
        assert_eq!(
            (root.parts[1].node.parts[2].node.line, root.parts[1].node.parts[2].node.column),
            (2, 13)
        );
        assert_eq!(root.parts[2].node.value, Value::Map(vec![("d".into(), Value::Null)]));
    }

    #[test]
    fn what_is_no_yaml_has_a_place() {
        let error = parse("file:\n  - [").expect_err("unclosed");
        assert!(error.line >= 2, "{error:?}");
        let error = parse("a: 1\na: 2\n").expect_err("duplicate");
        assert_eq!(error.line, 2, "{error:?}");
    }
}
