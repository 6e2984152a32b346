//! How far a value may be from its shadow's.
//!
//! | both values are | the difference is | beyond |
//! |---|---|---|
//! | numbers of one kind | `d = abs(primary - shadow)` | `d > max(abs, rel * abs(shadow))` |
//! | neither a number | `d` = changed lines | `d > max(abs, rel * lines(shadow))` |
//! | texts of a format | `d` = changed keys | `d > max(abs, rel * keys(shadow))` |
//! | one of them a number, or of another kind | `d` = changed lines | always: a distance tolerates no word |
//! | compared as sets | lines added, lines removed | either greater than what is allowed |
//! | whatever, of a gauge | as above | never: it moves by itself |
//!
//! Not a number is beyond every tolerance, itself included. A drift once open closes only
//! when `d` is at most the tolerance less the `hysteresis`, or 0 where that is more.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::number::{Number, Numbers};

/// How far a value may be from its shadow's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// A distance between numbers, or a count of lines.
    Distance {
        /// So much, whatever the shadow's value.
        abs: f64,
        /// A fraction of the shadow's value; what allows more counts.
        rel: f64,
        /// How far within it must be again for a drift to be over.
        hysteresis: f64,
    },
    /// The lines are a set, in no order.
    Set {
        /// How many more may be there.
        added: u64,
        /// How many may be missing.
        removed: u64,
    },
    /// Whatever the shadow says: the value is not held against it.
    Any,
}

/// What is different.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Between two numbers; in milliseconds or bytes where they have such units.
    Distance(#[serde(with = "wire")] f64),
    /// Between contents of which not all bytes are known.
    Content,
    /// Between two texts, in lines, or in keys where they have a format.
    Lines {
        /// Lines only the primary has.
        added: u64,
        /// Lines only the shadow has.
        removed: u64,
        /// The greater of both, and 1 at least if the texts differ at all.
        changed: u64,
    },
}

/// Distances on the wire: JSON has neither the infinite nor what is no number, and a drift
/// between such values must survive being written down.
mod wire {
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(distance: &f64, to: S) -> Result<S::Ok, S::Error> {
        if distance.is_finite() {
            to.serialize_f64(*distance)
        } else {
            to.serialize_str(if distance.is_nan() { "nan" } else { "infinite" })
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        struct Distance;
        impl de::Visitor<'_> for Distance {
            type Value = f64;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, \"nan\" or \"infinite\"")
            }

            fn visit_f64<E: de::Error>(self, distance: f64) -> Result<f64, E> {
                Ok(distance)
            }

            fn visit_i64<E: de::Error>(self, distance: i64) -> Result<f64, E> {
                Ok(distance as f64)
            }

            fn visit_u64<E: de::Error>(self, distance: u64) -> Result<f64, E> {
                Ok(distance as f64)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<f64, E> {
                match word {
                    "nan" => Ok(f64::NAN),
                    "infinite" => Ok(f64::INFINITY),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        from.deserialize_any(Distance)
    }
}

/// Two values held against each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// What is different.
    pub difference: Difference,
    /// Whether that is more than is tolerated.
    pub beyond: bool,
    /// Whether a drift that was open is over.
    pub over: bool,
}

impl Tolerance {
    /// Whether a value is held against its shadow at all.
    pub fn is_held(&self) -> bool {
        *self != Self::Any
    }

    /// None at all.
    pub const EXACT: Self = Self::Distance { abs: 0.0, rel: 0.0, hysteresis: 0.0 };

    /// Compares the shadow's value with the primary's, in time linear in both.
    pub fn compare(&self, shadow: &[u8], primary: &[u8], numbers: Numbers) -> Comparison {
        match *self {
            Self::Distance { .. } | Self::Any => {
                let (difference, distance, scale) = distance(shadow, primary, numbers);
                self.judge(difference, distance, scale)
            }
            Self::Set { .. } => {
                let (added, removed) = only_in_one(&distinct(shadow), &distinct(primary));
                let changed = added.max(removed);
                self.judge(Difference::Lines { added, removed, changed }, changed as f64, 0.0)
            }
        }
    }

    /// Compares two texts of a format, of which so many keys differ out of the shadow's `keys`.
    pub fn of_keys(&self, added: u64, removed: u64, changed: u64, keys: u64) -> Comparison {
        self.judge(Difference::Lines { added, removed, changed }, changed as f64, keys as f64)
    }

    fn judge(&self, difference: Difference, distance: f64, scale: f64) -> Comparison {
        match (*self, difference) {
            (
                Self::Set { added, removed },
                Difference::Lines { added: more, removed: fewer, .. },
            ) => {
                let beyond = more > added || fewer > removed;
                Comparison { difference, beyond, over: !beyond }
            }
            (Self::Distance { abs, rel, hysteresis }, _) => {
                let scaled = rel * scale;
                // Nothing of an infinite or unknown scale is tolerated.
                let allowed = if scaled.is_finite() { abs.max(scaled) } else { abs };
                let within = |limit: f64| distance <= limit;
                let over = within((allowed - hysteresis).max(0.0));
                Comparison { difference, beyond: !within(allowed), over }
            }
            (Self::Set { .. }, _) => Comparison { difference, beyond: true, over: false },
            (Self::Any, _) => Comparison { difference, beyond: false, over: true },
        }
    }
}

/// The difference, its size, and the size of the shadow's value.
fn distance(shadow: &[u8], primary: &[u8], numbers: Numbers) -> (Difference, f64, f64) {
    let parsed = (Number::parse(shadow, numbers), Number::parse(primary, numbers));
    if let (Some(of_shadow), Some(of_primary)) = parsed
        && let Some(distance) = of_shadow.distance(of_primary)
    {
        return (Difference::Distance(distance), distance, of_shadow.value().abs());
    }
    let (added, removed) = only_in_one(&counted(shadow), &counted(primary));
    let changed = added.max(removed).max(u64::from(shadow != primary));
    let difference = Difference::Lines { added, removed, changed };
    match parsed {
        (None, None) => (difference, changed as f64, lines(shadow).count() as f64),
        _ => (difference, f64::INFINITY, 0.0),
    }
}

/// Lines and how often each stands there.
type Lines<'v> = HashMap<&'v [u8], u64>;

fn lines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = value.strip_suffix(b"\n").unwrap_or(value);
    ended.split(|byte| *byte == b'\n').filter(move |_| !value.is_empty())
}

fn counted(value: &[u8]) -> Lines<'_> {
    let mut counts = Lines::new();
    lines(value).for_each(|line| *counts.entry(line).or_default() += 1);
    counts
}

fn distinct(value: &[u8]) -> Lines<'_> {
    lines(value).map(|line| (line, 1)).collect()
}

/// How many lines only the primary has, and how many only the shadow.
fn only_in_one(shadow: &Lines<'_>, primary: &Lines<'_>) -> (u64, u64) {
    let missing = |from: &Lines<'_>, of: &Lines<'_>| -> u64 {
        let count = |line: &[u8]| from.get(line).copied().unwrap_or(0);
        of.iter().map(|(line, times)| times.saturating_sub(count(line))).sum()
    };
    (missing(shadow, primary), missing(primary, shadow))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn abs(abs: f64) -> Tolerance {
        Tolerance::Distance { abs, rel: 0.0, hysteresis: 0.0 }
    }

    #[track_caller]
    fn check(tolerance: Tolerance, shadow: &str, primary: &str, beyond: bool) {
        let (shadow, primary) = (shadow.as_bytes(), primary.as_bytes());
        let comparison = tolerance.compare(shadow, primary, Numbers::WithUnits);
        assert_eq!(comparison.beyond, beyond, "{comparison:?}");
    }

    #[test]
    fn numbers_may_be_a_distance_apart() {
        check(abs(5.0), "60\n", "65\n", false);
        check(abs(5.0), "60\n", "66\n", true);
        check(abs(0.0), "60\n", "60.0", false);
        check(Tolerance::Distance { abs: 1.0, rel: 0.1, hysteresis: 0.0 }, "100", "110", false);
        check(Tolerance::Distance { abs: 1.0, rel: 0.1, hysteresis: 0.0 }, "100", "111", true);
        check(Tolerance::Distance { abs: 1.0, rel: 0.1, hysteresis: 0.0 }, "inf", "5", true);
    }

    #[test]
    fn not_a_number_is_never_equal() {
        for (a, b) in [("nan", "nan"), ("NaN", "1"), ("1", "-nan")] {
            check(abs(1e15), a, b, true);
        }
    }

    #[test]
    fn texts_may_differ_in_lines() {
        check(abs(0.0), "a\nb\n", "a\nc\n", true);
        check(abs(1.0), "a\nb\n", "a\nc\n", false);
        check(abs(1.0), "a\nb\n", "a\nc\nd\n", true);
        check(abs(0.0), "a\nb", "b\na", true);
        check(abs(0.0), "a", "a\n", true);
        check(abs(0.0), "", "\n", true);
        check(Tolerance::Distance { abs: 0.0, rel: 0.5, hysteresis: 0.0 }, "a\nb", "a\nc", false);
    }

    #[test]
    fn sets_count_what_came_and_what_went() {
        let set = Tolerance::Set { added: 1, removed: 0 };
        check(set, "a\nb", "b\na\nc", false);
        check(set, "a\nb", "b\na\nc\nd", true);
        check(set, "a\nb", "b\nb", true);
    }

    #[test]
    fn what_moves_by_itself_may_be_anything() {
        for primary in ["1", "1000000", "nan", "", "word"] {
            check(Tolerance::Any, "1", primary, false);
        }
    }

    #[test]
    fn a_drift_is_over_only_well_within() {
        let tolerance = Tolerance::Distance { abs: 10.0, rel: 0.0, hysteresis: 4.0 };
        let state = |primary: &str| {
            let comparison = tolerance.compare(b"100", primary.as_bytes(), Numbers::Plain);
            (comparison.beyond, comparison.over)
        };
        assert_eq!(state("111"), (true, false));
        assert_eq!(state("108"), (false, false));
        assert_eq!(state("106"), (false, true));
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<f64>().prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            prop::collection::vec(prop::sample::select(vec!["a", "b", "", "7", "7s"]), 0..5)
                .prop_map(|lines| lines.join("\n")),
        ]
    }

    #[test]
    fn differences_survive_being_written_down() {
        for distance in [0.0, 2.5, 1e300, f64::INFINITY, f64::NAN] {
            let json = serde_json::to_string(&Difference::Distance(distance)).expect("written");
            let back: Difference = serde_json::from_str(&json).expect("read");
            let Difference::Distance(back) = back else { panic!("{json}") };
            assert!(back == distance || (back.is_nan() && distance.is_nan()), "{json}");
        }
        assert!(serde_json::from_str::<Difference>(r#"{"distance":"far"}"#).is_err());
    }

    proptest! {
        #[test]
        fn an_absolute_tolerance_is_symmetric(a in value(), b in value(), limit in 0.0..1e15_f64) {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let there = abs(limit).compare(a, b, Numbers::WithUnits);
            let back = abs(limit).compare(b, a, Numbers::WithUnits);
            prop_assert_eq!((there.beyond, there.over), (back.beyond, back.over));
        }

        #[test]
        fn what_differs_is_never_equal_unless_both_are_numbers(a in value(), b in value()) {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let comparison = Tolerance::EXACT.compare(a, b, Numbers::Plain);
            match comparison.difference {
                Difference::Lines { .. } | Difference::Content => {
                    prop_assert_eq!(comparison.beyond, a != b);
                }
                Difference::Distance(distance) => {
                    prop_assert!(Number::parse(a, Numbers::Plain).is_some());
                    prop_assert!(Number::parse(b, Numbers::Plain).is_some());
                    prop_assert_eq!(comparison.beyond, distance > 0.0 || distance.is_nan());
                }
            }
        }

        #[test]
        fn more_tolerance_never_alerts_more(a in value(), b in value(), less in 0.0..1e9_f64) {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let strict = abs(less).compare(a, b, Numbers::Plain);
            let lax = abs(less * 2.0).compare(a, b, Numbers::Plain);
            prop_assert!(!lax.beyond || strict.beyond);
            prop_assert!(!(strict.beyond && strict.over));
        }

        #[test]
        fn sets_know_no_order(mut lines in prop::collection::vec("[ab]{0,2}", 0..6)) {
            let before = lines.join("\n");
            lines.reverse();
            let after = lines.join("\n");
            // An empty last line is no line, and an empty first one is.
            prop_assume!(!lines.iter().any(String::is_empty));
            let set = Tolerance::Set { added: 0, removed: 0 };
            prop_assert!(!set.compare(before.as_bytes(), after.as_bytes(), Numbers::Plain).beyond);
        }
    }
}
