//! One lock file between those who add to the store and the one who takes away.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{StoreError, io_error};

/// A held lock; the kernel releases it when the process ends, however that happens.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// For adding: any number at a time.
    pub(crate) fn shared(root: &Path) -> Result<Self, StoreError> {
        Self::take(root, FlockOperation::LockShared)
    }

    /// For removing: alone. Waits.
    pub(crate) fn exclusive(root: &Path) -> Result<Self, StoreError> {
        Self::take(root, FlockOperation::LockExclusive)
    }

    /// For removing, if nobody is here.
    pub(crate) fn try_exclusive(root: &Path) -> Result<Option<Self>, StoreError> {
        match Self::take(root, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(StoreError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::WouldBlock =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn take(root: &Path, operation: FlockOperation) -> Result<Self, StoreError> {
        let path = root.join("lock");
        let failed = |doing: &str| io_error(format!("{doing} {}", path.display()));
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed("open"))?;
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed("lock")(error.into())),
            }
        }
    }
}
