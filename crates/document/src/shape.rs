//! The language in which the form of a document is written down, once.
//!
//! One table per mapping is what the structural check walks, what
//! the JSON Schema is made of and what suggestions are drawn from, so the three agree.

use crate::formats::Format;

/// What a value may be.
pub enum Ty {
    /// A text of this form.
    Text(&'static Format),
    /// Any text, number or truth value, taken as it is spelt: for values of variables.
    Verbatim,
    /// `true` or `false`.
    Bool,
    /// A whole number in this range.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number in this range, its lower end excluded.
    Number {
        /// Below the least.
        above: f64,
        /// The greatest.
        max: f64,
    },
    /// A number from 0 to `max`, both included.
    Amount {
        /// The greatest.
        max: f64,
    },
    /// One of these words.
    Word(&'static [Word]),
    /// A list of so many values.
    List {
        /// What each value is.
        item: &'static Ty,
        /// How many at least.
        min: usize,
        /// How many at most.
        max: usize,
    },
    /// A mapping from keys of a form to values.
    MapOf {
        /// The form of the keys.
        key: &'static Format,
        /// What each value is.
        value: &'static Ty,
        /// How many keys at most.
        max: usize,
    },
    /// A mapping with known keys.
    Object(&'static Shape),
    /// Several ways to write it; they differ in being a text, a number or truth value, a list
    /// or a mapping.
    Either(&'static [Ty]),
    /// A value of this type that is checked later, where it ends up.
    Elsewhere(&'static Ty),
    /// Any value: somebody else's format, checked by its own reader.
    Foreign,
}

/// One of the words a value may be.
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// A word that is planned but does nothing yet gets a clear refusal.
    pub available: bool,
}

/// A mapping with known keys.
pub struct Shape {
    /// What it describes, without an article.
    pub noun: &'static str,
    /// One sentence for the schema.
    pub doc: &'static str,
    /// Its keys.
    pub fields: &'static [Field],
    /// Exactly one of these keys must be given; empty for no such rule.
    pub exactly_one: &'static [&'static str],
}

/// One key of a [`Shape`].
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What its value may be.
    pub ty: Ty,
    /// Whether it must be given.
    pub required: bool,
    /// Allowed only beside one of these keys; empty for always.
    pub with: &'static [&'static str],
    /// One sentence for the schema; ends with the default where there is one.
    pub doc: &'static str,
}

impl Field {
    /// A key that may be left out.
    pub const fn new(key: &'static str, ty: Ty, doc: &'static str) -> Self {
        Self { key, ty, required: false, with: &[], doc }
    }

    /// The same key, which must be given.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same key, allowed only beside one of these.
    pub const fn with(mut self, keys: &'static [&'static str]) -> Self {
        self.with = keys;
        self
    }
}

/// A word that works.
pub const fn word(word: &'static str) -> Word {
    Word { word, available: true }
}

/// A word that is refused in this version.
pub const fn planned(word: &'static str) -> Word {
    Word { word, available: false }
}

/// A list that is not empty. A macro, because what a function gets in a constant would not
/// live long enough.
#[macro_export]
macro_rules! list {
    ($item:expr, $max:expr) => {
        $crate::shape::Ty::List { item: $item, min: 1, max: $max }
    };
}

impl Ty {
    /// What it is, with an article, for "expected ...".
    pub fn noun(&self) -> String {
        match self {
            Self::Text(format) => format.noun.to_owned(),
            Self::Verbatim => "a text or a number".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Int { min, max } if min == max => format!("the number {min}"),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { above, max } => format!("a number above {above} and up to {max}"),
            Self::Amount { max } => format!("a number from 0 to {max}"),
            Self::Word(words) => {
                let words: Vec<String> = words.iter().map(|w| format!("`{}`", w.word)).collect();
                or_list(&words)
            }
            Self::List { .. } => "a list".to_owned(),
            Self::MapOf { .. } => "a mapping".to_owned(),
            Self::Object(shape) => format!("a mapping that describes the {}", shape.noun),
            Self::Either(types) => or_list(&types.iter().map(Self::noun).collect::<Vec<_>>()),
            Self::Elsewhere(ty) => ty.noun(),
            Self::Foreign => "a value".to_owned(),
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
pub fn or_list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}
