//! The daemon itself: who it is, whether it is well, and keeping its store.

use serde::{Deserialize, Serialize};

/// The version of the API this crate speaks. It grows when something published changes its
/// meaning; additions do not count.
pub const API_VERSION: u32 = 1;

/// The answer of `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The daemon's own version.
    pub version: String,
    /// See [`API_VERSION`].
    pub api: u32,
    /// Its process.
    pub pid: u32,
    /// Where its state is.
    pub state_dir: String,
    /// The provider of its shadows.
    pub provider: String,
    /// What this machine lacks, and what that costs.
    pub missing: Vec<String>,
    /// Milliseconds since 1970 UTC.
    pub started_at_ms: i64,
}

/// The answer of `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// False while it goes down, or when its database does not answer.
    pub ok: bool,
    /// Builds that run now.
    pub builds_running: u64,
    /// Shadows that exist now.
    pub shadows: u64,
    /// What it noticed about its predecessor when it started.
    pub start_notes: Vec<String>,
}

/// What `POST /v1/gc` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GcRequest {
    /// Say what would go, remove nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GcReply {
    /// Nothing was removed; these numbers are what would be.
    pub dry_run: bool,
    /// States that stay.
    pub states_kept: u64,
    /// States that went.
    pub states_removed: u64,
    /// Content objects that went.
    pub objects_removed: u64,
    /// Bytes that became free.
    pub bytes_freed: u64,
    /// Remembered steps that were forgotten because their state went.
    pub cache_entries_removed: u64,
}

/// What a check of the store found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FsckReply {
    /// States looked at.
    pub states: u64,
    /// Content objects looked at.
    pub objects: u64,
    /// What is wrong, each a sentence with advice; empty is clean.
    pub findings: Vec<String>,
}
