//! Conditions on a measured value, in the language people know from Argo Rollouts.
//!
//! ```text
//! result[0] >= 0.95 && !isNaN(result[0])      all(result, {# < 0.5})
//! default(result[0], 0) <= 5                  len(result) > 0 and max(result) < 1e3
//! ```
//!
//! | written | is |
//! |---|---|
//! | `result` | the value: a number, or a list of numbers, one for each series |
//! | `[1]`, `[-1]` | an entry of a list; `nil` where there is none |
//! | `12`, `.5`, `1e-3`, `'a'`, `"a"`, `true`, `false`, `nil`, `[1, 2]` | constants |
//! | `+ - * / % **` | arithmetic, on floating point numbers |
//! | `== != < <= > >=`, `in`, `not in` | comparisons; with NaN only `!=` holds |
//! | `&& \|\| !`, `and or not` | logic; what does not matter is not looked at |
//! | `??` | the right side where the left is `nil` |
//! | `len sum mean min max abs floor ceil round` | of lists and numbers |
//! | `isNaN isInf isNil default asFloat asInt float int` | as Argo has them |
//! | `all any none one count filter map` | over a list; `#` is the entry in `{...}` |
//!
//! Text, depth and work are bounded. What can be told to be wrong before there is a value is
//! told then, with its place.

mod evaluate;
mod parse;
mod token;
mod value;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use value::Value;

use parse::Node;

/// A text is no longer.
pub const TEXT_BYTES_MAX: usize = 4096;

/// A condition that was read.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: String,
    root: Node,
}

/// Why a text is no condition, or cannot be decided on a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at character {}", .at.start + 1)]
pub struct ExpressionError {
    /// The bytes of the text that it is about.
    pub at: Range<usize>,
    /// What is wrong. Text from outside in it is escaped.
    pub message: String,
    /// There was nothing to decide on: it asked for what the value does not have.
    pub absent: bool,
}

impl Expression {
    /// Reads a condition.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("a condition has at most {TEXT_BYTES_MAX} bytes");
            return Err(ExpressionError::at(0..0, message));
        }
        let root = parse::condition(text)?;
        Ok(Self { text: text.to_owned(), root })
    }

    /// Whether it holds of a value.
    ///
    /// # Errors
    /// It cannot be decided.
    pub fn holds(&self, result: &Value) -> Result<bool, ExpressionError> {
        evaluate::condition(&self.root, result)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl ExpressionError {
    fn at(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), absent: false }
    }

    fn absent(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { absent: true, ..Self::at(at, message) }
    }
}

impl TryFrom<String> for Expression {
    type Error = ExpressionError;

    fn try_from(text: String) -> Result<Self, ExpressionError> {
        Self::parse(&text)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests;
