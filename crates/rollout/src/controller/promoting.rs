//! Everything to the candidate, and then the previous instances go one by one.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Told;

use super::attempt::Attempt;
use super::calls::Calls;
use super::effect::{Alert, Effect, Role, Winner};
use super::event::Event;
use super::phase::{End, Phase};
use super::rolling_back::{RollingBack, Stopping};
use super::split::Life;
use super::turn::{Facts, Turn};
use super::unmirror::{Unmirror, Unmirrored};
use crate::spec::{OnWorse, WebhookKind};

/// Everything to the candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Promoting {
    why: String,
    stage: Stage,
    /// People know that it was found worse.
    told: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Nothing more is mirrored.
    Mirrors(Unmirror),
    /// The weight is taken to 1.
    Weight(Attempt),
    /// The split is ended; from when it is asked for there is no way back.
    Split(Attempt, bool),
    /// The previous instances make room, and the fresh one of theirs.
    Replacing { attempt: Attempt, left: Option<u32>, done: bool, control: Option<Stopping> },
    /// `post-rollout` is told.
    Telling(Calls),
}

impl Promoting {
    pub(super) fn begin(why: String) -> Phase {
        Phase::Promoting(Self { why, stage: Stage::Mirrors(Unmirror::default()), told: false })
    }

    /// The same where the gateway's split was ended by somebody else, in the candidate's favour.
    pub(super) fn begin_replacing(why: String, turn: &Turn<'_>) -> Phase {
        Phase::Promoting(Self { why, stage: Self::replacing(turn), told: false })
    }

    pub(super) fn hear(mut self, event: &Event, turn: &mut Turn<'_>) -> Phase {
        match (&mut self.stage, event) {
            (Stage::Mirrors(_) | Stage::Weight(_), Event::Told(Told::Abort)) => {
                return RollingBack::begin(End::Failed, "aborted by a person".to_owned(), turn);
            }
            (Stage::Split(attempt, _), Event::Told(Told::Abort)) if has_way_back(attempt, turn) => {
                return RollingBack::begin(End::Failed, "aborted by a person".to_owned(), turn);
            }
            (_, Event::Told(_)) => turn.warn("it is being promoted; afterwards it can be undone"),
            (
                Stage::Mirrors(_) | Stage::Weight(_),
                Event::InstancesFailed { role: Role::Candidate, why },
            ) => {
                let why = format!("{}: {why}", Role::Candidate.words());
                return RollingBack::begin(End::Failed, why, turn);
            }
            (_, Event::InstancesFailed { role, why }) => {
                turn.alert(format!("{}: {why}", role.words()));
            }
            (Stage::Mirrors(unmirror), _) => unmirror.hear(event, turn),
            (Stage::Weight(attempt), Event::Tick) if may_rise(turn) => {
                attempt.tick(turn.passed_ms);
            }
            (Stage::Split(attempt, _), Event::Tick) => {
                attempt.tick(turn.passed_ms);
                attempt.expire();
            }
            (Stage::Split(attempt, _), Event::Resumed) => attempt.forget(),
            (Stage::Split(attempt, _), Event::SplitEnded) if attempt.was_tried() => {
                turn.facts.split.end(Winner::Candidate, &mut turn.effects);
            }
            (Stage::Split(attempt, _), Event::Failed { effect: Effect::EndSplit { .. }, why })
            | (Stage::Split(attempt, _), Event::SplitLost { why }) => attempt.fail(why),
            (Stage::Replacing { attempt, left, done, control }, _) => {
                match event {
                    Event::Tick => attempt.tick(turn.passed_ms),
                    Event::Resumed => attempt.forget(),
                    Event::Replaced { left: now } => {
                        // One that made room is progress: the time to wait begins anew.
                        if left.is_none_or(|before| *now < before) {
                            attempt.progress();
                        }
                        (*left, *done) = (Some(*now), *now == 0);
                    }
                    Event::Failed { effect: Effect::Replace, why } => attempt.fail(why),
                    _ => {}
                }
                control.iter_mut().for_each(|control| control.hear(event, turn));
            }
            (Stage::Telling(calls), _) => calls.hear(event, turn),
            _ => {}
        }
        Phase::Promoting(self)
    }

    pub(super) fn go_on(mut self, turn: &mut Turn<'_>) -> (Phase, bool) {
        let deadline_ms = turn.facts.spec.deadline_ms;
        if let Some(phase) = self.left_for(turn) {
            return (phase, true);
        }
        let next = match &mut self.stage {
            Stage::Mirrors(unmirror) => match unmirror.go_on(turn) {
                Unmirrored::Waits => None,
                Unmirrored::Through => Some(Stage::Weight(Attempt::default())),
                Unmirrored::Late(why) => {
                    return (RollingBack::begin(End::Error, why, turn), true);
                }
            },
            Stage::Weight(waited) => {
                let split = &mut turn.facts.split;
                let through = split.weight.is_surely(1.0);
                if !through && waited.is_overdue(deadline_ms) {
                    let why = split.weight.failed().unwrap_or("there is no answer");
                    let why = format!("the weight could not be set: {why}");
                    return (RollingBack::begin(End::Error, why, turn), true);
                }
                if !through && split.blind().is_none() && split.worse().is_none() {
                    split.weight.want(1.0, &mut turn.effects);
                }
                through.then(|| Stage::Split(Attempt::default(), false))
            }
            Stage::Split(attempt, told) => {
                let split = &turn.facts.split;
                let ended = split.life == Life::Ended(Winner::Candidate);
                let seen = split.blind().is_none() && split.worse().is_none();
                if !ended && seen && attempt.begin() {
                    turn.emit(Effect::EndSplit { to: Winner::Candidate });
                }
                if !ended && attempt.is_overdue(deadline_ms) && !std::mem::replace(told, true) {
                    turn.alert(format!("the split cannot be ended: {}", attempt.words()));
                }
                ended.then(|| Self::replacing(turn))
            }
            Stage::Replacing { attempt, done, control, .. } => {
                if !*done && attempt.is_overdue(deadline_ms) {
                    *done = true;
                    let words = attempt.words();
                    turn.alert(format!("previous instances were not taken away: {words}"));
                }
                if !*done && attempt.begin() {
                    turn.emit(Effect::Replace);
                }
                control.iter_mut().for_each(|control| control.stop(deadline_ms, turn));
                let through = *done && control.as_ref().is_none_or(Stopping::is_done);
                through.then(|| Stage::Telling(Calls::new(WebhookKind::PostRollout, turn.facts)))
            }
            Stage::Telling(calls) => {
                calls.ask(turn);
                if calls.are_through() {
                    turn.facts.ended_at_ms = Some(turn.now_ms);
                    turn.emit(Effect::Alert(Alert::Promoted));
                    return (Phase::Over(End::Successful, self.why), true);
                }
                None
            }
        };
        let goes_on = next.is_some();
        self.stage = next.unwrap_or(self.stage);
        (Phase::Promoting(self), goes_on)
    }

    /// What it is instead, if the candidate was found worse as long as there is a way back.
    fn left_for(&mut self, turn: &mut Turn<'_>) -> Option<Phase> {
        let split = &turn.facts.split;
        let under_way = match &self.stage {
            Stage::Mirrors(_) | Stage::Weight(_) => false,
            Stage::Split(attempt, _) => attempt.is_under_way(),
            Stage::Replacing { .. } | Stage::Telling(_) => return None,
        };
        match split.life {
            Life::Ended(Winner::Baseline) => {
                let why = "the gateway's split was ended by somebody else".to_owned();
                return Some(RollingBack::begin(End::Error, why, turn));
            }
            Life::Ended(Winner::Candidate) => return None,
            Life::None | Life::Asked | Life::Begun => {}
        }
        if let Some(why) = split.rolled_back().map(str::to_owned) {
            return Some(RollingBack::begin(End::Failed, why, turn));
        }
        let worse = split.worse().map(str::to_owned)?;
        let rolls_back = turn.facts.spec.on_worse == OnWorse::Rollback && !under_way;
        if rolls_back {
            return Some(RollingBack::begin(End::Failed, worse, turn));
        }
        if !std::mem::replace(&mut self.told, true) {
            turn.alert(format!("the candidate was found worse while it is promoted: {worse}"));
        }
        None
    }

    fn replacing(turn: &Turn<'_>) -> Stage {
        let control = turn.facts.started.contains(&Role::Control);
        Stage::Replacing {
            attempt: Attempt::default(),
            left: None,
            done: false,
            control: control.then(|| Stopping::new(Role::Control)),
        }
    }

    pub(super) fn words(&self, facts: &Facts) -> String {
        if let (Stage::Mirrors(_) | Stage::Weight(_) | Stage::Split(..), Some(worse)) =
            (&self.stage, facts.split.worse())
        {
            return format!("it waits for a person: the candidate was found worse: {worse}");
        }
        match &self.stage {
            Stage::Mirrors(_) => format!("{}: copies are stopped", self.why),
            Stage::Weight(_) => format!("{}: everything goes to the candidate", self.why),
            Stage::Split(..) => format!("{}: the split is ended", self.why),
            Stage::Replacing { left: Some(left), .. } => {
                format!("{}: {left} of the previous instances are left", self.why)
            }
            Stage::Replacing { .. } => format!("{}: previous instances make room", self.why),
            Stage::Telling(_) => self.why.clone(),
        }
    }
}

/// Whether the gateway is seen, judges, and found nothing bad.
fn may_rise(turn: &Turn<'_>) -> bool {
    turn.facts.split.blind().is_none() && turn.facts.split.worse().is_none()
}

/// Whether the split was not ended for certain: nobody is at it, and the gateway was seen since.
fn has_way_back(attempt: &Attempt, turn: &Turn<'_>) -> bool {
    let split = &turn.facts.split;
    !attempt.is_under_way() && split.life == Life::Begun && split.lost().is_none()
}
