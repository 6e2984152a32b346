//! Stories told event by event, and laws that hold for any events.

mod laws;
mod stories;
mod world;

use super::{Alert, Effect, Event, Role, Seen, Winner};
use crate::spec::{self, Spec};

/// A document with these lines, of service `web`.
pub(super) fn spec(lines: &str) -> Spec {
    let text = format!("service: web\n{lines}\n");
    spec::parse("rollout.yaml", &text).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)))
}

/// An effect in a few words; what is only written down is nothing.
pub(super) fn short(effect: &Effect) -> Option<String> {
    let role = |role: &Role| match role {
        Role::Candidate => "candidate",
        Role::Control => "control",
    };
    Some(match effect {
        Effect::StartInstances { role: of, count } => format!("start {count} {}", role(of)),
        Effect::StopInstances { role: of } => format!("stop {}", role(of)),
        Effect::BeginSplit => "split".to_owned(),
        Effect::SetWeight { weight } => format!("weight {weight}"),
        Effect::EndSplit { to: Winner::Baseline } => "end to baseline".to_owned(),
        Effect::EndSplit { to: Winner::Candidate } => "end to candidate".to_owned(),
        Effect::SetMirrors { percent } => format!("mirror {percent}"),
        Effect::StopMirrors => "unmirror".to_owned(),
        Effect::Measure { analysis, number } => format!("measure {analysis} {number}"),
        Effect::Call { hook, number } => format!("call {hook} {number}"),
        Effect::Replace => "replace".to_owned(),
        Effect::TopUp { requests } => format!("top up {requests}"),
        Effect::Alert(Alert::Promoted) => "tell promoted".to_owned(),
        Effect::Alert(Alert::RolledBack { .. }) => "tell rolled back".to_owned(),
        Effect::Alert(Alert::Paused { .. }) => "tell paused".to_owned(),
        Effect::Alert(Alert::Warning { .. }) => "tell".to_owned(),
        Effect::Record(_) => return None,
    })
}

/// A split as it is seen at this weight, with so many requests of the candidate.
pub(super) fn seen(weight: f64, requests: u64) -> Seen {
    Seen { weight, requests: [10_000, requests], ..Seen::default() }
}

/// The same, as an event.
pub(super) fn sees(weight: f64, requests: u64) -> Event {
    Event::SplitSeen(seen(weight, requests))
}
