//! What an attribute should be: plain values, lists, and goss's matchers.

use std::fmt;

use umbra_state::escape::escape;

use super::gjson::Place;
use super::value::{Node, Value};
use super::versions::Range;
use super::{Actual, GossProblem};
use crate::check::load::Comparison;
use crate::pattern::Pattern;

/// What an attribute should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Matcher(Form);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// The same, numbers and their texts alike.
    Equal(Value),
    /// Every one of these is met by some element, no element serving twice.
    Contains(Vec<Form>),
    /// Every element is met by one of these, and the other way round.
    ConsistsOf(Vec<Form>),
    /// Some element meets this.
    ContainsElement(Box<Form>),
    /// A line that contains the text, matches the pattern, or no line that does.
    Line(LineForm),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Regexp(Pattern),
    Compare(Comparison, f64),
    Length(u64),
    Key(Box<Form>),
    KeyValue(Vec<(String, Form)>),
    /// In a JSON text, what stands at each place meets its form.
    Json(Vec<(Place, Form)>),
    /// Every element is a version in the range, and there is one.
    Versions(Range),
    Not(Box<Form>),
    And(Vec<Form>),
    Or(Vec<Form>),
}

/// One of goss's line patterns: `text`, `!text`, `/regex/`, `!/regex/`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LineForm {
    pub(super) negated: bool,
    pub(super) test: LineTest,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum LineTest {
    Text(String),
    Regexp(Pattern),
}

const DEPTH_MAX: usize = 32;

/// Bounds what finding an element for each of them can cost.
const LIST_MAX: usize = 1_000;

impl Matcher {
    /// Reads a matcher; `lines` says whether a list holds line patterns.
    pub(super) fn parse(node: &Node, lines: bool) -> Result<Self, GossProblem> {
        parse(node, lines, 0).map(Self)
    }

    /// Whether a fact is as it should be.
    pub(crate) fn is_met_by(&self, actual: &Actual) -> bool {
        match actual {
            Actual::Value(value) => self.0.meets(value),
            Actual::Lines(text) => self.0.meets_lines(text),
        }
    }

    /// Whether it demands nothing at all, as `contents: []` does.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Contains(forms) if forms.is_empty())
    }
}

fn parse(node: &Node, lines: bool, depth: usize) -> Result<Form, GossProblem> {
    if depth > DEPTH_MAX {
        return Err(GossProblem::at(node, format!("matchers are nested deeper than {DEPTH_MAX}")));
    }
    match &node.value {
        Value::Null => Err(GossProblem::at(node, "expected a value or a matcher, found nothing")),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => Ok(Form::Equal(node.value.clone())),
        Value::List(_) => all(node, lines, lines, depth).map(Form::Contains),
        Value::Map(_) => {
            let [part] = node.parts.as_slice() else {
                let found = node.parts.len();
                return Err(GossProblem::at(node, format!("expected one matcher, found {found}")));
            };
            let key = part.key.as_ref().map(|key| key.text.as_str()).unwrap_or_default();
            named(key, node, &part.node, lines, depth + 1)
        }
    }
}

fn named(
    name: &str,
    whole: &Node,
    node: &Node,
    lines: bool,
    depth: usize,
) -> Result<Form, GossProblem> {
    let text =
        || node.value.scalar_text().ok_or_else(|| expected(node, &format!("text after {name}")));
    let boxed = |lines| parse(node, lines, depth).map(Box::new);
    let compare = |comparison| match node.value.as_number() {
        Some(number) => Ok(Form::Compare(comparison, number)),
        None => Err(expected(node, &format!("a number after {name}"))),
    };
    match name {
        "have-prefix" => text().map(Form::Prefix),
        "have-suffix" => text().map(Form::Suffix),
        "contain-substring" => text().map(Form::Substring),
        "match-regexp" => pattern(node, &text()?).map(Form::Regexp),
        "gt" => compare(Comparison::Greater),
        "ge" => compare(Comparison::GreaterOrEqual),
        "lt" => compare(Comparison::Less),
        "le" => compare(Comparison::LessOrEqual),
        "equal" => Ok(Form::Equal(node.value.clone())),
        "have-len" => match node.value {
            Value::Number(number) if number >= 0.0 && number.fract() == 0.0 => {
                Ok(Form::Length(number as u64))
            }
            _ => Err(expected(node, "a whole number after have-len")),
        },
        "have-key" => boxed(false).map(Form::Key),
        "have-key-with-value" => key_values(node, depth),
        // An element of a text is a line; what is said about it is said as text.
        "contain-element" => {
            element(node, lines, depth).map(|form| Form::ContainsElement(Box::new(form)))
        }
        "contain-elements" => all(node, lines, false, depth).map(Form::Contains),
        "consist-of" => all(node, lines, false, depth).map(Form::ConsistsOf),
        "not" => boxed(lines).map(Form::Not),
        "and" => all(node, lines, false, depth).map(Form::And),
        "or" => all(node, lines, false, depth).map(Form::Or),
        "gjson" => places(node, depth),
        "semver-constraint" => {
            let range = text()?;
            Range::parse(&range)
                .map(Form::Versions)
                .ok_or_else(|| expected(node, "a range of versions such as `>=1.2.0 <2.0.0`"))
        }
        other => {
            let shown: String = escape(other.as_bytes()).to_string().chars().take(60).collect();
            Err(GossProblem::at(whole, format!("there is no matcher `{shown}`; {KNOWN}")))
        }
    }
}

const KNOWN: &str = "known are have-prefix, have-suffix, contain-substring, match-regexp, gt, ge, \
    lt, le, equal, have-len, have-key, have-key-with-value, contain-element, contain-elements, \
    consist-of, gjson, semver-constraint, not, and, or";

fn element(node: &Node, lines: bool, depth: usize) -> Result<Form, GossProblem> {
    match (&node.value, lines) {
        (Value::Text(text), true) => Ok(Form::Substring(text.clone())),
        _ => parse(node, false, depth),
    }
}

/// The forms in a list; `patterns` says whether its texts are line patterns.
fn all(node: &Node, lines: bool, patterns: bool, depth: usize) -> Result<Vec<Form>, GossProblem> {
    if !matches!(node.value, Value::List(_)) {
        return Err(expected(node, "a list"));
    }
    if node.parts.len() > LIST_MAX {
        return Err(GossProblem::at(node, format!("a list has more than {LIST_MAX} elements")));
    }
    let one = |node: &Node| match &node.value {
        Value::Text(text) if patterns => line_pattern(node, text).map(Form::Line),
        Value::Number(_) | Value::Bool(_) if patterns => {
            line_pattern(node, &node.value.scalar_text().unwrap_or_default()).map(Form::Line)
        }
        _ => parse(node, lines, depth + 1),
    };
    node.parts.iter().map(|part| one(&part.node)).collect()
}

fn key_values(node: &Node, depth: usize) -> Result<Form, GossProblem> {
    if !matches!(node.value, Value::Map(_)) {
        return Err(expected(node, "a map after have-key-with-value"));
    }
    let one = |part: &super::value::Part| {
        let key = part.key.as_ref().map(|key| key.text.clone()).unwrap_or_default();
        parse(&part.node, false, depth).map(|form| (key, form))
    };
    node.parts.iter().map(one).collect::<Result<_, _>>().map(Form::KeyValue)
}

fn places(node: &Node, depth: usize) -> Result<Form, GossProblem> {
    if !matches!(node.value, Value::Map(_)) || node.parts.is_empty() {
        return Err(expected(node, "a map of paths after gjson"));
    }
    let one = |part: &super::value::Part| {
        let path = part.key.as_ref().map(|key| key.text.as_str()).unwrap_or_default();
        let place = Place::parse(path).map_err(|why| GossProblem::at(&part.node, why))?;
        parse(&part.node, false, depth).map(|form| (place, form))
    };
    node.parts.iter().map(one).collect::<Result<_, _>>().map(Form::Json)
}

fn line_pattern(node: &Node, text: &str) -> Result<LineForm, GossProblem> {
    let (negated, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    // `\!text` and `\/text` mean the characters themselves.
    let plain = rest.strip_prefix('\\').filter(|rest| rest.starts_with(['!', '/']));
    let regexp = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let test = match (plain, regexp) {
        (Some(plain), _) => LineTest::Text(plain.to_owned()),
        (None, Some(regexp)) => LineTest::Regexp(pattern(node, regexp)?),
        (None, None) => LineTest::Text(rest.to_owned()),
    };
    Ok(LineForm { negated, test })
}

fn pattern(node: &Node, text: &str) -> Result<Pattern, GossProblem> {
    Pattern::new(text).map_err(|error| {
        let why = escape(crate::target::chain(&error).as_bytes()).to_string();
        GossProblem::at(node, format!("failed to {why}"))
    })
}

fn expected(node: &Node, what: &str) -> GossProblem {
    GossProblem::at(node, format!("expected {what}, found {}", node.value.kind()))
}

impl Actual {
    /// The fact as a person reads it, cut where it is long.
    pub(super) fn in_words(&self) -> String {
        let text = match self {
            Self::Value(Value::Null) => "absent".to_owned(),
            Self::Value(value) => value.to_string(),
            Self::Lines(text) if text.is_empty() => "empty".to_owned(),
            Self::Lines(text) => {
                let start = escape(&text[..text.len().min(200)]);
                format!("{} bytes: `{start}`", text.len())
            }
        };
        text.chars().take(400).collect()
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |f: &mut fmt::Formatter<'_>, word: &str, forms: &[Form], open: &str, close: &str| {
                write!(f, "{word}{open}")?;
                for (index, form) in forms.iter().enumerate() {
                    write!(f, "{}{form}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(close)
            };
        let quoted = |text: &str| escape(text.as_bytes()).to_string();
        match self {
            Self::Equal(value) => write!(f, "{value}"),
            Self::Contains(forms) => list(f, "", forms, "[", "]"),
            Self::ConsistsOf(forms) => list(f, "exactly ", forms, "[", "]"),
            Self::ContainsElement(form) => write!(f, "an element {form}"),
            Self::Line(line) => {
                f.write_str(if line.negated { "no line with " } else { "a line with " })?;
                match &line.test {
                    LineTest::Text(text) => write!(f, "`{}`", quoted(text)),
                    LineTest::Regexp(pattern) => write!(f, "/{}/", quoted(pattern.as_str())),
                }
            }
            Self::Prefix(text) => write!(f, "beginning with `{}`", quoted(text)),
            Self::Suffix(text) => write!(f, "ending with `{}`", quoted(text)),
            Self::Substring(text) => write!(f, "containing `{}`", quoted(text)),
            Self::Regexp(pattern) => write!(f, "matching /{}/", quoted(pattern.as_str())),
            Self::Compare(comparison, bound) => {
                let sign = match comparison {
                    Comparison::Less => "<",
                    Comparison::LessOrEqual => "<=",
                    Comparison::Greater => ">",
                    Comparison::GreaterOrEqual => ">=",
                };
                write!(f, "{sign} {bound}")
            }
            Self::Length(length) => write!(f, "of length {length}"),
            Self::Key(form) => write!(f, "with a key {form}"),
            Self::KeyValue(wanted) => {
                f.write_str("with ")?;
                wanted.iter().try_for_each(|(key, form)| write!(f, "{}: {form} ", quoted(key)))
            }
            Self::Json(wanted) => {
                f.write_str("JSON with ")?;
                let mut each = wanted.iter();
                each.try_for_each(|(place, form)| write!(f, "{}: {form} ", quoted(place.as_str())))
            }
            Self::Versions(range) => write!(f, "a version {}", quoted(range.as_str())),
            Self::Not(form) => write!(f, "not {form}"),
            Self::And(forms) => list(f, "all of ", forms, "(", ")"),
            Self::Or(forms) => list(f, "one of ", forms, "(", ")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::goss::value;

    fn matcher(yaml: &str, lines: bool) -> Result<Matcher, GossProblem> {
        Matcher::parse(&value::parse(yaml).expect(yaml), lines)
    }

    #[test]
    fn what_is_no_matcher_is_refused() {
        for (yaml, message) in [
            ("{have-prefx: a}", "there is no matcher `have-prefx`"),
            ("{gt: many}", "expected a number after gt, found text"),
            ("{a: 1, b: 2}", "expected one matcher, found 2"),
            ("{match-regexp: '('}", "failed to read regular expression"),
            ("~", "expected a value or a matcher, found nothing"),
            ("{and: 1}", "expected a list, found a number"),
            ("{gjson: [a]}", "expected a map of paths after gjson, found a list"),
            ("{gjson: {'a.#(b>1)': 2}}", "`(` in a gjson path is not supported"),
            ("{semver-constraint: ^1.2}", "expected a range of versions such as"),
        ] {
            let problem = matcher(yaml, false).expect_err(yaml);
            assert!(problem.message.starts_with(message), "{yaml}: {}", problem.message);
        }
        assert!(matcher("['/[/']", true).is_err());
        let deep = format!("{}1{}", "{not: ".repeat(40), "}".repeat(40));
        assert!(matcher(&deep, false).is_err());
    }
}
