//! Why a shadow could not be made, used or removed.

use std::io;
use std::path::PathBuf;

use umbra_guest::failure::Failure;

/// A failure of the machinery around a shadow; what runs inside it failing is an
/// [`umbra_state::Output`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The name does not follow the rules of [`crate::provider::ShadowSpec::name`].
    #[error(
        "use {0:?} as a shadow's name: expected 1 to 40 of a-z, 0-9 and -, not beginning with -"
    )]
    Name(String),
    /// Another shadow has this name.
    #[error("make shadow {0:?}: the name is taken")]
    Taken(String),
    /// The shadow was destroyed or died.
    #[error("use shadow {0:?}: it is gone")]
    Gone(String),
    /// The machine lacks something without which there are no shadows here.
    #[error("start shadows on this machine: {0}")]
    Unsupported(String),
    /// The command could not be started inside the shadow.
    #[error("start {program:?} in shadow {shadow:?}: {reason}")]
    Start {
        /// What was to run.
        program: String,
        /// Where.
        shadow: String,
        /// Why not.
        reason: String,
    },
    /// An operation of the kernel failed.
    #[error("{doing}")]
    System {
        /// What was being done, as a fragment after "failed to".
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The process that makes shadows answered something unexpected or died.
    #[error("talk to the launcher: {0}")]
    Launcher(String),
    /// A path that must be there is not.
    #[error("find {0}")]
    Missing(PathBuf),
}

impl From<Failure> for ShadowError {
    fn from(failure: Failure) -> Self {
        let source = failure.error();
        Self::System { doing: failure.doing, source }
    }
}
