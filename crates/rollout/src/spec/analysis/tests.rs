use umbra_document::laws;
use umbra_document::schema::Schema;
use umbra_drift::config::{Secret, Token};

use super::*;
use crate::spec::tests::{KAYENTA, analysis_of, parse_analysis};

const FULL: &str = r#"
args:
- {name: threshold-job, value: web}
- {name: port, value: 9090}
prometheus:
  address: https://prometheus.example:9090
  token: {file: /etc/umbra/token}
  timeout: 5s
templates:
- name: success-rate
  interval: 10s
  count: 6
  initialDelay: 30s
  successCondition: result[0] >= 0.95
  failureCondition: result[0] < 0.9
  failureLimit: 2
  consecutiveSuccessLimit: 4
  inconclusiveLimit: 1
  consecutiveErrorLimit: 3
  dryRun: true
  onFailure: pause
  provider:
    prometheus:
      query: |
        sum(rate(ok{job="{{args.threshold-job}}:{{ args.port }}",arm="{{arm}}"}[1m]))
      freshWithin: 2m
- name: latency
  failureCondition: any(result, {# > 0.5})
  provider:
    prometheus:
      query: histogram_quantile(0.99, rate(latency_bucket[1m]))
      range: {window: 5m, step: 30s}
      address: http://127.0.0.1:9090/
      timeout: 1s
background: {templates: [latency], startingStep: 2}
"#;

#[test]
fn everything_that_can_be_said_is_read() {
    let section = parse_analysis(FULL).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
    let condition = |text: &str| Some(Expression::parse(text).expect("a condition"));
    let token = Token { from: Secret::File("/etc/umbra/token".to_owned()), header: None };
    let success_rate = Analysis {
        name: "success-rate".to_owned(),
        interval_ms: Some(10_000),
        count: Some(6),
        initial_delay_ms: 30_000,
        success_condition: condition("result[0] >= 0.95"),
        failure_condition: condition("result[0] < 0.9"),
        failure_limit: Some(2),
        consecutive_success_limit: Some(4),
        inconclusive_limit: 1,
        consecutive_error_limit: 3,
        dry_run: true,
        on_failure: OnFailure::Pause,
        provider: Provider::Prometheus(Prometheus {
            server: Server {
                address: "https://prometheus.example:9090".to_owned(),
                token: Some(token),
                timeout_ms: 5_000,
            },
            query: "sum(rate(ok{job=\"web:9090\",arm=\"{{arm}}\"}[1m]))\n".to_owned(),
            range: None,
            fresh_ms: 120_000,
        }),
    };
    let latency = Analysis {
        name: "latency".to_owned(),
        interval_ms: None,
        count: None,
        initial_delay_ms: 0,
        success_condition: None,
        failure_condition: condition("any(result, {# > 0.5})"),
        failure_limit: Some(0),
        consecutive_success_limit: None,
        inconclusive_limit: 0,
        consecutive_error_limit: 4,
        dry_run: false,
        on_failure: OnFailure::Rollback,
        provider: Provider::Prometheus(Prometheus {
            // The secret is for the server it was given for.
            server: Server {
                address: "http://127.0.0.1:9090/".to_owned(),
                token: None,
                timeout_ms: 1_000,
            },
            query: "histogram_quantile(0.99, rate(latency_bucket[1m]))".to_owned(),
            range: Some(Range { window_ms: 300_000, step_ms: 30_000 }),
            fresh_ms: 60_000,
        }),
    };
    let background = Background { templates: vec!["latency".to_owned()], starting_step: 2 };
    let analyses = vec![success_rate, latency];
    assert_eq!(section, Section { analyses, background: Some(background) });
    let kept = serde_json::to_string(&section.analyses).expect("JSON");
    assert_eq!(serde_json::from_str::<Vec<Analysis>>(&kept).expect("read"), section.analyses);
}

/// A section with this template, and what is wrong with it.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let wrong = parse_analysis(text).expect_err("it is wrong").render(false);
    for expected in expected {
        assert!(wrong.contains(expected), "{expected} is not in\n{wrong}");
    }
}

#[track_caller]
fn check_template(keys: &str, expected: &[&str]) {
    let address = "prometheus: {address: 'http://a'}";
    check(
        &format!("{address}\ntemplates:\n- name: a\n  {}\n", keys.replace('\n', "\n  ")),
        expected,
    );
}

#[test]
fn mistakes_are_told_where_they_are() {
    let up = "provider: {prometheus: {query: up}}";
    check_template(
        &format!("{up}\nsuccessCondition: result[0] >= 0,95"),
        &["it is no condition: the condition is over before this", "rollout.yaml:5:35"],
    );
    check_template(
        &format!("{up}\nsuccessCondition: \"results > 1\""),
        &["did you mean `result`?", "rollout.yaml:5:22"],
    );
    check_template(up, &["needs `successCondition` or `failureCondition`"]);
    check_template(
        &format!("{up}\nfailureCondition: result > 1\ncount: 3"),
        &["3 measurements need an `interval` between them"],
    );
    check_template(
        "successCondition: result > 1\nprovider: {prometheus: {query: 'a{b=\"{{servise}}\"}'}}",
        &["nothing is called `{{servise}}`", "did you mean `service`?", "rollout.yaml:5:40"],
    );
    check_template(
        "successCondition: result > 1\nprovider: {prometheus: {query: ' '}}",
        &["the query is empty"],
    );
    check_template(
        "successCondition: result > 1\nprovider: {prometheus: {query: up, token: {env: A}}}",
        &["`token` is only allowed beside `address`"],
    );
    check_template(
        "successCondition: len(result) > 1\nprovider: {prometheus: {query: up, range: {window: 30d, step: 1s}}}",
        &["more than 11000 steps are in this window"],
    );
    check_template("successCondition: result > 1\nprovider: {}", &["needs one of"]);
    check_template(
        &format!("{up}\nsuccessCondition: result > 1\nfailureLimits: 1"),
        &["has no key `failureLimits`", "did you mean `failureLimit`?"],
    );
    check(
        "templates: [{name: a, successCondition: result > 1, provider: {prometheus: {query: up}}}]",
        &["nothing says which Prometheus to ask", "analysis.prometheus"],
    );
    check(
        "prometheus: {address: 'ftp://a'}\ntemplates: []",
        &["it begins with http:// or https://", "expected a list with at least one entry"],
    );
    let two = format!("{FULL}\n");
    check(&two.replace("name: latency", "name: success-rate"), &["two analysis templates have"]);
    check(
        &two.replace("[latency]", "[latensy]"),
        &["no analysis template `latensy`", "`latency`?"],
    );
    check(&two.replace("name: port", "name: threshold-job"), &["two arguments have the name"]);
    check(&two.replace("args.port", "args.prot"), &["did you mean `args.port`?"]);
}

#[test]
fn a_limit_that_is_never_reached_is_a_warning() {
    let text = "prometheus: {address: 'http://a'}\ntemplates: [{name: a, interval: 1s, count: 3, \
                failureLimit: 3, successCondition: result > 1, provider: {prometheus: {query: up}}}]";
    parse_analysis(text).expect("it can be used");
}

#[test]
fn a_canary_configuration_is_read_as_it_is() {
    let analysis = analysis_of(KAYENTA, "", "");
    assert_eq!(analysis.interval_ms, Some(300_000));
    assert_eq!(analysis.count, Some(2));
    assert_eq!(analysis.initial_delay_ms, 360_000);
    assert_eq!(analysis.on_failure, OnFailure::Pause);
    assert!(analysis.last_decides());
    let Provider::Kayenta(kayenta) = &analysis.provider else { panic!("{analysis:?}") };
    assert_eq!(
        (kayenta.step_ms, kayenta.begin_after_ms, kayenta.lookback_ms),
        (60_000, 60_000, None)
    );
    assert_eq!((kayenta.thresholds.pass, kayenta.thresholds.marginal), (95.0, 75.0));
    let query = kayenta.canary.query("errors", &kayenta.control).expect("a query");
    assert_eq!(query, "sum(rate(errors{arm=\"baseline\"}[1m]))");
    assert!(kayenta.canary.query("other", &kayenta.control).is_err());
    let kept = serde_json::to_string(&analysis).expect("JSON");
    assert_eq!(serde_json::from_str::<Analysis>(&kept).expect("read"), analysis);
}

/// A configuration whose only metric has this query, and what is asked of the candidate, or why
/// nothing can be.
#[track_caller]
fn check_query(query: &str, expected: Result<&str, &str>) {
    let text = format!(
        r#"prometheus: {{address: 'http://a'}}
templates:
- name: canary
  provider:
    kayenta:
      lifetime: 1h
      scopes: {{control: {{scope: old, location: eu}}, experiment: {{scope: new, location: eu}}}}
      config: {{"judge": {{"name": "NetflixACAJudge-v1.0", "judgeConfigurations": {{}}}},
        "templates": {{"whole": "PromQL: up{{s=\"${{scope}}\"}}", "part": "s=\"${{scope}}\""}},
        "metrics": [{{"name": "m", "groups": ["g"], "query": {query}}}]}}
"#
    );
    let parsed = parse_analysis(&text).map_err(|wrong| wrong.render(false));
    match (parsed, expected) {
        (Ok(section), Ok(asked)) => {
            let Provider::Kayenta(kayenta) = &section.analyses[0].provider else { panic!() };
            assert_eq!(kayenta.canary.query("m", &kayenta.experiment).as_deref(), Ok(asked));
        }
        (Err(wrong), Err(why)) => assert!(wrong.contains(why), "{why} is not in\n{wrong}"),
        (parsed, expected) => panic!("{parsed:?}, not {expected:?}"),
    }
}

#[test]
fn queries_of_canary_configurations_are_kayentas() {
    let type_ = r#""type": "prometheus", "serviceType": "prometheus""#;
    let of = |more: &str| format!("{{{type_}, {more}}}");
    check_query(
        &of(r#""metricName": "m", "customFilter": "a=\"b\",s=\"${scope}\",l=\"${location}\"""#),
        Ok(r#"avg(m{a="b",s="new",l="eu"})"#),
    );
    check_query(
        &of(r#""metricName": "m", "customFilterTemplate": "part""#),
        Ok(r#"avg(m{s="new"})"#),
    );
    check_query(&of(r#""customFilterTemplate": "whole""#), Ok(r#"up{s="new"}"#));
    check_query(&of(r#""customInlineTemplate": "PromQL:x{s=\"${scope}\"}""#), Ok(r#"x{s="new"}"#));
    check_query(
        &of(r#""customFilterTemplate": "none""#),
        Err("names a template that is not there"),
    );
    check_query(&of(r#""customInlineTemplate": "s=\"a\"""#), Err("has neither a `metricName`"));
    check_query(&of(r#""metricName": "m""#), Err("the query of `m` is the same for both scopes"));
    check_query(&of(r#""customInlineTemplate": "PromQL:x${zone}""#), Err("names `${zone}`"));
    check_query(&of(r#""customInlineTemplate": "PromQL:x${scope""#), Err("is not closed"));
    check_query(r#"{"type": "datadog", "metricName": "m"}"#, Err("expected `prometheus`"));
    check_query(
        &of(r#""metricName": "m", "customFilterTemplate": "part", "groupByFields": ["a"]"#),
        Err("are too many"),
    );
}

#[test]
fn what_a_canary_configuration_must_not_say() {
    let with = |more: &str| KAYENTA.replacen("lifetime: 10m", &format!("lifetime: 10m{more}"), 1);
    let template = |kayenta: &str, more: &str| {
        format!(
            "prometheus: {{address: 'http://a'}}\ntemplates: [{{name: a, provider: {{{kayenta}}}{more}}}]"
        )
    };
    check(
        &template(KAYENTA, ", interval: 5s"),
        &["`interval` says nothing where `kayenta` judges"],
    );
    check(&template(&with(", step: 6m"), ""), &["the key `step` appears twice"]);
    let step = KAYENTA.replace("step: 60s", "step: 6m");
    check(&template(&step, ""), &["a step of 360000 ms does not fit into 300000 ms"]);
    check(
        &template(&with(", lookback: 30s"), ""),
        &["a step of 60000 ms does not fit into 30000 ms"],
    );
    let often = KAYENTA.replace("10m", "999999999d").replace("5m", "1m");
    check(&template(&often, ""), &["these are more than 1000000 judgements"]);
    check(
        &template(&with(", thresholds: {pass: 50, marginal: 75}"), ""),
        &["marginal is 75 and pass 50"],
    );
    check(
        &template(&KAYENTA.replace("\"all\": 100", "\"all\": 60"), ""),
        &["the weights of the groups make 60 in all"],
    );
    check(&template(&KAYENTA.replace("increase", "increasing"), ""), &["did you mean `increase`?"]);
    check(
        &template(&KAYENTA.replace("\"groups\"", "\"group\""), ""),
        &["has no key `group`", "did you mean `groups`?"],
    );
}

#[test]
fn the_form_and_its_schema_agree_on_names() {
    assert!(laws::nouns_are_unique(&[&ANALYSIS]) > 15);
    let schema = Schema::default().object(&ANALYSIS);
    assert_eq!(schema["required"], serde_json::json!(["templates"]));
}
