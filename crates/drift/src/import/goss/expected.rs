//! What a goss file expects of a value, as far as `expect` can say it.

use umbra_document::scalar::ScalarType;
use umbra_document::take;
use umbra_document::yaml::{Node, Value};

use crate::config::quoted;

/// Numbers beyond are no setting's.
const NUMBER_MAX: i64 = 100_000_000_000_000;
const CHOICES_MAX: usize = 100;

/// What holds of a value whatever the shadow says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Expected {
    one_of: Vec<String>,
    ge: Option<i64>,
    le: Option<i64>,
}

impl Expected {
    /// One of some words.
    pub(super) fn one_of(words: &[&str]) -> Self {
        Self { one_of: words.iter().map(|word| (*word).to_owned()).collect(), ..Self::default() }
    }

    /// What a matcher of whole values expects; `None` where `expect` cannot say it.
    pub(super) fn of(node: &Node) -> Option<Self> {
        if let Some(word) = word(node) {
            return Some(Self::one_of(&[word]));
        }
        let mut expected = Self::default();
        for (key, node) in node.map() {
            match key.text.as_str() {
                "or" if expected.one_of.is_empty() && node.list().len() <= CHOICES_MAX => {
                    let words = node.list().iter().map(|node| word(node).map(str::to_owned));
                    expected.one_of = words.collect::<Option<_>>()?;
                }
                "ge" => expected.ge = Some(number(node)?),
                "le" => expected.le = Some(number(node)?),
                // What is compared so is whole.
                "gt" => expected.ge = Some(number(node)? + 1),
                "lt" => expected.le = Some(number(node)? - 1),
                _ => return None,
            }
        }
        let possible = expected.ge.zip(expected.le).is_none_or(|(ge, le)| ge <= le);
        (possible && expected != Self::default()).then_some(expected)
    }

    /// As `expect` wants it.
    pub(super) fn yaml(&self) -> String {
        let mut parts = Vec::new();
        if !self.one_of.is_empty() {
            let words: Vec<String> = self.one_of.iter().map(|word| quoted(word)).collect();
            parts.push(format!("one_of: [{}]", words.join(", ")));
        }
        parts.extend(self.ge.map(|bound| format!("ge: {bound}")));
        parts.extend(self.le.map(|bound| format!("le: {bound}")));
        format!("{{{}}}", parts.join(", "))
    }
}

/// The text of one value, no space around it: that is how values are compared.
fn word(node: &Node) -> Option<&str> {
    let scalar = node.scalar()?;
    let text = scalar.text.trim();
    (scalar.value_type() != ScalarType::Null && !text.contains('\0')).then_some(text)
}

fn number(node: &Node) -> Option<i64> {
    take::int::<i64>(node).filter(|number| (-NUMBER_MAX..=NUMBER_MAX).contains(number))
}

/// The value, for a person: a word, or what kind it is.
pub(super) fn in_words(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.text.chars().count() <= 40 => scalar.text.clone(),
        Value::Scalar(_) => "a text".to_owned(),
        Value::List(items) if items.is_empty() => "[]".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a matcher".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use umbra_document::{Found, yaml};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let root = yaml::parse(0, text, "matcher", &mut Found::default()).expect("YAML");
        assert_eq!(Expected::of(&root).map(|found| found.yaml()).as_deref(), expected, "{text}");
    }

    #[test]
    fn matchers_of_whole_values_are_kept() {
        check("128", Some(r#"{one_of: ["128"]}"#));
        check("\" a\\tb \"", Some(r#"{one_of: ["a\tb"]}"#));
        check("{or: [1, \"2\"]}", Some(r#"{one_of: ["1", "2"]}"#));
        check("{ge: 1, lt: 10}", Some("{ge: 1, le: 9}"));
        check("{gt: 5}", Some("{ge: 6}"));
        let no = ["{gt: 5, lt: 6}", "{gt: x}", "{and: [{gt: 1}]}", "~", "[a]", "{}", "{or: [[a]]}"];
        for text in no {
            check(text, None);
        }
    }
}
