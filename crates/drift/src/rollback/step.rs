//! One place in a rollback that runs: what is done to it, by what it is recognised.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_state::Digest;

use super::look::Stamp;
use crate::attributes::Kind;
use crate::reading::{Content, Value};

/// What is done to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    /// The new version changes places with the old one.
    Exchange,
    /// The new version gets its name.
    Create,
    /// The old version loses its name.
    Remove,
    /// What is there gets other attributes.
    Dress,
    /// The bytes are written over: the name cannot be given to another file.
    Overwrite,
    /// A setting of the kernel is written.
    Set,
    /// It comes or goes with the directory of another step.
    Within {
        /// Which step.
        top: usize,
    },
}

/// One place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Below the root, or below `/proc/sys`.
    pub(super) path: Blob,
    pub(super) act: Act,
    /// The name beside it of what comes and then of what goes.
    pub(super) temp: Blob,
    /// What is there: attributes and the content's digest, of a setting its bytes.
    pub(super) from: Option<Value>,
    pub(super) stamp: Option<Stamp>,
    /// Flags that forbid changes, of it and of its directory.
    pub(super) locks: [u32; 2],
    /// What will be there: all attributes, and the bytes if they are not those that are.
    pub(super) to: Option<Value>,
    /// Which change of the plan it comes from; none for a directory that is missing.
    pub(super) change: Option<usize>,
}

impl Step {
    pub(super) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path.0))
    }

    /// The path of its other version.
    pub(super) fn temp_path(&self) -> PathBuf {
        self.path().with_file_name(OsString::from_vec(self.temp.0.clone()))
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        self.to.as_ref().and_then(Value::kind)
    }

    /// The content that is displaced.
    pub(super) fn displaces(&self) -> Option<&Digest> {
        let from = self.from.as_ref()?;
        match (self.act, from.content.as_ref()?) {
            (Act::Dress | Act::Set | Act::Create, _) => None,
            (_, Content::Digest { blake3, .. }) => Some(blake3),
            (_, Content::Bytes(_)) => None,
        }
    }
}

/// Where a step's new version lies while it has not its name: for what comes with a directory,
/// inside that directory's new version.
pub(super) fn staged_path(steps: &[Step], step: &Step) -> PathBuf {
    match step.act {
        Act::Within { top } => match steps.get(top) {
            Some(top) => {
                let below = step.path().strip_prefix(top.path()).unwrap_or(step.path());
                top.temp_path().join(below)
            }
            None => step.temp_path(),
        },
        _ => step.temp_path(),
    }
}

/// The name of step `index`'s other version. Programs that read whole directories pass it over:
/// it is hidden, has a dot and ends as copies of editors do.
pub(super) fn temp_name(id: &str, index: usize) -> Blob {
    Blob(format!(".umbra-{id}-{index}~").into_bytes())
}

/// Whether a name is that of a version a rollback has put beside another: neither a drift nor
/// anybody's file.
pub fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".umbra-") && name.ends_with(b"~")
}
