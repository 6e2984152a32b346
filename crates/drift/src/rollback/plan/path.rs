//! What lies at a path, put back: its kind, its content, its attributes.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use umbra_api::blob::Blob;

use super::make::{DIGEST_ONLY, Drifted, Maker};
use super::sides::{bare, counted, kind_of, retyped};
use super::single::setting_path;
use super::{Aim, Class, Conflict, Conflicts, Place, Selection, never};
use crate::attributes::Kind;
use crate::config::{Attribute, RollbackMode};
use crate::reading::{Content, Reading, Value};

/// All attributes but the content.
const PATHS_OWN: [Attribute; 8] = [
    Attribute::Type,
    Attribute::Mode,
    Attribute::Owner,
    Attribute::Group,
    Attribute::Acl,
    Attribute::Xattr,
    Attribute::Caps,
    Attribute::Link,
];

impl Maker<'_> {
    /// What lies at a path, or what a link there leads to.
    pub(super) fn path(&mut self, drifted: &Drifted<'_>, path: &Path) {
        let Drifted { item, target, current, .. } = *drifted;
        if let Some(setting) = path.to_str().and_then(|path| path.strip_prefix("/proc/sys/")) {
            return self.setting(drifted, setting_path(setting));
        }
        if !self.selects_path(path) {
            return;
        }
        if let Some(why) = self.is_never(drifted, path) {
            return self.leave(item, None, why);
        }
        // Both lead to one place, which says something else: that place is what drifted.
        let (leads, led) = (never::leads_to(current), never::leads_to(target));
        if let Some(to) = leads.filter(|to| led.as_ref() == Some(to)) {
            let behind = resolve(path, &to);
            if let Some(why) = never::built_in(&behind, current) {
                return self.leave(item, None, why);
            }
            return self.file(drifted, &behind, true);
        }
        if let Some(kind) = target.value().and_then(kind_of)
            && matches!(kind, Kind::Socket | Kind::Block | Kind::Character)
        {
            let why = format!("a {} is made by whoever serves it", kind.as_str());
            return self.leave(item, None, &why);
        }
        self.file(drifted, path, false)
    }

    /// Something at a path; of what lies behind a link only the content.
    fn file(&mut self, drifted: &Drifted<'_>, path: &Path, behind_link: bool) {
        let Drifted { item, target, current, .. } = *drifted;
        let place = Place::Path(Blob(path.as_os_str().as_bytes().to_vec()));
        let value = match target {
            Reading::Present(value) => value,
            _ => {
                if !self.stops_whole(drifted) {
                    let from = current.clone();
                    self.change(drifted, place, Class::Restore, from, Aim::Absent, Vec::new());
                }
                return;
            }
        };
        let attributes = if behind_link {
            BTreeMap::new()
        } else {
            match self.attributes(drifted, value) {
                Ok(attributes) => attributes,
                Err(conflict) => return self.plan.conflicts.push(*conflict),
            }
        };
        let from = if behind_link { bare(current) } else { current.clone() };
        let is_link = !behind_link && kind_of(value) == Some(Kind::Link);
        let then = value.content.as_ref().filter(|_| !is_link);
        let now = current.value().and_then(|value| value.content.as_ref());
        let unchanged = match (then, now) {
            (Some(then), Some(now)) => then.same(now),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if unchanged && !retyped(value, current) {
            let to = Aim::Present { content: None, attributes };
            return self.change(drifted, place, Class::Restore, from, to, Vec::new());
        }
        let (content, class, keys) = match then.map(Content::bytes) {
            None => (None, Class::Restore, Vec::new()),
            Some(None) => return self.leave(item, None, DIGEST_ONLY),
            Some(Some(bytes)) => match self.content(drifted, path, bytes) {
                Some((bytes, class, keys)) => (Some(Blob(bytes)), class, keys),
                None => return,
            },
        };
        self.change(drifted, place, class, from, Aim::Present { content, attributes }, keys);
    }

    /// The attributes that are put back: all where the file is made anew or goes back as a
    /// whole, else those that are watched.
    fn attributes(
        &self,
        drifted: &Drifted<'_>,
        value: &Value,
    ) -> Result<BTreeMap<Attribute, Blob>, Box<Conflict>> {
        let Drifted { parameter, item, base, current, .. } = *drifted;
        let anew = retyped(value, current);
        let all = anew || parameter.rollback.mode == RollbackMode::Restore;
        let only_key = matches!(self.request.selection, Selection::Key { .. });
        let counted = counted(&parameter.source);
        let mut attributes = BTreeMap::new();
        let side = |reading: &Reading, attribute| {
            reading.value().and_then(|value| value.attributes.get(&attribute)).cloned()
        };
        for attribute in PATHS_OWN {
            let then = value.attributes.get(&attribute).cloned();
            let now = side(current, attribute);
            if only_key && !anew || !all && !counted.contains(&attribute) {
                continue;
            }
            let was = if base.value().is_some() { side(base, attribute) } else { then.clone() };
            let differ = then != now && was != then && was != now && !anew;
            if differ && self.request.conflicts == Conflicts::Stop {
                return Err(Box::new(Conflict {
                    item: item.clone(),
                    part: Some(attribute.as_str().to_owned()),
                    base: was,
                    current: now,
                    target: then,
                }));
            }
            let removable =
                matches!(attribute, Attribute::Acl | Attribute::Caps | Attribute::Xattr);
            match then {
                Some(blob) => drop(attributes.insert(attribute, blob)),
                // Known to have none, if it is known at all.
                None if removable && value.attributes.contains_key(&Attribute::Mode) => {
                    attributes.insert(attribute, Blob::default());
                }
                None => {}
            }
        }
        Ok(attributes)
    }
}

/// Where a link at `path` leads, by the text alone.
fn resolve(path: &Path, to: &[u8]) -> PathBuf {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let joined = parent.join(std::ffi::OsString::from_vec(to.to_vec()));
    let mut resolved = PathBuf::from("/");
    for component in joined.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => drop(resolved.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    resolved
}
