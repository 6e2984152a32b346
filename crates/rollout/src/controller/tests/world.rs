//! A gateway, instances, webhooks and people, simulated: what they do with what a rollout asks
//! for, and what they do by themselves.

use std::collections::VecDeque;

use umbra_api::rollout::{RolloutPhase, Told};

use super::super::{Answer, Controller, Effect, Event, Measurement, Outcome, Role, Seen, Winner};
use crate::spec::{Spec, Step};

/// What happens in one second that nobody planned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// Nothing does.
    Quiet,
    /// So many requests come.
    Requests(u16),
    /// The gateway finds the candidate worse.
    Worse,
    /// Both arms fail.
    Errors,
    /// It proves that it is not.
    Proved,
    /// The gateway goes away, or comes back.
    Gateway(bool),
    /// The daemon is killed; so many of what was to be done was.
    Killed(u8),
    /// The clock is set.
    Clock(i64),
    /// Answers fail, or do not any more.
    Failing(bool),
    /// A person says something.
    Told(Told),
    /// The candidate's instances end.
    Gone,
    /// Somebody sets a weight by hand.
    ByHand(u8),
}

/// The gateway's split.
#[derive(Debug, Clone, Default)]
struct Gateway {
    down: bool,
    split: Option<Seen>,
    serves: Option<Winner>,
    mirrored: bool,
}

/// All of it.
pub(super) struct World {
    pub(super) controller: Controller,
    now_ms: i64,
    gateway: Gateway,
    failing: bool,
    /// What is to be done, in order.
    asked: VecDeque<Effect>,
    /// What the rollout has to be told yet.
    news: VecDeque<Event>,
    ready: bool,
    begun: bool,
    /// A weight is being set: for how many ticks.
    setting: Option<u32>,
    /// A person said that it need not wait.
    pub(super) led: bool,
    /// The most requests of the candidate at one weight, by weight in percent.
    pub(super) evidence: Vec<(f64, u64)>,
    on_worse: crate::spec::OnWorse,
}

impl World {
    pub(super) fn new(spec: Spec) -> Self {
        let weights = spec.steps.iter().filter_map(|step| match step {
            Step::SetWeight(percent) => Some((percent / 100.0, 0)),
            _ => None,
        });
        let mut world = Self {
            evidence: weights.collect(),
            on_worse: spec.on_worse,
            controller: Controller::new(spec, 0),
            now_ms: 0,
            gateway: Gateway::default(),
            failing: false,
            asked: VecDeque::new(),
            news: VecDeque::new(),
            ready: false,
            begun: false,
            setting: None,
            led: false,
        };
        world.tell(Event::Begin);
        world
    }

    pub(super) fn phase(&self) -> RolloutPhase {
        self.controller.phase()
    }

    /// A second, and what happens in it.
    pub(super) fn second(&mut self, fate: Fate) {
        self.now_ms = self.now_ms.saturating_add(1_000);
        match fate {
            Fate::Quiet => {}
            Fate::Requests(count) => self.requests(u64::from(count), 0),
            Fate::Errors => self.requests(500, 400),
            Fate::Worse => self.worse(),
            Fate::Proved => self.split(|seen| seen.proved = true),
            Fate::Gateway(down) => self.gateway.down = down,
            Fate::Killed(done) => return self.killed(done),
            Fate::Clock(ms) => self.now_ms = ms,
            Fate::Failing(failing) => self.failing = failing,
            Fate::Told(told) => {
                let leads = matches!(told, Told::Promote | Told::PromoteFull);
                self.led |= leads;
                self.tell(Event::Told(told));
            }
            Fate::Gone if self.ready => {
                let why = "it ended".to_owned();
                self.tell(Event::InstancesFailed { role: Role::Candidate, why });
            }
            Fate::Gone => {}
            Fate::ByHand(percent) => self.split(|seen| {
                if seen.rolled_back.is_none() {
                    seen.weight = f64::from(percent.min(100)) / 100.0;
                }
            }),
        }
        self.tell(Event::Tick);
        self.look();
        self.work(usize::MAX);
    }

    fn split(&mut self, change: impl FnOnce(&mut Seen)) {
        self.gateway.split.as_mut().map(change);
    }

    fn requests(&mut self, count: u64, errors: u64) {
        let Some(seen) = &mut self.gateway.split else { return };
        let candidate = (count as f64 * seen.weight) as u64;
        seen.requests[0] += count - candidate;
        seen.requests[1] += candidate;
        seen.errors[0] += errors.min(count - candidate);
        if self.gateway.mirrored {
            seen.compared += count;
        }
        let at = seen.weight;
        let stage = self.evidence.iter_mut().find(|(weight, _)| (weight - at).abs() < 1e-9);
        stage.into_iter().for_each(|(_, requests)| *requests += candidate);
    }

    fn worse(&mut self) {
        let rolls_back = self.on_worse == crate::spec::OnWorse::Rollback;
        self.split(|seen| {
            seen.worse = Some("worse".to_owned());
            if rolls_back {
                (seen.rolled_back, seen.weight) = (Some("worse".to_owned()), 0.0);
            }
        });
    }

    /// The daemon is killed after so much of what was to be done, and begins again. Nobody heard
    /// of the last of it.
    fn killed(&mut self, done: u8) {
        self.work(usize::from(done));
        if let Some(effect) = self.asked.pop_front() {
            self.does(&effect);
        }
        self.asked.clear();
        self.news.clear();
        self.setting = None;
        let kept = serde_json::to_string(&self.controller).expect("it is written");
        let read: Controller = serde_json::from_str(&kept).expect("and read");
        assert_eq!(read, self.controller);
        self.controller = read;
        self.is_idempotent();
        self.tell(Event::Resumed);
        self.look();
        self.work(usize::MAX);
    }

    /// Restarts in a row ask for the same.
    fn is_idempotent(&self) {
        let (once, first) = self.controller.clone().on(Event::Resumed, self.now_ms);
        let (twice, second) = once.on(Event::Resumed, self.now_ms);
        let (thrice, third) = twice.clone().on(Event::Resumed, self.now_ms);
        assert_eq!(twice, thrice);
        assert_eq!((&first, &second), (&second, &third));
    }

    /// What is seen of the split.
    fn look(&mut self) {
        if !self.begun {
            return;
        }
        let event = match (&self.gateway.split, self.gateway.serves) {
            _ if self.gateway.down => Event::SplitLost { why: "it is down".to_owned() },
            (Some(seen), _) => Event::SplitSeen(seen.clone()),
            (None, Some(serves)) => Event::SplitGone { serves },
            (None, None) => return,
        };
        self.tell(event);
    }

    /// Does what is to be done, so much of it at most.
    fn work(&mut self, most: usize) {
        for _ in 0..most.min(1_000) {
            let Some(effect) = self.asked.pop_front() else { return };
            if let Some(answer) = self.does(&effect) {
                self.tell(answer);
            }
        }
    }

    fn does(&mut self, effect: &Effect) -> Option<Event> {
        let gateway = matches!(
            effect,
            Effect::BeginSplit
                | Effect::SetWeight { .. }
                | Effect::EndSplit { .. }
                | Effect::SetMirrors { .. }
                | Effect::StopMirrors
        );
        if gateway && self.gateway.down {
            // It was before it did it, or after: nobody knows.
            if self.now_ms % 2 == 0 && !self.failing {
                self.succeeds(effect);
            }
            return None;
        }
        if self.failing {
            let done = matches!(effect, Effect::Alert(_) | Effect::Record(_));
            let (effect, why) = (effect.clone(), "no".to_owned());
            return (!done).then_some(Event::Failed { effect, why });
        }
        self.succeeds(effect)
    }

    fn succeeds(&mut self, effect: &Effect) -> Option<Event> {
        let fail = |why: &str| Event::Failed { effect: effect.clone(), why: why.to_owned() };
        Some(match effect {
            Effect::StartInstances { role, .. } => {
                self.ready |= *role == Role::Candidate;
                Event::InstancesReady { role: *role }
            }
            Effect::StopInstances { role } => {
                let serves = self.gateway.serves == Some(Winner::Candidate);
                let exposed = self.gateway.split.as_ref().is_some_and(|seen| seen.weight > 0.0);
                if *role == Role::Candidate {
                    assert!(!serves && !exposed, "what serves is stopped: {:?}", self.gateway);
                    self.ready = false;
                }
                Event::Stopped { role: *role }
            }
            Effect::BeginSplit => {
                assert!(self.ready, "instances before the split");
                self.begun = true;
                self.gateway.split.get_or_insert_default();
                Event::SplitBegun
            }
            Effect::SetWeight { weight } => match &mut self.gateway.split {
                Some(seen) if seen.rolled_back.is_none() => {
                    assert!(*weight <= 0.0 || !self.gateway.mirrored, "mirrors before weights");
                    seen.weight = *weight;
                    Event::WeightSet { weight: *weight }
                }
                _ => Event::WeightRefused { why: "it was rolled back".to_owned() },
            },
            Effect::EndSplit { to: Winner::Candidate }
                if self.gateway.split.as_ref().is_some_and(|seen| seen.rolled_back.is_some()) =>
            {
                fail("it was rolled back")
            }
            Effect::EndSplit { to } => {
                self.gateway.split = None;
                self.gateway.serves.get_or_insert(*to);
                Event::SplitEnded
            }
            Effect::SetMirrors { percent } => {
                self.gateway.mirrored = true;
                Event::MirrorsSet { percent: *percent }
            }
            Effect::StopMirrors => {
                self.gateway.mirrored = false;
                Event::MirrorsSet { percent: 0.0 }
            }
            Effect::Measure { analysis, number } => {
                let outcome = match number % 7 {
                    3 => Outcome::Inconclusive,
                    5 => Outcome::Error,
                    _ => Outcome::Successful,
                };
                let measurement = Measurement { outcome, value: None, message: String::new() };
                Event::Measured { analysis: analysis.clone(), number: *number, measurement }
            }
            Effect::Call { hook, number } => {
                let answer = match number % 3 {
                    1 => Answer::Hold { why: "not yet".to_owned() },
                    _ => Answer::Go,
                };
                Event::Hook { name: hook.clone(), number: *number, answer }
            }
            Effect::Replace => Event::Replaced { left: 0 },
            Effect::TopUp { requests } => {
                self.requests(*requests, 0);
                Event::ToppedUp { requests: *requests }
            }
            Effect::Alert(_) | Effect::Record(_) => return None,
        })
    }

    /// The rollout hears of it; what holds for every turn is looked at.
    fn tell(&mut self, event: Event) {
        self.news.push_back(event);
        while let Some(event) = self.news.pop_front() {
            self.setting = match (&event, self.setting) {
                (Event::Tick, Some(ticks)) => Some(ticks + 1),
                (Event::WeightSet { .. } | Event::WeightRefused { .. } | Event::Resumed, _)
                | (Event::Failed { effect: Effect::SetWeight { .. }, .. }, _)
                | (Event::SplitGone { .. } | Event::SplitEnded, _) => None,
                (Event::SplitSeen(Seen { rolled_back: Some(_), .. }), _) => None,
                (_, setting) => setting,
            };
            let (controller, effects) = self.controller.clone().on(event, self.now_ms);
            let before = std::mem::replace(&mut self.controller, controller);
            for effect in &effects {
                self.is_lawful(&before, effect);
            }
            self.asked.extend(effects);
            let over = self.phase().is_over() && self.phase() != RolloutPhase::Successful;
            assert!(!over || self.controller.weight() <= 0.0, "{:?}", self.controller);
        }
    }

    fn is_lawful(&mut self, before: &Controller, effect: &Effect) {
        let Effect::SetWeight { weight } = effect else { return };
        let now = &self.controller;
        // One whose answer is overdue is given up, not forgotten: the next says so again.
        assert!(self.setting.is_none_or(|ticks| ticks > 5), "two weights are set at once");
        self.setting = Some(0);
        let worse = now.seen().is_some_and(|seen| seen.worse.is_some());
        assert!(!worse || *weight <= before.weight(), "{weight} rises, and it is worse");
        let raises = *weight > before.weight();
        let running = matches!(
            now.phase(),
            RolloutPhase::Running | RolloutPhase::Promoting | RolloutPhase::Paused
        );
        assert!(!raises || running, "{weight} in {:?}", now.phase());
    }
}
