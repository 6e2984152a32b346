//! The scanners that recipes can name, as real programs on a real Debian root: what they find,
//! what of it counts, and what is said where they cannot look. The binary is its own launcher.

mod support;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Arguments;
use umbra_api::build::{Event, Finding, TestResult};
use umbra_state::Verdict;

use support::{Bench, Run, named, trial};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        return ExitCode::from(umbra_shadow::sandbox::launcher::main() as u8);
    }
    // One trial: they share the root, which takes longest to make.
    let trials = vec![trial("scanners_tell_what_a_build_adds", scanners_tell_what_a_build_adds)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn scanners_tell_what_a_build_adds(bench: &Bench) {
    for (name, text) in [
        ("benchmark.xml", include_str!("scanners/benchmark.xml")),
        ("oval.xml", include_str!("scanners/oval.xml")),
    ] {
        std::fs::write(bench.dir().join(name), text).expect("written");
    }
    let run = bench.build(include_str!("scanners/umbra.yaml"));
    what_the_origin_has_fails_nothing(&run);
    what_a_step_adds_fails(&run);
    a_state_without_scanners_gets_this_machines(&run);
    where_nothing_can_be_carried_nobody_looked(&run);
}

fn what_the_origin_has_fails_nothing(run: &Run) {
    let benchmark = result(run, "page", "benchmark");
    assert_eq!(benchmark.verdict, Verdict::Pass, "{benchmark:#?}");
    let known = finding(benchmark, "xccdf:banner");
    assert_eq!((known.severity.as_str(), known.baseline), ("high", true));
    assert_eq!(known.message, "A banner stands in /etc/issue.net");
    let audit = result(run, "page", "audit");
    assert_eq!(audit.verdict, Verdict::Pass, "{audit:#?}");
    assert!(finding(audit, "lynis:BANN-7126").baseline);
    assert!(audit.metrics.iter().any(|it| it.name == "hardening_index" && it.value > 10.0));
}

fn what_a_step_adds_fails(run: &Run) {
    for (test, rule, severity) in
        [("benchmark", "xccdf:no_empty_passwords", "high"), ("audit", "lynis:AUTH-9283", "medium")]
    {
        let result = result(run, "guest", test);
        assert_eq!(result.verdict, Verdict::Fail, "{result:#?}");
        let added = finding(result, rule);
        assert_eq!((added.severity.as_str(), added.baseline), (severity, false));
    }
}

fn a_state_without_scanners_gets_this_machines(run: &Run) {
    for (test, program, here, rule) in [
        ("benchmark", "oscap", "/usr/bin/oscap", "xccdf:banner"),
        ("audit", "lynis", "/usr/sbin/lynis", "lynis:BANN-7126"),
    ] {
        let result = result(run, "fewer", test);
        if Path::new(here).exists() {
            assert_eq!(result.verdict, Verdict::Pass, "{result:#?}");
            assert!(finding(result, rule).baseline);
        } else {
            println!("skipped: {test} with this machine's {program}, which it does not have");
            assert_unseen(result, &format!("find `{program}`"));
        }
    }
}

fn where_nothing_can_be_carried_nobody_looked(run: &Run) {
    for test in ["benchmark", "audit"] {
        assert_unseen(result(run, "nothing", test), "`");
    }
}

fn assert_unseen(result: &TestResult, error: &str) {
    assert_eq!(result.verdict, Verdict::Inconclusive, "{result:#?}");
    assert!(result.error.as_ref().is_some_and(|it| it.contains(error)), "{result:#?}");
    assert!(result.findings.is_empty(), "{result:#?}");
}

fn result<'a>(run: &'a Run, step: &str, test: &str) -> &'a TestResult {
    let steps = run.find(|event| named!(event, Event::Started { steps, .. } => steps.clone()));
    let step = steps.iter().position(|name| name == step).expect("a step");
    let found = run.events.iter().find_map(|event| {
        named!(event, Event::TestEnded { step: at, result }
            if *at == step && result.name == test => result)
    });
    found.unwrap_or_else(|| panic!("no result of {test} after step {step}: {:#?}", run.events))
}

fn finding<'a>(result: &'a TestResult, rule: &str) -> &'a Finding {
    let found = result.findings.iter().find(|finding| finding.rule == rule);
    found.unwrap_or_else(|| panic!("no {rule} in {result:#?}"))
}
