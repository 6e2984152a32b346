use super::*;
use crate::fetch::{FetchError, Reply, Request};
use crate::spec::tests::{KAYENTA, analysis_of};

/// Answers by what is in the address.
struct Server(&'static [(&'static str, u16, &'static str)]);

impl Fetch for Server {
    fn fetch(&self, request: &Request) -> Result<Reply, FetchError> {
        let found = self.0.iter().find(|(part, ..)| request.url.contains(part));
        let (_, status, body) = found.ok_or_else(|| FetchError { why: "nobody".to_owned() })?;
        Ok(Reply { status: *status, body: body.as_bytes().to_vec(), cut: false })
    }
}

const ABOUT: About<'_> = About {
    names: Names { service: "web", arm: "candidate", rollout: 7 },
    began_ms: 1_000_000,
    now_ms: 1_000_000,
};

const GOOD: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1000,"1"]}]}}"#;
const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
const NAN: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1000,"NaN"]}]}}"#;
const LATE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[900,"1"]}]}}"#;
const REFUSED: &str = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
const SERIES: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[760,"1"],[1000,"2"]]}]}}"#;
const NO_SERIES: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;

fn of(query: &str) -> Analysis {
    analysis_of(
        &format!("prometheus: {{query: '{query}'}}"),
        "successCondition: 'result[0] > 0'",
        "",
    )
}

#[track_caller]
fn check(analysis: Analysis, answers: &'static [(&'static str, u16, &'static str)], works: &str) {
    let tried = try_all(&[analysis], &Server(answers), ABOUT);
    let is = match &tried[0].works {
        Works::Yes { value } => format!("yes: {value}"),
        Works::NotYet => "not yet".to_owned(),
        Works::No { why } => format!("no: {why}"),
    };
    assert!(is.starts_with(works), "{is}");
    let refused = refusal(&tried);
    assert_eq!(refused.is_some(), works.starts_with("no:"), "{refused:?}");
}

#[test]
fn a_metric_works_that_has_a_value_and_a_decision() {
    check(of("up"), &[("query=up", 200, GOOD)], "yes: [1]");
    check(of("up"), &[("query=up", 200, EMPTY)], "not yet");
    check(of("up"), &[("query=up", 200, NAN)], "not yet");
    check(
        of("up"),
        &[("query=up", 200, LATE)],
        "no: cannot ask Prometheus: what it answers is of 100000 ms ago",
    );
    check(
        of("up"),
        &[("query=up", 400, REFUSED)],
        "no: cannot ask Prometheus: it answered 400: bad_data: parse error",
    );
    check(of("up"), &[], "no: cannot reach Prometheus: nobody");
    let wrong = analysis_of("prometheus: {query: up}", "successCondition: 'result > 0'", "");
    check(wrong, &[("up", 200, GOOD)], "no: cannot decide `result > 0`");
}

#[test]
fn it_is_tried_on_what_is_in_production() {
    check(of("up{{arm}}"), &[("query=upbaseline", 200, GOOD)], "yes: [1]");
    check(
        of("up{{arm}}"),
        &[("query=upbaseline", 200, EMPTY)],
        "no: there is no value of what is in",
    );
}

#[test]
fn a_canary_configuration_is_tried_as_a_whole() {
    let canary = || analysis_of(KAYENTA, "", "");
    check(canary(), &[("errors", 200, SERIES)], "yes: 1 metrics have points");
    check(canary(), &[("errors", 200, NO_SERIES)], "not yet");
    check(canary(), &[("errors", 200, GOOD)], "no: metric errors: it is no series");
    check(canary(), &[], "no: metric errors: cannot reach Prometheus: nobody");
}

#[test]
fn nothing_begins_without_one_that_works() {
    let tried = |works: Vec<Works>| {
        let name = "m".to_owned();
        works.into_iter().map(|works| Tried { name: name.clone(), works }).collect::<Vec<_>>()
    };
    let yes = || Works::Yes { value: "1".to_owned() };
    let no = || Works::No { why: "x".to_owned() };
    assert_eq!(refusal(&[]), None);
    assert_eq!(refusal(&tried(vec![yes(), no()])), None);
    assert_eq!(refusal(&tried(vec![no(), Works::NotYet])), None);
    assert_eq!(refusal(&tried(vec![no(), no()])).as_deref(), Some("no metric works: m: x; m: x"));
}
