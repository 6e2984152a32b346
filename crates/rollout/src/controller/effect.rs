//! What is to be done.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Happened;

/// What is to be done, in the order in which it comes. Each may be asked for again after a
/// restart, and then does what is left of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Have so many instances run, healthy and warmed up: `InstancesReady` or `InstancesFailed`.
    StartInstances {
        /// Whose.
        role: Role,
        /// So many.
        count: u32,
    },
    /// Let them end what they have, and stop them: `Stopped`.
    StopInstances {
        /// Whose.
        role: Role,
    },
    /// Have the gateway split the route's requests at weight 0: `SplitBegun`.
    BeginSplit,
    /// Have it send this part of requests to the candidate: `WeightSet` or `WeightRefused`.
    /// There is never more than one under way.
    SetWeight {
        /// From 0 to 1.
        weight: f64,
    },
    /// End the split; all requests go to this arm from then on: `SplitEnded`. There is no way
    /// back from the candidate.
    EndSplit {
        /// Which.
        to: Winner,
    },
    /// Mirror this part of requests to the candidate and to a fresh instance of what is in
    /// production: `MirrorsSet` or `MirrorsFailed`.
    SetMirrors {
        /// From 0 to 100.
        percent: f64,
    },
    /// Mirror nothing more: `MirrorsSet` with 0.
    StopMirrors,
    /// Measure once: `Measured`.
    Measure {
        /// Its name.
        analysis: String,
        /// Which measurement of this rollout.
        number: u32,
    },
    /// Call a webhook once: `Hook`.
    Call {
        /// Its name.
        hook: String,
        /// Which call of this rollout.
        number: u32,
    },
    /// Take previous instances away one by one, each after it has ended what it had: `Replaced`
    /// for each, the last with none left.
    Replace,
    /// Send requests of our own through the gateway: `ToppedUp`.
    TopUp {
        /// So many.
        requests: u64,
    },
    /// Tell people.
    Alert(Alert),
    /// Write down that this happened.
    Record(Happened),
}

/// Whose instances a rollout runs. Those in production are nobody's business until the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The candidate's.
    Candidate,
    /// A fresh one of what is in production: for mirrors, and as control.
    Control,
}

/// Whom all requests go to once a split is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    /// What was in production before.
    Baseline,
    /// What is to replace it.
    Candidate,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// The candidate is in production.
    Promoted,
    /// Everything goes to the baseline again.
    RolledBack {
        /// Why.
        why: String,
    },
    /// It waits for a person.
    Paused {
        /// Why.
        why: String,
    },
    /// Something should be looked at, and changes nothing by itself.
    Warning {
        /// What.
        sentence: String,
    },
}
