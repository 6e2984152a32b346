//! From what happened to what is to be done.
//!
//! ```text
//!            gates, instances,            all steps          weight 1,        previous
//!            pre-rollout, split            through        the split ended   instances gone
//!  Begin ──> Starting ────────> Running ─────────> Promoting ─────────────────> Successful
//!               │               │  ^                  │
//!               │    a person,  │  │ resume,          │ worse, abort: as long as
//!               │    a pause,   v  │ promote          │ the split is not ended
//!               │    unclear   Paused                 │
//!               │               │                     │
//!               └───────────────┴──> RollingBack <────┘
//!    never healthy, failed hooks,         │  weight 0, copies stopped, instances
//!    worse, guards, analyses, abort       │  drained once the split is ended
//!                                         v
//!                           Failed, Inconclusive, Error
//! ```
//!
//! [`Controller::on`] takes an event and gives what it became with what is to be done. Nothing
//! else changes it, and all of it is serialisable: written down after each turn it goes on in
//! another process as if nothing had been, after [`Event::Resumed`].
//!
//! How it is built: an event is *heard* by what is known of the gateway's split (`split`) and by
//! the phase, which only take note of it. Then the phase *goes on* until there is nothing to do
//! before the next event. What was asked for and not answered (`attempt`, `calls`, `run`) is known
//! at any time, so that it can be asked for again. Time is counted (`clock`), and nothing that
//! raises the weight happens while the gateway is not seen.

mod attempt;
mod calls;
mod clock;
mod effect;
mod event;
mod hold;
mod phase;
mod promoting;
mod rolling_back;
mod run;
mod running;
mod split;
mod stage;
mod starting;
#[cfg(test)]
mod tests;
mod turn;
mod unmirror;
mod watch;

pub use effect::{Alert, Effect, Role, Winner};
pub use event::{Answer, Event, Measurement, Outcome, Seen};

use serde::{Deserialize, Serialize};
use umbra_api::rollout::{AnalysisStatus, Happened, RolloutPhase, StepProgress, StepStatus};

use self::phase::Phase;
use self::starting::Starting;
use self::turn::{Facts, Turn};
use crate::spec::{Spec, WebhookKind};
use crate::words;

/// A rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    facts: Facts,
    phase: Phase,
}

impl Controller {
    /// One that waits for [`Event::Begin`].
    pub fn new(spec: Spec, now_ms: i64) -> Self {
        let phase = Phase::Starting(Starting::new());
        Self { facts: Facts::new(spec, now_ms), phase }
    }

    /// What becomes of it, and what is to be done, in this order.
    #[must_use]
    pub fn on(self, event: Event, now_ms: i64) -> (Self, Vec<Effect>) {
        let Self { mut facts, mut phase } = self;
        let passed_ms = match event {
            Event::Tick => facts.clock.tick(now_ms),
            _ => 0,
        };
        if matches!(event, Event::Begin | Event::Resumed) {
            facts.clock.begin(now_ms);
        }
        let mut turn = Turn { facts: &mut facts, now_ms, passed_ms, effects: Vec::new() };
        if !phase.of_wire().is_over() {
            turn.facts.split.hear(&event, passed_ms, &mut turn.effects);
            let before = phase.of_wire();
            phase = hear(phase, &event, &mut turn);
            tell(before, &phase, &mut turn);
            let mut goes_on = true;
            while goes_on {
                let before = phase.of_wire();
                (phase, goes_on) = go_on(phase, &mut turn);
                tell(before, &phase, &mut turn);
            }
        }
        let effects = turn.effects;
        (Self { facts, phase }, effects)
    }

    /// How it is rolled out.
    pub fn spec(&self) -> &Spec {
        &self.facts.spec
    }

    /// Where it is in its life.
    pub fn phase(&self) -> RolloutPhase {
        self.phase.of_wire()
    }

    /// Whether nothing more happens.
    pub fn is_over(&self) -> bool {
        self.phase().is_over()
    }

    /// Why it is there, in a sentence without a full stop.
    pub fn reason(&self) -> String {
        reason(&self.phase, &self.facts)
    }

    /// The place of its step, from 0, once it runs; as many as there are behind the last.
    pub fn step(&self) -> Option<usize> {
        match &self.phase {
            Phase::Running(running) | Phase::Paused(running, _) => Some(running.step()),
            _ => None,
        }
    }

    /// All steps, as people see them.
    pub fn steps(&self) -> Vec<StepStatus> {
        let step = self.step();
        let steps = self.facts.spec.steps.iter().zip(&self.facts.steps).enumerate();
        let status = steps.map(|(place, (of, began_at_ms))| StepStatus {
            words: words::step(of),
            progress: self.progress(place, step, began_at_ms.is_some()),
            began_at_ms: *began_at_ms,
        });
        status.collect()
    }

    fn progress(&self, place: usize, step: Option<usize>, began: bool) -> StepProgress {
        match step {
            Some(step) if place == step => StepProgress::Current,
            Some(step) if place > step => StepProgress::Ahead,
            _ if began => StepProgress::Done,
            None if self.phase() == RolloutPhase::Starting => StepProgress::Ahead,
            _ => StepProgress::Skipped,
        }
    }

    /// The candidate's part of requests, from 0 to 1, as the gateway last said.
    pub fn weight(&self) -> f64 {
        self.facts.split.weight.set()
    }

    /// The part of requests that is mirrored, in percent.
    pub fn mirrored_percent(&self) -> f64 {
        self.facts.split.mirrored
    }

    /// The gateway's split as it was last seen.
    pub fn seen(&self) -> Option<&Seen> {
        self.facts.split.seen.as_ref()
    }

    /// Requests of our own that were sent.
    pub fn topped_up(&self) -> u64 {
        self.facts.topped_up
    }

    /// Measurements, those that ended before those that go on.
    pub fn analyses(&self) -> Vec<AnalysisStatus> {
        let mut all = self.facts.analyses.clone();
        if let Phase::Running(running) | Phase::Paused(running, _) = &self.phase {
            for run in running.runs() {
                all.retain(|kept| kept.name != run.name());
                all.push(run.status());
            }
        }
        all
    }

    /// Webhooks that hold it now.
    pub fn held_by(&self) -> Vec<String> {
        let held = self.phase.calls().map(calls::Calls::held_by).unwrap_or_default();
        held.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// When it began, in milliseconds since 1970 UTC.
    pub fn began_at_ms(&self) -> i64 {
        self.facts.began_at_ms
    }

    /// When it ended, likewise.
    pub fn ended_at_ms(&self) -> Option<i64> {
        self.facts.ended_at_ms
    }
}

fn hear(phase: Phase, event: &Event, turn: &mut Turn<'_>) -> Phase {
    match phase {
        Phase::Starting(starting) => starting.hear(event, turn),
        Phase::Running(running) => running.hear(event, turn),
        Phase::Paused(running, why) => running.hear_paused(why, event, turn),
        Phase::Promoting(promoting) => promoting.hear(event, turn),
        Phase::RollingBack(rolling_back) => rolling_back.hear(event, turn),
        Phase::Over(..) => phase,
    }
}

/// What is next, and whether something still is.
fn go_on(phase: Phase, turn: &mut Turn<'_>) -> (Phase, bool) {
    match phase {
        Phase::Starting(starting) => starting.go_on(turn),
        Phase::Running(running) => running.go_on(turn),
        Phase::Paused(running, why) => running.wait(why, turn),
        Phase::Promoting(promoting) => promoting.go_on(turn),
        Phase::RollingBack(rolling_back) => rolling_back.go_on(turn),
        Phase::Over(..) => (phase, false),
    }
}

fn reason(phase: &Phase, facts: &Facts) -> String {
    match phase {
        Phase::Starting(starting) => starting.words(),
        Phase::Running(running) => running.words(facts),
        Phase::Paused(_, why) => why.words(),
        Phase::Promoting(promoting) => promoting.words(facts),
        Phase::RollingBack(rolling_back) => rolling_back.words(),
        Phase::Over(_, why) => why.clone(),
    }
}

/// Writes down that it is in another phase, and tells who wants to know.
fn tell(before: RolloutPhase, phase: &Phase, turn: &mut Turn<'_>) {
    let now = phase.of_wire();
    if now == before {
        return;
    }
    let reason = reason(phase, turn.facts);
    if now == RolloutPhase::Paused {
        turn.emit(Effect::Alert(Alert::Paused { why: reason.clone() }));
    }
    turn.record(Happened::Phase { phase: now, reason });
    let events = turn.facts.spec.webhooks.iter().filter(|hook| hook.kind == WebhookKind::Event);
    let names: Vec<String> = events.map(|hook| hook.name.clone()).collect();
    for hook in names {
        let number = turn.number();
        turn.emit(Effect::Call { hook, number });
    }
}
