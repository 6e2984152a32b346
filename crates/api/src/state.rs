//! States as the API shows them: their size, their files, the difference of two.

use serde::{Deserialize, Serialize};
use umbra_state::StateId;
use umbra_state::diff::{ChangeKind, DeltaCounts};

/// One state, as `GET /v1/states/{name}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateInfo {
    /// Its id.
    pub state: StateId,
    /// Names in it, its root included.
    pub entries: u64,
    /// Bytes of all its files, each hard-linked file once.
    pub content_bytes: u64,
    /// Store refs that name it.
    pub refs: Vec<String>,
}

/// One name in a state, as `GET /v1/states/{name}/files` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path with a leading slash, escaped.
    pub path: String,
    /// `file`, `directory`, `symlink`, …
    pub r#type: String,
    /// Permission bits in octal, four digits.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file or of a link's target.
    pub size: u64,
    /// A symbolic link's target, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// A part of a state's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// Which state.
    pub state: StateId,
    /// The names, parents before children.
    pub files: Vec<FileEntry>,
    /// Names that matched and are not among `files`.
    pub omitted: u64,
}

/// The difference of two states, as `GET /v1/diff` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffReply {
    /// The earlier state.
    pub before: StateId,
    /// The later one.
    pub after: StateId,
    /// How much differs.
    pub counts: DeltaCounts,
    /// What differs, in byte order of paths.
    pub entries: Vec<DiffEntry>,
    /// Entries beyond the limit that was asked for.
    pub omitted: u64,
}

/// What differs at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffEntry {
    /// The path with a leading slash, escaped.
    pub path: String,
    /// What happened there.
    pub change: ChangeKind,
    /// The type before, where there was something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_before: Option<String>,
    /// The type after, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_after: Option<String>,
    /// Bytes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_before: Option<u64>,
    /// Bytes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_after: Option<u64>,
    /// Lines of a unified diff, escaped, where it was asked for and both sides are small
    /// text files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
    /// Why there is no `text` although it was asked for and the content differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_missing: Option<String>,
}

/// What `POST /v1/export` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Which state: an id, a unique prefix, a ref, an image or `BUILD/STEP`.
    pub state: String,
    /// `dir`, `tar`, `oci`, `raw` or `qcow2`.
    pub format: String,
    /// Absolute path on the daemon's machine; must not exist, or be an empty directory.
    pub path: String,
    /// How large a disk is to be, in bytes; with some room if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReply {
    /// Which state.
    pub state: StateId,
    /// Where it is now.
    pub path: String,
    /// Paths that the format cannot hold, escaped.
    pub left_out: Vec<String>,
    /// What of the state does not hold where it is now, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How long it took.
    pub took_us: u64,
}

/// What `POST /v1/test` takes: run a recipe's tests against a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRequest {
    /// Which state, as in [`ExportRequest::state`].
    pub state: String,
    /// Absolute path of the recipe on the daemon's machine.
    pub recipe: String,
    /// Values that override the recipe's `vars`.
    #[serde(default)]
    pub vars: Vec<(String, String)>,
    /// Only these tests; empty is all.
    #[serde(default)]
    pub tests: Vec<String>,
    /// The state whose findings are the baseline of security tests, named likewise. Without
    /// one, all that they find is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
}

/// What the tests found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestReply {
    /// Which state.
    pub state: StateId,
    /// All verdicts combined.
    pub verdict: umbra_state::Verdict,
    /// Each test's result, in the recipe's order.
    pub results: Vec<crate::build::TestResult>,
}
