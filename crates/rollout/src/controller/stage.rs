//! One step while it goes on.
//!
//! ```text
//!  Fresh ─┬─ setMirror ────> Mirror
//!         ├─ pause ────────> Pause
//!         ├─ analysis ─────> Analysis
//!         └─ setWeight ┐
//!    behind the last ──┴─> Unmirror ──> Gate ──> Weight, or promotion
//! ```

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Happened;

use super::attempt::Attempt;
use super::calls::Calls;
use super::effect::Effect;
use super::event::{Event, Seen};
use super::hold::Hold;
use super::phase::End;
use super::run::Run;
use super::split::same;
use super::turn::{Facts, Turn};
use super::unmirror::{Unmirror, Unmirrored};
use crate::spec::{Mirror, Step, WebhookKind};
use crate::words;

/// One step while it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Not begun.
    Fresh,
    /// Copies are made.
    Mirror(Mirrored),
    /// Copies are stopped before anybody gets to the candidate.
    Unmirror(Unmirror),
    /// Webhooks are asked before the weight rises.
    Gate(Calls),
    /// A weight is set and held.
    Weight(Hold),
    /// Nothing changes, for so long already.
    Pause(u64),
    /// Measurements are made.
    Analysis(Vec<Run>),
}

/// Copies are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Mirrored {
    of: Mirror,
    attempt: Attempt,
    set: bool,
    held_ms: u64,
    /// Those compared when it began, and since.
    from: Option<u64>,
    compared: u64,
}

/// How far a step is.
pub(super) enum State {
    /// It waits.
    Waits,
    /// It is at another stage; `skipped` if only because a person said so.
    GoesOn { skipped: bool },
    /// It is to wait for a person.
    WaitsForAPerson,
    /// It is over.
    Through,
    /// It cannot be done, or came out badly.
    Failed(End, String),
}

impl Stage {
    pub(super) fn hear(&mut self, event: &Event, turn: &mut Turn<'_>) {
        match self {
            Self::Fresh => {}
            Self::Mirror(mirrored) => mirrored.hear(event, turn),
            Self::Unmirror(unmirror) => unmirror.hear(event, turn),
            Self::Gate(calls) => calls.hear(event, turn),
            Self::Weight(hold) => hold.hear(event, turn),
            Self::Pause(passed_ms) => {
                if *event == Event::Tick {
                    *passed_ms = passed_ms.saturating_add(turn.passed_ms);
                }
            }
            Self::Analysis(runs) => runs.iter_mut().for_each(|run| run.hear(event, turn)),
        }
    }

    /// What goes on whether the rollout does or not.
    pub(super) fn tend(&mut self, turn: &mut Turn<'_>) {
        match self {
            Self::Mirror(mirrored) => mirrored.set(turn),
            Self::Analysis(runs) => runs.iter_mut().for_each(|run| run.measure(turn)),
            Self::Weight(hold) => hold.tend(turn),
            _ => {}
        }
    }

    /// What is next in step number `step`.
    pub(super) fn go_on(
        &mut self,
        step: usize,
        may_rise: bool,
        skip: bool,
        turn: &mut Turn<'_>,
    ) -> State {
        if !(skip && matches!(self, Self::Analysis(_))) {
            self.tend(turn);
        }
        let deadline_ms = turn.facts.spec.deadline_ms;
        match self {
            Self::Fresh => {
                *self = begin(step, turn);
                State::GoesOn { skipped: false }
            }
            Self::Mirror(mirrored) => mirrored.state(deadline_ms, skip),
            Self::Unmirror(unmirror) => match unmirror.go_on(turn) {
                Unmirrored::Waits => State::Waits,
                Unmirrored::Late(why) => State::Failed(End::Error, why),
                Unmirrored::Through => {
                    *self = gate(step, turn);
                    State::GoesOn { skipped: false }
                }
            },
            Self::Gate(calls) => {
                calls.ask(turn);
                let (through, skipped) = (calls.are_through() || skip, !calls.are_through());
                match turn.facts.spec.steps.get(step) {
                    _ if !through || !may_rise || turn.facts.split.blind().is_some() => {
                        State::Waits
                    }
                    Some(Step::SetWeight(percent)) => {
                        *self = Self::Weight(Hold::new(percent / 100.0, turn.facts));
                        State::GoesOn { skipped }
                    }
                    _ => State::Through,
                }
            }
            Self::Weight(hold) => hold.state(may_rise, skip, turn),
            Self::Pause(passed_ms) => match turn.facts.spec.steps.get(step) {
                _ if skip => State::Through,
                Some(Step::Pause(None)) => State::WaitsForAPerson,
                Some(Step::Pause(Some(ms))) if *passed_ms < *ms => State::Waits,
                _ => State::Through,
            },
            Self::Analysis(runs) => {
                if skip || runs.iter().all(Run::is_over) {
                    State::Through
                } else {
                    State::Waits
                }
            }
        }
    }

    pub(super) fn calls(&self) -> Option<&Calls> {
        match self {
            Self::Gate(calls) => Some(calls),
            Self::Weight(hold) => Some(hold.calls()),
            _ => None,
        }
    }

    pub(super) fn runs(&self) -> &[Run] {
        match self {
            Self::Analysis(runs) => runs,
            _ => &[],
        }
    }

    pub(super) fn runs_mut(&mut self) -> &mut [Run] {
        match self {
            Self::Analysis(runs) => runs,
            _ => &mut [],
        }
    }

    /// Why it is where it is.
    pub(super) fn words(&self, step: usize, facts: &Facts) -> String {
        let words = facts.spec.steps.get(step).map_or("promotion".to_owned(), words::step);
        match self {
            Self::Fresh => words,
            Self::Mirror(mirrored) => format!("{words}: {}", mirrored.words()),
            Self::Unmirror(_) => format!("{words}: copies are stopped first"),
            Self::Gate(calls) if calls.held_by().is_empty() => words,
            Self::Gate(calls) => calls.words(&words),
            Self::Weight(hold) => format!("{words}: {}", hold.words(facts)),
            Self::Pause(passed_ms) => match facts.spec.steps.get(step) {
                Some(Step::Pause(Some(ms))) => {
                    format!("{words}: {} left", words::left_ms(ms.saturating_sub(*passed_ms)))
                }
                _ => words,
            },
            Self::Analysis(runs) => {
                let left = runs.iter().filter(|run| !run.is_over()).count();
                format!("{words}: {left} of {} go on", runs.len())
            }
        }
    }
}

/// Begins a step; behind the last it is what promotion needs.
fn begin(step: usize, turn: &mut Turn<'_>) -> Stage {
    if let Some(began_at_ms) = turn.facts.steps.get_mut(step) {
        *began_at_ms = Some(turn.now_ms);
    }
    let of = turn.facts.spec.steps.get(step).cloned();
    if let Some(of) = &of {
        turn.record(Happened::Step { step, words: words::step(of) });
    }
    match of {
        None | Some(Step::SetWeight(_)) => Stage::Unmirror(Unmirror::default()),
        Some(Step::SetMirror(of)) => Stage::Mirror(Mirrored::new(of)),
        Some(Step::Pause(_)) => Stage::Pause(0),
        Some(Step::Analysis(names)) => {
            let analyses = &turn.facts.spec.analyses;
            let of = |name: &String| analyses.iter().find(|one| one.name == *name);
            Stage::Analysis(names.iter().filter_map(of).map(Run::new).collect())
        }
    }
}

fn gate(step: usize, turn: &Turn<'_>) -> Stage {
    let kind = match turn.facts.spec.steps.get(step) {
        Some(_) => WebhookKind::ConfirmTrafficIncrease,
        None => WebhookKind::ConfirmPromotion,
    };
    Stage::Gate(Calls::new(kind, turn.facts))
}

impl Mirrored {
    fn new(of: Mirror) -> Self {
        let attempt = Attempt::default();
        Self { of, attempt, set: false, held_ms: 0, from: None, compared: 0 }
    }

    fn hear(&mut self, event: &Event, turn: &Turn<'_>) {
        match event {
            Event::Tick if turn.facts.split.lost().is_some() => {}
            // Their answers are no evidence while nobody judges.
            Event::Tick if self.set && turn.facts.split.blind().is_some() => {}
            Event::Tick if self.set => {
                self.held_ms = self.held_ms.saturating_add(turn.passed_ms);
            }
            Event::Tick => {
                self.attempt.tick(turn.passed_ms);
                self.attempt.expire();
            }
            // Whether they still are is not known.
            Event::Resumed => (self.set, self.attempt) = (false, Attempt::default()),
            Event::MirrorsSet { percent } if same(*percent, self.of.percent) => self.set = true,
            Event::MirrorsFailed { why }
            | Event::Failed { effect: Effect::SetMirrors { .. }, why } => self.attempt.fail(why),
            Event::SplitSeen(seen) if self.set => self.see(seen),
            _ => {}
        }
    }

    fn see(&mut self, seen: &Seen) {
        let from = self.from.get_or_insert(seen.compared);
        self.compared = self.compared.max(seen.compared.saturating_sub(*from));
    }

    fn set(&mut self, turn: &mut Turn<'_>) {
        if !self.set && self.attempt.begin() {
            // From now on there may be some.
            turn.facts.split.mirrored = self.of.percent;
            turn.emit(Effect::SetMirrors { percent: self.of.percent });
        }
    }

    fn state(&self, deadline_ms: u64, skip: bool) -> State {
        if !self.set && self.attempt.is_overdue(deadline_ms) {
            let why = format!("requests cannot be mirrored: {}", self.attempt.words());
            return State::Failed(End::Error, why);
        }
        let enough = self.of.requests.is_some_and(|requests| self.compared >= requests);
        let long = self.of.for_ms.is_some_and(|ms| self.held_ms >= ms);
        let unlimited = self.of.requests.is_none() && self.of.for_ms.is_none();
        let through = self.set && (enough || long || unlimited);
        if skip || through { State::Through } else { State::Waits }
    }

    fn words(&self) -> String {
        let compared = format!("{} compared", words::requests(self.compared));
        match (self.set, self.of.requests, self.of.for_ms) {
            (false, ..) => "copies are not made yet".to_owned(),
            (true, Some(requests), None) => format!("{compared} of {requests}"),
            (true, None, Some(ms)) => {
                format!("{compared}, {} left", words::left_ms(ms.saturating_sub(self.held_ms)))
            }
            (true, Some(requests), Some(ms)) => {
                let left = words::left_ms(ms.saturating_sub(self.held_ms));
                format!("{compared} of {requests}, at most {left} left")
            }
            (true, None, None) => compared,
        }
    }
}
