//! One daemon per state directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use umbra_api::error::{ErrorCode, WireError};

/// Held as long as a daemon owns a directory. The kernel lets go of it with the process,
/// however that ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the directory, making it if need be (readable by its owner alone).
    pub fn take(dir: &Path) -> Result<Self, WireError> {
        let failed = |error: std::io::Error| {
            let message = format!("take the state directory {}", dir.display());
            WireError::new(ErrorCode::Environment, message)
                .caused_by(error)
                .with_hint("choose another with --state-dir or UMBRA_STATE_DIR")
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(dir.join("daemon.lock"))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(taken(dir, &mut file)),
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn taken(dir: &Path, file: &mut File) -> WireError {
    let mut text = String::new();
    // Who holds it is worth saying and no more than that.
    let _ = file.take(32).read_to_string(&mut text);
    let who = text.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (process {pid})"));
    let message = format!("take the state directory {}: another daemon{who} has it", dir.display());
    WireError::new(ErrorCode::Conflict, message)
        .with_hint("stop that one, or give this one a directory of its own with --state-dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_daemon() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = DirLock::take(dir.path()).expect("free");
        let error = DirLock::take(dir.path()).expect_err("taken");
        assert_eq!(error.code, ErrorCode::Conflict);
        assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        DirLock::take(dir.path()).expect("free again");
    }
}
