//! Places in a JSON text, as goss's `gjson` matcher names them: `a.b.0`, `list.#` for a list's
//! length, `list.#.name` for what each element has there. What searches or computes is refused.

use super::value::Value;

/// A place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// A key, or an index of a list.
    Name(String),
    /// The length of a list; of what follows, from each element.
    Each,
}

const STEPS_MAX: usize = 64;

/// What gives a path a further meaning in gjson.
const SPECIAL: [char; 9] = ['|', '@', '*', '?', '{', '[', '(', '!', '#'];

impl Place {
    /// Reads a path; an error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut steps, mut name) = (Vec::new(), String::new());
        let mut escaped = false;
        let mut chars = text.chars();
        loop {
            match chars.next() {
                Some('\\') => {
                    name.push(chars.next().ok_or("the gjson path ends with a backslash")?);
                    escaped = true;
                }
                Some('.') => steps.push(step(&mut name, &mut escaped)?),
                Some('#') if name.is_empty() => name.push('#'),
                Some(c) if SPECIAL.contains(&c) => {
                    return Err(format!(
                        "`{c}` in a gjson path is not supported: only keys, indices and `#` are"
                    ));
                }
                Some(c) => name.push(c),
                None => break,
            }
        }
        steps.push(step(&mut name, &mut escaped)?);
        match steps.len() > STEPS_MAX {
            true => Err(format!("the gjson path has more than {STEPS_MAX} steps")),
            false => Ok(Self { text: text.to_owned(), steps }),
        }
    }

    /// What stands there in a text; `None` where nothing does or the text is no JSON.
    pub(super) fn find(&self, text: &str) -> Option<Value> {
        find(&serde_json::from_str(text).ok()?, &self.steps)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

fn step(name: &mut String, escaped: &mut bool) -> Result<Step, String> {
    let name = std::mem::take(name);
    match (name.as_str(), std::mem::take(escaped)) {
        ("", _) => Err("expected a key in the gjson path, found nothing".to_owned()),
        ("#", false) => Ok(Step::Each),
        (other, false) if other.starts_with('#') => {
            Err("queries in a gjson path are not supported".to_owned())
        }
        _ => Ok(Step::Name(name)),
    }
}

fn find(json: &serde_json::Value, steps: &[Step]) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value(json)) };
    match step {
        Step::Name(name) => {
            let inner = match json {
                serde_json::Value::Array(list) => list.get(name.parse::<usize>().ok()?),
                other => other.get(name),
            };
            find(inner?, rest)
        }
        Step::Each if rest.is_empty() => Some(Value::Number(json.as_array()?.len() as f64)),
        Step::Each => {
            Some(Value::List(json.as_array()?.iter().filter_map(|one| find(one, rest)).collect()))
        }
    }
}

fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(value).collect()),
        Json::Object(map) => {
            Value::Map(map.iter().map(|(key, one)| (key.clone(), value(one))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found() {
        let text = r##"{"a": {"b": [1, {"c": "x"}, {"c": "y"}]}, "d.e": true, "#": 2}"##;
        let texts = |texts: &[&str]| {
            Value::List(texts.iter().map(|text| Value::Text((*text).to_owned())).collect())
        };
        for (path, expected) in [
            ("a.b.0", Some(Value::Number(1.0))),
            ("a.b.1.c", Some(Value::Text("x".into()))),
            ("a.b.#", Some(Value::Number(3.0))),
            ("a.b.#.c", Some(texts(&["x", "y"]))),
            (r"d\.e", Some(Value::Bool(true))),
            (r"\#", Some(Value::Number(2.0))),
            ("a.b.7", None),
            ("a.#", None),
        ] {
            assert_eq!(Place::parse(path).expect(path).find(text), expected, "{path}");
        }
        assert_eq!(Place::parse("a").expect("a path").find("no JSON"), None);
    }

    #[test]
    fn what_searches_is_refused() {
        for path in ["a.#(b==1).c", "a|b", "@this", "a*", "a..b", "", "a.#x", "a\\"] {
            assert!(Place::parse(path).is_err(), "{path}");
        }
    }
}
