//! Everything to the baseline: first the weight, then what nobody needs any more.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Told;

use super::attempt::Attempt;
use super::calls::Calls;
use super::effect::{Alert, Effect, Role, Winner};
use super::event::Event;
use super::phase::{End, Phase};
use super::promoting::Promoting;
use super::split::Life;
use super::turn::Turn;
use super::unmirror::{Unmirror, Unmirrored};
use crate::spec::WebhookKind;

/// Everything to the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RollingBack {
    end: End,
    why: String,
    stage: Stage,
    /// `rollback`, which is only told.
    calls: Calls,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// The weight is taken to 0. The time it takes is only looked at, never given up.
    Weight { waited: Attempt, told: bool },
    /// Nothing more is mirrored.
    Mirrors(Unmirror),
    /// The split is ended: from then on nobody can lead anybody to the candidate.
    Split(Attempt),
    /// Instances end what they have.
    Instances(Vec<Stopping>),
    /// `post-rollout` is told.
    Telling(Calls),
}

/// Instances that end what they have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stopping {
    role: Role,
    attempt: Attempt,
    done: bool,
}

impl RollingBack {
    /// Begins it. People are told at once.
    pub(super) fn begin(end: End, why: String, turn: &mut Turn<'_>) -> Phase {
        turn.emit(Effect::Alert(Alert::RolledBack { why: why.clone() }));
        let calls = Calls::new(WebhookKind::Rollback, turn.facts);
        let stage = Stage::Weight { waited: Attempt::default(), told: false };
        Phase::RollingBack(Self { end, why, stage, calls })
    }

    pub(super) fn hear(mut self, event: &Event, turn: &mut Turn<'_>) -> Phase {
        self.calls.hear(event, turn);
        match (&mut self.stage, event) {
            (_, Event::Told(Told::Abort)) => turn.warn("it goes to the baseline already"),
            (_, Event::Told(_)) => turn.warn("it goes to the baseline, and no way leads back"),
            (Stage::Weight { waited, .. }, Event::Tick) => waited.tick(turn.passed_ms),
            (Stage::Mirrors(unmirror), _) => unmirror.hear(event, turn),
            (Stage::Split(attempt), Event::Tick) => {
                attempt.tick(turn.passed_ms);
                attempt.expire();
            }
            (Stage::Split(attempt), Event::Resumed) => attempt.forget(),
            (Stage::Split(attempt), Event::Failed { effect: Effect::EndSplit { .. }, why })
            | (Stage::Split(attempt), Event::SplitLost { why }) => attempt.fail(why),
            (Stage::Split(_), Event::SplitEnded) => {
                turn.facts.split.end(Winner::Baseline, &mut turn.effects);
            }
            (Stage::Instances(all), _) => all.iter_mut().for_each(|one| one.hear(event, turn)),
            (Stage::Telling(calls), _) => calls.hear(event, turn),
            _ => {}
        }
        Phase::RollingBack(self)
    }

    pub(super) fn go_on(mut self, turn: &mut Turn<'_>) -> (Phase, bool) {
        let deadline_ms = turn.facts.spec.deadline_ms;
        let next = match &mut self.stage {
            Stage::Weight { .. } | Stage::Mirrors(_) | Stage::Split(_)
                if turn.facts.split.life == Life::Ended(Winner::Candidate) =>
            {
                let why = "somebody else ended the split in the candidate's favour";
                turn.alert(format!("{why}, though it was to go to the baseline: {}", self.why));
                return (Promoting::begin_replacing(why.to_owned(), turn), true);
            }
            Stage::Weight { waited, told } => {
                let through = turn.facts.split.is_at_nothing(&mut turn.effects);
                if !through && waited.is_overdue(deadline_ms) && !std::mem::replace(told, true) {
                    let failed = turn.facts.split.weight.failed();
                    let why = failed.unwrap_or("there is no answer").to_owned();
                    turn.alert(format!("the gateway does not take the weight to 0: {why}"));
                }
                through.then(|| Stage::Mirrors(Unmirror::default()))
            }
            Stage::Mirrors(unmirror) => {
                let state = unmirror.go_on(turn);
                if let Unmirrored::Late(why) = &state {
                    turn.warn(why);
                }
                let through = !matches!(state, Unmirrored::Waits);
                through.then(|| Stage::Split(Attempt::default()))
            }
            Stage::Split(attempt) => {
                let ended = matches!(turn.facts.split.life, Life::None | Life::Ended(_));
                if !ended && attempt.begin() {
                    turn.emit(Effect::EndSplit { to: Winner::Baseline });
                }
                ended.then(|| Stage::Instances(Stopping::all(turn)))
            }
            Stage::Instances(all) => {
                all.iter_mut().for_each(|one| one.stop(deadline_ms, turn));
                let through = all.iter().all(|one| one.done);
                through.then(|| Stage::Telling(Calls::new(WebhookKind::PostRollout, turn.facts)))
            }
            Stage::Telling(calls) => {
                calls.ask(turn);
                if calls.are_through() && self.calls.are_through() {
                    turn.facts.ended_at_ms = Some(turn.now_ms);
                    return (Phase::Over(self.end, self.why), true);
                }
                None
            }
        };
        self.calls.ask(turn);
        let goes_on = next.is_some();
        self.stage = next.unwrap_or(self.stage);
        (Phase::RollingBack(self), goes_on)
    }

    pub(super) fn words(&self) -> String {
        self.why.clone()
    }
}

impl Stopping {
    /// All that were started.
    fn all(turn: &Turn<'_>) -> Vec<Self> {
        turn.facts.started.iter().map(|role| Self::new(*role)).collect()
    }

    pub(super) fn new(role: Role) -> Self {
        Self { role, attempt: Attempt::default(), done: false }
    }

    pub(super) fn hear(&mut self, event: &Event, turn: &Turn<'_>) {
        match event {
            Event::Tick => self.attempt.tick(turn.passed_ms),
            Event::Resumed => self.attempt.forget(),
            Event::Stopped { role } if *role == self.role => self.done = true,
            Event::Failed { effect: Effect::StopInstances { role }, why } if *role == self.role => {
                self.attempt.fail(why);
            }
            _ => {}
        }
    }

    /// Has them stopped; given up where nobody can, for nobody needs them.
    pub(super) fn stop(&mut self, deadline_ms: u64, turn: &mut Turn<'_>) {
        let limit_ms = deadline_ms.saturating_add(turn.facts.spec.instances.drain_ms);
        if self.done {
            return;
        }
        if self.attempt.is_overdue(limit_ms) {
            self.done = true;
            turn.alert(format!("{} were not stopped: {}", self.role.words(), self.attempt.words()));
        } else if self.attempt.begin() {
            turn.emit(Effect::StopInstances { role: self.role });
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}
