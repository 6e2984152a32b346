use super::*;

const NO_VALUE: &str = "there is no value, and none is no pass";

/// What is concluded of a value by two conditions, either of which may be empty.
#[track_caller]
fn check(value: impl Into<Value>, success: &str, failure: &str, outcome: Outcome, words: &str) {
    let warned = check_warned(value.into(), success, failure, &[]);
    assert_eq!(warned.outcome, outcome, "{warned:?}");
    assert!(warned.message.contains(words), "{warned:?}");
}

fn check_warned(value: Value, success: &str, failure: &str, warnings: &[&str]) -> Measurement {
    let condition =
        |text: &str| (!text.is_empty()).then(|| Expression::parse(text).expect("a condition"));
    let warnings: Vec<String> = warnings.iter().map(|&warning| warning.to_owned()).collect();
    conclude(&value, &warnings, condition(success).as_ref(), condition(failure).as_ref())
}

#[test]
fn conditions_decide_as_in_argo() {
    use Outcome::{Failed, Inconclusive, Successful};
    let good = "result[0] >= 0.95";
    let bad = "result[0] < 0.9";
    check(vec![0.97], good, "", Successful, "result[0] >= 0.95 holds");
    check(vec![0.92], good, "", Failed, "result[0] >= 0.95 does not hold");
    check(vec![0.97], "", bad, Successful, "result[0] < 0.9 does not hold");
    check(vec![0.89], "", bad, Failed, "result[0] < 0.9 holds");
    check(vec![0.97], good, bad, Successful, "holds");
    check(vec![0.92], good, bad, Inconclusive, "neither result[0] >= 0.95 nor result[0] < 0.9");
    check(vec![0.89], good, bad, Failed, "holds");
    // Where both hold the bad one counts.
    check(vec![0.97], good, "result[0] > 0", Failed, "result[0] > 0 holds");
    check(0.97, "result > 0.9", "", Successful, "holds");
    check(vec![f64::INFINITY], "result[0] < 500", "", Failed, "does not hold");
    check(vec![0.97], "", "", Inconclusive, "there is no condition");
}

#[test]
fn no_value_is_never_a_pass() {
    use Outcome::{Failed, Inconclusive};
    let absent = || [Value::Nil, f64::NAN.into(), vec![].into(), vec![f64::NAN; 2].into()];
    for value in absent() {
        for (success, failure) in [
            ("true", ""),
            ("", "false"),
            ("true", "false"),
            ("false", ""),
            ("isNil(result) || true", ""),
        ] {
            check(value.clone(), success, failure, Inconclusive, NO_VALUE);
        }
        check(value.clone(), "", "true", Failed, "true holds");
    }
    check(vec![], "result[0] >= 0.95", "", Inconclusive, NO_VALUE);
    check(vec![], "", "result[0] < 0.9", Inconclusive, NO_VALUE);
    check(vec![f64::NAN], "result[0] >= 0.95", "", Inconclusive, NO_VALUE);
    check(vec![f64::NAN], "isNaN(result[0])", "", Inconclusive, NO_VALUE);
    check(vec![], "len(result) == 0", "", Inconclusive, NO_VALUE);
    check(vec![], "", "len(result) == 0", Failed, "holds");
    // Of several series one is known, and decides.
    check(vec![f64::NAN, 1.0], "any(result, {# > 0})", "", Outcome::Successful, "holds");
}

#[test]
fn what_cannot_be_decided_is_an_error_and_no_verdict() {
    use Outcome::Error;
    check(1.0, "result[0] > 0", "", Error, "cannot decide `result[0] > 0`: a list is needed");
    check(vec![1.0], "result > 0", "", Error, "cannot be compared, at character 1");
    check(vec![1.0], "result[0] > 0", "result[1] > 0", Error, "there is no value here");
    check(Value::Text("x".into()), "result > 1", "", Error, "cannot be compared");
}

#[test]
fn what_came_with_warnings_is_no_pass() {
    let warned = |value: f64| {
        check_warned(vec![value].into(), "result[0] > 1", "", &["a store is not reached"])
    };
    let good = warned(2.0);
    assert_eq!(good.outcome, Outcome::Inconclusive);
    assert!(good.message.contains("a store is not reached"), "{good:?}");
    assert_eq!(good.value.as_deref(), Some("[2]"));
    assert_eq!(warned(0.0).outcome, Outcome::Failed);
}
