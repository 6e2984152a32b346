//! Whether a fact meets a matcher, with goss's conversions: numbers and their texts are
//! alike, a text is the list of its lines, a list of one is that one.

use super::gjson::Place;
use super::matcher::{Form, LineForm, LineTest};
use super::value::Value;
use crate::pattern::contains;

impl Form {
    /// Whether a value is as it should be.
    pub(super) fn meets(&self, actual: &Value) -> bool {
        match self {
            Self::Equal(expected) => equal(expected, actual),
            Self::Contains(forms) => assign(forms, &elements(actual), false),
            Self::ConsistsOf(forms) => assign(forms, &elements(actual), true),
            Self::ContainsElement(form) => elements(actual).iter().any(|one| form.meets(one)),
            Self::Line(line) => text_of(actual).is_some_and(|text| line.meets(text.as_bytes())),
            Self::Prefix(text) => text_of(actual).is_some_and(|actual| actual.starts_with(&**text)),
            Self::Suffix(text) => text_of(actual).is_some_and(|actual| actual.ends_with(&**text)),
            Self::Substring(text) => text_of(actual).is_some_and(|actual| actual.contains(&**text)),
            Self::Regexp(pattern) => {
                text_of(actual).is_some_and(|actual| pattern.is_match(actual.as_bytes()))
            }
            Self::Compare(comparison, bound) => {
                actual.as_number().is_some_and(|actual| comparison.holds(actual, *bound))
            }
            Self::Length(length) => length_of(actual) == Some(*length),
            Self::Key(form) => {
                entries(actual).iter().any(|(key, _)| form.meets(&Value::Text(key.clone())))
            }
            Self::KeyValue(wanted) => wanted.iter().all(|(key, form)| {
                entries(actual).iter().any(|(known, value)| known == key && form.meets(value))
            }),
            Self::Json(wanted) => text_of(actual).is_some_and(|text| {
                let met = |(place, form): &(Place, Form)| {
                    place.find(&text).is_some_and(|value| form.meets(&value))
                };
                wanted.iter().all(met)
            }),
            Self::Versions(range) => {
                let versions = elements(actual);
                let in_range = |one: &Value| one.scalar_text().is_some_and(|it| range.holds(&it));
                !versions.is_empty() && versions.iter().all(in_range)
            }
            Self::Not(form) => !form.meets(actual),
            Self::And(forms) => forms.iter().all(|form| form.meets(actual)),
            Self::Or(forms) => forms.iter().any(|form| form.meets(actual)),
        }
    }

    /// Text that is matched line by line where the form speaks of elements.
    pub(super) fn meets_lines(&self, text: &[u8]) -> bool {
        match self {
            Self::Contains(forms) => forms.iter().all(|form| match form {
                Self::Line(line) => line.meets(text),
                form => lines(text).iter().any(|line| form.meets(line)),
            }),
            Self::Line(line) => line.meets(text),
            Self::Not(form) => !form.meets_lines(text),
            Self::And(forms) => forms.iter().all(|form| form.meets_lines(text)),
            Self::Or(forms) => forms.iter().any(|form| form.meets_lines(text)),
            Self::ConsistsOf(_) | Self::ContainsElement(_) | Self::Length(_) => {
                self.meets(&Value::List(lines(text)))
            }
            // The end of the last line is not part of what a person writes.
            _ => {
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                self.meets(&Value::Text(String::from_utf8_lossy(text).into_owned()))
            }
        }
    }
}

impl LineForm {
    fn meets(&self, text: &[u8]) -> bool {
        let found = text.split(|&byte| byte == b'\n').any(|line| match &self.test {
            LineTest::Text(text) => contains(line, text.as_bytes()),
            LineTest::Regexp(pattern) => pattern.is_match(line),
        });
        found != self.negated
    }
}

fn equal(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(expected), actual) => actual.as_number() == Some(*expected),
        (Value::Text(expected), Value::List(list)) => {
            matches!(list.as_slice(), [one] if text_of(one).as_deref() == Some(&**expected))
        }
        (Value::Text(expected), actual) => text_of(actual).as_deref() == Some(&**expected),
        (Value::Bool(expected), Value::Text(actual)) => expected.to_string() == *actual,
        (Value::List(expected), Value::List(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| equal(expected, actual))
        }
        (expected, actual) => expected == actual,
    }
}

/// Whether every form finds an element of its own; with `whole`, every element a form too.
fn assign(forms: &[Form], elements: &[Value], whole: bool) -> bool {
    if forms.len() > elements.len() || (whole && forms.len() != elements.len()) {
        return false;
    }
    let mut taken_by = vec![None; elements.len()];
    (0..forms.len()).all(|form| {
        let mut tried = vec![false; elements.len()];
        place(form, forms, elements, &mut taken_by, &mut tried)
    })
}

/// Finds an element for a form, moving others along where that makes room (an augmenting
/// path of a bipartite matching).
fn place(
    form: usize,
    forms: &[Form],
    elements: &[Value],
    taken_by: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for index in 0..elements.len() {
        if tried[index] || !forms[form].meets(&elements[index]) {
            continue;
        }
        tried[index] = true;
        let free = match taken_by[index] {
            None => true,
            Some(other) => place(other, forms, elements, taken_by, tried),
        };
        if free {
            taken_by[index] = Some(form);
            return true;
        }
    }
    false
}

fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::List(values) => values.clone(),
        Value::Text(text) => text.lines().map(|line| Value::Text(line.to_owned())).collect(),
        Value::Null => Vec::new(),
        other => vec![other.clone()],
    }
}

fn entries(value: &Value) -> &[(String, Value)] {
    match value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::List(list) => match list.as_slice() {
            [one] => one.scalar_text(),
            _ => None,
        },
        value => value.scalar_text(),
    }
}

fn length_of(value: &Value) -> Option<u64> {
    match value {
        Value::Text(text) => Some(text.len() as u64),
        Value::List(list) => Some(list.len() as u64),
        Value::Map(map) => Some(map.len() as u64),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    let line = |line: &[u8]| Value::Text(String::from_utf8_lossy(line).into_owned());
    text.split(|&byte| byte == b'\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::goss::{Actual, Matcher, value};

    fn matcher(yaml: &str, lines: bool) -> Matcher {
        Matcher::parse(&value::parse(yaml).expect(yaml), lines).expect(yaml)
    }

    #[track_caller]
    fn check(matcher_yaml: &str, actual_yaml: &str, expected: bool) {
        let actual = Actual::Value(value::parse(actual_yaml).expect(actual_yaml).value);
        let matcher = matcher(matcher_yaml, false);
        assert_eq!(matcher.is_met_by(&actual), expected, "{matcher} on {actual_yaml}");
    }

    #[track_caller]
    fn check_lines(matcher_yaml: &str, text: &str, expected: bool) {
        let actual = Actual::Lines(text.as_bytes().to_vec());
        let matcher = matcher(matcher_yaml, true);
        assert_eq!(matcher.is_met_by(&actual), expected, "{matcher} on {text:?}");
    }

    #[test]
    fn plain_values_and_their_texts() {
        check("foo", "foo", true);
        check("42", "\"42\"", true);
        check("'42'", "42", true);
        check("true", "true", true);
        check("true", "false", false);
        check("foo", "[foo]", true);
        check("42", "~", false);
    }

    #[test]
    fn lists_are_subsets() {
        check("[group1, group2]", "[group1, group2, group3]", true);
        check("[group1, group2, group2]", "[group1, group2, group3]", false);
        check("[{have-prefix: g}, group1]", "[group1, gx]", true);
        check("equal: [a, b]", "[a, b]", true);
        check("equal: [b, a]", "[a, b]", false);
        check("consist-of: [b, {have-prefix: a}]", "[a, b]", true);
        check("consist-of: [a]", "[a, b]", false);
        check("consist-of: [{have-len: 2}, {have-prefix: a}, aa]", "[aa, bb, a]", true);
        check("contain-element: {match-regexp: '^b'}", "[a, bc]", true);
        check("contain-elements: [a]", "[a, bc]", true);
    }

    #[test]
    fn the_documented_matchers() {
        check(
            "{and: ['42', {have-prefix: '4'}, {have-suffix: '2'}, {match-regexp: '\\d{2}'}, {contain-substring: '2'}]}",
            "42",
            true,
        );
        check("{and: [42, 42.0, {gt: 40}, {lt: 45}]}", "'42'", true);
        check("gt: 200", "'128'", false);
        check("le: 128", "'128'", true);
        check("{or: [1, {ge: 5}]}", "4", false);
        check("{not: FAIL}", "OK", true);
        check("have-len: 3", "[1, 2, 3]", true);
        check("have-key: baz", "{foo: bar, baz: bing}", true);
        check("have-key-with-value: {foo: {have-prefix: b}}", "{foo: bar}", true);
        check("{not: {have-key: moo}}", "{foo: bar}", true);
    }

    #[test]
    fn json_and_versions() {
        let text = "{\"status\": \"up\", \"nodes\": [{\"id\": 7}, {\"id\": 9}]}\n";
        check_lines("gjson: {status: up, 'nodes.#': {ge: 2}, nodes.0.id: 7}", text, true);
        check_lines("gjson: {'nodes.#.id': {consist-of: [9, 7]}}", text, true);
        check_lines("gjson: {status: down}", text, false);
        check_lines("gjson: {version: {not: 3}}", text, false);
        check_lines("gjson: {status: up}", "status: up\n", false);
        check_lines("semver-constraint: '>=1.22.0 <2.0.0'", "v1.24.1\n", true);
        check("semver-constraint: 1.x", "[1.2.3, '1.9.0']", true);
        check("semver-constraint: 1.x", "['1.2.3', '2.0.0']", false);
        check("semver-constraint: 1.x", "[]", false);
    }

    #[test]
    fn line_patterns() {
        let text = "Listen 80\nServerName www\n";
        check_lines("[Listen]", text, true);
        check_lines("['!Listen']", text, false);
        check_lines("['/^Server.*www$/', '!/^#/']", text, true);
        check_lines("['\\!Listen', 'www']", "say !Listen\nwww\n", true);
        check_lines("[]", text, true);
        check_lines(
            "{and: [{contain-element: Listen}, {not: {contain-element: foo}}]}",
            text,
            true,
        );
        check_lines("contain-element: {match-regexp: '[Ss]erver'}", text, true);
        check_lines("match-regexp: \"80\\nServer\"", text, true);
        check_lines("have-len: 2", text, true);
        check_lines("hello", "hello\n", true);
        check_lines("hello", "hello there\n", false);
    }
}
