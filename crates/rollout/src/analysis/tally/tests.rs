use proptest::prelude::*;

use super::*;
use crate::spec::tests::analysis;

fn measurement(letter: char) -> Measurement {
    let outcome = match letter {
        's' => Outcome::Successful,
        'f' => Outcome::Failed,
        'i' => Outcome::Inconclusive,
        'e' => Outcome::Error,
        _ => panic!("{letter}"),
    };
    Measurement { outcome, value: Some(letter.to_string()), message: format!("it was {letter}") }
}

/// Measurements by their letters, `.` for the end; and the letter of the verdict, `-` for none.
#[track_caller]
fn check(rules: &str, measured: &str, verdict: char, words: &str) {
    let rules = analysis(rules);
    let tally = tally(&rules, measured);
    let letter = tally.verdict().map_or('-', |verdict| word(verdict).chars().next().expect("one"));
    assert_eq!(letter, verdict, "{measured}: {tally:?}");
    assert!(tally.message().contains(words), "{measured}: {tally:?}");
}

fn tally(rules: &Analysis, measured: &str) -> Tally {
    let mut tally = Tally::default();
    for letter in measured.chars() {
        match letter {
            '.' => tally.end(rules),
            letter => tally.add(rules, &measurement(letter)),
        }
    }
    tally
}

#[test]
fn without_interval_one_measurement_decides() {
    check("", "", '-', "");
    check("", "s", 's', "1 of 1 measurement are good");
    check("", "f", 'f', "1 measurement failed, 0 may: it was f");
    check("", "i", 'i', "of 1 measurement nobody can say, 0 may be so: it was i");
    check("", "e", '-', "it was e");
    check("", "ees", 's', "1 of 3 measurements are good");
    check("", "eeee", '-', "");
    check("", "eeeee", 'e', "5 measurements in a row could not be made: it was e");
    check("consecutiveErrorLimit: 0", "e", 'e', "1 measurement in a row");
}

#[test]
fn counts_and_limits_are_argos() {
    let of = |more: &str| format!("interval: 10s, count: 5{more}");
    check(&of(""), "ssss", '-', "");
    check(&of(""), "sssss", 's', "5 of 5 measurements are good");
    check(&of(""), "ssf", 'f', "1 measurement failed");
    check(&of(", failureLimit: 1"), "fsf", 'f', "2 measurements failed, 1 may");
    check(&of(", failureLimit: 1"), "fssss", 's', "4 of 5");
    check(&of(", failureLimit: -1"), "ffffs", 's', "1 of 5");
    check(&of(", failureLimit: -1"), "fffff", 'i', "none of 5 measurements is good");
    check(&of(", inconclusiveLimit: 2"), "iissi", 'i', "of 3 measurements nobody can say");
    check(&of(", inconclusiveLimit: 4"), "iiiis", 's', "1 of 5");
    check(&of(", inconclusiveLimit: 5"), "iiiii", 'i', "none of 5 measurements is good");
    // Errors are none of the five, and count in a row only.
    check(&of(""), "eeeeseeeessss", 's', "5 of 13");
    check(&of(""), "eeeeseeeees", 'e', "5 measurements in a row");
    // Once it is decided nothing more counts.
    check(&of(""), "fssss", 'f', "1 measurement failed");
}

#[test]
fn good_ones_in_a_row_are_enough_where_that_is_said() {
    let of = |more: &str| format!("interval: 10s, count: 6, consecutiveSuccessLimit: 3{more}");
    check(&of(""), "ss", '-', "");
    check(&of(""), "sss", 's', "3 measurements in a row are good");
    check(&of(", failureLimit: 2"), "ssfss", '-', "");
    check(&of(", failureLimit: 2"), "ssfsss", 's', "in a row");
    check(&of(", failureLimit: 2"), "ssfssf", 'i', "no 3 in a row are good");
    check(&of(", failureLimit: -1"), "ffffff", 'i', "no 3 in a row");
    check(&of(", failureLimit: 1"), "ffsss", 'f', "2 measurements failed");
    // Who could not look does not interrupt what was good.
    check(&of(""), "sesees", 's', "in a row");
    check(&of(""), "ss.", 'i', "no 3 in a row");
}

#[test]
fn one_without_end_is_what_it_was_when_it_ended() {
    check("interval: 10s", &"s".repeat(1000), '-', "");
    check("interval: 10s", "ss.", 's', "2 of 2 measurements are good");
    check("interval: 10s", ".", 'i', "it ended before anything was measured");
    check("interval: 10s", "ee.", 'i', "none of 2 measurements is good: it was e");
    check("interval: 10s, failureLimit: 3", "ff.", 'i', "none of 2 measurements is good");
    check("interval: 10s, failureLimit: 3", "ffs.", 's', "1 of 3");
    check("interval: 10s", "s.f", 's', "");
}

#[test]
fn of_a_canary_configuration_the_last_judgement_decides() {
    let mut rules = analysis("interval: 10s, count: 3, inconclusiveLimit: 9");
    rules.provider = crate::spec::tests::kayenta_provider();
    assert_eq!(tally(&rules, "iis").verdict(), Some(Outcome::Successful));
    assert_eq!(tally(&rules, "ssi").verdict(), Some(Outcome::Inconclusive));
    assert_eq!(tally(&rules, "sf").verdict(), Some(Outcome::Failed));
}

#[test]
fn a_dry_run_counts_for_nothing() {
    let rules = analysis("dryRun: true");
    let tally = tally(&rules, "f");
    assert_eq!(tally.verdict(), Some(Outcome::Failed));
    assert_eq!(tally.counts_as(&rules), Some(Outcome::Successful));
    let status = tally.status(&rules);
    assert_eq!((status.phase.as_str(), status.counts.failed), ("failed", 1));
    assert!(status.message.ends_with("(a dry run, which counts for nothing)"), "{status:?}");
    assert_eq!(Tally::default().counts_as(&rules), None);
}

#[test]
fn it_waits_as_its_rules_say() {
    #[track_caller]
    fn check(rules: &str, measured: &str, pause_ms: u64) {
        let rules = analysis(rules);
        assert_eq!(tally(&rules, measured).pause_ms(&rules), pause_ms);
    }
    check("", "", 0);
    check("initialDelay: 30s", "", 30_000);
    check("initialDelay: 30s, interval: 5s", "s", 5_000);
    check("initialDelay: 30s, interval: 5s", "e", 5_000);
    check("initialDelay: 30s", "e", 10_000);
}

#[test]
fn its_status_is_plain() {
    let rules = analysis("interval: 10s");
    let status = Tally::default().status(&rules);
    assert_eq!(status.message, "nothing was measured yet");
    assert_eq!((status.phase.as_str(), status.value), ("running", None));
    let status = tally(&rules, "se").status(&rules);
    assert_eq!(status.value.as_deref(), Some("e"));
    assert_eq!(status.message, "it was e");
    assert_eq!((status.counts.successful, status.counts.error), (1, 1));
    let kept = serde_json::to_string(&tally(&rules, "sfi")).expect("JSON");
    assert_eq!(serde_json::from_str::<Tally>(&kept).expect("read"), tally(&rules, "sfi"));
}

proptest! {
    /// Whatever the rules and the measurements: good only with a good measurement, bad only with
    /// one too many, and decided once.
    #[test]
    fn never_good_without_evidence(
        measured in "[sfie]{0,30}",
        count in 1u32..20,
        failures in -1i32..5,
        inconclusive in 0u32..5,
        row in 0u32..5,
    ) {
        let rules = analysis(&format!(
            "interval: 1s, count: {count}, failureLimit: {failures}, \
             inconclusiveLimit: {inconclusive}, consecutiveSuccessLimit: {row}"
        ));
        let mut tally = tally(&rules, &measured);
        let before = tally.verdict();
        tally.end(&rules);
        prop_assert!(before.is_none() || before == tally.verdict());
        let counts = tally.counts();
        match tally.verdict() {
            Some(Outcome::Successful) => prop_assert!(counts.successful > 0),
            Some(Outcome::Failed) => {
                prop_assert_eq!(i64::from(counts.failed), i64::from(failures) + 1);
            }
            Some(Outcome::Error) => prop_assert!(measured.contains("eeeee")),
            Some(Outcome::Inconclusive) => {}
            None => prop_assert!(false, "it is over"),
        }
    }
}
