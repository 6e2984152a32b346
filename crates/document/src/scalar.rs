//! What an unquoted YAML scalar is under the core schema of YAML 1.2.

use serde_json::Value as Json;

use crate::yaml::{Node, Scalar, Value};

/// The type YAML gives a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScalarType {
    /// Nothing, or `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number; infinities count as not a number.
    Float(f64),
    /// Anything else.
    Text,
}

impl ScalarType {
    /// The type with an article.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false without quotes",
            Self::Int(_) | Self::Float(_) => "a number without quotes",
            Self::Text => "a text",
        }
    }
}

impl Scalar {
    /// The type as written; a quoted scalar is a text, whatever it holds.
    pub fn written_type(&self) -> ScalarType {
        if self.plain && !self.substituted { plain_type(&self.text) } else { ScalarType::Text }
    }

    /// The type at a place that needs no text: a value that came from a variable counts as
    /// if it had been written there without quotes.
    pub fn value_type(&self) -> ScalarType {
        if self.plain || self.substituted { plain_type(&self.text) } else { ScalarType::Text }
    }
}

fn plain_type(text: &str) -> ScalarType {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => ScalarType::Null,
        "true" | "True" | "TRUE" => ScalarType::Bool(true),
        "false" | "False" | "FALSE" => ScalarType::Bool(false),
        _ => int(text).map(ScalarType::Int).or_else(|| float(text)).unwrap_or(ScalarType::Text),
    }
}

fn int(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    decimal.then(|| text.parse().ok()).flatten()
}

fn radix(digits: &str, radix: u32) -> Option<i64> {
    let all = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    all.then(|| i64::from_str_radix(digits, radix).ok()).flatten()
}

fn float(text: &str) -> Option<ScalarType> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let special =
        matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    if special {
        return Some(ScalarType::Float(f64::NAN));
    }
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || (unsigned.starts_with('.') && unsigned[1..].starts_with(|c: char| c.is_ascii_digit()));
    let letters = unsigned.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    (begins && letters).then(|| text.parse().ok().map(ScalarType::Float)).flatten()
}

/// The tree as an editor's YAML reader would hand it to a JSON Schema validator.
pub fn to_json(node: &Node) -> Json {
    match &node.value {
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(k, v)| (k.text.clone(), to_json(v))).collect())
        }
        Value::Scalar(scalar) => match scalar.written_type() {
            ScalarType::Null => Json::Null,
            ScalarType::Bool(value) => value.into(),
            ScalarType::Int(value) => value.into(),
            ScalarType::Float(value) => value.into(),
            ScalarType::Text => scalar.text.clone().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: ScalarType) {
        assert_eq!(plain_type(text), expected, "{text}");
    }

    #[test]
    fn the_core_schema_decides() {
        check("~", ScalarType::Null);
        check("", ScalarType::Null);
        check("yes", ScalarType::Text);
        check("True", ScalarType::Bool(true));
        check("0644", ScalarType::Int(644));
        check("0o644", ScalarType::Int(420));
        check("0x1F", ScalarType::Int(31));
        check("-12", ScalarType::Int(-12));
        check("1.10", ScalarType::Float(1.1));
        check(".5", ScalarType::Float(0.5));
        check("1e3", ScalarType::Float(1000.0));
        check("10s", ScalarType::Text);
        check("1.2.3", ScalarType::Text);
        check("-", ScalarType::Text);
        check("1000:1000", ScalarType::Text);
    }
}
