//! What happens to a rollout.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::Told;

use super::effect::{Effect, Role, Winner};

/// What happens. Answers to an effect come any time after it, once or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It begins.
    Begin,
    /// Time passes: about once a second. Only these let time count.
    Tick,
    /// A person says something.
    Told(Told),
    /// The daemon was restarted: whatever was being done may have been or not, and is to be done
    /// again. After it, who drives the rollout tells how the split stands.
    Resumed,
    /// All instances of a role are healthy and warmed up.
    InstancesReady {
        /// Whose.
        role: Role,
    },
    /// They will not be, or one that was is gone for good.
    InstancesFailed {
        /// Whose.
        role: Role,
        /// In the instance's own words.
        why: String,
    },
    /// They have ended what they had, and are stopped.
    Stopped {
        /// Whose.
        role: Role,
    },
    /// The gateway splits the route's requests, at weight 0.
    SplitBegun,
    /// The gateway answered: how its split stands.
    SplitSeen(Seen),
    /// The gateway does not answer.
    SplitLost {
        /// Why.
        why: String,
    },
    /// The gateway answers, and has no such split, though it was begun: somebody else ended it.
    SplitGone {
        /// Whom the route's requests go to now.
        serves: Winner,
    },
    /// The split is ended.
    SplitEnded,
    /// The weight is this now.
    WeightSet {
        /// As it was asked for.
        weight: f64,
    },
    /// The gateway does not set it: it has rolled back, or a successor takes over.
    WeightRefused {
        /// Why.
        why: String,
    },
    /// This part of requests is mirrored now; 0 after [`Effect::StopMirrors`].
    MirrorsSet {
        /// As it was asked for.
        percent: f64,
    },
    /// They cannot be.
    MirrorsFailed {
        /// Why.
        why: String,
    },
    /// A measurement was made, or nobody could.
    Measured {
        /// Its name.
        analysis: String,
        /// Of the [`Effect::Measure`] it answers.
        number: u32,
        /// What came of it.
        measurement: Measurement,
    },
    /// A webhook answered, or did not.
    Hook {
        /// Its name.
        name: String,
        /// Of the [`Effect::Call`] it answers.
        number: u32,
        /// What it said.
        answer: Answer,
    },
    /// Another previous instance has made room.
    Replaced {
        /// So many are left.
        left: u32,
    },
    /// Requests of our own were sent.
    ToppedUp {
        /// So many.
        requests: u64,
    },
    /// Something could not be done, and is not being tried any more.
    Failed {
        /// What.
        effect: Effect,
        /// Why.
        why: String,
    },
}

/// How the gateway's split stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The candidate's part of requests.
    pub weight: f64,
    /// The gateway has taken it to 0 by itself: why.
    pub rolled_back: Option<String>,
    /// The candidate was found worse: the evidence in words.
    pub worse: Option<String>,
    /// It is proved that it is not worse than is tolerated.
    pub proved: bool,
    /// Requests assigned since the split began: baseline's, candidate's.
    pub requests: [u64; 2],
    /// Those that failed.
    pub errors: [u64; 2],
    /// 99 % of answers begin within this.
    pub p99_us: [Option<u64>; 2],
    /// Mirrored requests that both shadows were compared by.
    pub compared: u64,
    /// What did not count.
    pub left_out: u64,
    /// About how many more requests of the candidate a decision needs.
    pub requests_needed: Option<u64>,
    /// Why nobody judges what comes of requests at the moment, if nobody does: then they are no
    /// evidence.
    pub unjudged: Option<String>,
}

/// What came of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Good, bad, or neither.
    pub outcome: Outcome,
    /// The value, in words.
    pub value: Option<String>,
    /// Why.
    pub message: String,
}

/// Good, bad, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its condition for success holds.
    Successful,
    /// Its condition for failure holds.
    Failed,
    /// Neither does.
    Inconclusive,
    /// Nobody could look.
    Error,
}

/// What a webhook said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Go on.
    Go,
    /// Not yet.
    Hold {
        /// Why.
        why: String,
    },
    /// It did not answer, or said that something is wrong.
    Failed {
        /// Why.
        why: String,
    },
}
