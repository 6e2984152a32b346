//! How grave a drift is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::source::Attribute;
use super::words::words;

words! {
    /// How grave a drift is; the order is that of gravity.
    Severity {
        /// Worth knowing.
        Low = "low",
        /// Worth a look.
        Medium = "medium",
        /// Somebody should act.
        High = "high",
        /// Somebody must act now.
        Critical = "critical",
    }
}

/// Whether it is known why something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Made by an owner of the parameter, and as that owner's manifest says.
    Expected,
    /// Nobody is known to have meant it.
    Unexplained,
}

/// The severities of one parameter. A word in the file is the severity of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Severities {
    /// Where nothing else is said.
    pub default: Severity,
    /// Of changes that were expected; the default if not given.
    pub expected: Option<Severity>,
    /// Of changes that were not; the default if not given.
    pub unexplained: Option<Severity>,
    /// At least this where an attribute changed.
    pub attributes: BTreeMap<Attribute, Severity>,
}

impl Severities {
    /// One for everything.
    pub fn all(severity: Severity) -> Self {
        Self { default: severity, expected: None, unexplained: None, attributes: BTreeMap::new() }
    }

    /// The severity of a change: by what is known of it, raised by the gravest of the
    /// attributes it touched.
    pub fn of(&self, provenance: Provenance, changed: &[Attribute]) -> Severity {
        let base = match provenance {
            Provenance::Expected => self.expected,
            Provenance::Unexplained => self.unexplained,
        };
        let raised = changed.iter().filter_map(|attribute| self.attributes.get(attribute).copied());
        raised.fold(base.unwrap_or(self.default), Severity::max)
    }

    /// The gravest a change can have.
    pub fn worst(&self) -> Severity {
        let all: Vec<Attribute> = self.attributes.keys().copied().collect();
        self.of(Provenance::Expected, &all).max(self.of(Provenance::Unexplained, &all))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn severity() -> impl Strategy<Value = Severity> {
        use Severity::{Critical, High, Low, Medium};
        prop::sample::select(vec![Low, Medium, High, Critical])
    }

    fn attribute() -> impl Strategy<Value = Attribute> {
        use Attribute::{Content, Mode, Owner};
        prop::sample::select(vec![Content, Mode, Owner])
    }

    fn severities() -> impl Strategy<Value = Severities> {
        let some = || prop::option::of(severity());
        let attributes = prop::collection::btree_map(attribute(), severity(), 0..3);
        (severity(), some(), some(), attributes).prop_map(
            |(default, expected, unexplained, attributes)| Severities {
                default,
                expected,
                unexplained,
                attributes,
            },
        )
    }

    #[test]
    fn graver_is_greater() {
        assert!(Severity::Critical > Severity::High && Severity::Medium > Severity::Low);
        assert_eq!(format!("{:<6}|", Severity::Low), "low   |");
    }

    proptest! {
        #[test]
        fn more_changed_attributes_are_never_less_grave(
            severities in severities(),
            mut changed in prop::collection::vec(attribute(), 0..4),
            expected: bool,
        ) {
            let provenance =
                if expected { Provenance::Expected } else { Provenance::Unexplained };
            let all = severities.of(provenance, &changed);
            prop_assert!(all <= severities.worst());
            changed.reverse();
            prop_assert_eq!(severities.of(provenance, &changed), all);
            changed.pop();
            prop_assert!(severities.of(provenance, &changed) <= all);
        }

        #[test]
        fn one_word_is_the_severity_of_everything(
            severity in severity(),
            changed in prop::collection::vec(attribute(), 0..4),
        ) {
            let severities = Severities::all(severity);
            prop_assert_eq!(severities.of(Provenance::Expected, &changed), severity);
            prop_assert_eq!(severities.of(Provenance::Unexplained, &changed), severity);
        }
    }
}
