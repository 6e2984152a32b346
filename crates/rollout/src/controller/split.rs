//! What is known of the gateway's split.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Happened;

use super::attempt::RETRY_MS;
use super::effect::{Effect, Winner};
use super::event::{Event, Seen};

/// A weight that nobody answered for is asked for again after so long.
const ANSWER_MS: u64 = 10_000;
/// A gateway that says nothing for so long is lost.
const SILENCE_MS: u64 = 30_000;
/// Weights that differ by less are the same: they come over the wire, in decimals.
const WEIGHT_EPSILON: f64 = 1e-9;

/// What is known of the gateway's split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Split {
    pub(super) life: Life,
    pub(super) weight: Weight,
    /// The last time it was seen.
    pub(super) seen: Option<Seen>,
    /// Why what was seen may not hold any more.
    lost: Option<String>,
    /// For how long it was not seen.
    silent_ms: u64,
    /// For how long it was seen that nobody judges.
    unjudged_ms: u64,
    /// In percent.
    pub(super) mirrored: f64,
}

/// Whether there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Life {
    /// There never was.
    None,
    /// It was asked for.
    Asked,
    /// It is there.
    Begun,
    /// It is gone, and requests go to one arm.
    Ended(Winner),
}

/// The candidate's part of requests.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Weight {
    /// As the gateway last said.
    set: f64,
    /// It said so since it was lost, and nothing else.
    said: bool,
    /// Something else was asked for, and nobody knows whether it was done.
    unsure: bool,
    /// Being set.
    asked: Option<f64>,
    waited_ms: u64,
    /// What could not be set, and why.
    failed: Option<(f64, String)>,
}

/// Whether two weights are one.
pub(super) fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < WEIGHT_EPSILON
}

impl Default for Split {
    fn default() -> Self {
        Self {
            life: Life::None,
            weight: Weight::default(),
            seen: None,
            lost: None,
            silent_ms: 0,
            unjudged_ms: 0,
            mirrored: 0.0,
        }
    }
}

impl Split {
    /// Takes note of what an event says of it.
    pub(super) fn hear(&mut self, event: &Event, passed_ms: u64, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => self.tick(passed_ms),
            Event::Resumed => {
                self.weight.forget();
                self.lose("the daemon was restarted, and has not seen the gateway yet");
            }
            Event::SplitBegun if self.life == Life::Asked => {
                (self.life, self.weight.said) = (Life::Begun, true);
            }
            Event::SplitSeen(seen) => self.see(seen, effects),
            Event::SplitLost { why } => self.lose(why),
            // One that was asked for may have been begun, and be gone before anybody heard of it.
            Event::SplitGone { serves } if matches!(self.life, Life::Begun | Life::Asked) => {
                self.end(*serves, effects);
            }
            Event::WeightSet { weight } => self.weight.is_set(*weight, &mut self.seen, effects),
            Event::WeightRefused { why } => self.weight.fail(why, false),
            Event::Failed { effect: Effect::SetWeight { weight }, why }
                if self.weight.asked.is_some_and(|asked| same(asked, *weight)) =>
            {
                self.weight.fail(why, true);
            }
            Event::MirrorsSet { percent } if percent.is_finite() => self.mirrored = *percent,
            _ => {}
        }
    }

    fn tick(&mut self, passed_ms: u64) {
        self.weight.tick(passed_ms);
        if !matches!(self.life, Life::Begun) {
            return;
        }
        self.silent_ms = self.silent_ms.saturating_add(passed_ms);
        if self.silent_ms > SILENCE_MS {
            self.lose("the gateway says nothing");
        }
        self.unjudged_ms = match self.unjudged() {
            Some(_) => self.unjudged_ms.saturating_add(passed_ms),
            None => 0,
        };
    }

    fn see(&mut self, seen: &Seen, effects: &mut Vec<Effect>) {
        if let Life::Ended(_) | Life::None = self.life {
            return;
        }
        if !(0.0..=1.0).contains(&seen.weight) {
            return self.lose("it says that the weight is no part of requests");
        }
        self.life = Life::Begun;
        (self.lost, self.silent_ms) = (None, 0);
        self.seen = Some(seen.clone());
        self.weight.said = same(seen.weight, self.weight.set);
        if seen.rolled_back.is_some() {
            self.weight.is_nothing(effects);
        }
    }

    /// It is gone.
    pub(super) fn end(&mut self, to: Winner, effects: &mut Vec<Effect>) {
        self.life = Life::Ended(to);
        self.lost = None;
        match to {
            Winner::Baseline => self.weight.is_nothing(effects),
            Winner::Candidate => self.weight.is_everything(effects),
        }
    }

    fn lose(&mut self, why: &str) {
        if matches!(self.life, Life::Begun | Life::Asked) && self.lost.is_none() {
            self.lost = Some(why.to_owned());
        }
        self.weight.said = false;
    }

    /// Why it cannot be seen, if it cannot.
    pub(super) fn lost(&self) -> Option<&str> {
        match (&self.lost, &self.seen) {
            (Some(why), _) => Some(why),
            (None, None) => Some("the gateway has not said yet how it stands"),
            (None, Some(_)) => None,
        }
    }

    /// Why nobody judges, as far as that is seen.
    fn unjudged(&self) -> Option<&str> {
        self.seen.as_ref()?.unjudged.as_deref()
    }

    /// Why what comes of requests is no evidence for now: nobody sees it.
    pub(super) fn blind(&self) -> Option<&str> {
        self.lost().or_else(|| self.unjudged())
    }

    /// The same if it lasts, in words.
    pub(super) fn blind_for_long(&self) -> Option<String> {
        let lost = self.lost.as_deref().filter(|_| self.silent_ms > SILENCE_MS);
        let unjudged = self.unjudged().filter(|_| self.unjudged_ms > SILENCE_MS);
        let lost = lost.map(|why| format!("the gateway is not seen: {why}"));
        lost.or_else(|| unjudged.map(|why| format!("nobody judges the candidate: {why}")))
    }

    /// Why the candidate was found worse, if it was.
    pub(super) fn worse(&self) -> Option<&str> {
        let seen = self.seen.as_ref()?;
        seen.rolled_back.as_deref().or(seen.worse.as_deref())
    }

    /// Why the gateway took the weight to 0 by itself, if it did.
    pub(super) fn rolled_back(&self) -> Option<&str> {
        self.seen.as_ref()?.rolled_back.as_deref()
    }

    /// Whether the weight is this, and the gateway was seen with it.
    pub(super) fn is_at(&self, weight: f64) -> bool {
        let seen = self.seen.as_ref().is_some_and(|seen| same(seen.weight, weight));
        self.weight.is_surely(weight) && seen && self.blind().is_none()
    }

    /// Whether nothing goes to the candidate, whatever comes. Where that is not so it is seen to.
    pub(super) fn is_at_nothing(&mut self, effects: &mut Vec<Effect>) -> bool {
        let never = matches!(self.life, Life::None | Life::Asked | Life::Ended(Winner::Baseline));
        // A gateway that rolled back by itself refuses every other weight from then on.
        if never || self.rolled_back().is_some() {
            return true;
        }
        let surely = self.weight.is_surely(0.0);
        // As long as it is lost nobody knows who else set what; then it is looked at first.
        if !surely || (!self.weight.said && self.lost().is_none()) {
            self.weight.want(0.0, effects);
        }
        surely && self.weight.said
    }

    /// Sets the weight again where the gateway has another one than it said; not one that rises
    /// what is worse.
    pub(super) fn correct(&mut self, effects: &mut Vec<Effect>) {
        let Some(seen) = &self.seen else { return };
        let (set, rises) = (self.weight.set, self.weight.set > seen.weight);
        let differs = !same(seen.weight, set) && !self.weight.unsure && self.life == Life::Begun;
        if differs && self.lost().is_none() && !(rises && self.worse().is_some()) {
            self.weight.want(set, effects);
        }
    }
}

impl Weight {
    fn tick(&mut self, passed_ms: u64) {
        self.waited_ms = self.waited_ms.saturating_add(passed_ms);
        if self.asked.is_some() && self.waited_ms > ANSWER_MS {
            self.fail("there is no answer", true);
        }
    }

    /// Has it set, unless one is being set, or this one failed just now.
    pub(super) fn want(&mut self, weight: f64, effects: &mut Vec<Effect>) {
        let again = self.failed.as_ref().is_some_and(|(failed, _)| same(*failed, weight));
        if self.asked.is_some() || (again && self.waited_ms < RETRY_MS) {
            return;
        }
        (self.asked, self.waited_ms) = (Some(weight), 0);
        effects.push(Effect::SetWeight { weight });
    }

    fn is_set(&mut self, weight: f64, seen: &mut Option<Seen>, effects: &mut Vec<Effect>) {
        if !self.asked.is_some_and(|asked| same(asked, weight)) {
            return;
        }
        self.become_known(weight, effects);
        // What was seen before does not hold any more.
        if let Some(seen) = seen {
            seen.weight = weight;
        }
    }

    fn is_nothing(&mut self, effects: &mut Vec<Effect>) {
        self.become_known(0.0, effects);
    }

    fn is_everything(&mut self, effects: &mut Vec<Effect>) {
        self.become_known(1.0, effects);
    }

    fn become_known(&mut self, weight: f64, effects: &mut Vec<Effect>) {
        if !same(self.set, weight) {
            let (from_percent, to_percent) = (self.set * 100.0, weight * 100.0);
            effects.push(Effect::Record(Happened::Weight { from_percent, to_percent }));
        }
        *self = Self { set: weight, said: true, ..Self::default() };
    }

    fn fail(&mut self, why: &str, unsure: bool) {
        let Some(asked) = self.asked.take() else { return };
        self.unsure |= unsure && !same(asked, self.set);
        (self.waited_ms, self.failed) = (0, Some((asked, why.to_owned())));
    }

    /// Nobody sets it any more, and nobody knows whether it was set.
    fn forget(&mut self) {
        self.fail("the daemon was restarted", true);
        self.failed = None;
    }

    /// Whether it is this without a doubt.
    pub(super) fn is_surely(&self, weight: f64) -> bool {
        same(self.set, weight) && self.asked.is_none() && !self.unsure
    }

    /// As the gateway last said, from 0 to 1.
    pub(super) fn set(&self) -> f64 {
        self.set
    }

    /// Why it could not be set, the last time.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_ref().map(|(_, why)| why.as_str())
    }
}
