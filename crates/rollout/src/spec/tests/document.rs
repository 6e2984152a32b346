//! The document as a whole: what it means, and what is wrong with it.

use std::path::Path;

use jsonschema::Validator;
use proptest::prelude::*;
use umbra_document::{laws, scalar, source, yaml};

use crate::spec::*;

const EXAMPLE: &str = include_str!("../../../../../examples/rollout.yaml");

#[test]
fn nouns_name_shapes_uniquely() {
    assert!(laws::nouns_are_unique(&[&shapes::ROOT]) > 20);
}

#[test]
fn forms_and_patterns_agree() {
    laws::forms_agree(&[&shapes::NAME, &shapes::PATH], &[]);
}

/// `UMBRA_BLESS=1` writes the file anew.
#[test]
fn the_published_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rollout.schema.json");
    laws::is_published(path.as_ref(), &schema());
}

#[test]
fn a_service_is_enough() {
    assert_eq!(parse("rollout.yaml", "service: web"), Ok(Spec::usual("web")));
}

#[test]
fn the_example_says_what_it_means() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rollout.yaml");
    let spec = load(&path).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let usual = Spec::usual("web");
    let health =
        Health { path: "/healthz".to_owned(), every_ms: 200, timeout_ms: 1_000, healthy: 2 };
    let instances = Instances {
        count: 2,
        health: Some(health),
        warm_up: Some(WarmUp { requests: 50, path: "/".to_owned() }),
        ..usual.instances.clone()
    };
    assert_eq!(spec.instances, instances);
    // It says at length what holds anyway.
    assert_eq!((&spec.judge, spec.hold, spec.on_worse), (&usual.judge, usual.hold, usual.on_worse));
    let steps = [
        usual.steps[0].clone(),
        Step::SetWeight(1.0),
        Step::SetWeight(5.0),
        Step::Pause(Some(60_000)),
        Step::Analysis(vec!["success-rate".to_owned()]),
        Step::SetWeight(25.0),
        Step::SetWeight(50.0),
        Step::SetWeight(100.0),
    ];
    assert_eq!(spec.steps, steps);
    let guard = |limit, requests_min| Guard { limit, requests_min, over_ms: 60_000 };
    let guards = [guard(Limit::Errors(0.05), 100), guard(Limit::P99Us(500_000), 1_000)];
    assert_eq!(spec.guards, guards);
    assert_eq!((spec.analyses.len(), spec.webhooks.len()), (1, 1));
    let top_up = TopUp { requests: 2_000, rate: 50.0, path: "/".to_owned() };
    assert_eq!(spec.top_up, Some(top_up));
}

#[test]
fn what_is_left_out_is_as_usual() {
    let text = "\
service: web
route: front
control: fresh
judge: { errors: { refute: 3 }, latency: false }
steps: [{ setWeight: 0.5 }, { pause: {} }, { setWeight: 50 }]
hold: { proved: true, within: 1h }
deadline: 2m
";
    let spec = parse("rollout.yaml", text).expect("valid");
    let usual = Spec::usual("web");
    let errors = usual.judge.errors.map(|errors| Errors { refuted_ratio: 3.0, ..errors });
    // Nothing is mirrored, so nobody compares answers.
    let judge = Judge { errors, latency: None, differences: false, ..usual.judge.clone() };
    let steps = vec![Step::SetWeight(0.5), Step::Pause(None), Step::SetWeight(50.0)];
    let hold = Hold { proved: true, within_ms: Some(3_600_000), ..usual.hold };
    let expected = Spec {
        route: "front".to_owned(),
        control: Control::Fresh,
        judge,
        steps,
        hold,
        deadline_ms: 120_000,
        ..usual
    };
    assert_eq!(spec, expected);
}

#[test]
fn a_spec_is_kept_as_it_is() {
    for text in [EXAMPLE, "service: web"] {
        let spec = parse("rollout.yaml", text).expect("valid");
        let kept = serde_json::to_string(&spec).expect("it is written");
        assert_eq!(serde_json::from_str::<Spec>(&kept).expect("and read"), spec);
    }
}

/// Each of `told` is in what is said of the document: service `web`, and `text`.
#[track_caller]
fn refused(text: &str, told: &[&str]) {
    let text = format!("service: web\n{text}\n");
    let problems = parse("rollout.yaml", &text).expect_err("refused").render(false);
    for one in told {
        assert!(problems.contains(one), "{one} is not in\n{problems}");
    }
}

#[test]
fn every_mistake_is_told_at_its_place() {
    refused("stepz: []", &["has no key `stepz`", "did you mean `steps`?", "2:1"]);
    refused("steps: [{ setWeigth: 5 }]", &["did you mean `setWeight`?"]);
    refused("steps: []", &["at least one entry"]);
    refused("steps: [{ setWeight: 0 }]", &["above 0 and up to 100"]);
    refused("steps: [{ setWeight: 101 }]", &["above 0 and up to 100"]);
    refused("steps: [{ setWeight: .nan }]", &["above 0 and up to 100"]);
    refused("steps: [{ setWeight: 5, pause: {} }]", &["only one of"]);
    refused("hold: { requests: 0 }", &["whole number from 1"]);
    refused("hold: { for: 10 }", &["expected a duration"]);
    refused("hold: { within: 5s }", &["not longer than each weight is held"]);
    refused("guards: [{ errors: { max: 0.05 } }]", &["a percentage"]);
    refused("guards: [{ errors: { max: 100% } }]", &["guards nothing"]);
    refused("guards: [{}]", &["one of `errors` or `p99`"]);
    refused("judge: { alpha: 0 }", &["a number above 0"]);
    refused("judge: { errors: { tolerated: 0.5 } }", &["less than 1"]);
    refused("judge: { errors: { tolerated: 2 } }", &["more than what is tolerated"]);
    refused("judge: { latency: { tolerated: 20% } }", &["more than what is tolerated"]);
    refused("notify: [pigeon]", &["pigeon"]);
    refused(
        "webhooks: [{ name: a, type: confirm, url: 'http://a' }, { name: a, type: event, url: 'http://a' }]",
        &["confirm", "two webhooks have the name `a`"],
    );
    // All at once.
    refused(
        "on_worse: explode\nsteps:\n  - setWeight: 50\n  - setWeight: 5\n  - setMirror: { percent: 1 }\n",
        &["`explode`", "from 50 to 5", "before the first weight"],
    );
}

#[test]
fn weights_rise_and_add_up() {
    refused("steps: [{ setWeight: 5 }, { setWeight: 5 }]", &["from 5 to 5", "rollout.yaml:2:40"]);
    refused("steps: [{ pause: {} }]", &["no step gives the candidate any requests"]);
    let fresh = "control: fresh\nsteps: [{ setWeight: 50 }, { setWeight: 75 }, { setWeight: 100 }]";
    refused(fresh, &["75 % for the candidate", "do not add up"]);
}

#[test]
fn what_judges_nothing_is_refused() {
    let off = "judge: { errors: false, latency: false, differences: false }";
    refused(off, &["nothing judges the candidate"]);
    // Answers are compared only where requests are mirrored.
    let no_mirror = "judge: { errors: false, latency: false }\nsteps: [{ setWeight: 5 }]";
    refused(no_mirror, &["nothing judges the candidate"]);
    refused("steps: [{ setWeight: 100 }]", &["nothing judges", "a weight below 100"]);
    let dry = format!("{off}\nsteps: [{{ setWeight: 5 }}, {{ analysis: {{ templates: [a] }} }}]\n");
    let template = "\
analysis:
  prometheus: { address: 'http://127.0.0.1:9090' }
  templates: [{ name: a, successCondition: 'result[0] > 0', provider: { prometheus: { query: up } } }]
";
    parse("rollout.yaml", &format!("service: web\n{dry}{template}")).expect("it is measured");
    let dry = format!("{dry}{}", template.replace("name: a", "name: a, dryRun: true"));
    refused(&dry, &["nothing judges the candidate"]);
}

#[test]
fn analyses_are_there_and_end() {
    let with = |steps: &str, more: &str| {
        format!(
            "steps: [{{ setWeight: 5 }}{steps}]\n\
             analysis:\n  prometheus: {{ address: 'http://127.0.0.1:9090' }}\n  \
             templates: [{{ name: rate, successCondition: 'result[0] > 0', provider: {{ prometheus: {{ query: up }} }}{more} }}]\n"
        )
    };
    let step = ", { analysis: { templates: [{ templateName: rate }] } }";
    parse("x", &format!("service: web\n{}", with(step, ""))).expect("as Argo writes it");
    refused(&with("", ""), &["never measured"]);
    refused(&with(", { analysis: { templates: [rates] } }", ""), &["did you mean `rate`?"]);
    refused(&with(step, ", interval: 10s"), &["`rate` never ends"]);
    let late = format!("{}  background: {{ templates: [rate], startingStep: 1 }}\n", with("", ""));
    refused(&late, &["there are 1 steps"]);
}

fn agree(schema: &Validator, text: &str) {
    let mut found = Found::default();
    let root = yaml::parse(0, text, "rollout", &mut found);
    // What is no YAML never reaches a validator.
    let Some(root) = root else { return };
    check::check(&root, &shapes::ROOT, &mut found);
    let valid = schema.is_valid(&scalar::to_json(&root));
    if valid == found.has_errors() {
        let sources = [source::Source { name: "x".to_owned(), text: text.to_owned() }];
        let problems = found.into_problems(&sources).render(false);
        panic!("{text}\nthe schema says {valid}, the parser {problems}");
    }
}

#[test]
fn parser_and_schema_refuse_the_same_near_misses() {
    let validator = jsonschema::draft7::new(&schema()).expect("a schema");
    agree(&validator, EXAMPLE);
    laws::near_misses(EXAMPLE).for_each(|near| agree(&validator, &near));
}

proptest! {
    #[test]
    fn cut_files_are_read_to_an_end(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        text.truncate(at + 400);
        let _ = parse("x", &text.into_iter().collect::<String>()).map_err(|p| p.render(true));
    }

    /// Whatever is accepted has weights that rise, a step that gives requests, and a judge.
    #[test]
    fn accepted_weights_rise(weights in prop::collection::vec(-10_i32..120, 0..6)) {
        let steps: Vec<String> =
            weights.iter().map(|weight| format!("{{ setWeight: {weight} }}")).collect();
        let text = format!("service: web\nsteps: [{}]\n", steps.join(", "));
        let good = !weights.is_empty()
            && weights.windows(2).all(|pair| pair[0] < pair[1])
            && weights.iter().all(|weight| (1..=100).contains(weight))
            && weights[0] < 100;
        prop_assert_eq!(parse("x", &text).is_ok(), good);
    }
}
