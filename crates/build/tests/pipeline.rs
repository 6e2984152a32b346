//! Whole builds on the real kernel, from a small directory as origin. The binary is its own
//! launcher, so it has a `main` of its own.

mod support;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::Arguments;
use umbra_api::build::{Answer, BuildPhase, Event, OnError};
use umbra_state::Verdict;
use umbra_store::StoreOptions;
use umbra_store::overlay::support::ImageSupport;

use support::{Bench, named, trial, trial_with};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        return ExitCode::from(umbra_shadow::sandbox::launcher::main() as u8);
    }
    let trials = vec![
        trial("a_good_build_is_sealed", a_good_build_is_sealed),
        trial("a_second_build_comes_from_the_cache", a_second_build_comes_from_the_cache),
        trial("a_changed_step_runs_again_and_says_why", a_changed_step_runs_again_and_says_why),
        trial("a_failed_test_halts_with_its_cause", a_failed_test_halts_with_its_cause),
        trial("the_earliest_failing_step_is_blamed", the_earliest_failing_step_is_blamed),
        trial("a_failed_step_halts_with_its_output", a_failed_step_halts_with_its_output),
        trial("steps_run_ahead_of_slow_tests", steps_run_ahead_of_slow_tests),
        trial("tests_see_a_fresh_view", tests_see_a_fresh_view),
        trial("hard_links_survive_stacking", hard_links_survive_stacking),
        trial("a_secret_is_in_no_layer", a_secret_is_in_no_layer),
        trial("an_asked_build_goes_on_or_tries_again", an_asked_build_goes_on_or_tries_again),
        trial("until_stops_early_and_seals_nothing", until_stops_early_and_seals_nothing),
        trial("cancelling_leaves_nothing", cancelling_leaves_nothing),
        trial("a_service_on_loopback_is_ready_when_it_answers", a_service_on_loopback),
        trial(
            "a_service_that_does_not_start_is_no_verdict",
            a_service_that_does_not_start_is_no_verdict,
        ),
        trial("an_image_without_its_systemd_is_told_so", without_systemd),
        trial_with(
            "states_that_are_written_out_serve_as_well",
            StoreOptions { shown_by: Some(ImageSupport::Checkout), ..StoreOptions::default() },
            written_out,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

const GOOD: &str = "
version: 1
name: good
from: {dir: root}
steps:
  - {name: one, run: 'echo one > /one', network: false}
  - {name: two, write: {path: /etc/two, content: two}}
tests:
  - {name: has one, run: 'grep -q one /one', services: false}
  - {name: has two, run: 'grep -q two /etc/two', after: [two], services: false}
";

fn a_good_build_is_sealed(bench: &Bench) {
    let run = bench.build(GOOD);
    assert_eq!(run.phase, BuildPhase::Done, "{:#?}", run.events);
    assert_eq!(run.verdict(), Verdict::Pass);
    let sealed = run.find(|event| named!(event, Event::Sealed { state, .. } => *state));
    assert_eq!(bench.store.get_ref("image/good").expect("ref"), Some(sealed));
    let tree = bench.store.load(sealed).expect("the image");
    assert!(tree.get(b"one").is_some() && tree.get(b"etc/two").is_some());
    let tested = run.count(|event| matches!(event, Event::TestEnded { .. }));
    assert_eq!(tested, 3);
    // An idle shadow goes straight to the newest of several.
    assert!(run.count(|event| matches!(event, Event::DeltaApplied { .. })) >= 1);
}

fn a_second_build_comes_from_the_cache(bench: &Bench) {
    let first = bench.build(GOOD);
    let second = bench.build(GOOD);
    assert_eq!(second.phase, BuildPhase::Done);
    assert_eq!(second.count(|event| matches!(event, Event::StepCached { .. })), 2);
    assert_eq!(second.count(|event| matches!(event, Event::StepStarted { .. })), 0);
    assert_eq!(second.count(|event| matches!(event, Event::TestKept { .. })), 3);
    let sealed =
        |run: &support::Run| run.find(|e| named!(e, Event::Sealed { state, .. } => *state));
    assert_eq!(sealed(&first), sealed(&second));
}

/// As on kernels that cannot mount images.
fn written_out(bench: &Bench) {
    a_good_build_is_sealed(bench);
    a_second_build_comes_from_the_cache(bench);
    hard_links_survive_stacking(bench);
    assert!(bench.dir().join("store/checkouts").read_dir().expect("listed").count() > 0);
}

/// Only the complete image must have it, and only for tests that look at what it runs.
fn without_systemd(bench: &Bench) {
    let recipe = GOOD.replace("steps:", "shadows: {init: systemd}\nsteps:").replace(
        "after: [two], services: false}",
        "after: [two]}\n  - {name: early, run: 'true', after: [one]}",
    );
    let run = bench.build(&recipe);
    let early = run.find(|event| {
        named!(event, Event::TestEnded { result, .. }
        if result.name == "early" => result.clone())
    });
    assert_eq!(early.verdict, Verdict::Pass, "{early:#?}");
    let late = run.find(|event| {
        named!(event, Event::TestEnded { result, .. }
        if result.name == "has two" => result.clone())
    });
    assert_eq!(late.verdict, Verdict::Inconclusive, "{late:#?}");
    let error = late.error.expect("why nobody could look");
    assert!(error.contains("the image has none: add the package systemd-sysv"), "{error}");
}

fn a_changed_step_runs_again_and_says_why(bench: &Bench) {
    bench.build(GOOD);
    let run = bench.build(&GOOD.replace("content: two", "content: two!"));
    assert_eq!(run.count(|event| matches!(event, Event::StepCached { .. })), 1);
    let why = run.find(|event| named!(event, Event::StepStarted { why, .. } => why.clone()));
    assert_eq!(why, "its definition changed");
}

fn a_failed_test_halts_with_its_cause(bench: &Bench) {
    let recipe = GOOD.replace("grep -q two /etc/two'", "echo looked; grep -q three /etc/two'");
    let run = bench.build(&recipe);
    assert_eq!(run.phase, BuildPhase::Halted, "{:#?}", run.events);
    assert_eq!(run.verdict(), Verdict::Fail);
    let failure = run.find(|event| named!(event, Event::Halted { failure } => failure.clone()));
    assert_eq!(failure.step_name, "two");
    let test = failure.test.expect("the test");
    assert_eq!(test.name, "has two");
    assert!(test.output.expect("its output").contains("looked"));
    assert!(failure.delta.iter().any(|line| line == "+ /etc/two"), "{:?}", failure.delta);
    let before = bench.store.load(failure.before).expect("before");
    let after = bench.store.load(failure.after).expect("after");
    assert!(before.get(b"etc/two").is_none() && after.get(b"etc/two").is_some());
    let kept = run.build.kept_shadow().expect("the shadow it failed on");
    assert_eq!(Some(kept.name()), failure.shadow.as_deref());
    kept.thaw().expect("thawed");
    let shown = kept.run(&umbra_state::Command::new(["cat", "/etc/two"])).expect("ran");
    assert_eq!(shown.stdout, b"two", "it no longer shows what it failed on");
    assert!(bench.store.get_ref("image/good").expect("ref").is_none());
    // Corrected, it goes on from the last good step.
    let again = bench.build(GOOD);
    assert_eq!(again.phase, BuildPhase::Done);
    assert!(again.count(|event| matches!(event, Event::StepCached { .. })) >= 1);
}

fn the_earliest_failing_step_is_blamed(bench: &Bench) {
    let run = bench.build(
        "
version: 1
name: blame
from: {dir: root}
steps:
  - {name: one, run: 'true', network: false}
  - {name: two, run: 'true', network: false}
tests:
  - {name: slow and bad, run: 'sleep 1; false', after: [one], services: false}
  - {name: fast and bad, run: 'false', after: [two], services: false}
shadows: {min: 2, max: 2}
",
    );
    let failure = run.find(|event| named!(event, Event::Halted { failure } => failure.clone()));
    assert_eq!(failure.step_name, "one");
}

fn a_failed_step_halts_with_its_output(bench: &Bench) {
    let run = bench.build(
        "
version: 1
name: step
from: {dir: root}
steps:
  - {name: fine, run: 'echo fine > /fine', network: false}
  - {name: broken, run: 'echo half > /half; echo it broke; exit 9', network: false}
  - {name: never, run: 'echo never > /never', network: false}
",
    );
    assert_eq!(run.phase, BuildPhase::Halted);
    let failure = run.find(|event| named!(event, Event::Halted { failure } => failure.clone()));
    assert_eq!(failure.step_name, "broken");
    assert!(failure.test.is_none());
    assert!(failure.step_output.expect("output").contains("it broke"));
    let after = bench.store.load(failure.after).expect("what it left");
    assert!(after.get(b"half").is_some() && after.get(b"never").is_none());
}

fn steps_run_ahead_of_slow_tests(bench: &Bench) {
    let run = bench.build(
        "
version: 1
name: ahead
from: {dir: root}
steps:
  - {name: one, run: 'true', network: false}
  - {name: two, run: 'true', network: false}
tests:
  - {name: slow, run: 'sleep 1', after: [one], services: false}
",
    );
    assert_eq!(run.phase, BuildPhase::Done);
    let at =
        |wanted: &dyn Fn(&Event) -> bool| run.events.iter().position(wanted).expect("the event");
    let two = at(&|event| matches!(event, Event::StepStarted { step: 1, .. }));
    let slow = at(&|event| matches!(event, Event::TestEnded { .. }));
    assert!(two < slow, "step two waited for the test of step one");
}

fn tests_see_a_fresh_view(bench: &Bench) {
    let run = bench.build(
        "
version: 1
name: fresh
from: {dir: root}
steps:
  - {name: one, run: 'echo one > /one', network: false}
tests:
  - {name: dirty, run: 'test ! -e /dirt; echo dirt > /dirt; echo bad > /one; sleep 100 &', services: false}
  - {name: dirty too, run: 'test ! -e /dirt; grep -q one /one; echo dirt > /dirt', services: false}
shadows: {min: 1, max: 1}
",
    );
    assert_eq!(run.phase, BuildPhase::Done, "{:#?}", run.events);
    let image = run.find(|event| named!(event, Event::Sealed { state, .. } => *state));
    assert!(bench.store.load(image).expect("image").get(b"dirt").is_none());
}

/// Writing one name of a linked file of the origin must be seen under its other name, in the
/// next step and in the image.
fn hard_links_survive_stacking(bench: &Bench) {
    std::fs::write(bench.root().join("linked-a"), "old").expect("written");
    std::fs::hard_link(bench.root().join("linked-a"), bench.root().join("linked-b"))
        .expect("linked");
    let run = bench.build(
        "
version: 1
name: links
from: {dir: root}
steps:
  - {name: one, run: 'echo new > /linked-a', network: false}
  - {name: two, run: 'grep -q new /linked-b', network: false}
tests:
  - {name: both, run: 'grep -q new /linked-b', services: false}
",
    );
    assert_eq!(run.phase, BuildPhase::Done, "{:#?}", run.events);
    let image = run.find(|event| named!(event, Event::Sealed { state, .. } => *state));
    let tree = bench.store.load(image).expect("image");
    assert_eq!(tree.links().len(), 1);
}

fn a_secret_is_in_no_layer(bench: &Bench) {
    std::fs::write(bench.dir().join("token"), "s3cret-value").expect("written");
    let run = bench.build(
        "
version: 1
name: secret
from: {dir: root}
steps:
  - name: one
    run: 'grep -q s3cret /run/secrets/token'
    network: false
    secrets: [{id: token, file: token, target: /run/secrets/token}]
",
    );
    assert_eq!(run.phase, BuildPhase::Done, "{:#?}", run.events);
    let image = run.find(|event| named!(event, Event::Sealed { state, .. } => *state));
    assert!(bench.store.load(image).expect("image").get(b"run/secrets/token").is_none());
}

fn an_asked_build_goes_on_or_tries_again(bench: &Bench) {
    let recipe = GOOD.replace("grep -q two /etc/two'", "false'");
    let run = bench.build_with(
        &recipe,
        |request| request.on_error = Some(OnError::Ask),
        &[Answer::Retry, Answer::Continue],
    );
    assert_eq!(run.phase, BuildPhase::Done, "{:#?}", run.events);
    assert_eq!(run.verdict(), Verdict::Fail);
    assert_eq!(run.count(|event| matches!(event, Event::Asked { .. })), 2);
    assert_eq!(run.count(|event| matches!(event, Event::Sealed { .. })), 0);
}

fn until_stops_early_and_seals_nothing(bench: &Bench) {
    let run = bench.build_with(GOOD, |request| request.until = Some("one".to_owned()), &[]);
    assert_eq!(run.phase, BuildPhase::Done);
    assert_eq!(run.count(|event| matches!(event, Event::StepEnded { .. })), 1);
    assert_eq!(run.count(|event| matches!(event, Event::Sealed { .. })), 0);
}

fn cancelling_leaves_nothing(bench: &Bench) {
    let recipe = "
version: 1
name: long
from: {dir: root}
steps:
  - {name: one, run: 'sleep 600', network: false}
";
    let build = bench.start(recipe, |_| {});
    bench.wait_for(|event| matches!(event, Event::StepStarted { .. }));
    let asked = std::time::Instant::now();
    build.cancel();
    assert_eq!(build.wait(), BuildPhase::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(10));
}

fn a_service_that_does_not_start_is_no_verdict(bench: &Bench) {
    let run = bench.build(
        "
version: 1
name: service
from: {dir: root}
steps:
  - {name: one, run: 'true', network: false}
services:
  - {name: web, run: 'echo no config; exit 1', ready: {port: 80}, timeout: 5s}
tests:
  - {name: up, run: 'true', services: true}
",
    );
    assert_eq!(run.phase, BuildPhase::Halted, "{:#?}", run.events);
    assert_eq!(run.verdict(), Verdict::Inconclusive);
    let failure = run.find(|event| named!(event, Event::Halted { failure } => failure.clone()));
    let test = failure.test.expect("test");
    assert!(test.error.expect("why nobody could look").contains("exit code 1"));
    assert!(test.output.expect("the service's output").contains("no config"));
}

/// Nobody outside reaches such a service, and it is asked all the same.
fn a_service_on_loopback(bench: &Bench) {
    let run = bench.build(
        "
version: 1
name: loopback
from: {dir: root}
steps:
  - {name: one, write: {path: /www/health, content: fine}}
services:
  - name: web
    run: [httpd, -f, -p, '127.0.0.1:8080', -h, /www]
    ready: {http: 'http://127.0.0.1:8080/health'}
    timeout: 10s
tests:
  - {name: up, run: 'wget -q -O - http://127.0.0.1:8080/health | grep -q fine', services: true}
",
    );
    assert_eq!(run.phase, BuildPhase::Done, "{:#?}", run.events);
}
