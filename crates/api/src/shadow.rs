//! Shadows and the ways into them.

use serde::{Deserialize, Serialize};
use umbra_state::{Command, Exit, StateId};

use crate::blob::Blob;

/// One shadow as `GET /v1/shadows` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowInfo {
    /// Its name, unique on this daemon.
    pub name: String,
    /// The provider that runs it.
    pub provider: String,
    /// The state it shows; `None` while that has no id yet.
    pub state: Option<StateId>,
    /// Where it is in its life.
    pub phase: ShadowPhase,
    /// Whose it is: `build 12`, or the person who asked for it.
    pub owner: String,
    /// Its address on the fenced bridge.
    pub address: Option<String>,
    /// Milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// When it is removed by itself, likewise; `None` for one that stays with its owner.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
}

/// Where a shadow is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShadowPhase {
    /// Ready, nothing runs in it but its services.
    Idle,
    /// A test or a person has it.
    Leased,
    /// Stopped in the middle, kept for a look.
    Frozen,
}

/// Where a command or a terminal goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Place {
    /// A live shadow, as it is.
    Shadow(String),
    /// A fresh shadow of this state (id, unique prefix or ref), gone afterwards.
    State(String),
    /// A fresh shadow of the state after a step: `BUILD/STEP`, or `STEP` of the last build.
    Step(String),
    /// Whatever of the above the text names; shadows first, then refs and states, then steps.
    Any(String),
}

/// What `POST /v1/exec` and `POST /v1/attach` take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Where.
    pub place: Place,
    /// What.
    pub command: Command,
    /// Start the recipe's services first, where a build of this state is known.
    #[serde(default)]
    pub services: bool,
    /// What makes a fresh shadow for it, by its name in recipes. `None` is what the recipe says
    /// if its services are wanted, else `sandbox`.
    #[serde(default)]
    pub provider: Option<String>,
}

/// What `POST /v1/shadows` takes: an ephemeral shadow of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowRequest {
    /// What it shows: anything a place may name except a live shadow.
    pub from: String,
    /// Its name; `None` lets the daemon choose one.
    #[serde(default)]
    pub name: Option<String>,
    /// When it is removed by itself; `None` keeps it until it is removed or the daemon ends.
    #[serde(default)]
    pub ttl_s: Option<u64>,
    /// Whose it is, in words.
    #[serde(default)]
    pub owner: Option<String>,
    /// Start the recipe's services in it, where a build of this state is known. They run as long
    /// as it is there.
    #[serde(default)]
    pub services: bool,
    /// What makes it, as for [`ExecRequest::provider`].
    #[serde(default)]
    pub provider: Option<String>,
}

/// What `POST /v1/attach` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// Where and what. The command's `stdin` and `timeout` do not apply to a terminal.
    #[serde(flatten)]
    pub exec: ExecRequest,
    /// The size the terminal begins with.
    pub size: TerminalSize,
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What a command left behind; the answer of `POST /v1/exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecReply {
    /// Where it ran.
    pub shadow: String,
    /// How it ended.
    pub exit: Exit,
    /// The beginning of its standard output.
    pub stdout: Blob,
    /// The beginning of its standard error.
    pub stderr: Blob,
    /// Bytes of both that were not kept.
    pub dropped_bytes: u64,
    /// How long it ran.
    pub took_us: u64,
}
