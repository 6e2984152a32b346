use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn list(numbers: &[f64]) -> Value {
    Value::from(numbers.to_vec())
}

#[track_caller]
fn check(text: &str, result: Value, expected: bool) {
    let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(expression.holds(&result), Ok(expected), "{text} of {result}");
}

#[test]
fn conditions_people_write() {
    check("result[0] >= 0.95", list(&[0.95]), true);
    check("result[0] >= 0.95", list(&[0.949]), false);
    check("result[0] >= 0.95 && !isNaN(result[0])", list(&[f64::NAN]), false);
    check("isNaN(result[0]) || result[0] >= 0.95", list(&[f64::NAN]), true);
    check("result < 0.5", Value::Number(0.1), true);
    check("default(result, 0) == 0", Value::Nil, true);
    check("default(result, 0) == 0", list(&[]), true);
    check("default(result[0], 0) <= 5", list(&[]), true);
    check("default(result[0], 0) <= 5", list(&[6.0]), false);
    check("result[0] ?? 7 == 7", list(&[]), true);
    check("len(result) == 0 || result[0] > 0.9", list(&[]), true);
    check("len(result) > 0 and max(result) < 1e3", list(&[1.0, 999.0]), true);
    check("all(result, {# < 0.5})", list(&[0.1, 0.4]), true);
    check("all(result, {# < 0.5})", list(&[0.1, 0.6]), false);
    check("all(result, # < 0.5)", list(&[0.1]), true);
    check("any(result, {# > 10})", list(&[1.0, 11.0]), true);
    check("none(result, {isInf(#)})", list(&[1.0, f64::NEG_INFINITY]), false);
    check("one(result, {# == 1})", list(&[1.0, 2.0]), true);
    check("count(result, {# > 1}) == 2", list(&[1.0, 2.0, 3.0]), true);
    check("sum(map(result, {# * 2})) == 12", list(&[1.0, 2.0, 3.0]), true);
    check("len(filter(result, {# > 1})) == 2", list(&[1.0, 2.0, 3.0]), true);
    check("filter(result, {# > 1})[0] == 2", list(&[1.0, 2.0, 3.0]), true);
    check("isInf(result)", Value::Number(f64::INFINITY), true);
    check("isNil(result[3])", list(&[1.0]), true);
    check("result[-1] == 3 && result[-4] == nil", list(&[1.0, 2.0, 3.0]), true);
    check("asFloat(result) > 1.5 and asInt('7') == 7", Value::Text("1.6".into()), true);
    check("result == \"ok\"", Value::Text("ok".into()), true);
    check("'a\\'b' != result", Value::Text("ab".into()), true);
    check("result[0] in [1, 2] and result[1] not in [1, 2]", list(&[2.0, 3.0]), true);
    check("any(result, {any([1, 2], {# == 2}) && # > 5})", list(&[6.0]), true);
}

#[test]
fn what_binds_closest_is_done_first() {
    let nothing = || Value::Nil;
    check("1 + 2 * 3 == 7", nothing(), true);
    check("(1 + 2) * 3 == 9", nothing(), true);
    check("2 ** 3 ** 2 == 512 && -2 ** 2 == -4 && 2 ** -1 == .5", nothing(), true);
    check("7 % 4 == 3 && 1 - 2 - 3 == -4 && 8 / 4 / 2 == 1", nothing(), true);
    check("true || false && false", nothing(), true);
    check("(true || false) && false", nothing(), false);
    check("not true or true", nothing(), true);
    check("!(true or true)", nothing(), false);
    check("1 < 2 == true", nothing(), true);
    check("1 / 0 > 1e308 && isNaN(0 / 0)", nothing(), true);
    check("- - 1 == + 1", nothing(), true);
    check("min(3, 1, 2) == 1 && max([1, 2], 3) == 3 && mean([1, 3]) == 2", nothing(), true);
    check("abs(-1) + floor(1.9) + ceil(1.1) + round(1.5) == 6 && int(1.9) == 1", nothing(), true);
    check("isNaN(max([1, 0 / 0]))", nothing(), true);
    check("nil == nil && nil != 1", nothing(), true);
}

#[test]
fn what_does_not_matter_is_not_looked_at() {
    check("false && result[0] > 1", list(&[]), false);
    check("true || result[0] > 1", list(&[]), true);
    check("1 ?? result > 0", Value::Nil, true);
    check("any([1, 2], {# == 1 || result[0] > 1})", list(&[]), true);
}

#[track_caller]
fn check_wrong(text: &str, at: &str, message: &str) {
    let error = Expression::parse(text).expect_err(text);
    assert_eq!(&text[error.at.clone()], at, "{text}: {error}");
    assert!(error.message.contains(message), "{text}: {error}");
}

#[test]
fn mistakes_are_told_where_they_are() {
    check_wrong("", "", "a value is missing at the end");
    check_wrong("result[0] >=", "", "a value is missing at the end");
    check_wrong("result[0", "", "`]` is expected here");
    check_wrong("result = 1", "=", "did you mean `==`?");
    check_wrong("result & 1", "&", "did you mean `&&`?");
    check_wrong("results > 1", "results", "did you mean `result`?");
    check_wrong("isNan(result)", "isNan", "did you mean `isNaN`?");
    check_wrong("1 > 2 3", "3", "the condition is over before this");
    check_wrong("1 + 2", "1 + 2", "a condition is true or false, and this is a number");
    check_wrong("result > 'a' + 1", "'a'", "on both sides of it stands a number");
    check_wrong("1 < 2 < 3", "1 < 2 < 3", "true or false and a number cannot be compared");
    check_wrong("!result[0] + 1 > 2", "!result[0]", "and this is true or false");
    check_wrong("not 1", "1", "there is an opposite; this is a number");
    check_wrong("true < false", "true", "true or false is neither more nor less");
    check_wrong("'a' == 1", "'a' == 1", "a text and a number cannot be compared");
    check_wrong("# > 1", "#", "`#` stands for an entry");
    check_wrong("any(result, {# > 1) ", ")", "`}` is expected here");
    check_wrong("all(1, {# > 1})", "1", "it goes through a list; this is a number");
    check_wrong("all(result, {# + 1})", "# + 1", "what is asked of each entry is");
    check_wrong("isNaN()", "isNaN()", "it takes 1, and here are 0");
    check_wrong("default(1)", "default(1)", "it takes 2, and here are 1");
    check_wrong("1.2.3 > 1", ".3", "the condition is over before this");
    check_wrong("1x > 1", "1x", "`1x` is no number");
    check_wrong("1e > 1", "1e", "is no number");
    check_wrong(". > 1", ".", "is no number");
    check_wrong("'a", "'", "this text does not end");
    check_wrong("'\\x' == 'a'", "\\", "after `\\` comes one of");
    check_wrong("result > 1; drop", ";", "`;` has no meaning here");
    check_wrong("result > \u{202e}1", "\u{202e}", "has no meaning here");
    check_wrong("1[0] > 1", "1", "only lists have entries");
    check_wrong("result ? 1 : 2", "?", "`?` has no meaning here");
    check_wrong("1 in 2", "2", "to the right of `in` stands a list");
}

#[track_caller]
fn check_undecided(text: &str, result: Value, absent: bool, message: &str) {
    let error = Expression::parse(text).expect(text).holds(&result).expect_err(text);
    assert!(error.message.contains(message), "{text}: {error}");
    assert_eq!(error.absent, absent, "{text}: {error}");
    assert!(text.get(error.at.clone()).is_some());
}

#[test]
fn what_cannot_be_decided_is_told() {
    check_undecided("result[0] > 1", list(&[]), true, "there is no value here");
    check_undecided("result > 1", Value::Nil, true, "there is no value here");
    check_undecided("max(result) > 1", list(&[]), true, "there is no value here");
    check_undecided("all(result, {# > 1})", Value::Nil, true, "there is no value here");
    check_undecided("result[0] > 1", Value::Number(1.0), false, "this is a number: 1");
    check_undecided("result > 1", list(&[1.0]), false, "a list and a number cannot be compared");
    check_undecided("isNaN(result)", list(&[1.0]), false, "this is a list: [1]");
    check_undecided("result[0.5] > 1", list(&[1.0]), false, "by a whole number");
    check_undecided("result[0 / 0] > 1", list(&[1.0]), false, "by a whole number");
    check_undecided(
        "asInt(result) > 1",
        Value::Text("x\n".into()),
        false,
        "\"x\\u{a}\" is no number",
    );
    check_undecided("result", Value::Number(1.0), false, "true or false is needed");
    check_undecided("len(result) > 1", Value::Number(1.0), false, "a list is needed");
}

#[test]
fn text_depth_and_work_are_bounded() {
    let deep = format!("{}true{}", "(".repeat(1000), ")".repeat(1000));
    let high = vec!["true"; 500].join(" && ");
    let signs = format!("{}true", "!".repeat(1000));
    let minus = format!("{}1 > 0", "-".repeat(1000));
    let powers = format!("{} > 0", vec!["2"; 900].join("**"));
    let lists = format!("{}1{} == nil", "[".repeat(1000), "]".repeat(1000));
    let indexes = format!("result{} > 0", "[0]".repeat(500));
    for text in [&deep, &high, &signs, &minus, &powers, &lists, &indexes] {
        let error = Expression::parse(text).expect_err(text);
        assert!(error.message.contains("nested deeper"), "{error}");
    }
    Expression::parse(&vec!["true"; 60].join(" && ")).expect("as many as people write");
    let long = format!("true{}", " ".repeat(TEXT_BYTES_MAX));
    assert!(Expression::parse(&long).expect_err("long").message.contains("at most"));
    let many = format!("len([{}]) > 1", vec!["1"; 101].join(","));
    assert!(Expression::parse(&many).expect_err("many").message.contains("at most 100"));

    let began = Instant::now();
    let numbers = list(&vec![1.0; 10_000]);
    for text in [
        "all(result, {all(result, {all(result, {# > 0})})})",
        "len(map(result, {map(result, {#})})) > 1",
        "len(map(result, {result})) > 1",
        "all(result, {filter(result, {# > 0})[0] > 0})",
        "all(result, {result == result})",
        "all(result, {2 not in result})",
    ] {
        check_undecided(text, numbers.clone(), false, "steps on this value");
    }
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn values_are_shown_short_and_escaped() {
    #[track_caller]
    fn check(value: Value, shown: &str) {
        assert_eq!(value.to_string(), shown);
    }
    check(list(&[0.97, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]), "[0.97, NaN, +Inf, -Inf]");
    check(list(&[1.0; 9]), "[1, 1, 1, 1, 1, 1, 1, 1, ... 9 in all]");
    check(list(&[]), "[]");
    check(list(&[0.0, 1e14, 1e300, -1e-7, 0.001]), "[0, 100000000000000, 1e300, -1e-7, 0.001]");
    check(Value::Text("a\u{1b}[31m\"".into()), "\"a\\u{1b}[31m\"\"");
    check(Value::Nil, "nil");
}

#[test]
fn it_is_kept_as_its_text() {
    let expression = Expression::parse("result[0] > 1").expect("good");
    let json = serde_json::to_string(&expression).expect("JSON");
    assert_eq!(json, "\"result[0] > 1\"");
    assert_eq!(serde_json::from_str::<Expression>(&json).expect("read"), expression);
    assert!(serde_json::from_str::<Expression>("\"result[\"").is_err());
}

/// A text, and what it is worth, worked out beside it.
fn numbers() -> impl Strategy<Value = (String, f64)> {
    let leaf = prop_oneof![
        (0u32..1000).prop_map(|n| (n.to_string(), f64::from(n))),
        (0u32..1000).prop_map(|n| (format!("{n}e-2"), format!("{n}e-2").parse().unwrap())),
        (0usize..3).prop_map(|n| (format!("result[{n}]"), RESULT[n])),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        let two = (inner.clone(), inner.clone(), 0usize..5);
        prop_oneof![
            two.prop_map(|((a, x), (b, y), operator)| {
                let (sign, value) = match operator {
                    0 => ("+", x + y),
                    1 => ("-", x - y),
                    2 => ("*", x * y),
                    3 => ("/", x / y),
                    _ => ("%", x % y),
                };
                (format!("({a} {sign} {b})"), value)
            }),
            inner.clone().prop_map(|(a, x)| (format!("-({a})"), -x)),
            inner.clone().prop_map(|(a, x)| (format!("abs({a})"), x.abs())),
            (inner.clone(), inner).prop_map(|((a, x), (b, y))| {
                let most = if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) };
                (format!("max({a}, {b})"), most)
            }),
        ]
    })
}

fn conditions() -> impl Strategy<Value = (String, bool)> {
    let leaf = (numbers(), numbers(), 0usize..6).prop_map(|((a, x), (b, y), operator)| {
        let (sign, holds) = match operator {
            0 => ("<", x < y),
            1 => ("<=", x <= y),
            2 => (">", x > y),
            3 => (">=", x >= y),
            4 => ("==", x == y),
            _ => ("!=", x != y),
        };
        (format!("{a} {sign} {b}"), holds)
    });
    leaf.prop_recursive(4, 20, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone())
                .prop_map(|((a, x), (b, y))| (format!("({a} && {b})"), x && y)),
            (inner.clone(), inner.clone())
                .prop_map(|((a, x), (b, y))| (format!("({a} or {b})"), x || y)),
            inner.prop_map(|(a, x)| (format!("!({a})"), !x)),
        ]
    })
}

const RESULT: [f64; 3] = [0.5, -3.0, f64::NAN];

proptest! {
    #[test]
    fn it_computes_what_is_written((text, expected) in conditions()) {
        prop_assume!(text.len() <= TEXT_BYTES_MAX);
        let expression = Expression::parse(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(expression.holds(&list(&RESULT)), Ok(expected), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-a-z0-9 ()\\[\\]{}#<>=!&|+*/%.,'\"?]{0,60}|\\PC{0,40}") {
        match Expression::parse(&text) {
            Ok(expression) => { let _ = expression.holds(&list(&RESULT)); }
            Err(error) => prop_assert!(text.get(error.at.clone()).is_some(), "{:?}", error),
        }
    }
}
