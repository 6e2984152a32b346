//! Why nothing could be rehearsed; that a shadow does badly is a report, not an error.

use std::io;

use umbra_shadow::ShadowError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// There is no shadow to rehearse on.
    #[error("rehearse on a shadow")]
    Shadow(#[from] ShadowError),
    /// This machine failed.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody no longer wants to know.
    #[error("finish the rehearsal, since it was cancelled")]
    Cancelled,
}

/// Adds what was being done to an error of this machine.
pub(crate) fn system(doing: &'static str) -> impl Fn(io::Error) -> RehearsalError {
    move |source| RehearsalError::System { doing: doing.to_owned(), source }
}
