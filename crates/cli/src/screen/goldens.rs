//! Every screen on one story: a build that is cached, runs, fails and halts, and one that
//! goes well. Names and output are hostile on purpose.

use umbra_api::build::{
    BuildEvent, BuildInfo, BuildPhase, Event, Failure, Figures, Metric, TestResult,
};
use umbra_api::image::{ImageInfo, MetricPoint, TimelineEntry};
use umbra_api::shadow::{ShadowInfo, ShadowPhase};
use umbra_api::state::{DiffEntry, DiffReply};
use umbra_state::diff::{Aspects, ChangeKind, DeltaCounts};
use umbra_state::{Cause, Digest, Evidence, Exit, StateId, TestKind, Verdict};

use super::model::Model;
use super::{difference, failure, lists, live, plain, summary};
use crate::ui::Paint;

fn state(number: u8) -> StateId {
    StateId(Digest::new([number; 32]))
}

fn delta(added: u64, content_bytes: u64) -> DeltaCounts {
    DeltaCounts { added, modified: 1, removed: 0, content_bytes }
}

fn result(name: &str, verdict: Verdict) -> TestResult {
    TestResult {
        name: name.into(),
        kind: TestKind::Integration,
        verdict,
        evidence: vec![Evidence {
            subject: "GET https://10.77.0.2/".into(),
            seen: "status 502\x1b[2J".into(),
            expected: Some("status 200".into()),
            verdict,
        }],
        error: None,
        output: Some("nginx: [emerg] unexpected \"}\"\n\x07bell\n".into()),
        shadow: "b12-1".into(),
        attempts: 2,
        took_us: 190_000,
        metrics: Vec::new(),
        findings: Vec::new(),
    }
}

fn the_failure() -> Failure {
    Failure {
        step: 2,
        step_name: "config".into(),
        test: Some(result("serves", Verdict::Fail)),
        step_output: None,
        before: state(2),
        after: state(3),
        shadow: Some("b12-1".into()),
        delta: vec![
            "~ /etc/nginx/nginx.conf (content)".into(),
            "+ /etc/nginx/conf.d/limits\\u{a}.conf".into(),
        ],
        delta_omitted: 3,
        discarded: vec!["data".into()],
        frozen_after_us: 4_200,
    }
}

fn opening() -> Vec<Event> {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    vec![
        Event::Started {
            build: 12,
            name: "web".into(),
            steps: names(&["packages", "site", "config", "data"]),
            tests: names(&["serves", "p99", "cves"]),
        },
        Event::BaseReady {
            state: state(0),
            source: "debian:bookworm".into(),
            cached: true,
            entries: 8743,
            took_us: 1_200,
        },
        Event::Pool { shadows: names(&["b12-1", "b12-2"]), reason: "the build began".into() },
        Event::StepCached { step: 0, state: state(1), delta: delta(460, 61_600_000) },
        Event::TestKept {
            step: 0,
            test: "cves".into(),
            verdict: Verdict::Pass,
            reason: "it passed on this state before".into(),
        },
        Event::StepStarted { step: 1, why: "its files changed".into(), speculative: false },
        Event::StepOutput { step: 1, text: "copying\x1b[31m\nsite/index.html\n".into() },
        Event::StepEnded { step: 1, exit: Exit::Code(0), took_us: 95_000 },
        Event::DeltaApplied { step: 1, shadow: "b12-1".into(), took_us: 2_100 },
        Event::StepIngested {
            step: 1,
            state: state(2),
            delta: delta(20, 112_000),
            took_us: 31_000,
        },
        Event::TestStarted {
            step: 1,
            test: "p99".into(),
            kind: TestKind::Performance,
            shadow: "b12-1".into(),
            since_step_us: 8_400,
        },
        Event::StepStarted {
            step: 2,
            why: "it comes after one that ran".into(),
            speculative: true,
        },
    ]
}

fn judged() -> Event {
    let metric =
        |name: &str, value, unit: &str| Metric { name: name.into(), value, unit: unit.into() };
    let result = TestResult {
        kind: TestKind::Performance,
        attempts: 1,
        metrics: vec![metric("p99", 12.3456, "ms"), metric("rps", 480.0, "1/s")],
        ..result("p99", Verdict::Pass)
    };
    Event::TestEnded { step: 1, result }
}

fn ended(phase: BuildPhase, verdict: Verdict, reason: Option<&str>) -> Event {
    let figures = Figures {
        steps_run: 2,
        steps_cached: 1,
        tests_run: 2,
        tests_kept: 1,
        delta_applied_us: vec![2_100, 3_300, 2_500],
        first_test_us: vec![8_400],
        ingested_us: vec![31_000],
        frozen_after_us: (verdict == Verdict::Fail).then_some(4_200),
        total_us: 1_234_000,
    };
    Event::Ended { phase, verdict, reason: reason.map(Into::into), figures }
}

fn halted() -> Vec<Event> {
    let mut events = opening();
    events.extend([
        judged(),
        Event::StepEnded { step: 2, exit: Exit::Code(0), took_us: 40_000 },
        Event::DeltaApplied { step: 2, shadow: "b12-2".into(), took_us: 1_900 },
        Event::TestEnded { step: 2, result: result("serves", Verdict::Fail) },
        Event::Halted { failure: the_failure() },
        ended(BuildPhase::Halted, Verdict::Fail, Some("serves failed after config")),
    ]);
    events
}

fn done() -> Vec<Event> {
    let mut events = opening();
    events.extend([
        judged(),
        Event::StepEnded { step: 2, exit: Exit::Code(0), took_us: 40_000 },
        Event::StepIngested { step: 2, state: state(3), delta: delta(1, 900), took_us: 9_000 },
        Event::Warning { message: "no cgroup v2: memory is not limited".into() },
        Event::Sealed { image: "web".into(), state: state(3) },
        Event::Exported {
            format: "tar".into(),
            path: "/srv/out/web.tar".into(),
            bytes: 350_200_000,
            took_us: 2_400_000,
        },
        ended(BuildPhase::Done, Verdict::Pass, None),
    ]);
    events
}

fn timed(events: Vec<Event>) -> Vec<BuildEvent> {
    let number = |(seq, event)| BuildEvent { seq, at_us: seq * 100_000, event };
    (0..).zip(events).map(number).collect()
}

fn model(events: &[BuildEvent]) -> Model {
    let mut model = Model::default();
    events.iter().for_each(|event| model.on(event));
    model
}

fn plain_screen(events: Vec<Event>, verbose: bool) -> String {
    let mut model = Model::default();
    let mut out = Vec::new();
    for event in timed(events) {
        model.on(&event);
        out.extend(plain::lines(&model, &event, verbose));
    }
    out.join("\n")
}

#[test]
fn plain_lines_of_a_build_that_halts() {
    insta::assert_snapshot!(plain_screen(halted(), false));
}

#[test]
fn plain_lines_of_a_build_that_goes_well() {
    insta::assert_snapshot!(plain_screen(done(), true));
}

#[test]
fn the_live_screen_in_the_middle() {
    let events = timed(opening());
    let lines = live::lines(&model(&events), 1_450_000, 78, Paint::plain());
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_live_screen_never_exceeds_its_width() {
    let events = timed(halted());
    for count in 0..=events.len() {
        for width in [20, 33, 200] {
            let lines = live::lines(&model(&events[..count]), 9_000_000, width, Paint::plain());
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
        }
    }
}

fn again() -> String {
    failure::build_again("/srv/my site/umbra.yaml", &[("release".into(), "2 \x1b".into())])
}

#[test]
fn a_halt_says_what_failed_and_what_can_be_entered() {
    let lines = failure::lines(&the_failure(), 12, &again(), Paint::plain());
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_failed_step_shows_what_it_printed() {
    let failure = Failure {
        test: None,
        step_output: Some((0..50).map(|line| format!("line {line}\n")).collect()),
        shadow: None,
        discarded: Vec::new(),
        ..the_failure()
    };
    let lines = failure::lines(&failure, 12, "umbra.yaml", Paint::plain()).join("\n");
    assert!(lines.contains("in step config: the step failed"), "{lines}");
    assert!(lines.contains("... 10 lines before") && lines.contains("line 49"), "{lines}");
    assert!(!lines.contains("the shadow it failed on"), "{lines}");
}

#[test]
fn the_summary_of_a_halt() {
    insta::assert_snapshot!(summary::lines(&model(&timed(halted())), Paint::plain()).join("\n"));
}

#[test]
fn the_summary_of_success() {
    insta::assert_snapshot!(summary::lines(&model(&timed(done())), Paint::plain()).join("\n"));
}

#[test]
fn no_screen_lets_an_escape_sequence_through() {
    let events = timed(halted());
    let model = model(&events);
    let screens = [
        plain_screen(halted(), true),
        live::lines(&model, 0, 200, Paint::plain()).join("\n"),
        failure::lines(&the_failure(), 12, &again(), Paint::plain()).join("\n"),
        summary::lines(&model, Paint::plain()).join("\n"),
    ];
    for screen in screens {
        assert!(!screen.chars().any(|c| c.is_control() && c != '\n'), "{screen:?}");
    }
}

#[test]
fn lists_are_tables() {
    let builds = [
        BuildInfo {
            id: 12,
            name: "web".into(),
            recipe: "/srv/umbra.yaml".into(),
            phase: BuildPhase::Halted,
            verdict: Verdict::Fail,
            state: Some(state(3)),
            started_at_ms: 1_700_000_000_000,
            ended_at_ms: Some(1_700_000_001_234),
            reason: Some("serves failed\nafter config".into()),
        },
        BuildInfo {
            id: 11,
            name: "web".into(),
            recipe: "/srv/umbra.yaml".into(),
            phase: BuildPhase::Running,
            verdict: Verdict::Inconclusive,
            state: None,
            started_at_ms: 1_700_000_000_000,
            ended_at_ms: None,
            reason: None,
        },
    ];
    let image = ImageInfo { name: "web".into(), state: state(3), build: 12, sealed_at_ms: 0 };
    let shadow = ShadowInfo {
        name: "b12-1".into(),
        provider: "sandbox".into(),
        state: Some(state(3)),
        phase: ShadowPhase::Frozen,
        owner: "build 12".into(),
        address: Some("10.77.0.2".into()),
        created_at_ms: 0,
        expires_at_ms: None,
    };
    let entry = |sequence, cause| TimelineEntry {
        timeline: "web".into(),
        sequence,
        state: state(3),
        parent: None,
        cause,
        at_ms: 0,
        labels: Vec::new(),
    };
    let timeline = [
        entry(0, Cause::BuildStep { build: 12, step: "config".into() }),
        entry(1, Cause::Seal { build: 12 }),
    ];
    let point = MetricPoint {
        build: 12,
        step: "site".into(),
        test: "p99".into(),
        name: "p99".into(),
        value: 12.3456,
        unit: "ms".into(),
        at_ms: 0,
    };
    let all = [
        lists::builds(&builds),
        lists::images(&[image]),
        lists::shadows(&[shadow]),
        lists::timeline(&timeline),
        lists::metrics(&[point]),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_difference_shows_paths_sizes_and_lines() {
    let entry = |path: &str, change| DiffEntry {
        path: path.into(),
        change,
        type_before: Some("file".into()),
        type_after: Some("file".into()),
        size_before: Some(1200),
        size_after: Some(1300),
        text: Vec::new(),
        text_missing: None,
    };
    let modified =
        ChangeKind::Modified(Aspects { content: true, mtime: true, ..Aspects::default() });
    let reply = DiffReply {
        before: state(2),
        after: state(3),
        counts: delta(1, 2500),
        entries: vec![
            DiffEntry {
                text: vec!["@@ -1,1 +1,1 @@".into(), "-a".into(), "+b".into()],
                ..entry("/etc/nginx/nginx.conf", modified)
            },
            entry("/etc/new", ChangeKind::Added),
            DiffEntry {
                type_before: Some("symlink".into()),
                ..entry("/etc/old", ChangeKind::Removed)
            },
            DiffEntry { text_missing: Some("not text".into()), ..entry("/usr/bin/x", modified) },
        ],
        omitted: 2,
    };
    insta::assert_snapshot!(difference::text(&reply, false));
    insta::assert_snapshot!("a_difference_in_a_line", difference::text(&reply, true));
}
