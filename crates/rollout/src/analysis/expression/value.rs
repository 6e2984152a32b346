//! What conditions are about.

use std::fmt;

use umbra_state::escape::escape;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// None.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A number; it may be NaN or infinite.
    Number(f64),
    /// A text.
    Text(String),
    /// Values in order.
    List(Vec<Value>),
}

/// What a value is, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nil,
    Bool,
    Number,
    Text,
    List,
    /// It depends on what was measured.
    Any,
}

impl Value {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Nil => Kind::Nil,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::List(_) => Kind::List,
        }
    }

    /// Whether nothing was measured: there is no value, or none of them is a number.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::Number(number) => number.is_nan(),
            Self::List(values) => values.iter().all(Self::is_absent),
            Self::Bool(_) | Self::Text(_) => false,
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<f64>> for Value {
    fn from(numbers: Vec<f64>) -> Self {
        Self::List(numbers.into_iter().map(Self::Number).collect())
    }
}

impl Kind {
    /// With an article.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Any => "a value",
        }
    }

    /// Whether a value of this kind may turn out to be one of that.
    pub(super) fn may_be(self, other: Self) -> bool {
        self == Self::Any || other == Self::Any || self == other
    }
}

/// More entries are not shown.
const SHOWN_MAX: usize = 8;
const SHOWN_CHARS_MAX: usize = 100;

/// Whether it has more digits than anybody reads.
fn is_long(number: f64) -> bool {
    number != 0.0 && !(1e-6..1e15).contains(&number.abs()) && !number.is_nan()
}

/// As people read it: `0.97`, `[0.97, NaN]`, `[1, 2, ... 40 in all]`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) if number.is_infinite() => {
                f.write_str(if *number > 0.0 { "+Inf" } else { "-Inf" })
            }
            Self::Number(number) if is_long(*number) => write!(f, "{number:e}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => {
                let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                let dots = if shown.len() < text.len() { "..." } else { "" };
                write!(f, "\"{}{dots}\"", escape(shown.as_bytes()))
            }
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().take(SHOWN_MAX).enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{value}")?;
                }
                match values.len() {
                    0..=SHOWN_MAX => f.write_str("]"),
                    more => write!(f, ", ... {more} in all]"),
                }
            }
        }
    }
}
