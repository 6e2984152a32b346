//! What becomes of a rollout, event by event.

use umbra_api::rollout::RolloutPhase::{self, *};
use umbra_api::rollout::{Happened, StepProgress, Told};

use super::super::{Answer, Controller, Effect, Event, Measurement, Outcome, Role, Seen, Winner};
use super::{seen, sees, short, spec};
use crate::spec::Spec;

/// A rollout that is told what happens, and what it has to do then.
struct Story {
    controller: Controller,
    now_ms: i64,
    /// All that was written down.
    records: Vec<Happened>,
    /// What is seen of the gateway, if it is.
    seen: Option<Seen>,
}

impl Story {
    fn of(spec: Spec) -> Self {
        Self { controller: Controller::new(spec, 0), now_ms: 0, records: Vec::new(), seen: None }
    }

    /// Every turn goes through what a daemon keeps.
    fn hear(&mut self, event: Event) -> Vec<Effect> {
        let kept = serde_json::to_string(&self.controller).expect("it is written");
        let controller: Controller = serde_json::from_str(&kept).expect("and read");
        assert_eq!(controller, self.controller);
        match &event {
            Event::SplitSeen(seen) => self.seen = Some(seen.clone()),
            Event::WeightSet { weight } => {
                self.seen.iter_mut().for_each(|seen| seen.weight = *weight);
            }
            Event::SplitLost { .. } | Event::SplitGone { .. } | Event::Resumed => self.seen = None,
            _ => {}
        }
        let (controller, effects) = controller.on(event, self.now_ms);
        self.controller = controller;
        let records = effects.iter().filter_map(|effect| match effect {
            Effect::Record(happened) => Some(happened.clone()),
            _ => None,
        });
        self.records.extend(records);
        effects
    }

    #[track_caller]
    fn on(&mut self, event: Event, does: &str, phase: RolloutPhase) -> &mut Self {
        let told = format!("{event:?}");
        let effects = self.hear(event);
        let done: Vec<String> = effects.iter().filter_map(short).collect();
        let reason = self.controller.reason();
        assert_eq!(done.join(", "), does, "after {told}: {reason}");
        assert_eq!(self.controller.phase(), phase, "after {told}: {reason}");
        self
    }

    /// So many seconds pass, in which nothing is to be done and nothing new is seen.
    #[track_caller]
    fn wait(&mut self, seconds: u32) -> &mut Self {
        let phase = self.controller.phase();
        for second in 0..seconds {
            self.now_ms += 1_000;
            self.on(Event::Tick, "", phase);
            if let Some(seen) = self.seen.clone().filter(|_| second % 10 == 9) {
                self.on(Event::SplitSeen(seen), "", phase);
            }
        }
        self
    }

    /// The gateway says nothing from now on.
    fn is_silent(&mut self) -> &mut Self {
        self.seen = None;
        self
    }

    /// A second passes, and something is to be done.
    #[track_caller]
    fn tick(&mut self, does: &str, phase: RolloutPhase) -> &mut Self {
        self.now_ms += 1_000;
        self.on(Event::Tick, does, phase)
    }

    #[track_caller]
    fn because(&mut self, words: &str) -> &mut Self {
        let reason = self.controller.reason();
        assert!(reason.contains(words), "{words:?} is not in {reason:?}");
        self
    }

    /// Until requests are split, with the candidate's instances only.
    #[track_caller]
    fn starts(&mut self, first: &str) -> &mut Self {
        self.on(Event::Begin, "start 1 candidate", Starting)
            .on(Event::InstancesReady { role: Role::Candidate }, "split", Starting)
            .on(Event::SplitBegun, "", Running)
            .on(sees(0.0, 0), first, Running)
    }

    /// A weight that was asked for is there, and seen.
    #[track_caller]
    fn at(&mut self, weight: f64, requests: u64) -> &mut Self {
        self.on(Event::WeightSet { weight }, "", Running).on(sees(weight, requests), "", Running)
    }

    /// After the weight is 0: all that was made is taken away.
    #[track_caller]
    fn rolls_back(&mut self, end: RolloutPhase) -> &mut Self {
        self.on(Event::WeightSet { weight: 0.0 }, "end to baseline", RollingBack).is_cleared(end)
    }

    #[track_caller]
    fn is_cleared(&mut self, end: RolloutPhase) -> &mut Self {
        let stopped = Event::Stopped { role: Role::Candidate };
        self.on(Event::SplitEnded, "stop candidate", RollingBack).on(stopped, "", end);
        assert_eq!(self.controller.weight(), 0.0);
        self
    }
}

/// 5 %, and everything.
const TWO: &str = "steps: [{ setWeight: 5 }, { setWeight: 100 }]\nhold: { for: 3s, requests: 100 }";

fn two(more: &str) -> Spec {
    spec(&format!("{TWO}\n{more}"))
}

fn worse(weight: f64) -> Event {
    Event::SplitSeen(Seen { worse: Some("9 of 9 errors".to_owned()), ..seen(weight, 500) })
}

fn rolled_back() -> Event {
    let why = Some("9 of 9 errors".to_owned());
    Event::SplitSeen(Seen { rolled_back: why.clone(), worse: why, ..seen(0.0, 500) })
}

fn lost() -> Event {
    Event::SplitLost { why: "nobody listens".to_owned() }
}

fn hook(name: &str, number: u32, answer: Answer) -> Event {
    Event::Hook { name: name.to_owned(), number, answer }
}

fn measured(number: u32, outcome: Outcome) -> Event {
    let measurement = Measurement { outcome, value: None, message: "so it is".to_owned() };
    Event::Measured { analysis: "rate".to_owned(), number, measurement }
}

/// At 5 %, with nothing seen of it yet.
#[track_caller]
fn at_five(more: &str) -> Story {
    let mut story = Story::of(two(more));
    story.starts("weight 0.05").at(0.05, 0);
    story
}

#[test]
fn a_good_candidate_is_promoted() {
    let mut story = at_five("");
    story
        .wait(2)
        .on(sees(0.05, 99), "", Running)
        .wait(1)
        .because("needs 1 more request of the candidate")
        .on(sees(0.05, 100), "weight 1", Running)
        .at(1.0, 100)
        .wait(3)
        .because("needs 100 more requests")
        .on(sees(1.0, 200), "end to candidate", Promoting)
        .on(Event::SplitEnded, "replace", Promoting)
        .on(Event::Replaced { left: 1 }, "", Promoting)
        .because("1 of the previous instances")
        .on(Event::Replaced { left: 0 }, "tell promoted", Successful)
        .on(Event::Told(Told::Abort), "", Successful)
        .on(Event::Resumed, "", Successful);
    assert_eq!(story.controller.weight(), 1.0);
    let steps = story.controller.steps();
    assert!(steps.iter().all(|step| step.progress == StepProgress::Done), "{steps:?}");
    let weights = story.records.iter().filter_map(|record| match record {
        Happened::Weight { from_percent, to_percent } => Some((*from_percent, *to_percent)),
        _ => None,
    });
    assert_eq!(weights.collect::<Vec<_>>(), [(0.0, 5.0), (5.0, 100.0)]);
}

#[test]
fn a_shadow_stage_comes_first_and_ends_before_any_weight() {
    let lines =
        "steps: [{ setMirror: { percent: 100, requests: 500, for: 5s } }, { setWeight: 5 }]";
    let compared = |compared| Event::SplitSeen(Seen { compared, ..seen(0.0, 0) });
    let mut story = Story::of(spec(lines));
    story
        .on(Event::Begin, "start 1 candidate, start 1 control", Starting)
        .on(Event::InstancesReady { role: Role::Control }, "", Starting)
        .on(Event::InstancesReady { role: Role::Candidate }, "split", Starting)
        .on(Event::SplitBegun, "mirror 100", Running)
        .on(compared(0), "", Running)
        .on(Event::MirrorsSet { percent: 100.0 }, "", Running)
        .on(compared(10), "", Running)
        .because("0 requests compared of 500, at most 5 s left")
        .on(compared(509), "", Running)
        .on(compared(510), "unmirror", Running)
        .on(Event::MirrorsSet { percent: 0.0 }, "weight 0.05", Running)
        .on(Event::Told(Told::Abort), "tell rolled back", RollingBack)
        // The weight that is being set may still come to be.
        .on(Event::WeightSet { weight: 0.05 }, "weight 0", RollingBack)
        .on(Event::WeightSet { weight: 0.0 }, "end to baseline", RollingBack)
        .on(Event::SplitEnded, "stop candidate, stop control", RollingBack)
        .on(Event::Stopped { role: Role::Candidate }, "", RollingBack)
        .on(Event::Stopped { role: Role::Control }, "", Failed);

    // With few requests its time ends it.
    let mut story = Story::of(spec(lines));
    story.on(Event::Begin, "start 1 candidate, start 1 control", Starting);
    story.on(Event::InstancesReady { role: Role::Control }, "", Starting);
    story.on(Event::InstancesReady { role: Role::Candidate }, "split", Starting);
    story.on(Event::SplitBegun, "mirror 100", Running);
    story.on(compared(0), "", Running).on(Event::MirrorsSet { percent: 100.0 }, "", Running);
    story.wait(4).tick("unmirror", Running);
}

#[test]
fn what_was_found_worse_is_rolled_back_at_once() {
    // By the gateway itself.
    at_five("")
        .on(rolled_back(), "tell rolled back, end to baseline", RollingBack)
        .because("9 of 9 errors")
        .is_cleared(Failed);
    // Or by us, if it only says so; it may have been quicker.
    at_five("").on(worse(0.05), "tell rolled back, weight 0", RollingBack).rolls_back(Failed);
    at_five("")
        .on(worse(0.05), "tell rolled back, weight 0", RollingBack)
        .on(Event::WeightRefused { why: "rolled back".to_owned() }, "", RollingBack)
        .on(rolled_back(), "end to baseline", RollingBack)
        .is_cleared(Failed);
    // Also as long as a person pauses, and before the split is ended.
    at_five("")
        .on(Event::Told(Told::Pause), "tell paused", Paused)
        .on(rolled_back(), "tell rolled back, end to baseline", RollingBack)
        .is_cleared(Failed);
    at_five("")
        .on(Event::Told(Told::PromoteFull), "weight 1", Promoting)
        .on(rolled_back(), "tell rolled back, end to baseline", RollingBack)
        .is_cleared(Failed);
}

#[test]
fn on_worse_pause_and_notify_let_nothing_lead_past_it() {
    at_five("on_worse: pause")
        .on(worse(0.05), "tell paused", Paused)
        .because("found worse: 9 of 9 errors")
        .on(Event::Told(Told::Resume), "", Paused)
        .on(Event::Told(Told::Promote), "", Paused)
        .on(Event::Told(Told::PromoteFull), "", Paused)
        .wait(20)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .rolls_back(Failed);
    // A pause for another reason becomes one for this.
    at_five("on_worse: pause")
        .on(Event::Told(Told::Pause), "tell paused", Paused)
        .on(worse(0.05), "tell paused", Paused)
        .on(Event::Told(Told::Resume), "", Paused);
    at_five("on_worse: notify")
        .on(worse(0.05), "tell", Running)
        .on(worse(0.05), "", Running)
        .because("the weight rises no more")
        .wait(20)
        .on(Event::Told(Told::Promote), "", Running)
        .on(Event::Told(Told::PromoteFull), "", Running)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .rolls_back(Failed);
}

#[test]
fn what_is_only_told_hides_nothing_else() {
    // Instances that are gone end it, as they do where nothing is worse.
    let gone = Event::InstancesFailed { role: Role::Candidate, why: "it ended".to_owned() };
    at_five("on_worse: notify")
        .on(worse(0.05), "tell", Running)
        .on(gone, "tell rolled back, weight 0", RollingBack)
        .because("it ended")
        .rolls_back(Failed);
}

#[test]
fn requests_that_nobody_judges_are_no_evidence() {
    let unjudged = |weight, requests| {
        let why = Some("its judge is not at work".to_owned());
        Event::SplitSeen(Seen { unjudged: why, ..seen(weight, requests) })
    };
    let mut story = at_five("");
    story.on(unjudged(0.05, 500), "", Running).because("holds: its judge").wait(29);
    // It is told once, and waited for as long as it takes; no person leads past it.
    story.tick("", Running).tick("tell", Running).wait(60);
    story.on(Event::Told(Told::Promote), "", Running);
    story.on(unjudged(0.05, 5_000), "", Running).wait(20);
    // What came meanwhile does not count.
    let mut story = at_five("");
    story.on(unjudged(0.05, 500), "", Running).wait(5);
    story.on(sees(0.05, 500), "", Running).because("needs 100 more requests").wait(3);
    story.on(sees(0.05, 600), "weight 1", Running);
    // Everything can be taken back all the same.
    at_five("")
        .on(unjudged(0.05, 500), "", Running)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .rolls_back(Failed);
    at_five("").on(Event::Told(Told::PromoteFull), "weight 1", Promoting).on(
        Event::WeightSet { weight: 1.0 },
        "end to candidate",
        Promoting,
    );
    at_five("")
        .on(Event::Told(Told::PromoteFull), "weight 1", Promoting)
        .on(unjudged(0.05, 500), "", Promoting)
        .on(Event::WeightSet { weight: 1.0 }, "", Promoting)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .rolls_back(Failed);
}

#[test]
fn guards_look_at_both_arms() {
    let guard = "guards: [{ errors: { max: 5% }, requests_min: 100 }]";
    let more = |baseline, errors| {
        Event::SplitSeen(Seen { requests: [baseline, 500], errors, ..seen(0.05, 500) })
    };
    at_five(guard)
        .on(more(20_000, [400, 0]), "", Running)
        .on(more(20_000, [1_000, 200]), "tell rolled back, weight 0", RollingBack)
        .because("guard: ")
        .rolls_back(Failed);
    // Too few requests say nothing.
    let few = guard.replace("100", "501");
    at_five(&few).on(more(10_000, [0, 90]), "", Running);
    let slow = Event::SplitSeen(Seen {
        requests: [20_000, 500],
        p99_us: [Some(700_000), Some(1_000)],
        ..seen(0.05, 500)
    });
    at_five("on_worse: pause\nguards: [{ p99: { max: 500ms } }]")
        .on(slow, "tell paused", Paused)
        .because("the 99th percentile of the baseline is 700.0 ms")
        .on(Event::Told(Told::Resume), "", Running);
    // One that waits for another reason says so as well.
    let mut story = at_five(&format!("on_worse: pause\n{guard}"));
    story
        .on(Event::Told(Told::Pause), "tell paused", Paused)
        .on(more(20_000, [400, 0]), "", Paused)
        .on(more(20_000, [1_000, 200]), "tell paused", Paused)
        .because("guard: ")
        .on(more(20_000, [1_000, 200]), "", Paused);
}

#[test]
fn few_requests_hold_and_a_person_may_lead_on() {
    at_five("")
        .wait(60)
        .because("weight 5 %: needs 100 more requests of the candidate")
        .on(Event::Told(Told::Promote), "weight 1", Running)
        .at(1.0, 3)
        .wait(60)
        .on(Event::Told(Told::PromoteFull), "end to candidate", Promoting);
    let mut story = at_five("");
    story.on(Event::Told(Told::PromoteFull), "weight 1", Promoting);
    assert_eq!(story.controller.steps()[1].progress, StepProgress::Skipped);
}

#[test]
fn few_requests_can_be_made_the_end_or_be_topped_up() {
    let within = "steps: [{ setWeight: 5 }, { setWeight: 100 }]\nhold: { for: 3s, within: 10s }";
    let mut story = Story::of(spec(within));
    story.starts("weight 0.05").at(0.05, 0);
    story.on(sees(0.05, 40), "", Running).wait(9);
    story
        .tick("tell rolled back, weight 0", RollingBack)
        .because("40 requests of the candidate in 10 s, 100 are needed")
        .rolls_back(Inconclusive);
    at_five("top_up: { requests: 1500, rate: 50 }")
        .wait(2)
        .tick("top up 1500", Running)
        .on(sees(0.05, 75), "", Running)
        .on(Event::ToppedUp { requests: 1_500 }, "", Running)
        .wait(20);
}

#[test]
fn a_proof_needs_no_patience_where_that_is_wanted() {
    let proved = |weight| Event::SplitSeen(Seen { proved: true, ..seen(weight, 2_000) });
    let lines = "steps: [{ setWeight: 5 }, { setWeight: 100 }]\nhold: { proved: true }";
    Story::of(spec(lines))
        .starts("weight 0.05")
        // What is seen of another weight is no evidence of this one.
        .on(proved(0.0), "", Running)
        .on(Event::WeightSet { weight: 0.05 }, "", Running)
        .on(proved(0.05), "weight 1", Running);
    at_five("").on(proved(0.05), "", Running);
}

#[test]
fn a_lost_gateway_holds_until_it_is_back() {
    at_five("")
        .on(sees(0.05, 500), "", Running)
        .on(lost(), "", Running)
        .because("holds: nobody listens")
        .wait(30)
        .tick("tell", Running)
        .wait(100)
        // What passed unseen does not count.
        .on(sees(0.05, 600), "", Running)
        .wait(2)
        .tick("weight 1", Running);
    at_five("").on(lost(), "", Running).on(
        rolled_back(),
        "tell rolled back, end to baseline",
        RollingBack,
    );
    // An abort waits for it, too.
    at_five("")
        .on(lost(), "", Running)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .wait(10)
        .tick("", RollingBack);
    // One that says nothing is lost as well.
    at_five("").is_silent().wait(30).tick("tell", Running).because("the gateway says nothing");
}

#[test]
fn a_split_that_somebody_else_ended_is_followed() {
    let gone = |serves| Event::SplitGone { serves };
    at_five("").on(gone(Winner::Baseline), "tell rolled back, stop candidate", RollingBack).on(
        Event::Stopped { role: Role::Candidate },
        "",
        Error,
    );
    at_five("").on(gone(Winner::Candidate), "replace", Promoting).on(
        Event::Replaced { left: 0 },
        "tell promoted",
        Successful,
    );
    // Nobody takes away what serves everything now, up to the last moment.
    at_five("").on(rolled_back(), "tell rolled back, end to baseline", RollingBack).on(
        gone(Winner::Candidate),
        "tell, replace",
        Promoting,
    );
    at_five("").on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack).on(
        gone(Winner::Candidate),
        "tell, replace",
        Promoting,
    );
}

#[test]
fn a_restart_asks_again_for_what_was_not_answered() {
    let mut story = Story::of(two(""));
    story
        .on(Event::Resumed, "", Starting)
        .on(Event::Begin, "start 1 candidate", Starting)
        .on(Event::Resumed, "start 1 candidate", Starting)
        .on(Event::InstancesReady { role: Role::Candidate }, "split", Starting)
        .on(Event::Resumed, "split", Starting)
        .on(Event::SplitBegun, "", Running)
        .on(sees(0.0, 0), "weight 0.05", Running)
        // Nothing rises before the gateway was seen.
        .on(Event::Resumed, "", Running)
        .because("holds: the daemon was restarted")
        .on(sees(0.0, 0), "weight 0.05", Running)
        .at(0.05, 0)
        // It was set, and the answer lost.
        .on(sees(0.05, 100), "", Running)
        .wait(2)
        .tick("weight 1", Running);
    let mut paused = at_five("");
    paused
        .on(Event::Told(Told::Pause), "tell paused", Paused)
        .on(Event::Resumed, "", Paused)
        .on(sees(0.05, 0), "", Paused)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .on(Event::Resumed, "weight 0", RollingBack)
        .on(Event::WeightSet { weight: 0.0 }, "end to baseline", RollingBack)
        .on(Event::Resumed, "end to baseline", RollingBack)
        .on(Event::SplitEnded, "stop candidate", RollingBack)
        .on(Event::Resumed, "stop candidate", RollingBack)
        .on(Event::Stopped { role: Role::Candidate }, "", Failed);
    at_five("")
        .on(Event::Told(Told::PromoteFull), "weight 1", Promoting)
        .on(Event::WeightSet { weight: 1.0 }, "end to candidate", Promoting)
        .on(Event::Resumed, "", Promoting)
        .on(sees(1.0, 0), "end to candidate", Promoting)
        .on(Event::SplitEnded, "replace", Promoting)
        .on(Event::Resumed, "replace", Promoting)
        .on(Event::Replaced { left: 0 }, "tell promoted", Successful);
}

#[test]
fn clocks_that_jump_end_nothing_early() {
    let mut story = at_five("");
    story.on(sees(0.05, 0), "", Running).on(sees(0.05, 100), "", Running);
    // Hours back and forth: each tick counts for two seconds at most.
    for now_ms in [0, -7_200_000] {
        story.now_ms = now_ms;
        story.on(Event::Tick, "", Running);
    }
    story.now_ms = 7_200_000;
    story.on(Event::Tick, "", Running).because("holds for another 1 s");
    story.now_ms = -5;
    story.on(Event::Tick, "", Running);
    story.tick("weight 1", Running);
}

#[test]
fn instances_that_never_get_healthy_change_nothing_in_production() {
    let why = "candidate-1: exited with status 1: no such file".to_owned();
    let failed = Event::InstancesFailed { role: Role::Candidate, why };
    let mut story = Story::of(two(""));
    story
        .on(Event::Begin, "start 1 candidate", Starting)
        .on(failed.clone(), "tell rolled back, stop candidate", RollingBack)
        .on(Event::Stopped { role: Role::Candidate }, "", Error)
        .because("exited with status 1: no such file");
    // Or nobody says anything at all.
    let mut story = Story::of(two("deadline: 30s"));
    story.on(Event::Begin, "start 1 candidate", Starting).wait(30);
    story.tick("tell rolled back, stop candidate", RollingBack).because("not healthy in time");
    // One that ends later failed.
    at_five("").on(failed, "tell rolled back, weight 0", RollingBack).rolls_back(Failed);
}

#[test]
fn a_gateway_that_does_not_split_ends_it() {
    let failed =
        Event::Failed { effect: Effect::BeginSplit, why: "there is no such route".to_owned() };
    Story::of(two(""))
        .on(Event::Begin, "start 1 candidate", Starting)
        .on(Event::InstancesReady { role: Role::Candidate }, "split", Starting)
        // It may have begun nevertheless.
        .on(failed, "tell rolled back, end to baseline", RollingBack)
        .on(Event::SplitEnded, "stop candidate", RollingBack)
        .on(Event::Stopped { role: Role::Candidate }, "", Error)
        .because("there is no such route");
    let mut story = Story::of(two("deadline: 20s"));
    story
        .on(Event::Begin, "start 1 candidate", Starting)
        .on(Event::InstancesReady { role: Role::Candidate }, "split", Starting)
        .on(lost(), "", Starting)
        .wait(4)
        .tick("split", Starting)
        .wait(15)
        .tick("tell rolled back, end to baseline", RollingBack);
}

#[test]
fn a_weight_that_cannot_be_set_is_tried_again_and_then_ends_it() {
    let mut story = Story::of(two("deadline: 20s"));
    let refused = || Event::WeightRefused { why: "a successor takes over".to_owned() };
    story
        .starts("weight 0.05")
        .on(refused(), "", Running)
        .wait(4)
        .tick("weight 0.05", Running)
        .because("a successor takes over")
        .on(refused(), "", Running)
        .wait(4)
        .tick("weight 0.05", Running)
        .on(refused(), "", Running)
        .wait(4)
        .tick("weight 0.05", Running)
        .on(refused(), "", Running)
        .wait(4)
        .tick("weight 0.05", Running)
        .tick("tell rolled back", RollingBack);
}

#[test]
fn a_weight_that_somebody_changed_is_set_again() {
    at_five("").on(sees(0.5, 10), "", Running).tick("weight 0.05", Running).at(0.05, 20);
}

#[test]
fn gates_hold() {
    let hooks = "webhooks:\n  \
        - { name: board, type: confirm-rollout, url: 'http://a' }\n  \
        - { name: smoke, type: pre-rollout, url: 'http://a' }\n  \
        - { name: rise, type: confirm-traffic-increase, url: 'http://a' }\n  \
        - { name: load, type: rollout, url: 'http://a' }\n  \
        - { name: final, type: confirm-promotion, url: 'http://a' }\n  \
        - { name: undo, type: rollback, url: 'http://a' }\n  \
        - { name: after, type: post-rollout, url: 'http://a' }";
    let no = || Answer::Hold { why: "not on Friday".to_owned() };
    let started = || {
        let mut story = Story::of(two(hooks));
        story
            .on(Event::Begin, "call board 1", Starting)
            .on(hook("board", 1, no()), "", Starting)
            .because("waits for board (not on Friday) before instances are started");
        assert_eq!(story.controller.held_by(), ["board"]);
        story
            .wait(9)
            .tick("call board 2", Starting)
            // An answer to an older question is none.
            .on(hook("board", 1, Answer::Go), "", Starting)
            .on(hook("board", 2, Answer::Go), "start 1 candidate", Starting)
            .on(Event::InstancesReady { role: Role::Candidate }, "call smoke 3", Starting);
        story
    };
    let failed = || Answer::Failed { why: "500".to_owned() };
    started()
        .on(
            hook("smoke", 3, failed()),
            "tell rolled back, call undo 4, stop candidate",
            RollingBack,
        )
        .on(Event::Stopped { role: Role::Candidate }, "call after 5", RollingBack)
        .on(hook("after", 5, Answer::Go), "", RollingBack)
        // What is only told may fail.
        .on(hook("undo", 4, failed()), "", Failed)
        .because("webhook smoke failed: 500");
    let at_gate = || {
        let mut story = started();
        story
            .on(hook("smoke", 3, Answer::Go), "split", Starting)
            .on(Event::SplitBegun, "call rise 4", Running)
            .on(sees(0.0, 0), "", Running);
        story
    };
    at_gate()
        // A person goes through a gate.
        .on(Event::Told(Told::Promote), "weight 0.05", Running)
        .on(hook("rise", 4, no()), "", Running)
        .on(Event::WeightSet { weight: 0.05 }, "call load 5", Running)
        .on(hook("load", 5, failed()), "tell rolled back, weight 0, call undo 6", RollingBack);
    let mut story = at_gate();
    story
        .on(hook("rise", 4, Answer::Go), "weight 0.05", Running)
        .on(Event::WeightSet { weight: 0.05 }, "call load 5", Running)
        .on(sees(0.05, 0), "", Running)
        .on(sees(0.05, 100), "", Running)
        .wait(5)
        .because("waits for load before the next step")
        .on(hook("load", 5, Answer::Go), "call rise 6", Running)
        .on(hook("rise", 6, Answer::Go), "weight 1", Running)
        .on(Event::WeightSet { weight: 1.0 }, "call load 7", Running)
        .on(hook("load", 7, Answer::Go), "", Running)
        .on(sees(1.0, 100), "", Running)
        .wait(3)
        .on(sees(1.0, 200), "call final 8", Running)
        .on(Event::Resumed, "call final 8", Running)
        .on(sees(1.0, 200), "", Running)
        .because("waits for final before promotion")
        .on(hook("final", 8, Answer::Go), "end to candidate", Promoting)
        .on(Event::SplitEnded, "replace", Promoting)
        .on(Event::Replaced { left: 0 }, "call after 9", Promoting)
        .on(hook("after", 9, failed()), "tell promoted", Successful);
}

#[test]
fn pauses_wait_for_time_or_for_a_person() {
    let steps = "steps: [{ setWeight: 5 }, { pause: { duration: 10s } }, { pause: {} }, { setWeight: 100 }]\nhold: { for: 1s, requests: 1 }";
    Story::of(spec(steps))
        .starts("weight 0.05")
        .at(0.05, 0)
        .on(sees(0.05, 1), "", Running)
        .wait(1)
        .because("pause 10 s: 10 s left")
        .wait(9)
        .tick("tell paused", Paused)
        .because("wait until somebody promotes")
        .wait(100)
        .on(Event::Told(Told::Promote), "weight 1", Running);
    at_five("")
        .on(Event::Told(Told::Pause), "tell paused", Paused)
        .on(sees(0.05, 500), "", Paused)
        .wait(5)
        .because("paused by a person")
        .on(Event::Told(Told::Resume), "weight 1", Running);
    // Told before it runs, it waits before the first step.
    Story::of(two(""))
        .on(Event::Begin, "start 1 candidate", Starting)
        .on(Event::Told(Told::Pause), "", Starting)
        .on(Event::InstancesReady { role: Role::Candidate }, "split", Starting)
        .on(Event::SplitBegun, "tell paused", Paused)
        .on(sees(0.0, 0), "", Paused)
        .on(Event::Told(Told::Resume), "weight 0.05", Running);
}

/// With an analysis as its second step, or beside the steps.
fn analysed(more: &str, background: bool) -> Spec {
    let (step, beside) = match background {
        true => ("", "\n  background: { templates: [rate] }"),
        false => (", { analysis: { templates: [rate] } }", ""),
    };
    spec(&format!(
        "steps: [{{ setWeight: 5 }}{step}, {{ setWeight: 100 }}]\nhold: {{ for: 1s, requests: 1 }}\n\
         analysis:\n  prometheus: {{ address: 'http://127.0.0.1:9' }}\n  \
         templates: [{{ name: rate, successCondition: 'result[0] > 0', provider: {{ prometheus: {{ query: up }} }}{more} }}]{beside}"
    ))
}

#[test]
fn analyses_lead_on_or_back_or_to_a_person() {
    let measuring = |more: &str| {
        let mut story = Story::of(analysed(more, false));
        story.starts("weight 0.05").at(0.05, 0).on(sees(0.05, 1), "", Running);
        story.tick("measure rate 1", Running);
        story
    };
    measuring("").on(measured(1, Outcome::Successful), "weight 1", Running);
    measuring("")
        .on(measured(7, Outcome::Successful), "", Running)
        .on(measured(1, Outcome::Failed), "tell rolled back, weight 0", RollingBack)
        .because("analysis rate failed: ")
        .rolls_back(Failed);
    measuring("")
        .on(measured(1, Outcome::Inconclusive), "tell paused", Paused)
        .because("analysis rate is inconclusive")
        .on(Event::Told(Told::Resume), "measure rate 2", Running)
        .on(measured(2, Outcome::Successful), "weight 1", Running);
    measuring("").on(measured(1, Outcome::Inconclusive), "tell paused", Paused).on(
        Event::Told(Told::Promote),
        "weight 1",
        Running,
    );
    measuring("")
        .on(measured(1, Outcome::Inconclusive), "tell paused", Paused)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .rolls_back(Inconclusive);
    measuring(", onFailure: pause")
        .on(measured(1, Outcome::Failed), "tell paused", Paused)
        .because("analysis rate failed");
    measuring(", consecutiveErrorLimit: 1")
        .on(measured(1, Outcome::Error), "", Running)
        .wait(9)
        .tick("measure rate 2", Running)
        .on(Event::Resumed, "measure rate 2", Running)
        .on(sees(0.05, 1), "", Running)
        .on(measured(2, Outcome::Error), "tell rolled back, weight 0", RollingBack)
        .rolls_back(Error);
    // Those of a dry run are shown, and that is all.
    let mut dry = measuring(", dryRun: true");
    dry.on(measured(1, Outcome::Failed), "weight 1", Running);
    assert_eq!(dry.controller.analyses()[0].phase, "failed");
}

#[test]
fn analyses_beside_the_steps_must_say_something() {
    let lines = analysed(", interval: 5s, initialDelay: 1h", true);
    let mut story = Story::of(lines);
    story.starts("weight 0.05").at(0.05, 0).on(sees(0.05, 1), "", Running);
    story.tick("weight 1", Running).at(1.0, 1).on(sees(1.0, 2), "", Running);
    story.wait(30).because("waits for a good measurement of rate");
    story.on(Event::Told(Told::Promote), "end to candidate", Promoting);
    assert_eq!(story.controller.analyses()[0].phase, "inconclusive");
    let mut story = Story::of(analysed(", interval: 5s", true));
    story
        .on(Event::Begin, "start 1 candidate", Starting)
        .on(Event::InstancesReady { role: Role::Candidate }, "split", Starting)
        .on(Event::SplitBegun, "measure rate 1", Running)
        .on(sees(0.0, 0), "weight 0.05", Running)
        .at(0.05, 0)
        .on(measured(1, Outcome::Failed), "tell rolled back, weight 0", RollingBack);
}

#[test]
fn promotion_does_not_end_halfway() {
    let promoting = || {
        let mut story = at_five("deadline: 30s");
        story.on(Event::Told(Told::PromoteFull), "weight 1", Promoting).on(
            Event::WeightSet { weight: 1.0 },
            "end to candidate",
            Promoting,
        );
        story
    };
    let refused = || Event::Failed {
        effect: Effect::EndSplit { to: Winner::Candidate },
        why: "no".to_owned(),
    };
    promoting()
        .on(Event::Told(Told::Abort), "", Promoting)
        .on(refused(), "", Promoting)
        .wait(4)
        .tick("end to candidate", Promoting)
        .on(Event::SplitEnded, "replace", Promoting);
    // What is refused was not done: there is a way back.
    promoting().on(refused(), "", Promoting).on(
        Event::Told(Told::Abort),
        "tell rolled back, weight 0",
        RollingBack,
    );
    let mut story = promoting();
    story.on(Event::SplitEnded, "replace", Promoting).wait(30);
    story.tick("tell, tell promoted", Successful);
}

#[test]
fn what_is_worse_while_it_is_promoted_waits_for_a_person() {
    at_five("on_worse: pause\ndeadline: 10s")
        .on(Event::Told(Told::PromoteFull), "weight 1", Promoting)
        .on(worse(0.05), "tell", Promoting)
        .on(Event::WeightRefused { why: "busy".to_owned() }, "", Promoting)
        .because("found worse")
        .wait(30)
        .on(Event::Told(Told::Abort), "tell rolled back, weight 0", RollingBack)
        .rolls_back(Failed);
}

#[test]
fn what_is_another_rollout_is_refused() {
    let mut story = at_five("");
    story.on(Event::Told(Told::Retry), "", Running).on(Event::Told(Told::Undo), "", Running);
    let warned = |record: &&Happened| matches!(record, Happened::Warning { .. });
    assert_eq!(story.records.iter().filter(warned).count(), 2);
}
