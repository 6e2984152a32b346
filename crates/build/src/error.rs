//! Why a build could not begin or go on; a failed step or test is no error but a verdict.

use std::io;

use umbra_disk::DiskError;
use umbra_recipe::{InputsError, Problems, SuiteError};
use umbra_shadow::ShadowError;
use umbra_shadow::startup::StartError;
use umbra_state::StateId;
use umbra_store::overlay::{MountError, SettleError};
use umbra_store::{CaptureError, ExportError, ResolveError, StoreError};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe has problems (rendered, ready to print).
    #[error("read the recipe\n{0}")]
    Recipe(Problems),
    /// A test of the recipe cannot be made ready.
    #[error("prepare the recipe's tests")]
    Suite(#[source] SuiteError),
    /// `--until` names no step.
    #[error("stop after step {0:?}: the recipe has no such step")]
    Until(String),
    /// The files a step copies cannot be read.
    #[error("read what step {step} copies")]
    Inputs {
        /// The step.
        step: String,
        /// Why not.
        #[source]
        source: InputsError,
    },
    /// A secret's value is not there.
    #[error("take secret {id} for step {step}: {reason}")]
    Secret {
        /// The step.
        step: String,
        /// The secret.
        id: String,
        /// What is missing.
        reason: String,
    },
    /// The origin could not be made.
    #[error("make the origin {origin}: {reason}")]
    Origin {
        /// What `from` says.
        origin: String,
        /// What went wrong, in words.
        reason: String,
    },
    /// The origin names a state that the store does not have.
    #[error("find the origin")]
    Resolve(#[source] ResolveError),
    /// A state of this build disappeared from the store.
    #[error("find {0:?} in the store")]
    Lost(StateId),
    /// A state could not be made ready to be shown.
    #[error("make {state:?} ready to be shown")]
    Show {
        /// The state.
        state: StateId,
        /// Why not.
        #[source]
        source: ExportError,
    },
    /// The store failed.
    #[error("use the store")]
    Store(#[from] StoreError),
    /// Files could not be captured.
    #[error("capture files")]
    Capture(#[from] CaptureError),
    /// Hard links could not be settled.
    #[error("settle hard links")]
    Settle(#[from] SettleError),
    /// A root could not be mounted.
    #[error("mount a root")]
    Mount(#[from] MountError),
    /// A shadow or workshop failed.
    #[error("use a shadow")]
    Shadow(#[from] ShadowError),
    /// The image could not be written out.
    #[error("export the image to {path}")]
    Export {
        /// Where to.
        path: String,
        /// Why not.
        #[source]
        source: ExportError,
    },
    /// The image could not be written to a disk.
    #[error("export the image to the disk {path}")]
    Disk {
        /// Where to.
        path: String,
        /// Why not.
        #[source]
        source: DiskError,
    },
    /// A service did not become ready.
    #[error("start service {service}: {reason}")]
    Service {
        /// Which.
        service: String,
        /// What happened.
        reason: String,
        /// The end of its output, escaped.
        log: String,
    },
    /// The machine failed.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A part of the build ended without saying why: a bug.
    #[error("keep the build together: {0} ended early")]
    PartEnded(&'static str),
}

impl From<StartError> for BuildError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Shadow(error) => Self::Shadow(error),
            StartError::Service { service, reason, log } => Self::Service { service, reason, log },
        }
    }
}

/// Adds what was being done to an error of the machine.
pub(crate) fn system<E: Into<io::Error>>(
    doing: impl FnOnce() -> String,
) -> impl FnOnce(E) -> BuildError {
    move |error| BuildError::System { doing: doing(), source: error.into() }
}
