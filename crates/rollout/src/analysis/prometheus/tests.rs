use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::analysis::expression::Value;

/// `"{}"` of an answer, and what it is, or why it is none.
#[track_caller]
fn check(json: &str, expected: Result<(&str, Option<i64>), &str>) {
    let parsed = parse(json.as_bytes()).map(|answer| (answer.value(), answer.newest_ms()));
    match (parsed, expected) {
        (Ok((value, newest)), Ok((shown, at))) => {
            assert_eq!((value.to_string().as_str(), newest), (shown, at), "{json}");
        }
        (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{json}: {error}"),
        (parsed, expected) => panic!("{json}: {parsed:?}, not {expected:?}"),
    }
}

fn success(kind: &str, result: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
}

#[test]
fn answers_of_each_kind() {
    check(&success("scalar", r#"[1435781451.781,"1"]"#), Ok(("1", Some(1_435_781_451_781))));
    check(&success("scalar", r#"[1,"-1.5e-3"]"#), Ok(("-0.0015", Some(1000))));
    check(&success("string", r#"[1.5,"foo"]"#), Ok(("\"foo\"", Some(1500))));
    check(&success("vector", "[]"), Ok(("[]", None)));
    let vector = r#"[{"metric":{"a":"b"},"value":[1,"NaN"]},{"metric":{},"value":[2,"+Inf"]}]"#;
    check(&success("vector", vector), Ok(("[NaN, +Inf]", Some(2000))));
    check(&success("matrix", "[]"), Ok(("[]", None)));
    let matrix =
        r#"[{"metric":{},"values":[[1,"1"],[16,"2"]]},{"metric":{},"values":[[1,"-Inf"]]}]"#;
    check(&success("matrix", matrix), Ok(("[1, 2, -Inf]", Some(16_000))));
}

#[test]
fn what_is_no_answer_is_told_apart() {
    check("", Err("no whole JSON"));
    check("<html>502 Bad Gateway</html>", Err("no whole JSON"));
    let whole = success("vector", r#"[{"metric":{},"value":[1,"1"]}]"#);
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        check(&whole[..cut], Err("no whole JSON"));
    }
    check(&format!("{whole}x"), Err("no whole JSON"));
    check(&"[".repeat(100_000), Err("no whole JSON"));
    check("[]", Err("`status`"));
    check(r#"{"status":"fine"}"#, Err("`status`"));
    check(r#"{"status":"success"}"#, Err("`data`"));
    check(r#"{"status":"success","data":{"resultType":"vector"}}"#, Err("`result`"));
    check(&success("tensor", "[]"), Err("`resultType`"));
    check(&success("vector", "{}"), Err("`result`"));
    check(&success("vector", r#"[{"metric":{}}]"#), Err("a value"));
    check(&success("vector", r#"[{"metric":{},"value":[1,1]}]"#), Err("a value"));
    check(&success("vector", r#"[{"metric":{},"value":["1","1"]}]"#), Err("a time"));
    check(&success("vector", r#"[{"metric":{},"value":[1e300,"1"]}]"#), Err("a time"));
    check(
        &success("vector", r#"[{"metric":{},"value":[1,"1"],"histogram":[]}]"#),
        Err("histogram"),
    );
    check(&success("vector", r#"[{"value":[1,"1"]}]"#), Err("`metric`"));
    check(&success("vector", r#"[{"metric":{"a":1},"value":[1,"1"]}]"#), Err("`metric`"));
    for number in ["", "inf", "nan", "Infinity", "0x1", " 1", "1,5", "--1", "e"] {
        check(&success("scalar", &format!(r#"[1,"{number}"]"#)), Err("a number"));
    }
    check(&success("scalar", "[1]"), Err("a sample"));
    check(&success("matrix", r#"[{"metric":{},"values":[]}]"#), Err("`values`"));
    check(&success("matrix", r#"[{"metric":{},"values":[[2,"1"],[1,"1"]]}]"#), Err("`values`"));
    check(&success("matrix", r#"[{"metric":{},"values":[[1,"1"],[1,"1"]]}]"#), Err("`values`"));
    let refused = r#"{"status":"error","errorType":"bad_data","error":"1:1: \u001b[31m oops"}"#;
    check(refused, Err("it refused: bad_data: 1:1: \\u{1b}[31m oops"));
    check(r#"{"status":"error"}"#, Err("it refused"));
}

#[test]
fn too_much_is_not_taken() {
    let one = r#"{"metric":{},"value":[1,"1"]}"#;
    let of = |count| success("vector", &format!("[{}]", vec![one; count].join(",")));
    parse(of(SERIES_MAX).as_bytes()).expect("as many as may be");
    check(&of(SERIES_MAX + 1), Err("more than 10000 series"));
    let points: Vec<String> = (0..=POINTS_MAX).map(|at| format!("[{at},\"1\"]")).collect();
    let matrix = format!(r#"[{{"metric":{{}},"values":[{}]}}]"#, points.join(","));
    check(&success("matrix", &matrix), Err("more than 200000 points"));
}

#[test]
fn warnings_are_kept_and_escaped() {
    let with = |warnings: &str| {
        let json = success("vector", "[]").replacen('{', &format!("{{\"warnings\":{warnings},"), 1);
        parse(json.as_bytes()).map(|answer| answer.warnings)
    };
    assert_eq!(with("[]"), Ok(vec![]));
    assert_eq!(with("null"), Ok(vec![]));
    assert_eq!(with(r#"["a\nb"]"#), Ok(vec!["a\\u{a}b".to_owned()]));
    assert_eq!(
        with("[\"x\", \"x\", \"x\", \"x\", \"x\", \"x\", \"x\", \"x\", \"x\", \"x\", \"x\"]")
            .map(|w| w.len()),
        Ok(10)
    );
    assert!(with("[1]").is_err());
    assert!(with("\"x\"").is_err());
}

/// Says one thing, and keeps what it was asked.
struct Fixed(Result<Reply, FetchError>, Mutex<Vec<Request>>);

impl Fetch for Fixed {
    fn fetch(&self, request: &Request) -> Result<Reply, FetchError> {
        self.1.lock().expect("unpoisoned").push(request.clone());
        self.0.clone()
    }
}

fn server(token: Option<umbra_drift::config::Token>) -> Server {
    Server { address: "http://prometheus:9090/base/".to_owned(), token, timeout_ms: 1500 }
}

#[track_caller]
fn check_asked(status: u16, body: &str, cut: bool, expected: Result<&str, &str>) {
    let reply = Reply { status, body: body.as_bytes().to_vec(), cut };
    let fetch = Fixed(Ok(reply), Mutex::default());
    let answered = server(None).ask(&fetch, "up", When::Instant { now_ms: 0 });
    match (answered, expected) {
        (Ok(answer), Ok(shown)) => assert_eq!(answer.value().to_string(), shown),
        (Err(error), Err(why)) => {
            let words = umbra_state::chain(&error);
            assert!(words.contains(why) && words.starts_with(char::is_lowercase), "{words}");
        }
        (answered, expected) => panic!("{answered:?}, not {expected:?}"),
    }
}

#[test]
fn statuses_and_bodies_together_say_what_happened() {
    let good = success("scalar", r#"[1,"1"]"#);
    let refused = r#"{"status":"error","errorType":"execution","error":"too many samples"}"#;
    check_asked(200, &good, false, Ok("1"));
    check_asked(200, &good, true, Err("longer than 8388608 bytes"));
    check_asked(200, "{", false, Err("understand what Prometheus answered: it is no whole JSON"));
    check_asked(422, refused, false, Err("it answered 422: execution: too many samples"));
    check_asked(200, refused, false, Err("it answered 200: execution: too many samples"));
    check_asked(503, "Service Unavailable", false, Err("it answered 503"));
    check_asked(302, "", false, Err("it answered 302"));
    // What is said with a status that is none of success does not count.
    check_asked(500, &good, false, Err("it answered 500"));
}

#[test]
fn questions_are_spelt_so_that_they_arrive() {
    let fetch = Fixed(Err(FetchError { why: "nobody is there".to_owned() }), Mutex::default());
    let query = "sum(rate(a{b=~\"c|d\"}[1m]))+ä";
    let range = Range { window_ms: 90_000, step_ms: 15_500 };
    for when in [When::Instant { now_ms: 5 }, When::back_from(100_250, Some(range))] {
        let error = server(None).ask(&fetch, query, when).expect_err("nobody");
        assert_eq!(umbra_state::chain(&error), "reach Prometheus: nobody is there");
    }
    let asked = fetch.1.lock().expect("unpoisoned");
    let spelt = "sum%28rate%28a%7Bb%3D~%22c%7Cd%22%7D%5B1m%5D%29%29%2B%C3%A4";
    assert_eq!(
        asked[0].url,
        format!("http://prometheus:9090/base/api/v1/query?query={spelt}&timeout=1.500")
    );
    assert!(asked[1].url.ends_with("&start=10.250&end=100.250&step=15.500&timeout=1.500"));
    assert!(asked.iter().all(|asked| asked.body.is_none() && asked.headers.is_empty()));
    assert_eq!(asked[0].timeout, Duration::from_millis(1500));
}

#[test]
fn secrets_are_sent_and_not_shown() {
    use umbra_drift::config::{Secret, Token};
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    std::fs::write(&path, "s3cret\n").expect("written");
    let from = Secret::File(path.to_str().expect("text").to_owned());
    let fetch = Fixed(Err(FetchError { why: "nobody is there".to_owned() }), Mutex::default());
    let ask = |header: Option<&str>| {
        let token = Token { from: from.clone(), header: header.map(str::to_owned) };
        server(Some(token)).ask(&fetch, "up", When::Instant { now_ms: 0 }).expect_err("nobody")
    };
    let errors = [ask(None), ask(Some("X-Token"))];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let asked = fetch.1.lock().expect("unpoisoned").clone();
    assert_eq!(asked[0].headers, [pair("Authorization", "Bearer s3cret")]);
    assert_eq!(asked[1].headers, [pair("X-Token", "s3cret")]);
    assert!(errors.iter().all(|error| !format!("{error:?}").contains("s3cret")));
    std::fs::remove_file(&path).expect("removed");
    let words = umbra_state::chain(&ask(None));
    assert!(words.starts_with("ask Prometheus: read the secret in /"), "{words}");
    assert_eq!(fetch.1.lock().expect("unpoisoned").len(), 2, "without it nobody is asked");
}

#[test]
fn answers_of_another_time_are_none() {
    #[track_caller]
    fn check(at_ms: i64, words: Option<&str>) {
        let data = Data::Scalar(Sample { at_ms, value: 1.0 });
        let answer = Answer { data, warnings: Vec::new() };
        let is = is_of(&answer, 100_000, 60_000).map_err(|error| error.to_string());
        match words {
            None => assert_eq!(is, Ok(())),
            Some(words) => assert!(is.expect_err("late").contains(words)),
        }
    }
    check(100_000, None);
    check(40_000, None);
    check(39_999, Some("is of 60001 ms ago"));
    check(160_000, None);
    check(160_001, Some("is of 60001 ms ahead"));
    check(i64::MIN, Some("ago"));
    check(i64::MAX, Some("ahead"));
    let empty = Answer { data: Data::Vector(Vec::new()), warnings: Vec::new() };
    is_of(&empty, 100_000, 60_000).expect("what is not there is not late");
}

#[test]
fn a_value_is_absent_where_nothing_was_measured() {
    for absent in [Value::Nil, vec![].into(), vec![f64::NAN].into(), f64::NAN.into()] {
        assert!(absent.is_absent(), "{absent}");
    }
    for present in [vec![f64::NAN, 1.0].into(), f64::INFINITY.into(), Value::Text(String::new())] {
        assert!(!present.is_absent(), "{present}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(
        text in "(\\{|\\}|\\[|\\]|\"|:|,|status|success|data|result|resultType|vector|[0-9.eE+-]){0,40}",
    ) {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn numbers_are_read_as_they_are_written(value in any::<f64>(), at_ms in 0i64..4_000_000_000_000) {
        let text = match value {
            value if value.is_nan() => "NaN".to_owned(),
            value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            value => format!("{value:e}"),
        };
        let seconds = format!("{}.{:03}", at_ms / 1000, at_ms % 1000);
        let json = success("scalar", &format!("[{seconds},\"{text}\"]"));
        let answer = parse(json.as_bytes()).expect("good");
        let Data::Scalar(sample) = answer.data else { panic!("a scalar") };
        prop_assert_eq!(sample.at_ms, at_ms);
        prop_assert!(sample.value == value || (sample.value.is_nan() && value.is_nan()));
    }
}
