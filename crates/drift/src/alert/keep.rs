//! Which discrepancies are the same, and how much of one is kept.

use umbra_api::blob::Blob;

use crate::config::Difference;
use crate::discrepancy::{CHANGES_MAX, Discrepancy, Finding};
use crate::reading::{Content, Reading};

/// Contents longer than this are kept as their digest. Nearly every file of `/etc` is shorter.
const CONTENT_BYTES_MAX: usize = 64 << 10;
/// So much of the value of a key or an attribute is kept.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// Things that differ about one item, at most: its attributes and a few more.
const FINDINGS_MAX: usize = 32;
/// As long as any text in words may be.
const WORDS_BYTES_MAX: usize = 4 << 10;

/// The same discrepancy in bounded space.
pub(crate) fn bounded(mut discrepancy: Discrepancy) -> Discrepancy {
    discrepancy.findings.truncate(FINDINGS_MAX);
    discrepancy.findings.iter_mut().for_each(bound_finding);
    bound_reading(&mut discrepancy.shadow);
    bound_reading(&mut discrepancy.primary);
    if let Some(tolerance) = &mut discrepancy.tolerance {
        bound_words(tolerance);
    }
    discrepancy
}

/// Whether `kept` is what is kept of this reading.
pub(crate) fn is_kept_of(kept: &Reading, reading: &Reading) -> bool {
    kept == reading || {
        let mut bounded = reading.clone();
        bound_reading(&mut bounded);
        *kept == bounded
    }
}

fn bound_finding(finding: &mut Finding) {
    match finding {
        Finding::Value { changes, more_changes, .. } => {
            *more_changes += changes.len().saturating_sub(CHANGES_MAX) as u64;
            changes.truncate(CHANGES_MAX);
            for change in changes {
                bound_words(&mut change.key);
                change.shadow.iter_mut().chain(&mut change.primary).for_each(bound_value);
            }
        }
        Finding::Attribute { shadow, primary, .. } => {
            shadow.iter_mut().chain(primary).for_each(bound_value);
        }
        Finding::Unreadable { why } | Finding::Unwatched { why } => bound_words(why),
        Finding::Unexpected { expected } => bound_words(expected),
        Finding::Appeared | Finding::Vanished | Finding::Nears { .. } => {}
    }
}

fn bound_reading(reading: &mut Reading) {
    match reading {
        Reading::Present(value) => {
            if let Some(content) = &mut value.content
                && let Some(bytes) = content.bytes().filter(|b| b.len() > CONTENT_BYTES_MAX)
            {
                *content = Content::digest_of(bytes);
            }
            value.attributes.values_mut().for_each(bound_value);
        }
        Reading::Unreadable { why } => bound_words(why),
        Reading::Absent => {}
    }
}

/// What is left out is counted, and named by its digest: two long values stay two values.
fn bound_value(value: &mut Blob) {
    if value.0.len() <= VALUE_BYTES_MAX {
        return;
    }
    let kept = VALUE_BYTES_MAX - 100;
    let digest = blake3::hash(&value.0).to_hex();
    let rest = format!("... {} bytes more, {}", value.0.len() - kept, &digest[..16]);
    value.0.truncate(kept);
    value.0.extend_from_slice(rest.as_bytes());
}

fn bound_words(words: &mut String) {
    if words.len() > WORDS_BYTES_MAX {
        words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX - 3));
        words.push_str("...");
    }
}

/// Whether both say the same. Distances follow from the readings and are passed over: one that
/// is no number equals nothing, and one that was written down may have lost its last bit.
pub(super) fn same(one: &Discrepancy, other: &Discrepancy) -> bool {
    let same_findings = one.findings.len() == other.findings.len()
        && one.findings.iter().zip(&other.findings).all(|(one, other)| same_finding(one, other));
    one.item == other.item
        && one.severity == other.severity
        && one.provenance == other.provenance
        && one.shadow == other.shadow
        && one.primary == other.primary
        && one.tolerance == other.tolerance
        && same_findings
}

/// Whether a number that is not as expected, or soon will not be, only moved: that it is where it
/// must not be is no news each time it is elsewhere there.
pub(super) fn only_moved(one: &Discrepancy, other: &Discrepancy) -> bool {
    let alike = |one: &Finding, other: &Finding| match (one, other) {
        (Finding::Unexpected { expected: one }, Finding::Unexpected { expected: other }) => {
            one == other
        }
        (Finding::Nears { bound: one, .. }, Finding::Nears { bound: other, .. }) => one == other,
        _ => false,
    };
    let whole = |one: &Discrepancy| Discrepancy {
        primary: Reading::Absent,
        findings: Vec::new(),
        ..one.clone()
    };
    let value = |one: &Discrepancy| one.primary.bytes().is_some();
    value(one)
        && value(other)
        && one.findings.len() == other.findings.len()
        && one.findings.iter().zip(&other.findings).all(|(one, other)| alike(one, other))
        && whole(one) == whole(other)
}

fn same_finding(one: &Finding, other: &Finding) -> bool {
    let (
        Finding::Value { difference, changes, more_changes },
        Finding::Value { difference: other_difference, changes: others, more_changes: other_more },
    ) = (one, other)
    else {
        return one == other;
    };
    let distances = matches!(
        (difference, other_difference),
        (Difference::Distance(_), Difference::Distance(_))
    );
    (distances || difference == other_difference) && changes == others && more_changes == other_more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Provenance, Severity};
    use crate::discrepancy::KeyChange;
    use crate::reading::Item;

    fn long() -> Discrepancy {
        let change = |value: &str| KeyChange {
            key: "k".repeat(10_000),
            shadow: None,
            primary: Some(Blob(value.repeat(50_000).into_bytes())),
            in_force: true,
        };
        let changes: Vec<_> = (0..100).map(|n| change(&n.to_string())).collect();
        Discrepancy {
            item: Item::whole("a"),
            severity: Severity::Low,
            provenance: Provenance::Unexplained,
            shadow: Reading::text("x".repeat(1 << 20)),
            primary: Reading::Unreadable { why: "é".repeat(10_000) },
            findings: vec![
                Finding::Value {
                    difference: Difference::Distance(f64::NAN),
                    changes,
                    more_changes: 1,
                };
                40
            ],
            tolerance: Some("t".repeat(10_000)),
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_bounding_it_again_changes_nothing() {
        let kept = bounded(long());
        let written = serde_json::to_vec(&kept).expect("serialisable").len();
        assert!(written < FINDINGS_MAX * CHANGES_MAX * 9_000, "{written}");
        assert!(same(&kept, &bounded(kept.clone())), "NaN is the same distance as NaN");
        let Finding::Value { changes, more_changes, .. } = &kept.findings[0] else { panic!() };
        assert_eq!((changes.len(), *more_changes), (CHANGES_MAX, 37));
        assert_eq!(kept.shadow.bytes(), None, "it is known by its digest");
    }

    #[test]
    fn a_number_that_moves_where_it_must_not_be_is_the_same_discrepancy() {
        let of = |value: &str, expected: &str| Discrepancy {
            primary: Reading::text(value),
            shadow: Reading::Absent,
            findings: vec![Finding::Unexpected { expected: expected.to_owned() }],
            ..long()
        };
        let one = of("91", "at most 90");
        assert!(only_moved(&one, &of("97", "at most 90")));
        assert!(!only_moved(&one, &of("97", "at most 95")));
        let unreadable = Reading::Unreadable { why: "it did not answer".to_owned() };
        assert!(!only_moved(&one, &Discrepancy { primary: unreadable, ..one.clone() }));
        assert!(!only_moved(&one, &Discrepancy { severity: Severity::High, ..one.clone() }));
        assert!(!only_moved(&long(), &Discrepancy { primary: Reading::text("a"), ..long() }));
    }

    #[test]
    fn long_values_that_differ_at_the_end_are_two() {
        let mut other = long();
        let Finding::Value { changes, .. } = &mut other.findings[0] else { panic!() };
        let value = changes[0].primary.as_mut().expect("there");
        *value.0.last_mut().expect("long") = b'!';
        assert!(!same(&bounded(long()), &bounded(other)));
    }
}
