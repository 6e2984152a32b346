//! Until requests can be split: gates, instances, the split itself. Nobody gets to the candidate.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Told;

use super::attempt::Attempt;
use super::calls::Calls;
use super::effect::{Effect, Role};
use super::event::Event;
use super::phase::{End, Pause, Phase};
use super::rolling_back::RollingBack;
use super::running::Running;
use super::split::Life;
use super::turn::Turn;
use crate::spec::WebhookKind;

/// Until requests can be split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Starting {
    stage: Stage,
    /// It is to wait for a person before its first step.
    pause: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Not begun.
    Fresh,
    /// `confirm-rollout` is asked.
    Confirm(Calls),
    /// Instances are started, get healthy, are warmed up.
    Instances(Vec<Started>),
    /// `pre-rollout` is asked.
    PreRollout(Calls),
    /// The gateway is told.
    Split(Attempt),
}

/// Instances of a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Started {
    role: Role,
    attempt: Attempt,
    ready: bool,
}

impl Starting {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Fresh, pause: false }
    }

    pub(super) fn hear(mut self, event: &Event, turn: &mut Turn<'_>) -> Phase {
        let failed = match event {
            Event::Told(told) => return self.obey(*told, turn),
            Event::InstancesFailed { role, why } => Some(format!("{}: {why}", role.words())),
            Event::Failed { effect: Effect::StartInstances { role, .. }, why } => {
                Some(format!("{}: {why}", role.words()))
            }
            Event::Failed { effect: Effect::BeginSplit, why } => {
                Some(format!("the gateway does not split requests: {why}"))
            }
            _ => None,
        };
        if let Some(why) = failed {
            return RollingBack::begin(End::Error, why, turn);
        }
        match &mut self.stage {
            Stage::Fresh if *event == Event::Begin => {
                self.stage = Stage::Confirm(Calls::new(WebhookKind::ConfirmRollout, turn.facts));
            }
            Stage::Fresh => {}
            Stage::Confirm(calls) | Stage::PreRollout(calls) => calls.hear(event, turn),
            Stage::Instances(all) => all.iter_mut().for_each(|one| one.hear(event, turn)),
            Stage::Split(attempt) => match event {
                Event::Tick => {
                    attempt.tick(turn.passed_ms);
                    attempt.expire();
                }
                Event::Resumed => attempt.forget(),
                Event::SplitLost { why } => attempt.fail(why),
                _ => {}
            },
        }
        Phase::Starting(self)
    }

    fn obey(mut self, told: Told, turn: &mut Turn<'_>) -> Phase {
        match (told, &mut self.stage) {
            (Told::Abort, _) => {
                return RollingBack::begin(End::Failed, "aborted by a person".to_owned(), turn);
            }
            (Told::Pause, _) => self.pause = true,
            (Told::Resume, _) => self.pause = false,
            (Told::Promote, Stage::Confirm(_)) => self.stage = Self::instances(turn),
            (Told::Promote, Stage::PreRollout(_)) => self.stage = Self::split(turn),
            _ => turn.warn("not promoted: nothing of the candidate was seen yet"),
        }
        Phase::Starting(self)
    }

    /// What is next, and whether something still is.
    pub(super) fn go_on(mut self, turn: &mut Turn<'_>) -> (Phase, bool) {
        let deadline_ms = turn.facts.spec.deadline_ms;
        let next = match &mut self.stage {
            Stage::Fresh => None,
            Stage::Confirm(calls) => {
                calls.ask(turn);
                calls.are_through().then(|| Self::instances(turn))
            }
            Stage::Instances(all) => {
                all.iter_mut().for_each(|one| one.start(turn));
                if let Some(late) = all.iter().find(|one| one.is_overdue(deadline_ms)) {
                    let why = format!("{} are not healthy in time", late.role.words());
                    return (RollingBack::begin(End::Error, why, turn), true);
                }
                all.iter()
                    .all(|one| one.ready)
                    .then(|| Stage::PreRollout(Calls::new(WebhookKind::PreRollout, turn.facts)))
            }
            Stage::PreRollout(calls) => {
                calls.ask(turn);
                if let Some(why) = calls.failure() {
                    return (RollingBack::begin(End::Failed, why, turn), true);
                }
                calls.are_through().then(|| Self::split(turn))
            }
            Stage::Split(attempt) => {
                if matches!(turn.facts.split.life, Life::Begun | Life::Ended(_)) {
                    return (self.run(turn), true);
                }
                if attempt.is_overdue(deadline_ms) {
                    let why = format!("the gateway does not split requests: {}", attempt.words());
                    return (RollingBack::begin(End::Error, why, turn), true);
                }
                if attempt.begin() {
                    turn.emit(Effect::BeginSplit);
                }
                None
            }
        };
        let goes_on = next.is_some();
        self.stage = next.unwrap_or(self.stage);
        (Phase::Starting(self), goes_on)
    }

    fn instances(turn: &mut Turn<'_>) -> Stage {
        let roles = turn.facts.roles();
        turn.facts.started.clone_from(&roles);
        let started = |role| Started { role, attempt: Attempt::default(), ready: false };
        Stage::Instances(roles.into_iter().map(started).collect())
    }

    fn split(turn: &mut Turn<'_>) -> Stage {
        turn.facts.split.life = Life::Asked;
        Stage::Split(Attempt::default())
    }

    fn run(self, turn: &Turn<'_>) -> Phase {
        let running = Running::new(turn.facts);
        if self.pause { Phase::Paused(running, Pause::Asked) } else { Phase::Running(running) }
    }

    pub(super) fn calls(&self) -> Option<&Calls> {
        match &self.stage {
            Stage::Confirm(calls) | Stage::PreRollout(calls) => Some(calls),
            _ => None,
        }
    }

    pub(super) fn words(&self) -> String {
        match &self.stage {
            Stage::Fresh => "it has not begun".to_owned(),
            Stage::Confirm(calls) => calls.words("instances are started"),
            Stage::Instances(all) => {
                let waiting = all.iter().filter(|one| !one.ready);
                let roles: Vec<&str> = waiting.map(|one| one.role.words()).collect();
                format!("{} start and get healthy", roles.join(" and "))
            }
            Stage::PreRollout(calls) => calls.words("requests come"),
            Stage::Split(attempt) if attempt.was_tried() => {
                format!("the gateway is to split requests: {}", attempt.words())
            }
            Stage::Split(_) => "the gateway is to split requests".to_owned(),
        }
    }
}

impl Started {
    fn hear(&mut self, event: &Event, turn: &Turn<'_>) {
        match event {
            Event::Tick => self.attempt.tick(turn.passed_ms),
            // Whether those that were ready still are is asked as well.
            Event::Resumed => (self.ready, self.attempt) = (false, Attempt::default()),
            Event::InstancesReady { role } if *role == self.role => self.ready = true,
            _ => {}
        }
    }

    fn start(&mut self, turn: &mut Turn<'_>) {
        if !self.ready && self.attempt.begin() {
            let count = turn.facts.count(self.role);
            turn.emit(Effect::StartInstances { role: self.role, count });
        }
    }

    fn is_overdue(&self, ms: u64) -> bool {
        !self.ready && self.attempt.is_overdue(ms)
    }
}

impl Role {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Candidate => "the candidate's instances",
            Self::Control => "the fresh instance of what is in production",
        }
    }
}
