//! What can go wrong with the store as a whole.

use std::io;
use std::path::PathBuf;

use umbra_state::escape::escape;
use umbra_state::{Digest, StateId};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The filesystem refused.
    #[error("{doing}")]
    Io {
        /// What was being done, as a fragment after "failed to".
        doing: String,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The composefs repository could not be opened.
    #[error("open the composefs repository {}", path.display())]
    Repository {
        /// Where it should be.
        path: PathBuf,
        /// The library's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No such state.
    #[error("find state {0} in the store")]
    NoState(StateId),
    /// A state names an object that the store does not hold.
    #[error("find object {digest} (content of /{}) in the store", escape(path))]
    NoObject {
        /// Which object.
        digest: Digest,
        /// A path that has it as content.
        path: Vec<u8>,
    },
    /// A file of the store is not what its name says.
    #[error("read {what}: {why}")]
    Corrupt {
        /// Which one.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The tree breaks a rule, so it is no state.
    #[error("accept /{} as part of a state: {why}", escape(path))]
    NoTree {
        /// Where.
        path: Vec<u8>,
        /// Which rule.
        why: &'static str,
    },
}

/// Turns an OS error into a [`StoreError`] that says what was being done.
pub(crate) fn io_error<E: Into<io::Error>>(
    doing: impl Into<String>,
) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Io { doing: doing.into(), source: error.into() }
}
