//! Places in JSON whose values are not kept: `user.password`, `cards[].number`, `*.token`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

const STEPS_MAX: usize = 32;

/// Places in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// The member of this name.
    Name(String),
    /// Every member.
    Any,
    /// Every element.
    Each,
}

/// It names no places.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "read {text:?} as places in JSON: expected names, * or [] with dots, such as cards[].number"
)]
pub struct NoMask {
    text: String,
}

impl FromStr for Mask {
    type Err = NoMask;

    /// Names with dots between them; `*` is every member, `[]` behind it every element. A
    /// leading `$.` may stand there.
    fn from_str(text: &str) -> Result<Self, NoMask> {
        let refused = || NoMask { text: text.chars().take(80).collect() };
        let mut steps = Vec::new();
        for part in text.strip_prefix("$.").unwrap_or(text).split('.') {
            let name = part.trim_end_matches("[]");
            match name {
                "*" => steps.push(Step::Any),
                // An array may be what the document is.
                "" if steps.is_empty() && !part.is_empty() => {}
                "" => return Err(refused()),
                _ if name.contains(['[', ']', '*']) => return Err(refused()),
                _ => steps.push(Step::Name(name.to_owned())),
            }
            let each = (part.len() - name.len()) / 2;
            steps.extend(std::iter::repeat_n(Step::Each, each.min(STEPS_MAX)));
            if steps.len() > STEPS_MAX {
                return Err(refused());
            }
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Each => f.write_str("[]")?,
                _ if index > 0 => f.write_str(".")?,
                _ => {}
            }
            match step {
                Step::Name(name) => f.write_str(name)?,
                Step::Any => f.write_str("*")?,
                Step::Each => {}
            }
        }
        Ok(())
    }
}

impl Mask {
    /// Puts what `instead` makes of a value in its place, at every place there is.
    pub fn apply(&self, to: &mut Value, instead: &mut impl FnMut(&Value) -> Value) {
        apply(&self.0, to, instead);
    }
}

fn apply(steps: &[Step], to: &mut Value, instead: &mut impl FnMut(&Value) -> Value) {
    let Some((step, rest)) = steps.split_first() else {
        *to = instead(to);
        return;
    };
    match (step, to) {
        (Step::Name(name), Value::Object(members)) => {
            if let Some(member) = members.get_mut(name) {
                apply(rest, member, instead);
            }
        }
        (Step::Any, Value::Object(members)) => {
            members.values_mut().for_each(|member| apply(rest, member, instead));
        }
        (Step::Each, Value::Array(elements)) => {
            elements.iter_mut().for_each(|element| apply(rest, element, instead));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(mask: &str, masked: Value) {
        let mut value = json!({"a": {"b": "s", "c": 1}, "l": [{"b": "t"}, {"b": "u"}, 3]});
        mask.parse::<Mask>().expect(mask).apply(&mut value, &mut |_| json!("X"));
        assert_eq!(value, masked, "{mask}");
    }

    #[test]
    fn values_are_replaced_where_they_are() {
        let list = || json!([{"b": "t"}, {"b": "u"}, 3]);
        check("a.b", json!({"a": {"b": "X", "c": 1}, "l": list()}));
        check("$.a", json!({"a": "X", "l": list()}));
        check("a.*", json!({"a": {"b": "X", "c": "X"}, "l": list()}));
        check("*.b", json!({"a": {"b": "X", "c": 1}, "l": list()}));
        check("l[].b", json!({"a": {"b": "s", "c": 1}, "l": [{"b": "X"}, {"b": "X"}, 3]}));
        check("l[]", json!({"a": {"b": "s", "c": 1}, "l": ["X", "X", "X"]}));
        check("x.y", json!({"a": {"b": "s", "c": 1}, "l": list()}));
        let mut array = json!([[1, 2], [3]]);
        "[][]".parse::<Mask>().expect("a mask").apply(&mut array, &mut |_| json!(0));
        assert_eq!(array, json!([[0, 0], [0]]));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in ["", ".", "a.", "a..b", "a[0]", "a[", "a*", "a.[]", &"a.".repeat(40)] {
            assert!(bad.parse::<Mask>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "([a-c]|\\.|\\[\\]|\\*|é|\\$){0,20}") {
            if let Ok(mask) = text.parse::<Mask>() {
                prop_assert_eq!(mask.to_string().parse::<Mask>(), Ok(mask));
            }
        }
    }
}
