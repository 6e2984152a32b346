//! Layers attached for a moment, so that overlayfs can be told of them by path: kernels before
//! 6.15 take no layer that is attached nowhere.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, UnmountFlags, fsconfig_set_string, move_mount, unmount};

use super::mount::{MountError, Parts, step};

/// Tells overlayfs of the parts by path. The attached layers go when the result is dropped: the
/// overlay keeps private copies of them.
pub(super) fn name_parts<'a>(
    overlay: &OwnedFd,
    parts: Parts,
    scratch: &'a Path,
) -> Result<Attached<'a>, MountError> {
    let mut attached = Attached { scratch, count: 0 };
    let lower = parts.lower.into_iter().map(|layer| attached.add(layer));
    let lower = lower.collect::<Result<Vec<_>, _>>()?;
    let data = parts.data.map(|objects| attached.add(objects)).transpose()?;
    set_lower(overlay, &lower, data.as_deref())?;
    if let Some(writable) = parts.writable {
        let point = attached.add(writable.place)?;
        for (key, name) in [("upperdir", &writable.upper), ("workdir", &writable.work)] {
            let path = text(&point.join(name));
            fsconfig_set_string(overlay, key, path.as_str())
                .map_err(step(|| format!("set {key}={path}")))?;
        }
    }
    Ok(attached)
}

/// Layers attached below the scratch directory.
pub(super) struct Attached<'a> {
    scratch: &'a Path,
    count: usize,
}

impl Attached<'_> {
    fn add(&mut self, layer: OwnedFd) -> Result<PathBuf, MountError> {
        let point = self.scratch.join(self.count.to_string());
        fs::create_dir_all(&point).map_err(step(|| format!("make {}", point.display())))?;
        move_mount(layer.as_fd(), "", CWD, &point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(step(|| format!("attach a layer at {}", point.display())))?;
        self.count += 1;
        Ok(point)
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        for index in 0..self.count {
            let point = self.scratch.join(index.to_string());
            // Nothing can be done about a failure here, and the namespace's end detaches too.
            let _ = unmount(&point, UnmountFlags::DETACH);
            let _ = fs::remove_dir(&point);
        }
    }
}

/// Names the lower layers one by one, as kernels since 6.7 take them; on older ones in a single
/// option, which the kernel limits to 256 bytes.
fn set_lower(overlay: &OwnedFd, lower: &[PathBuf], data: Option<&Path>) -> Result<(), MountError> {
    let named = lower.iter().map(|path| ("lowerdir+", path.as_path()));
    for (index, (key, path)) in named.chain(data.map(|path| ("datadir+", path))).enumerate() {
        let path = text(path);
        match fsconfig_set_string(overlay, key, path.as_str()) {
            Err(rustix::io::Errno::INVAL) if index == 0 => {
                let joined = joined(lower, data);
                return fsconfig_set_string(overlay, "lowerdir", joined.as_str())
                    .map_err(step(|| format!("set lowerdir={joined}")));
            }
            other => other.map_err(step(|| format!("set {key}={path}")))?,
        }
    }
    Ok(())
}

fn joined(lower: &[PathBuf], data: Option<&Path>) -> String {
    let lower: Vec<_> = lower.iter().map(|path| text(path)).collect();
    lower.join(":") + &data.map(|path| format!("::{}", text(path))).unwrap_or_default()
}

/// Scratch paths are our own, short and free of the option string's separators.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
