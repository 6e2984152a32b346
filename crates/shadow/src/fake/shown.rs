//! What layers of directories show: enough of an overlay for files that are read and removed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use umbra_store::overlay::{Base, Layers};

use super::machine::File;

/// Files of one layer.
const FILES_MAX: usize = 10_000;

/// Bytes of a file; of a longer one nothing is shown.
const BYTES_MAX: u64 = 1 << 20;

/// The ordinary files, by their paths; images show none.
pub(super) fn files(layers: &Layers) -> BTreeMap<String, File> {
    let base = match &layers.base {
        Some(Base::Checkout(dir)) => Some(dir),
        Some(Base::Image { .. }) | None => None,
    };
    let mut shown = BTreeMap::new();
    for dir in base.into_iter().chain(layers.uppers.iter().rev()) {
        let mut left = FILES_MAX;
        lay(dir, "", &mut left, &mut shown);
    }
    shown
}

fn lay(dir: &Path, at: &str, left: &mut usize, shown: &mut BTreeMap<String, File>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let path = format!("{at}/{}", entry.file_name().to_string_lossy());
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            lay(&entry.path(), &path, left, shown);
            continue;
        }
        // Whatever it is, it is instead of what was there.
        let below = format!("{path}/");
        shown.retain(|other, _| *other != path && !other.starts_with(&below));
        let is_whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
        if !is_whiteout
            && meta.is_file()
            && meta.len() <= BYTES_MAX
            && let Ok(bytes) = fs::read(entry.path())
        {
            shown.insert(path, File::Regular(bytes));
        }
    }
}
