//! Every screen of rollouts.

use umbra_api::rollout::RolloutStatus;
use umbra_judge::outcome::Decision;

use super::explain::Explained;
use super::model::Model;
use super::{ending, explain, list, live, plain, replay, stories};
use crate::ui::Paint;

fn screen(status: RolloutStatus) -> String {
    live::lines(&Model::new(status), stories::NOW_MS, 100, Paint::plain()).join("\n")
}

fn end(status: &RolloutStatus) -> String {
    ending::lines(status, Paint::plain()).join("\n")
}

#[test]
fn a_rollout_that_goes_on() {
    insta::assert_snapshot!("running", screen(stories::running()));
    insta::assert_snapshot!("shadow_stage", screen(stories::shadow_stage()));
    insta::assert_snapshot!("low_traffic", screen(stories::low_traffic()));
    insta::assert_snapshot!("gated", screen(stories::gated()));
}

#[test]
fn a_rollout_that_is_over() {
    insta::assert_snapshot!("errors", end(&stories::errors()));
    insta::assert_snapshot!("slow_tail", end(&stories::slow_tail()));
    insta::assert_snapshot!("differences", end(&stories::differences()));
    insta::assert_snapshot!("guarded", end(&stories::guarded()));
    insta::assert_snapshot!("promoted", end(&stories::promoted(false)));
    insta::assert_snapshot!("never_healthy", end(&stories::never_healthy()));
    insta::assert_snapshot!("inconclusive", end(&stories::inconclusive()));
    assert!(end(&stories::promoted(true)).contains("proved: it is not worse"));
}

#[test]
fn the_screen_while_it_is_rolled_back_says_why() {
    let mut model = Model::new(stories::running());
    // Up to the standing before the end.
    let events = stories::events();
    events[..events.len() - 1].iter().for_each(|event| model.on(event));
    model.status.phase = umbra_api::rollout::RolloutPhase::RollingBack;
    model.away = Some("reach the daemon\x1b".into());
    let lines = live::lines(&model, stories::NOW_MS, 120, Paint::plain());
    insta::assert_snapshot!("rolling_back", lines.join("\n"));
}

#[test]
fn lines_of_a_rollout() {
    let mut writer = plain::Writer::new(stories::BEGAN_MS);
    let lines: Vec<String> =
        stories::events().iter().filter_map(|event| writer.line(event)).collect();
    insta::assert_snapshot!("plain", lines.join("\n"));
}

#[test]
fn rollouts_are_a_table() {
    let all = [stories::errors(), stories::running(), stories::never_healthy()];
    insta::assert_snapshot!("list", list::table_of(&all, stories::NOW_MS));
    assert!(list::table_of(&[], 0).contains("umbra rollout start"));
}

#[test]
fn the_evidence_is_explained() {
    for (name, status) in [
        ("explain_errors", stories::errors()),
        ("explain_running", stories::running()),
        ("explain_never_healthy", stories::never_healthy()),
    ] {
        let explained = Explained { rollout: status, events: stories::events() };
        insta::assert_snapshot!(name, explain::text(&explained, Paint::plain()));
    }
}

fn replayed() -> replay::Shown {
    let judged = stories::errors().judged.unwrap();
    // Evidence grows with each error, and shrinks a little while there is none.
    let log_e = |at: u64| -0.9 + (at as f64 / 26_414.0).powi(2) * 5.8 - (at % 1_000) as f64 / 2e3;
    let way = (0..=26_000).step_by(200).chain([26_414]).map(|at| (at, log_e(at)));
    replay::Shown {
        journal: "/var/lib/umbra/rollouts/7.journal\x1b".into(),
        records: 26_414,
        decisions: 2,
        different: 0,
        first_different: None,
        broken: None,
        settings: umbra_judge::settings::Settings::default(),
        judged,
        way: way.collect(),
    }
}

#[test]
fn a_replay_says_whether_decisions_come_out_the_same() {
    let same = replayed();
    insta::assert_snapshot!("replay_same", replay::text(&same));
    let decision = |log_e, worse| Decision { log_e, worse, proved: false };
    let different = replay::Shown {
        different: 1,
        first_different: Some(replay::Different {
            record: 26_410,
            recorded: decision(4.640000000000001, true),
            again: decision(4.64, false),
        }),
        broken: Some(replay::Broken {
            at_byte: 422_624,
            bytes: 1,
            what: "a batch that is cut off".into(),
            by_a_crash: true,
        }),
        ..same.clone()
    };
    let head = |shown: &replay::Shown| {
        let text = replay::text(shown);
        text.split("\n\n").next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!("replay_different", head(&different));
    let cut = replay::Shown { different: 0, first_different: None, ..different };
    assert_eq!(cut.outcome(), replay::Outcome::Reproduced);
    let mut damaged = cut;
    damaged.broken.as_mut().unwrap().by_a_crash = false;
    assert_eq!(damaged.outcome(), replay::Outcome::Damaged);
    assert!(head(&damaged).starts_with("DAMAGED: 2 decisions came out the same"), "{damaged:?}");
    let nothing = replay::Shown { decisions: 0, ..same };
    assert!(head(&nothing).starts_with("NOTHING DECIDED"));
}

#[test]
fn events_tell_the_same_as_what_is_asked_for() {
    let mut model = Model::new(stories::shadow_stage());
    let events = stories::events();
    let place = |seconds: i64| {
        events.iter().position(|event| event.at_ms > stories::BEGAN_MS + seconds * 1000)
    };
    // Before anything but what happened says so.
    for event in &events[place(10).unwrap()..place(99).unwrap()] {
        model.on(event);
    }
    assert_eq!(model.status.weight_percent, 5.0);
    let expected = stories::running().steps;
    let progress = |steps: &[umbra_api::rollout::StepStatus]| {
        steps.iter().map(|step| step.progress).collect::<Vec<_>>()
    };
    assert_eq!(progress(&model.status.steps), progress(&expected));
}

#[test]
fn no_line_exceeds_the_width_and_no_escape_sequence_gets_through() {
    for status in [
        stories::running(),
        stories::gated(),
        stories::errors(),
        stories::slow_tail(),
        stories::differences(),
        stories::never_healthy(),
    ] {
        for width in [20, 47, 300] {
            let model = Model::new(status.clone());
            let lines = live::lines(&model, stories::NOW_MS, width, Paint::plain());
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
        }
        let explained = Explained { rollout: status.clone(), events: stories::events() };
        let screens = [
            screen(status.clone()),
            end(&status),
            explain::text(&explained, Paint::plain()),
            list::table_of(&[status], 0),
            stories::events().iter().map(|event| plain::line(event, 0)).collect(),
        ];
        for screen in screens {
            let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!screen.contains(hostile), "{screen:?}");
        }
    }
}
