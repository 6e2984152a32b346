//! Images, their timelines and the numbers their tests measured over time.

use serde::{Deserialize, Serialize};
use umbra_state::{Cause, StateId};

/// A sealed, named state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Its name from the recipe.
    pub name: String,
    /// The state it names now.
    pub state: StateId,
    /// The build that sealed it.
    pub build: u64,
    /// Milliseconds since 1970 UTC.
    pub sealed_at_ms: i64,
}

/// One entry of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// The timeline's name: the image's.
    pub timeline: String,
    /// 0, 1, 2, … within the timeline.
    pub sequence: u64,
    /// The state then.
    pub state: StateId,
    /// The state before.
    pub parent: Option<StateId>,
    /// Why.
    pub cause: Cause,
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Words put on it.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// One measured number of an image's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// The build that measured it.
    pub build: u64,
    /// After which step, by name.
    pub step: String,
    /// By which test.
    pub test: String,
    /// Such as `p99`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
}
