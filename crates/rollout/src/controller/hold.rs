//! A weight that is set, and held until there is evidence.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::calls::Calls;
use super::effect::Effect;
use super::event::{Event, Seen};
use super::phase::End;
use super::split::same;
use super::stage::State;
use super::turn::{Facts, Turn};
use crate::spec::WebhookKind;
use crate::words;

/// A weight that is set, and held until there is evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Hold {
    /// From 0 to 1.
    weight: f64,
    /// How long it takes to be set.
    setting: Attempt,
    /// How long it was seen to be set.
    held_ms: u64,
    /// Requests of the candidate at this weight.
    requests: u64,
    /// Those since the split began, when it was last seen.
    last: Option<u64>,
    /// It was proved, as seen at this weight.
    proved: bool,
    /// `rollout` is asked.
    calls: Calls,
    top_up: TopUp,
}

/// Requests of our own at this weight.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct TopUp {
    asked: u64,
    under_way: bool,
}

impl Hold {
    pub(super) fn new(weight: f64, facts: &Facts) -> Self {
        Self {
            weight,
            setting: Attempt::default(),
            held_ms: 0,
            requests: 0,
            last: None,
            proved: false,
            calls: Calls::new(WebhookKind::Rollout, facts),
            top_up: TopUp::default(),
        }
    }

    pub(super) fn hear(&mut self, event: &Event, turn: &mut Turn<'_>) {
        self.calls.hear(event, turn);
        let split = &mut turn.facts.split;
        match event {
            Event::Tick if split.is_at(self.weight) => {
                self.held_ms = self.held_ms.saturating_add(turn.passed_ms);
            }
            Event::SplitSeen(seen) => {
                // What was seen at another weight counts there.
                let counts = split.is_at(self.weight);
                self.see(seen, counts);
            }
            Event::ToppedUp { .. } | Event::Failed { effect: Effect::TopUp { .. }, .. } => {
                self.top_up.under_way = false;
            }
            Event::Resumed => self.top_up.under_way = false,
            _ => {}
        }
    }

    fn see(&mut self, seen: &Seen, counts: bool) {
        let now = seen.requests[1];
        if counts && same(seen.weight, self.weight) {
            let came = self.last.map_or(0, |last| now.saturating_sub(last));
            self.requests = self.requests.saturating_add(came);
            self.proved = seen.proved;
            self.last = Some(now);
        } else {
            self.last = None;
        }
    }

    /// What goes on whether the rollout does or not.
    pub(super) fn tend(&mut self, turn: &mut Turn<'_>) {
        if turn.facts.split.is_at(self.weight) {
            self.calls.ask(turn);
        }
    }

    pub(super) fn state(&mut self, may_rise: bool, skip: bool, turn: &mut Turn<'_>) -> State {
        let Facts { spec, split, .. } = turn.facts;
        if split.blind().is_some() {
            return State::Waits;
        }
        if !split.is_at(self.weight) {
            let rises = self.weight > split.weight.set();
            if rises && !may_rise {
                return State::Waits;
            }
            self.setting.tick(turn.passed_ms);
            if self.setting.is_overdue(spec.deadline_ms) {
                let why = split.weight.failed().unwrap_or("there is no answer");
                return State::Failed(End::Error, format!("the weight could not be set: {why}"));
            }
            if !split.weight.is_surely(self.weight) {
                split.weight.want(self.weight, &mut turn.effects);
            }
            return State::Waits;
        }
        if let Some(why) = self.calls.failure() {
            return State::Failed(End::Failed, why);
        }
        let hold = spec.hold;
        let short = self.requests < hold.requests;
        if short && !skip && hold.within_ms.is_some_and(|ms| self.held_ms >= ms) {
            let came = words::requests(self.requests);
            let within = words::time_ms(hold.within_ms.unwrap_or_default());
            let why = format!("{came} of the candidate in {within}, {} are needed", hold.requests);
            return State::Failed(End::Inconclusive, why);
        }
        let held = self.held_ms >= hold.for_ms;
        let evidence = (held && !short) || (hold.proved && self.proved);
        if may_rise && (skip || (evidence && self.calls.are_through())) {
            return State::Through;
        }
        if held && short {
            self.top_up(turn);
        }
        State::Waits
    }

    /// Has requests of our own sent where there are too few.
    fn top_up(&mut self, turn: &mut Turn<'_>) {
        let spec = &turn.facts.spec;
        let Some(of) = &spec.top_up else { return };
        let missing = spec.hold.requests.saturating_sub(self.requests);
        // The candidate gets only its part of them.
        let wanted = (missing as f64 / self.weight).ceil() as u64;
        let requests = wanted.min(of.requests.saturating_sub(self.top_up.asked));
        if requests > 0 && !self.top_up.under_way {
            self.top_up.asked = self.top_up.asked.saturating_add(requests);
            self.top_up.under_way = true;
            turn.emit(Effect::TopUp { requests });
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// What it waits for.
    pub(super) fn words(&self, facts: &Facts) -> String {
        let Facts { spec, split, .. } = facts;
        if !split.is_at(self.weight) {
            return match split.weight.failed() {
                Some(why) => format!("it could not be set, and is again: {why}"),
                None => "it is being set".to_owned(),
            };
        }
        let mut waits = Vec::new();
        if self.held_ms < spec.hold.for_ms {
            let left = words::left_ms(spec.hold.for_ms - self.held_ms);
            waits.push(format!("holds for another {left}"));
        }
        if self.requests < spec.hold.requests {
            let left = spec.hold.requests - self.requests;
            let more = if left == 1 { "1 more request" } else { &format!("{left} more requests") };
            waits.push(format!("needs {more} of the candidate"));
        }
        if waits.is_empty() && !self.calls.held_by().is_empty() {
            return self.calls.words("the next step");
        }
        if waits.is_empty() {
            waits.push("it is held".to_owned());
        }
        if let Some(needed) = split.seen.as_ref().and_then(|seen| seen.requests_needed) {
            waits.push(format!("about {needed} more of its requests would decide"));
        }
        waits.join(", ")
    }
}
