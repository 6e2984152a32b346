//! Why a disk could not be made.

use std::io;
use std::path::PathBuf;

use umbra_state::escape::escape;
use umbra_store::StoreError;

/// Why a disk could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The state could not be read.
    #[error("read the state to write to a disk")]
    Store(#[from] StoreError),
    /// The state lacks what a machine needs to boot.
    #[error("boot the state from a disk: it has no {lacks}; {mend}")]
    CannotBoot {
        /// What is not there.
        lacks: String,
        /// What to add to the recipe.
        mend: &'static str,
    },
    /// The state has something that the filesystem has no place for.
    #[error("keep /{} in ext4: {why}", escape(path))]
    CannotHold {
        /// Where.
        path: Vec<u8>,
        /// What.
        why: String,
    },
    /// The state does not fit.
    #[error("fit the state in a disk of {asked} bytes: it needs at least {needed}")]
    TooSmall {
        /// The size that was asked for.
        asked: u64,
        /// About the size it needs.
        needed: u64,
    },
    /// Disks of this size are not made.
    #[error("make a disk of {0} bytes: the most is {most}", most = crate::layout::BYTES_MAX)]
    TooLarge(u64),
    /// A file of the boot loader, or the program that makes it, is not there.
    #[error("find {what}, for the boot loader; apt-get install {package}")]
    NoTool {
        /// Which.
        what: String,
        /// Debian's package with it.
        package: &'static str,
    },
    /// The boot loader could not be made.
    #[error("make the boot loader with {program}: {said}")]
    Tool {
        /// By which program.
        program: PathBuf,
        /// The end of what it said, escaped.
        said: String,
    },
    /// The machine refused.
    #[error("{doing}")]
    Io {
        /// What was being done, as a fragment after "failed to".
        doing: String,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

impl DiskError {
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { doing: doing.into(), source: error.into() }
    }

    pub(crate) fn cannot_hold(path: Vec<u8>, why: impl Into<String>) -> Self {
        Self::CannotHold { path, why: why.into() }
    }
}
