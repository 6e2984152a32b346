//! What people and programs ask a daemon to rehearse, and what they are answered.

use serde::{Deserialize, Serialize};
use umbra_drift::service::Selection;

use crate::report::Report;
use crate::what::Kind;

/// Something of a primary to be rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RehearseRequest {
    /// What.
    pub what: Kind,
    /// Of which facts.
    #[serde(default)]
    pub selection: Selection,
    /// The shadow a rollback goes to; the known good one if not given.
    #[serde(default)]
    pub to: Option<u64>,
    /// Where primary, known good and target are three different things, the target counts.
    #[serde(default)]
    pub overwrite: bool,
    /// The file of the recipe whose services run and whose tests must hold, on the daemon's
    /// machine; if not given, that of the build which made the primary's image.
    #[serde(default)]
    pub recipe: Option<String>,
    /// What makes the shadow it is tried on: `sandbox`, which it is if not given, or `qemu`, a
    /// machine with a kernel of its own.
    #[serde(default)]
    pub provider: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RehearseReply {
    /// Everything that was seen.
    pub report: Report,
}
