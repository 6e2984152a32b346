//! States leave: as directories, archives, image layouts, and disks that boot.
//!
//! A file has another name until it is complete, and never takes the place of one that exists.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use umbra_api::error::{ErrorCode, WireError};
use umbra_disk::DiskError;
use umbra_state::StateId;
use umbra_state::escape::escape;
use umbra_store::{Lineage, Made};

use crate::states::{States, environment};

/// What a client is told besides that it is done.
#[derive(Debug, Default)]
pub struct Written {
    /// Paths that the format cannot hold, escaped.
    pub left_out: Vec<String>,
    /// What of the state does not hold where it is now.
    pub warnings: Vec<String>,
}

impl States {
    /// Writes a state out. Only disks have a size. Blocking.
    pub fn export(
        &self,
        lineage: &Lineage,
        format: &str,
        path: &Path,
        size: Option<u64>,
    ) -> Result<Written, WireError> {
        let state = lineage.last.state;
        let disk = match format {
            "raw" => Some(umbra_disk::Format::Raw),
            "qcow2" => Some(umbra_disk::Format::Qcow2),
            _ => None,
        };
        match (format, disk) {
            (_, Some(disk)) => self.export_disk(state, disk, path, size),
            _ if size.is_some() => {
                let message = "export with a size: only the formats raw and qcow2 have one";
                Err(WireError::new(ErrorCode::BadRequest, message))
            }
            ("dir", _) => {
                make_dir(path)?;
                self.store().export_dir(state, path).map_err(|error| environment(&error))?;
                Ok(Written::default())
            }
            ("tar", _) => self.export_tar(state, path),
            ("oci", _) => self.export_oci(lineage, path),
            _ => {
                let format: String = format.chars().take(40).collect();
                let message = format!("export as {format:?}: expected dir, tar, oci, raw or qcow2");
                Err(WireError::new(ErrorCode::BadRequest, message))
            }
        }
    }

    /// The states that steps went through to this one, as far as they are remembered and there.
    pub async fn lineage(&self, state: StateId) -> Result<Lineage, WireError> {
        let mut lineage = Lineage::alone(state);
        let mut last = &mut lineage.last;
        let mut earlier = Vec::new();
        while let Some((before, step)) = self.db().made_from(last.state).await? {
            last.by = step;
            let is_known = earlier.iter().any(|made: &Made| made.state == before);
            if is_known || before == state || !self.store().contains(before) {
                break;
            }
            earlier.push(Made { state: before, by: format!("state {before}") });
            let Some(made) = earlier.last_mut() else { break };
            last = made;
        }
        earlier.reverse();
        lineage.earlier = earlier;
        Ok(lineage)
    }

    /// An image layout with one image, tagged `latest`, in an empty or new directory.
    fn export_oci(&self, lineage: &Lineage, path: &Path) -> Result<Written, WireError> {
        make_dir(path)?;
        let failed = |error: io::Error| cannot(format!("list {}", path.display()), error);
        if fs::read_dir(path).map_err(failed)?.next().is_some() {
            let message = format!("write {}: the directory is not empty", path.display());
            return Err(WireError::new(ErrorCode::Conflict, message));
        }
        let left_out = self.store().export_oci_layout(lineage, path, "latest");
        Ok(without(&left_out.map_err(|error| environment(&error))?))
    }

    fn export_tar(&self, state: StateId, path: &Path) -> Result<Written, WireError> {
        named_when_whole(path, |file| {
            let left_out = self.store().export_tar(state, file);
            Ok(without(&left_out.map_err(|error| environment(&error))?))
        })
    }

    fn export_disk(
        &self,
        state: StateId,
        format: umbra_disk::Format,
        path: &Path,
        size: Option<u64>,
    ) -> Result<Written, WireError> {
        named_when_whole(path, |file| {
            let report = umbra_disk::write(self.store(), state, file, format, size);
            let report = report.map_err(|error| disk_error(&error))?;
            Ok(Written { warnings: report.warnings, ..Written::default() })
        })
    }
}

/// Makes a file by `write`, under its name only if all went well.
fn named_when_whole<T>(
    path: &Path,
    write: impl FnOnce(&File) -> Result<T, WireError>,
) -> Result<T, WireError> {
    let failed = |error: io::Error| cannot(format!("write {}", path.display()), error);
    if path.symlink_metadata().is_ok() {
        let message = format!("write {}: there is something already", path.display());
        return Err(WireError::new(ErrorCode::Conflict, message));
    }
    let partial = path.with_extension("partial");
    let file = File::create(&partial).map_err(failed)?;
    let kept = write(&file).and_then(|written| {
        file.sync_all().and_then(|()| fs::rename(&partial, path)).map_err(failed)?;
        Ok(written)
    });
    if kept.is_err() {
        // The failure itself is what matters.
        let _ = fs::remove_file(&partial);
    }
    kept
}

fn without(left_out: &[Vec<u8>]) -> Written {
    let left_out = left_out.iter().map(|path| format!("/{}", escape(path))).collect();
    Written { left_out, ..Written::default() }
}

/// Makes a directory unless there is one.
fn make_dir(path: &Path) -> Result<(), WireError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(cannot(format!("make {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn cannot(doing: String, error: io::Error) -> WireError {
    WireError::new(ErrorCode::Environment, doing).caused_by(error)
}

fn disk_error(error: &DiskError) -> WireError {
    let code = match error {
        DiskError::CannotBoot { .. }
        | DiskError::CannotHold { .. }
        | DiskError::TooSmall { .. }
        | DiskError::TooLarge(_) => ErrorCode::BadRequest,
        DiskError::NoTool { .. } => ErrorCode::Unsupported,
        DiskError::Store(_) | DiskError::Tool { .. } | DiskError::Io { .. } => {
            ErrorCode::Environment
        }
    };
    WireError::from_chain(code, error)
}
