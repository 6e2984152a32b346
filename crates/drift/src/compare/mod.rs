//! A primary's readings held against its shadow's: which differ beyond tolerance.
//!
//! ```text
//! shadow    primary      is
//! absent    absent       same
//! absent    present      appeared
//! present   absent       vanished
//! present   present      compared: value, then attributes
//! any       unreadable   a discrepancy: what cannot be read is not known to be right
//! unreadable  readable   unknown: there is nothing to compare with
//! ```
//!
//! What is [`expected`](crate::config::Expect) of a value holds whatever the shadow says. A
//! [gauge](crate::config::Source::is_gauge) without a tolerance is held against that alone.

mod meaning;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use umbra_state::escape::escape;

use crate::config::{
    Attribute, Config, Expect, Numbers, Parameter, Provenance, Severities, Source, Tolerance,
};
use crate::discrepancy::{Discrepancy, Finding};
use crate::reading::{Item, Reading, Snapshot, Value};
use meaning::Meaning;

/// What comparing an item says.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing that counts differs.
    Same,
    /// It cannot be said: the shadow's reading is not known.
    Unknown {
        /// Why, as a sentence after "because".
        why: String,
    },
    /// It differs beyond tolerance.
    Differs(Box<Discrepancy>),
}

/// What is known of an item besides its readings.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Whether it was a discrepancy until now: some are over only well within the tolerance.
    pub open: bool,
    /// Whether it is known why it changed.
    pub provenance: Provenance,
}

/// Nothing is known.
pub const UNEXPLAINED: Circumstances =
    Circumstances { open: false, provenance: Provenance::Unexplained };

/// Compares readings as a configuration says. Patterns are compiled once.
#[derive(Debug)]
pub struct Comparer {
    numbers: Numbers,
    parameters: BTreeMap<String, Rule>,
}

#[derive(Debug)]
struct Rule {
    tolerance: Tolerance,
    severity: Severities,
    attributes: Vec<Attribute>,
    expect: Expect,
    meaning: Meaning,
}

impl Comparer {
    /// By `config`.
    pub fn new(config: &Config) -> Self {
        let rule = |parameter: &Parameter| (parameter.name.clone(), Rule::of(parameter));
        Self { numbers: config.numbers, parameters: config.parameters.iter().map(rule).collect() }
    }

    /// Compares one item; an item of no parameter is the same whatever it says.
    pub fn compare(
        &self,
        item: &Item,
        shadow: &Reading,
        primary: &Reading,
        known: Circumstances,
    ) -> Outcome {
        let Some(rule) = self.parameters.get(&item.parameter) else { return Outcome::Same };
        let shadow = if rule.tolerance.is_held() { shadow } else { &Reading::Absent };
        let mut findings = match rule.findings(item, shadow, primary, self.numbers, known.open) {
            Ok(findings) => findings,
            Err(why) => return Outcome::Unknown { why },
        };
        findings.extend(unexpected(&rule.expect, primary));
        if findings.is_empty() {
            return Outcome::Same;
        }
        Outcome::Differs(Box::new(Discrepancy {
            item: item.clone(),
            severity: rule.severity.of(known.provenance, &changed(&findings)),
            provenance: known.provenance,
            shadow: shadow.clone(),
            primary: primary.clone(),
            findings,
            tolerance: value::in_words(&rule.tolerance),
        }))
    }

    /// Compares all items of both sides, in their order; those that are the same are left out.
    /// What one side does not have is absent there.
    pub fn compare_all(
        &self,
        shadow: &Snapshot,
        primary: &Snapshot,
        mut known: impl FnMut(&Item) -> Circumstances,
    ) -> Vec<(Item, Outcome)> {
        let items: BTreeSet<&Item> =
            shadow.readings.keys().chain(primary.readings.keys()).collect();
        let compared = items.into_iter().map(|item| {
            // Most are equal to the byte.
            let (a, b) = (shadow.readings.get(item), primary.readings.get(item));
            if a == b && !self.expects(item) && !matches!(a, Some(Reading::Unreadable { .. })) {
                return (item, Outcome::Same);
            }
            let [a, b] = [a, b].map(|reading| reading.unwrap_or(&Reading::Absent));
            (item, self.compare(item, a, b, known(item)))
        });
        compared
            .filter(|(_, outcome)| *outcome != Outcome::Same)
            .map(|(item, outcome)| (item.clone(), outcome))
            .collect()
    }

    /// Whether an item is held against its shadow, and its becoming another is a change.
    pub fn holds(&self, item: &Item) -> bool {
        self.parameters.get(&item.parameter).is_none_or(|rule| rule.tolerance.is_held())
    }

    fn expects(&self, item: &Item) -> bool {
        self.parameters.get(&item.parameter).is_some_and(|rule| rule.expect != Expect::default())
    }
}

/// What differs between two snapshots of one primary, whatever made it so.
pub fn between(config: &Config, earlier: &Snapshot, later: &Snapshot) -> Vec<Discrepancy> {
    let outcomes = Comparer::new(config).compare_all(earlier, later, |_| UNEXPLAINED);
    let differs = outcomes.into_iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Differs(discrepancy) => Some(*discrepancy),
        Outcome::Same | Outcome::Unknown { .. } => None,
    });
    differs.collect()
}

impl Rule {
    fn of(parameter: &Parameter) -> Self {
        let attributes = match &parameter.source {
            Source::File { attributes, .. } | Source::Tree { attributes, .. } => attributes.clone(),
            _ => vec![Attribute::Content],
        };
        Self {
            tolerance: parameter.tolerance,
            severity: parameter.severity.clone(),
            attributes,
            expect: parameter.expect.clone(),
            meaning: Meaning::of(parameter),
        }
    }

    /// What differs; `Err` if there is nothing to compare with.
    fn findings(
        &self,
        item: &Item,
        shadow: &Reading,
        primary: &Reading,
        numbers: Numbers,
        open: bool,
    ) -> Result<Vec<Finding>, String> {
        Ok(match (shadow, primary) {
            (Reading::Absent, Reading::Absent) => Vec::new(),
            (Reading::Unreadable { why }, _) => {
                return Err(format!("the shadow's reading is not known: {why}"));
            }
            (_, Reading::Unreadable { why }) => vec![Finding::Unreadable { why: why.clone() }],
            (Reading::Absent, Reading::Present(_)) if !self.tolerance.is_held() => Vec::new(),
            (Reading::Absent, Reading::Present(_)) => vec![Finding::Appeared],
            (Reading::Present(_), Reading::Absent) => vec![Finding::Vanished],
            (Reading::Present(shadow), Reading::Present(primary)) => {
                self.values(item, shadow, primary, numbers, open)
            }
        })
    }

    fn values(
        &self,
        item: &Item,
        shadow: &Value,
        primary: &Value,
        numbers: Numbers,
        open: bool,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.attributes.contains(&Attribute::Content) {
            let of_values = value::Values { tolerance: &self.tolerance, numbers, open };
            findings.extend(of_values.finding(item, &self.meaning, shadow, primary));
        }
        let others = self.attributes.iter().filter(|one| **one != Attribute::Content);
        findings.extend(others.filter_map(|attribute| {
            let (shadow, primary) =
                (shadow.attributes.get(attribute), primary.attributes.get(attribute));
            (shadow != primary).then(|| Finding::Attribute {
                attribute: *attribute,
                shadow: shadow.cloned(),
                primary: primary.cloned(),
            })
        }));
        findings
    }
}

/// Whether a reading is not what must hold whatever the shadow says.
pub(crate) fn unexpected(expect: &Expect, primary: &Reading) -> Option<Finding> {
    let Expect { one_of, ge, le } = expect;
    let bytes = primary.bytes().unwrap_or_default().trim_ascii();
    let text = String::from_utf8_lossy(bytes);
    let number = || text.parse::<f64>().unwrap_or(f64::NAN);
    let words: Vec<String> =
        one_of.iter().map(|word| format!("`{}`", escape(word.as_bytes()))).collect();
    let is_one = one_of.is_empty() || one_of.iter().any(|word| word.as_bytes() == bytes);
    // Not a number is neither above nor below anything.
    let above = ge.is_none_or(|bound| number() >= bound);
    let below = le.is_none_or(|bound| number() <= bound);
    let expected = match (is_one, above, below) {
        (true, true, true) => return None,
        (false, ..) => format!("one of {}", words.join(", ")),
        (_, false, _) => format!("a number of at least {}", ge.unwrap_or_default()),
        (_, _, false) => format!("a number of at most {}", le.unwrap_or_default()),
    };
    Some(Finding::Unexpected { expected })
}

/// The attributes a difference touches.
fn changed(findings: &[Finding]) -> Vec<Attribute> {
    let attribute = |finding: &Finding| match finding {
        Finding::Attribute { attribute, .. } => *attribute,
        Finding::Appeared | Finding::Vanished => Attribute::Type,
        Finding::Unreadable { .. }
        | Finding::Value { .. }
        | Finding::Unexpected { .. }
        | Finding::Nears { .. }
        | Finding::Unwatched { .. } => Attribute::Content,
    };
    findings.iter().map(attribute).collect()
}

#[cfg(test)]
mod tests;
