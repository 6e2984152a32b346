//! Facts that are one value: a setting of the kernel, a key of a file of which nothing else is
//! watched.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use umbra_api::blob::Blob;

use super::make::{DIGEST_ONLY, Drifted, Maker};
use super::{Aim, Class, Place, Selection, merge, never};
use crate::discrepancy::KeyChange;
use crate::format::Key;
use crate::reading::Reading;

impl Maker<'_> {
    /// A setting of the kernel.
    pub(super) fn setting(&mut self, drifted: &Drifted<'_>, path: Option<String>) {
        let Drifted { item, target, current, parameter, .. } = *drifted;
        let selected = matches!(self.request.selection, Selection::Everything)
            || matches!(self.request.selection, Selection::Parameter(_))
            || self.selects_path(&Path::new("/proc/sys").join(path.as_deref().unwrap_or("")));
        if !selected {
            return;
        }
        let Some(path) = path else { return self.leave(item, None, "it is no setting's name") };
        let full = Path::new("/proc/sys").join(&path);
        if let Some(why) = never::configured(parameter, &full) {
            return self.leave(item, None, why);
        }
        let (Some(bytes), Some(_)) = (target.bytes(), current.bytes()) else {
            return self.leave(item, None, "settings neither come nor go");
        };
        if self.stops_at(drifted) {
            return;
        }
        let to = Aim::Present { content: Some(Blob(bytes.to_vec())), attributes: BTreeMap::new() };
        let from = Reading::text(current.bytes().unwrap_or_default());
        self.change(drifted, Place::Setting(path), Class::Restore, from, to, Vec::new());
    }

    /// One key of a file nothing else is known of.
    pub(super) fn keyed(&mut self, drifted: &Drifted<'_>, path: &Path, key: &str) {
        let Drifted { item, target, current, .. } = *drifted;
        let wanted = match self.request.selection {
            Selection::Key { path: file, key: only } => file == path && is_same(only, key),
            _ => self.selects_path(path),
        };
        if !wanted {
            return;
        }
        if let Some(why) = self.is_never(drifted, path) {
            return self.leave(item, Some(key), why);
        }
        let place = Place::Path(Blob(path.as_os_str().as_bytes().to_vec()));
        let format = drifted.parameter.source.format(path);
        let Ok(parsed) = key.parse::<Key>() else {
            return self.leave(item, Some(key), "it is no key");
        };
        let pending = self.changes.get(&place).map(|change| &change.to);
        let bytes = match pending {
            Some(Aim::Present { content: Some(content), .. }) => Some(content.0.clone()),
            Some(Aim::Absent) => None,
            _ => self.request.files.get(path).cloned(),
        };
        let Some(bytes) = bytes else {
            let why = "its file is not there, and of it only this key is known";
            return self.leave(item, Some(key), why);
        };
        let is_known = |reading: &Reading| match reading {
            Reading::Present(value) => value.content.as_ref().is_some_and(|c| c.bytes().is_some()),
            _ => true,
        };
        if !is_known(target) {
            return self.leave(item, Some(key), DIGEST_ONLY);
        }
        if self.stops_at(drifted) {
            return;
        }
        let Some(edited) = merge::set(format, &bytes, &parsed, target.bytes()) else {
            return self.leave(item, Some(key), "its file cannot express the key's value");
        };
        let keys = vec![KeyChange {
            key: key.to_owned(),
            shadow: target.bytes().map(|bytes| Blob(bytes.to_vec())),
            primary: current.bytes().map(|bytes| Blob(bytes.to_vec())),
            in_force: true,
        }];
        let to = Aim::Present { content: Some(Blob(edited)), attributes: BTreeMap::new() };
        self.change(drifted, place, Class::Merge, Reading::text(bytes), to, keys);
    }
}

/// Whether two texts are one key, however they spell it.
fn is_same(one: &str, other: &str) -> bool {
    let keys = (one.parse::<Key>(), other.parse::<Key>());
    one == other || matches!(keys, (Ok(one), Ok(other)) if one.is_same(&other))
}

/// A setting's path below `/proc/sys`, as sysctl(8) reads names: the first separator says which
/// one separates.
pub(super) fn setting_path(name: &str) -> Option<String> {
    let dotted = match (name.find('.'), name.find('/')) {
        (Some(dot), Some(slash)) => dot < slash,
        (dot, _) => dot.is_some(),
    };
    let path: String = match dotted {
        true => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        false => name.to_owned(),
    };
    let sound = |part: &str| !part.is_empty() && part != ".." && part != ".";
    (path.split('/').all(sound) && !path.contains('\0')).then_some(path)
}
