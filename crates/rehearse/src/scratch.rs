//! A directory for the layers of one rehearsal.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{RehearsalError, system};

/// What such directories are called, before the shadow's name.
const PREFIX: &str = "rehearsal-";

/// A directory for layers, gone with this value.
pub(crate) struct Scratch {
    path: PathBuf,
    layers: u64,
}

impl Scratch {
    pub(crate) fn new(dir: &Path, name: &str) -> Result<Self, RehearsalError> {
        let path = dir.join(format!("{PREFIX}{name}"));
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(system("remove an old rehearsal")(error));
            }
            _ => {}
        }
        make_private(&path).map_err(system("make a directory for a rehearsal"))?;
        Ok(Self { path, layers: 0 })
    }

    /// A new empty directory, as the root of a layer.
    pub(crate) fn next(&mut self) -> Result<PathBuf, RehearsalError> {
        self.layers += 1;
        let path = self.path.join(self.layers.to_string());
        make_private(&path).map_err(system("make a layer"))?;
        Ok(path)
    }

    /// The view before the current one is gone by now.
    pub(crate) fn remove_former(&self) {
        if let Some(former) = self.layers.checked_sub(1) {
            // What cannot be removed now goes with the rest.
            let _ = fs::remove_dir_all(self.path.join(former.to_string()));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left goes with `remove_remains`.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What is in it may be secret.
fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Removes what killed rehearsals left in a scratch directory; only while none is under way.
///
/// # Errors
/// The directory cannot be read or something in it not be removed.
pub fn remove_remains(scratch: &Path) -> io::Result<()> {
    for entry in fs::read_dir(scratch)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
