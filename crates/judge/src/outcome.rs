//! What the judge is told: which weight was declared, and what came of each request.

use serde::{Deserialize, Serialize};

use crate::arm::Arm;

/// What came of a request, or is already certain to come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its session where the route is sticky, else its number.
    pub unit: u64,
    /// Where it was assigned, whoever answered it in the end.
    pub arm: Arm,
    /// Which of the declared weights was in force when it was assigned, from 0.
    pub stage: u16,
    /// How long it took until its answer began, or how old it is.
    pub latency_us: u32,
    /// Whether it failed.
    pub failed: bool,
    /// How many of [`crate::trial::Trial::hang_thresholds_us`] it was told to have passed before
    /// this.
    pub hung: u8,
    /// Whether it is over.
    pub kind: Kind,
}

/// Whether a request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is.
    Ended,
    /// It is under way and just passed the hang threshold with the number `hung`; one that passed
    /// two at once is told twice.
    Hung,
}

/// Everything a judge is told in a rollout, in the order in which it was told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// From now on units are assigned to the candidate with this probability, from 0 to 1. The
    /// first one is the stage 0.
    Stage {
        /// The probability.
        weight: f64,
    },
    /// See [`Outcome`].
    Outcome(Outcome),
    /// How the comparison of answers stands: the natural logarithm of its e-value over all fields
    /// and since the rollout began.
    Differences {
        /// The logarithm.
        log_e: f64,
    },
    /// How the judge stood here when somebody acted on it. Changes nothing: it is checked when
    /// the rollout is judged again.
    Decision(Decision),
}

/// How a judge stood.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// [`crate::trial::Trial::log_e`].
    pub log_e: f64,
    /// [`crate::trial::Trial::is_worse`].
    pub worse: bool,
    /// [`crate::trial::Trial::proved`].
    pub proved: bool,
}

impl Decision {
    /// Whether the two are the same to the last bit.
    pub fn is_exactly(&self, other: &Self) -> bool {
        self.log_e.to_bits() == other.log_e.to_bits()
            && (self.worse, self.proved) == (other.worse, other.proved)
    }
}
