//! The judge of Kayenta on configurations and series as users have them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use umbra_judge::classic::config::Problem;
use umbra_judge::classic::series::Series;
use umbra_judge::classic::{Classification, Config, Grade, Judgement, Thresholds, judge};

/// A metric of this analysis, in the group `all`.
fn config(analysis: &str) -> Config {
    let metric = format!(
        r#"{{"name": "m", "groups": ["all"], "query": {{"type": "prometheus"}},
             "analysisConfigurations": {{"canary": {analysis}}}, "scopeName": "default"}}"#
    );
    parsed(&format!(r#"{{"metrics": [{metric}]}}"#))
}

fn parsed(json: &str) -> Config {
    serde_json::from_str(json).expect("a configuration")
}

fn judged(config: &Config, series: &BTreeMap<&str, [Vec<f64>; 2]>) -> Judgement {
    judge(config, Thresholds::default(), |name| {
        let [control, experiment] = series.get(name)?;
        Some(Series { control, experiment })
    })
}

fn around(middle: f64) -> Vec<f64> {
    (0..30).map(|n| middle * (1.0 + f64::from(n * 7 % 11 - 5) / 100.0)).collect()
}

struct Case<'a> {
    analysis: &'a str,
    control: Vec<f64>,
    experiment: Vec<f64>,
}

#[track_caller]
fn check(case: Case<'_>, is: Classification, critical: bool, says: &str) {
    let Case { analysis, control, experiment } = case;
    let all = judged(&config(analysis), &BTreeMap::from([("m", [control, experiment])]));
    let metric = &all.metrics[0];
    assert_eq!((metric.classification, metric.critical), (is, critical), "{}", metric.reason);
    assert!(metric.reason.contains(says), "{:?} does not say {says:?}", metric.reason);
}

fn case(analysis: &str, control: f64, experiment: f64) -> Case<'_> {
    Case { analysis, control: around(control), experiment: around(experiment) }
}

#[test]
fn a_difference_in_a_direction_that_is_asked_about() {
    use Classification::{High, Low, Pass};
    check(case("{}", 100.0, 200.0), High, false, "higher by 100");
    check(case("{}", 100.0, 50.0), Low, false, "lower by -50");
    check(case("{}", 100.0, 100.5), Pass, false, "no difference that chance does not make");
    let (increase, decrease) = (r#"{"direction": "increase"}"#, r#"{"direction": "decrease"}"#);
    check(case(increase, 100.0, 200.0), High, false, "2 times the mean");
    check(case(increase, 100.0, 50.0), Pass, false, "not asked about");
    check(case(decrease, 100.0, 50.0), Low, false, "0.5 times the mean");
    check(case(decrease, 100.0, 200.0), Pass, false, "not asked about");
}

#[test]
fn a_difference_that_is_allowed() {
    use Classification::{High, Low, Pass};
    let limits = r#"{"effectSize": {"allowedIncrease": 1.2, "allowedDecrease": 0.8}}"#;
    check(case(limits, 100.0, 110.0), Pass, false, "1.1 times the mean, and 1.2 is allowed");
    check(case(limits, 100.0, 121.0), High, false, "limit 1.2");
    check(case(limits, 100.0, 90.0), Pass, false, "0.8 is allowed");
    check(case(limits, 100.0, 79.0), Low, false, "limit 0.8");
    let cles = r#"{"effectSize": {"measure": "cles", "allowedIncrease": 0.9}}"#;
    check(
        case(cles, 100.0, 104.0),
        Pass,
        false,
        "above the baseline with probability 0.7828, and 0.9 is allowed",
    );
    check(case(cles, 100.0, 120.0), High, false, "probability 1");
    // A ratio with 0 is none, and does not save the metric.
    let from_nothing = Case { analysis: limits, control: vec![0.0; 20], experiment: around(3.0) };
    check(from_nothing, High, false, "no ratio, for a mean is 0");
}

#[test]
fn a_critical_metric() {
    use Classification::{Error, High, Low, Nodata, Pass};
    check(case(r#"{"critical": true}"#, 100.0, 150.0), High, true, "critical from 1");
    check(case(r#"{"critical": true}"#, 100.0, 50.0), Low, true, "critical from 1");
    check(case(r#"{"critical": true}"#, 100.0, 100.5), Pass, false, "");
    let limit =
        r#"{"critical": true, "effectSize": {"criticalIncrease": 5, "criticalDecrease": 0.2}}"#;
    check(case(limit, 100.0, 150.0), High, false, "not critical before 5");
    check(case(limit, 100.0, 600.0), High, true, "critical from 5");
    check(case(limit, 100.0, 50.0), Low, false, "not critical before 0.2");
    check(case(limit, 100.0, 10.0), Low, true, "critical from 0.2");
    let empty = Case { analysis: limit, control: vec![], experiment: around(1.0) };
    check(empty, Nodata, true, "the baseline does not have a single point");
    let endless = Case { analysis: limit, control: around(1.0), experiment: vec![f64::INFINITY] };
    check(endless, Error, true, "a point is inf");
}

#[test]
fn missing_points() {
    use Classification::{Error, High, Nodata, NodataFailMetric, Pass};
    let case = |analysis, control: &[f64], experiment: &[f64]| Case {
        analysis,
        control: control.to_vec(),
        experiment: experiment.to_vec(),
    };
    let (remove, replace) = ("{}", r#"{"nanStrategy": "replace"}"#);
    let (must, nan) = (r#"{"mustHaveData": true}"#, [f64::NAN; 20]);
    check(case(remove, &nan, &around(1.0)), Nodata, false, "the baseline does not have");
    check(case(remove, &around(1.0), &[]), Nodata, false, "the candidate does not have");
    check(case(remove, &[], &[]), Nodata, false, "neither arm has");
    check(case(must, &nan, &nan), NodataFailMetric, false, "mustHaveData");
    check(case(replace, &[], &around(1.0)), Pass, false, "there is no evidence in this");
    check(case(replace, &nan, &around(1.0)), High, false, "higher by 1");
    check(case(replace, &nan, &nan), Pass, false, "same points");
    check(case(remove, &[1.0], &[2.0]), Error, false, "one point of each arm");
}

#[test]
fn points_that_do_not_vary() {
    use Classification::{High, Low, Pass};
    let constant = |control, experiment, counts: [usize; 2]| Case {
        analysis: "{}",
        control: vec![control; counts[0]],
        experiment: vec![experiment; counts[1]],
    };
    check(constant(1.0, 1.0, [3, 2]), Pass, false, "all points of both arms are 1");
    check(constant(1.0, 1.0, [3, 3]), Pass, false, "same points");
    check(constant(10.0, 20.0, [10, 10]), High, false, "higher by 10");
    check(constant(20.0, 10.0, [10, 10]), Low, false, "lower by -10");
    let below = Case {
        analysis: r#"{"effectSize": {"measure": "cles"}}"#,
        ..constant(-20.0, -10.0, [10, 10])
    };
    check(below, High, false, "higher by 10");
    check(constant(0.0, 10.0, [10, 10]), High, false, "higher by 10");
    let shuffled = Case { analysis: "{}", control: around(3.0), experiment: around(3.0) };
    check(
        Case { experiment: shuffled.experiment.iter().rev().copied().collect(), ..shuffled },
        Pass,
        false,
        "same points",
    );
    let one_zero = Case {
        analysis: r#"{"direction": "decrease"}"#,
        control: vec![1.0; 5],
        experiment: vec![0.0, 1.0, 1.0, 1.0, 1.0],
    };
    check(one_zero, Pass, false, "no difference that chance does not make");
}

#[test]
fn points_far_from_the_others() {
    let mut experiment = around(100.0);
    experiment.extend([9_000.0]);
    let of = |analysis| {
        let config = config(analysis);
        judged(&config, &BTreeMap::from([("m", [around(100.0), experiment.clone()])]))
    };
    let kept = of("{}");
    assert_eq!((kept.metrics[0].experiment.count, kept.metrics[0].experiment.max), (31, 9_000.0));
    // The 99th percentile of few points is most of the way to the last of them: it goes.
    let removed = of(r#"{"outliers": {"strategy": "remove", "outlierFactor": 3.0}}"#);
    assert_eq!(
        (removed.metrics[0].experiment.count, removed.metrics[0].experiment.outliers),
        (30, 1)
    );
    assert_eq!(removed.metrics[0].reason, "both arms have the same points");
}

/// Metrics by name, groups and more of their analysis.
fn of_groups(metrics: &[(&str, &str, &str)], weights: &str) -> Config {
    let metric = |&(name, groups, analysis): &(&str, &str, &str)| {
        format!(
            r#"{{"name": "{name}", "groups": {groups}, "analysisConfigurations": {{"canary": {{{analysis}}}}}}}"#
        )
    };
    let metrics: Vec<String> = metrics.iter().map(metric).collect();
    parsed(&format!(
        r#"{{"metrics": [{}], "classifier": {{"groupWeights": {weights}}}}}"#,
        metrics.join(",")
    ))
}

#[track_caller]
fn check_score(config: &Config, score: f64, grade: Grade, says: &str) -> Judgement {
    // By a metric's first letter.
    let series = |name: &str| match name.as_bytes()[0] {
        b'p' => [around(100.0), around(100.0)],
        b'h' => [around(100.0), around(200.0)],
        b'l' => [around(100.0), around(50.0)],
        b'e' => [around(100.0), vec![f64::INFINITY]],
        _ => [vec![], around(100.0)],
    };
    let series = config.metrics.iter().map(|one| (one.name.as_str(), series(&one.name))).collect();
    let judgement = judged(config, &series);
    assert_eq!((judgement.score, judgement.classification), (score, grade), "{judgement:?}");
    assert!(judgement.reason.contains(says), "{:?} does not say {says:?}", judgement.reason);
    judgement
}

#[test]
fn scores_of_groups_and_of_all() {
    let (one, two) = (r#"["one"]"#, r#"["two"]"#);
    let pass = of_groups(&[("p1", one, ""), ("p2", two, "")], "{}");
    check_score(&pass, 100.0, Grade::Pass, "2 of 2 metrics pass; 95 are needed");
    let half = of_groups(&[("p1", one, ""), ("h", two, "")], "{}");
    check_score(&half, 50.0, Grade::Fail, "1 of 2 metrics pass, h is High; less than 75 fail");
    let weighed = of_groups(&[("p1", one, ""), ("l", two, "")], r#"{"one": 80, "two": 20}"#);
    let all = check_score(&weighed, 80.0, Grade::Marginal, "l is Low; 95 would pass");
    assert_eq!(all.groups.iter().map(|group| group.score).collect::<Vec<_>>(), [100.0, 0.0]);
    // What has no name shares what is left.
    let rest =
        of_groups(&[("p1", one, ""), ("h", two, ""), ("p2", r#"["three"]"#, "")], r#"{"one": 50}"#);
    check_score(&rest, 75.0, Grade::Marginal, "2 of 3");
    let thirds = of_groups(&[("p1", one, ""), ("p2", one, ""), ("h", one, "")], "{}");
    check_score(&thirds, 66.67, Grade::Fail, "");
    let in_both = of_groups(&[("p1", r#"["one", "two"]"#, ""), ("h", two, "")], "{}");
    check_score(&in_both, 75.0, Grade::Marginal, "");
}

#[test]
fn metrics_that_do_not_count_and_such_that_count_for_all() {
    let one = r#"["one"]"#;
    let muted =
        of_groups(&[("p", one, ""), ("h", one, r#""muted": true, "critical": true"#)], "{}");
    let all = check_score(&muted, 100.0, Grade::Pass, "1 of 1");
    assert_eq!(all.metrics[1].classification, Classification::High);
    let critical =
        of_groups(&[("p1", one, ""), ("p2", one, ""), ("h", one, r#""critical": true"#)], "{}");
    check_score(&critical, 0.0, Grade::Fail, "critical metric h is High, higher by 100");
    let missing = of_groups(&[("p1", one, ""), ("p2", one, ""), ("n", one, "")], "{}");
    check_score(&missing, 100.0, Grade::Pass, "n is Nodata");
    let much_missing = of_groups(&[("p1", one, ""), ("n", one, "")], "{}");
    check_score(&much_missing, 0.0, Grade::Fail, "1 of 2 metrics have no data");
    let must = of_groups(&[("p1", one, ""), ("n", one, r#""mustHaveData": true"#)], "{}");
    check_score(&must, 50.0, Grade::Fail, "n is NodataFailMetric");
    let must_all = of_groups(
        &[("p1", one, ""), ("n", one, r#""mustHaveData": true, "critical": true"#)],
        "{}",
    );
    check_score(&must_all, 0.0, Grade::Fail, "critical metric n is Nodata");
    // A group without data weighs as if it passed.
    let silent = of_groups(&[("p1", one, ""), ("p2", one, ""), ("n", r#"["two"]"#, "")], "{}");
    let all = check_score(&silent, 100.0, Grade::Pass, "");
    assert!(all.groups[1].no_data);
    let unknown = of_groups(&[("e", one, "")], "{}");
    check_score(&unknown, 0.0, Grade::Fail, "1 of 1 metrics have no data");
    let unknown =
        of_groups(&[("p1", one, ""), ("p2", one, ""), ("e", one, r#""critical": true"#)], "{}");
    check_score(&unknown, 0.0, Grade::Fail, "critical metric e is Error");
    check_score(&parsed(r#"{"metrics": []}"#), 0.0, Grade::Fail, "0 of 0");
}

#[test]
fn a_configuration_as_users_have_it() {
    let config = parsed(
        r#"{
          "name": "checkout", "description": "golden signals", "applications": ["checkout"],
          "configVersion": "1", "judge": {"name": "NetflixACAJudge-v1.0", "judgeConfigurations": {}},
          "metrics": [{
            "name": "errors",
            "query": {"type": "prometheus", "serviceType": "prometheus", "metricName": "http_errors",
              "customInlineTemplate": "PromQL:rate(http_errors{arm=\"${scope}\"}[1m])"},
            "groups": ["Errors"], "scopeName": "default",
            "analysisConfigurations": {"canary": {
              "direction": "increase", "nanStrategy": "replace", "critical": true,
              "mustHaveData": false, "muted": false,
              "effectSize": {"measure": "meanRatio", "allowedIncrease": 1.1, "allowedDecrease": 0.9,
                "criticalIncrease": 5, "criticalDecrease": 0.5},
              "outliers": {"strategy": "remove", "outlierFactor": 3.0}}}
          }],
          "templates": {}, "classifier": {"groupWeights": {"Errors": 100.0}}
        }"#,
    );
    assert_eq!(config.problems(Thresholds::default()), []);
    let again = serde_json::to_string(&config).expect("JSON");
    assert_eq!(parsed(&again), config);
    let unknown = r#"{"metrics": [{"name": "m", "analysisConfigurations": {"canary": {"directon": "increase"}}}]}"#;
    let error = serde_json::from_str::<Config>(unknown).expect_err("a misspelt key");
    assert!(error.to_string().contains("directon"), "{error}");
}

#[test]
fn configurations_that_judge_something_else() {
    #[track_caller]
    fn check(config: &Config, thresholds: Thresholds, known: &[&str]) {
        let told: Vec<String> =
            config.problems(thresholds).iter().map(Problem::to_string).collect();
        assert_eq!(told, known);
    }
    let (fine, one) = (Thresholds::default(), r#"["one"]"#);
    check(
        &parsed(r#"{"metrics": []}"#),
        fine,
        &["no metric counts: there must be one that is not muted"],
    );
    check(
        &of_groups(&[("p", one, ""), ("p", one, "")], "{}"),
        fine,
        &[r#"metric "p" is there twice"#],
    );
    check(
        &of_groups(&[("p", "[]", "")], "{}"),
        fine,
        &[r#"metric "p" is in no group and so counts nowhere"#],
    );
    check(
        &of_groups(&[("p", one, r#""effectSize": {"allowedIncrease": -1}"#)], "{}"),
        fine,
        &[r#"allowedIncrease of metric "p" is -1, not a number above 0"#],
    );
    let weighed = |weights| of_groups(&[("p", one, "")], weights);
    check(&weighed(r#"{"one": 100}"#), fine, &[]);
    check(&weighed(r#"{"one": 60}"#), fine, &["the weights of the groups make 60 in all, not 100"]);
    check(
        &weighed(r#"{"two": 60}"#),
        fine,
        &[r#"group "two" has a weight and no metric that counts"#],
    );
    check(
        &weighed(r#"{"one": 101}"#),
        fine,
        &[r#"the weight 101 of group "one" is not between 0 and 100"#],
    );
    let rest = |weight: u32| {
        of_groups(&[("p", one, ""), ("q", r#"["two"]"#, "")], &format!(r#"{{"one": {weight}}}"#))
    };
    check(&rest(60), fine, &[]);
    check(&rest(100), fine, &["the weights of the groups make 100 in all, not 100"]);
    check(
        &weighed("{}"),
        Thresholds { pass: 50.0, marginal: 75.0 },
        &["marginal is 75 and pass 50: not 0 <= marginal <= pass <= 100"],
    );
}

fn points() -> impl Strategy<Value = Vec<f64>> {
    let point = prop_oneof![
        4 => -5_i32..20,
        1 => Just(i32::MAX),
    ];
    let as_number = |point| match point {
        i32::MAX => f64::NAN,
        point => f64::from(point),
    };
    prop_oneof![
        4 => prop::collection::vec(point.prop_map(as_number), 0..30),
        1 => prop::collection::vec(any::<f64>(), 0..30),
    ]
}

proptest! {
    /// Whatever is measured there is an answer, with a reason, which is read as it was written; and
    /// the order of points is nothing to it.
    #[test]
    fn there_is_always_an_answer(control in points(), experiment in points(),
        analysis in prop::sample::select(vec![
            "{}",
            r#"{"nanStrategy": "replace", "critical": true}"#,
            r#"{"direction": "increase", "outliers": {"strategy": "remove"}}"#,
            r#"{"mustHaveData": true, "effectSize": {"measure": "cles", "allowedIncrease": 0.7}}"#,
        ])) {
        let of = |control: &[f64], experiment: &[f64]| {
            let arms = [control.to_vec(), experiment.to_vec()];
            judged(&config(analysis), &BTreeMap::from([("m", arms)]))
        };
        let all = of(&control, &experiment);
        prop_assert!((0.0..=100.0).contains(&all.score));
        prop_assert!(!all.reason.is_empty() && !all.metrics[0].reason.is_empty());
        let evidence = all.metrics[0].difference;
        let found = all.metrics[0].classification;
        if matches!(found, Classification::High | Classification::Low) {
            prop_assert!(evidence.is_some_and(|one| one.least.is_finite() && one.most.is_finite()));
        }
        let written = serde_json::to_string(&all).expect("JSON");
        // No number is one that JSON does not have.
        let read: Judgement = serde_json::from_str(&written).expect("a judgement");
        prop_assert_eq!(&read.metrics[0].reason, &all.metrics[0].reason);
        let turned = |points: &[f64]| points.iter().rev().copied().collect::<Vec<_>>();
        let again = of(&turned(&control), &turned(&experiment));
        prop_assert_eq!(again.metrics[0].classification, found);
    }
}
