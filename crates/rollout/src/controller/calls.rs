//! Webhooks of one kind that are asked at one moment.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Happened;

use super::effect::Effect;
use super::event::{Answer, Event};
use super::turn::{Facts, Turn};
use crate::spec::WebhookKind;

/// One that holds is asked again after so long.
const AGAIN_MS: u64 = 10_000;
/// An answer that is this late beyond the webhook's own patience will not come.
const LATE_MS: u64 = 30_000;

/// Webhooks of one kind that are asked at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Calls {
    kind: WebhookKind,
    calls: Vec<Call>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    name: String,
    patience_ms: u64,
    /// The one under way.
    number: Option<u32>,
    /// It is to be made again, under the same number.
    lost: bool,
    waited_ms: u64,
    answer: Option<Answer>,
}

impl Calls {
    pub(super) fn new(kind: WebhookKind, facts: &Facts) -> Self {
        let of_kind = facts.spec.webhooks.iter().filter(|hook| hook.kind == kind);
        let calls = of_kind.map(|hook| Call {
            name: hook.name.clone(),
            patience_ms: hook.patience_ms(),
            number: None,
            lost: false,
            waited_ms: 0,
            answer: None,
        });
        Self { kind, calls: calls.collect() }
    }

    /// Takes note of answers, of time, of a restart.
    pub(super) fn hear(&mut self, event: &Event, turn: &mut Turn<'_>) {
        match event {
            Event::Tick => self.tick(turn),
            Event::Resumed => self.calls.iter_mut().for_each(|call| call.lost = true),
            Event::Hook { name, number, answer } => {
                let asked = self.calls.iter_mut().find(|call| call.number == Some(*number));
                if let Some(call) = asked.filter(|call| call.name == *name) {
                    call.is_answered(answer.clone(), turn);
                }
            }
            Event::Failed { effect: Effect::Call { number, .. }, why } => {
                let asked = self.calls.iter_mut().find(|call| call.number == Some(*number));
                let answer = Answer::Failed { why: why.clone() };
                asked.into_iter().for_each(|call| call.is_answered(answer.clone(), turn));
            }
            _ => {}
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        for call in &mut self.calls {
            call.waited_ms = call.waited_ms.saturating_add(turn.passed_ms);
            if call.number.is_some() && call.waited_ms > call.patience_ms.saturating_add(LATE_MS) {
                call.is_answered(Answer::Failed { why: "there is no answer".to_owned() }, turn);
            }
        }
    }

    /// Asks those that are to be asked now.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_>) {
        let told = self.kind.is_told();
        for call in &mut self.calls {
            if let Some(number) = call.take_number(told, turn) {
                turn.emit(Effect::Call { hook: call.name.clone(), number });
            }
        }
    }

    /// Whether all have said go; those that are only told need not.
    pub(super) fn are_through(&self) -> bool {
        let told = self.kind.is_told();
        self.calls.iter().all(|call| match &call.answer {
            Some(Answer::Go) => true,
            Some(_) => told,
            None => false,
        })
    }

    /// Why one of those that must not fail has.
    pub(super) fn failure(&self) -> Option<String> {
        if !matches!(self.kind, WebhookKind::PreRollout | WebhookKind::Rollout) {
            return None;
        }
        self.calls.iter().find_map(|call| match &call.answer {
            Some(Answer::Failed { why }) => Some(format!("webhook {} failed: {why}", call.name)),
            _ => None,
        })
    }

    /// Those that hold, and why where they said so.
    pub(super) fn held_by(&self) -> Vec<(&str, Option<&str>)> {
        let holding = self.calls.iter().filter(|call| call.answer != Some(Answer::Go));
        let holding = holding.map(|call| {
            let why = match &call.answer {
                Some(Answer::Hold { why } | Answer::Failed { why }) => Some(why.as_str()),
                _ => None,
            };
            (call.name.as_str(), why)
        });
        if self.kind.is_told() { Vec::new() } else { holding.collect() }
    }

    /// What they hold, in words.
    pub(super) fn words(&self, before: &str) -> String {
        let held = self.held_by().into_iter().map(|(name, why)| match why {
            Some(why) => format!("{name} ({why})"),
            None => name.to_owned(),
        });
        let held: Vec<String> = held.collect();
        format!("waits for {} before {before}", held.join(", "))
    }
}

impl Call {
    fn take_number(&mut self, told: bool, turn: &mut Turn<'_>) -> Option<u32> {
        if let (Some(number), true) = (self.number, std::mem::take(&mut self.lost)) {
            self.waited_ms = 0;
            return Some(number);
        }
        let due = match &self.answer {
            None => self.number.is_none(),
            Some(Answer::Go) => false,
            Some(_) => !told && self.number.is_none() && self.waited_ms >= AGAIN_MS,
        };
        due.then(|| {
            self.waited_ms = 0;
            *self.number.insert(turn.number())
        })
    }

    fn is_answered(&mut self, answer: Answer, turn: &mut Turn<'_>) {
        (self.number, self.lost, self.waited_ms) = (None, false, 0);
        if self.answer.as_ref() != Some(&answer) {
            let outcome = match &answer {
                Answer::Go => "go".to_owned(),
                Answer::Hold { why } => format!("holds: {why}"),
                Answer::Failed { why } => format!("failed: {why}"),
            };
            turn.record(Happened::Hook { name: self.name.clone(), outcome });
        }
        self.answer = Some(answer);
    }
}
