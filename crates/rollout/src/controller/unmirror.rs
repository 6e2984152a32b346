//! No more copies.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::effect::Effect;
use super::event::Event;
use super::turn::Turn;

/// Copies are being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Unmirror(Attempt);

/// How far that is.
pub(super) enum Unmirrored {
    Waits,
    Through,
    /// It takes too long: why.
    Late(String),
}

impl Unmirror {
    pub(super) fn hear(&mut self, event: &Event, turn: &Turn<'_>) {
        match event {
            // Whose fault it is that a gateway is not seen is known elsewhere.
            Event::Tick if turn.facts.split.lost().is_some() => {}
            Event::Tick => {
                self.0.tick(turn.passed_ms);
                self.0.expire();
            }
            Event::Resumed => self.0.forget(),
            Event::MirrorsFailed { why } | Event::Failed { effect: Effect::StopMirrors, why } => {
                self.0.fail(why);
            }
            _ => {}
        }
    }

    /// Has them stopped, if there are any.
    pub(super) fn go_on(&mut self, turn: &mut Turn<'_>) -> Unmirrored {
        if turn.facts.split.mirrored <= 0.0 {
            return Unmirrored::Through;
        }
        if self.0.is_overdue(turn.facts.spec.deadline_ms) {
            return Unmirrored::Late(format!("copies were not stopped: {}", self.0.words()));
        }
        if self.0.begin() {
            turn.emit(Effect::StopMirrors);
        }
        Unmirrored::Waits
    }
}
