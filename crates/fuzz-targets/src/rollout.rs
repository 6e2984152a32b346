//! How services are rolled out, conditions on measured values, and what a Prometheus answers.

use umbra_rollout::analysis::Expression;
use umbra_rollout::analysis::expression::{ExpressionError, Value};
use umbra_rollout::analysis::measure::conclude;
use umbra_rollout::analysis::prometheus::{Data, POINTS_MAX, SERIES_MAX, Series, parse};
use umbra_rollout::controller::{Controller, Effect, Event, Outcome};
use umbra_rollout::spec::{self, Spec, Step};

use crate::Target;
use crate::seeds::{files, texts};

/// See [`rollout`].
pub const ROLLOUT: Target = Target {
    name: "rollout",
    open: || Box::new(rollout),
    seeds: || {
        let mut seeds = files("examples", "rollout.yaml");
        seeds.extend(texts(&[
            "service: a\n",
            "service: a\ncontrol: fresh\nsteps: [{ setWeight: 5 }, { pause: {} }, { setWeight: 100 }]\n\
             guards: [{ errors: { max: 5% } }, { p99: { max: 1s } }]\nnotify: [log, { slack: 'https://a' }]\n",
        ]));
        seeds
    },
    words: &[
        "steps:\n",
        "- setWeight: ",
        "setMirror: { percent: ",
        "pause: {}",
        "analysis: { templates: [",
        "on_worse: notify",
        "judge: { errors: false",
        "hold: { within: ",
        "webhooks:\n",
        "0.1%",
        "10s",
        ": ",
        "\n  ",
        "-1",
        "1e9",
        ".nan",
        "&a ",
        "*a",
        "}",
        "]",
    ],
    cases: 300,
    heap_factor: 2_000,
};

/// What is accepted has weights that rise up to 100, can be kept and read again, and begins with
/// instances or with a question, never with a weight; what is refused is told in printable words.
pub fn rollout(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let spec = match spec::parse("rollout.yaml", &text) {
        Ok(spec) => spec,
        Err(problems) => {
            let told = problems.render(false);
            assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
            return false;
        }
    };
    let written = serde_json::to_string(&spec).expect("it is written");
    assert_eq!(serde_json::from_str::<Spec>(&written).expect("and read"), spec, "{text:?}");
    let weights = spec.steps.iter().filter_map(|step| match step {
        Step::SetWeight(weight) => Some(*weight),
        _ => None,
    });
    let weights: Vec<f64> = weights.collect();
    assert!(weights.first().is_some_and(|first| *first > 0.0), "{text:?}");
    assert!(weights.last().is_some_and(|last| *last <= 100.0), "{text:?}");
    assert!(weights.windows(2).all(|pair| pair[0] < pair[1]), "{text:?}");
    let (_, effects) = Controller::new(spec, 0).on(Event::Begin, 0);
    let first = effects.iter().find(|effect| !matches!(effect, Effect::Record(_)));
    let begins = matches!(first, Some(Effect::StartInstances { .. } | Effect::Call { .. }));
    assert!(begins, "{effects:?}");
    true
}

/// See [`condition`].
pub const CONDITION: Target = Target {
    name: "condition",
    open: || Box::new(condition),
    seeds: || {
        texts(&[
            "result[0] >= 0.95 && !isNaN(result[0])\n0.97",
            "default(result, 0) <= 5 or len(result) > 1e3\n",
            "all(result, {# < 0.5}) and any([1, 2], {# in result})\n0.1\nNaN",
            "max(map(filter(result, # > -1), {# ** 2})) - 3 % 2 != nil ?? 1\n1\n2",
            "not ('a\\'b' == \"c\") || isNil(result[-1])\n+Inf",
        ])
    },
    words: &[
        "result", "[0]", "[-1]", "nil", "true", "false", "&&", "||", "and ", "or ", "not ", "!",
        "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "**", "??", " in ", "not in ",
        "(", ")", "[", "]", "{", "}", "#", ",", "'a'", "\"\\n\"", "1e308", "0.5", ".", "all(",
        "any(", "map(", "filter(", "count(", "len(", "max(", "sum(", "default(", "isNaN(",
        "isNil(", "asInt(", "\n", "NaN", "+Inf", "é",
    ],
    cases: 5_000,
    heap_factor: 2_000,
};

/// The first line is a condition, every other a number that was measured. What is wrong has its
/// place in the text; what can be read means the same in brackets, the opposite with `!` before
/// them, and the same after it was written down; nothing measured is never good.
pub fn condition(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let condition = lines.next().unwrap_or_default();
    let numbers: Vec<f64> = lines.filter_map(|line| line.parse().ok()).collect();
    let result = Value::from(numbers);
    let read = match Expression::parse(condition) {
        Ok(read) => read,
        Err(error) => return is_in(&error, condition),
    };
    let holds = read.holds(&result);
    if let Err(error) = &holds {
        is_in(error, condition);
    }
    // NaN differs from itself, but not a decision.
    assert_eq!(read.holds(&result), holds, "decided twice");
    let written = serde_json::to_string(&read).expect("a text");
    assert_eq!(serde_json::from_str::<Expression>(&written).expect("read again"), read);
    for (around, opposite) in [("(", false), ("!(", true)] {
        // What is as long or as deep as may be is too much with more around it.
        let Ok(other) = Expression::parse(&format!("{around}{condition})")) else { continue };
        let same = other.holds(&result).map(|other| other != opposite);
        match (&same, &holds) {
            (Ok(same), Ok(holds)) => assert_eq!(same, holds, "{around}"),
            (same, holds) => assert_eq!(same.is_ok(), holds.is_ok(), "{around}"),
        }
    }
    for nothing in [Value::Nil, Value::from(Vec::new()), Value::from(f64::NAN)] {
        for (success, failure) in [(Some(&read), None), (None, Some(&read))] {
            let concluded = conclude(&nothing, &[], success, failure);
            assert_ne!(concluded.outcome, Outcome::Successful, "of {nothing}");
        }
    }
    true
}

fn is_in(error: &ExpressionError, text: &str) -> bool {
    assert!(text.get(error.at.clone()).is_some(), "{error:?} is beside the text");
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
    false
}

/// See [`answer`].
pub const ANSWER: Target = Target {
    name: "prometheus",
    open: || Box::new(answer),
    seeds: || {
        texts(&[
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1435781451.781,"NaN"]}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"+Inf"]]}]}}"#,
            r#"{"status":"success","warnings":["x"],"data":{"resultType":"scalar","result":[1,"1e3"]}}"#,
            r#"{"status":"success","data":{"resultType":"string","result":[1,"text"]}}"#,
            r#"{"status":"success","warnings":["a long sentence, most letters of which may be others without harm"],"data":{"resultType":"vector","result":[{"metric":{"name":"likewise the value of a label, of which there is much"},"value":[1435781451.781,"1234567890123456789"]}]}}"#,
            r#"{"status":"success","data":{"resultType":"string","result":[1,"a text of many words, none of which means anything to anybody who reads it, long enough to be hit"]}}"#,
            r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
        ])
    },
    words: &[
        "\"status\":",
        "\"success\"",
        "\"error\"",
        "\"data\":",
        "\"resultType\":",
        "\"result\":",
        "\"vector\"",
        "\"matrix\"",
        "\"scalar\"",
        "\"string\"",
        "\"metric\":",
        "\"value\":",
        "\"values\":",
        "\"histogram\":",
        "\"warnings\":",
        "[1,\"1\"]",
        "\"NaN\"",
        "\"-Inf\"",
        "1e999",
        "null",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\\u0000",
    ],
    cases: 5_000,
    heap_factor: 400,
};

/// An answer is bounded, its series are in order of time, and none of it shows control
/// characters; what is refused says why, likewise.
pub fn answer(bytes: &[u8]) -> bool {
    let answer = match parse(bytes) {
        Ok(answer) => answer,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            return false;
        }
    };
    assert!(answer.warnings.iter().all(|warning| !warning.contains(char::is_control)));
    assert!(!answer.value().to_string().contains(char::is_control));
    let (Data::Vector(series) | Data::Matrix(series)) = &answer.data else { return true };
    assert!(series.len() <= SERIES_MAX);
    let points = series.iter().map(|series| series.samples.len()).sum::<usize>();
    assert!(points <= POINTS_MAX && points >= series.len());
    let ordered = |one: &Series| one.samples.windows(2).all(|two| two[0].at_ms < two[1].at_ms);
    assert!(series.iter().all(ordered));
    assert_eq!(answer.newest_ms().is_none(), series.is_empty());
    true
}
