//! Why a timeline has an entry.

use serde::{Deserialize, Serialize};

/// The typed reason of a timeline entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// A recipe's step made this state.
    BuildStep {
        /// The build it belongs to.
        build: u64,
        /// The step's name.
        step: String,
    },
    /// The state was read from a directory.
    Capture {
        /// Where it was read.
        source: String,
    },
    /// The state came from an archive, an image layout or another store.
    Import {
        /// Where it came from.
        source: String,
    },
    /// A build ended well and its last state was made final.
    Seal {
        /// The build that sealed it.
        build: u64,
    },
    /// A drift became the new known good.
    Accept {
        /// Why, in a person's words.
        reason: String,
    },
    /// What a rollback found and put something else in place of.
    Displaced {
        /// The rollback's number.
        rollback: u64,
    },
    /// What a rollback led to.
    Rollback {
        /// Its number.
        rollback: u64,
        /// The shadow it went back to, by its place in the timeline.
        to: u64,
    },
    /// A rollout put it into production.
    Rollout {
        /// Its number.
        rollout: u64,
    },
    /// A rollout took what it had begun to put into production away again.
    RolledBack {
        /// Its number.
        rollout: u64,
    },
}
