//! Making a plan from three snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use umbra_api::blob::Blob;

use super::merge::{self, Choice, Failed};
use super::{Aim, Class, Confirmation, Conflict, Expected, Left, Place, Plan, Selection, never};
use crate::attributes::Kind;
use crate::config::{Attribute, Config, Parameter, RollbackMode, Source};
use crate::discrepancy::KeyChange;
use crate::format::{self, Format, Key};
use crate::reading::{Content, Item, Reading, Snapshot, Value};
use crate::rollback::activate::Action;

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is watched and how it is put back.
    pub config: &'a Config,
    /// What to return to.
    pub target: &'a Snapshot,
    /// The last known good, which tells a drift from an older value.
    pub base: &'a Snapshot,
    /// What is.
    pub current: &'a Snapshot,
    /// The files of which only keys are watched, as they are; by path.
    pub files: &'a BTreeMap<PathBuf, Vec<u8>>,
    /// Which drifts are put back.
    pub selection: &'a Selection,
    /// What is done where all three differ.
    pub conflicts: super::Conflicts,
}

/// Plans a rollback; pure.
pub fn plan(request: Request<'_>) -> Plan {
    let mut made = Maker { request, plan: Plan::default(), changes: BTreeMap::new() };
    // Whole files first: a key of a file that comes back as a whole comes with it.
    for whole in [true, false] {
        for parameter in &request.config.parameters {
            if whole == key_of(&parameter.source).is_none() {
                made.parameter(parameter);
            }
        }
    }
    made.plan.changes = made.changes.into_values().collect();
    made.plan
}

struct Maker<'a> {
    request: Request<'a>,
    plan: Plan,
    changes: BTreeMap<Place, super::Change>,
}

/// One item that has drifted, as all three see it.
struct Drifted<'a> {
    parameter: &'a Parameter,
    item: &'a Item,
    target: &'a Reading,
    base: &'a Reading,
    current: &'a Reading,
}

impl<'a> Maker<'a> {
    fn parameter(&mut self, parameter: &'a Parameter) {
        let Request { target, base, current, .. } = self.request;
        let of = |snapshot: &'a Snapshot| {
            let first = Item::whole(&parameter.name);
            snapshot
                .readings
                .range(first..)
                .take_while(|(item, _)| item.parameter == parameter.name)
        };
        let items: BTreeSet<&Item> = of(target).chain(of(current)).map(|(item, _)| item).collect();
        let many = matches!(&parameter.source, Source::Tree { .. } | Source::Sysctl { .. });
        for item in items {
            let now = current.readings.get(item).unwrap_or(&Reading::Absent);
            // What a tree does not list is not there; what else is not listed is not known.
            let then = match target.readings.get(item) {
                Some(reading) => reading,
                None if many && item.part.is_some() => &Reading::Absent,
                None => {
                    self.leave(item, None, "the target says nothing of it");
                    continue;
                }
            };
            let base = base.readings.get(item).unwrap_or(then);
            self.item(&Drifted { parameter, item, target: then, base, current: now });
        }
    }

    fn item(&mut self, drifted: &Drifted<'_>) {
        let Drifted { parameter, item, target, current, .. } = *drifted;
        if !self.selects_parameter(parameter) || same(parameter, target, current) {
            return;
        }
        if let Some(why) = never::source(&parameter.source) {
            // Only what was asked for by name is worth a word.
            return self.leave(item, None, why);
        }
        for (side, reading) in [("target", target), ("primary", current)] {
            if let Reading::Unreadable { why } = reading {
                return self.leave(item, None, &format!("the {side} could not be read: {why}"));
            }
        }
        match &parameter.source {
            Source::Sysctl { names } => {
                let name = item.part.as_ref().map_or(names.as_bytes(), |part| &part.0);
                self.setting(drifted, std::str::from_utf8(name).ok().and_then(setting_path));
            }
            Source::File { path, key: Some(key), .. } => {
                if item.part.as_ref().is_some_and(|part| part.0 == b"effective") {
                    let why = "what its service goes by follows the file";
                    return self.leave(item, None, why);
                }
                self.keyed(drifted, Path::new(path), &key.format, &key.key);
            }
            Source::File { path, .. } => self.path(drifted, Path::new(path)),
            _ => match &item.part {
                Some(part) => self.path(drifted, Path::new(OsStr::from_bytes(&part.0))),
                None => self.leave(item, None, "it is no path"),
            },
        }
    }

    fn setting(&mut self, drifted: &Drifted<'_>, path: Option<String>) {
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
        if self.stops_at(drifted, target.bytes(), current.bytes()) {
            return;
        }
        let to = Aim::Present { content: Some(Blob(bytes.to_vec())), attributes: BTreeMap::new() };
        let from = Reading::text(current.bytes().unwrap_or_default());
        self.change(drifted, Place::Setting(path), Class::Restore, from, to, Vec::new());
    }

    /// One key of a file nothing else is known of.
    fn keyed(&mut self, drifted: &Drifted<'_>, path: &Path, format: &str, key: &str) {
        let Drifted { item, target, current, .. } = *drifted;
        let wanted = match self.request.selection {
            Selection::Key { path: file, key: only } => file == path && only == key,
            _ => self.selects_path(path),
        };
        if !wanted {
            return;
        }
        if let Some(why) = self.is_never(drifted, path) {
            return self.leave(item, Some(key), why);
        }
        let place = Place::Path(Blob(path.as_os_str().as_bytes().to_vec()));
        let format = Format::named(format).unwrap_or_else(|| Format::of(path));
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
        if self.stops_at(drifted, target.bytes(), current.bytes()) {
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

    fn path(&mut self, drifted: &Drifted<'_>, path: &Path) {
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

    /// What the file shall say; `None` if that has been reported as left or in conflict.
    fn content(
        &mut self,
        drifted: &Drifted<'_>,
        path: &Path,
        target: &[u8],
    ) -> Option<(Vec<u8>, Class, Vec<KeyChange>)> {
        let Drifted { parameter, item, base, current, .. } = *drifted;
        let format = Format::of(path);
        let whole = parameter.rollback.mode == RollbackMode::Restore
            && !matches!(self.request.selection, Selection::Key { .. });
        let (Some(now), false) = (current.bytes(), whole || format == Format::Raw) else {
            if matches!(self.request.selection, Selection::Key { .. }) {
                self.leave(item, None, "its format, and so its keys, are not known");
                return None;
            }
            let stops = parameter.rollback.mode == RollbackMode::Merge && self.stops_whole(drifted);
            return (!stops).then(|| (target.to_vec(), Class::Restore, Vec::new()));
        };
        let selection = self.request.selection;
        let wants = |change: &format::Change| {
            let key = change.key.to_string();
            if let Selection::Key { key: only, .. } = selection
                && *only != key
            {
                return Err("it was not chosen");
            }
            let in_tree = |pattern: &&str| path.to_str().is_some_and(|path| *pattern == path);
            let ignored = parameter.ignore.keys.iter().any(|pattern| {
                match pattern.split_once(':').filter(|(file, _)| in_tree(file)) {
                    Some((_, pattern)) => merge::matches(pattern, &key),
                    None => merge::matches(pattern, &key),
                }
            });
            if ignored {
                return Err("the configuration ignores it");
            }
            if is_password(format, &key, &change.difference) {
                return Err("an earlier secret may be a stolen one");
            }
            Ok(())
        };
        let stop = self.request.conflicts == super::Conflicts::Stop;
        let choice = Choice { wants: &wants, stop };
        let merged = merge::merge(format, base.bytes().unwrap_or(target), now, target, &choice);
        match merged {
            Ok(merged) => {
                for (key, why) in merged.kept {
                    if why != "it was not chosen" {
                        self.leave(item, Some(&key), why);
                    }
                }
                if merged.bytes == now {
                    // Comments or white space: nothing that means anything drifted.
                    if merged.keys.is_empty() && selection == &Selection::Everything {
                        self.leave(item, None, "only what has no meaning differs");
                    }
                    return None;
                }
                Some((merged.bytes, Class::Merge, merged.keys))
            }
            Err(Failed::Conflicts(keys)) => {
                for (key, [base, current, target]) in keys {
                    let (item, part) = (item.clone(), Some(key));
                    self.plan.conflicts.push(Conflict { item, part, base, current, target });
                }
                None
            }
            Err(Failed::Inexpressible) => {
                self.leave(item, None, "what differs and what stays cannot be told apart in it");
                None
            }
        }
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
            if differ && self.request.conflicts == super::Conflicts::Stop {
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

    fn change(
        &mut self,
        drifted: &Drifted<'_>,
        place: Place,
        class: Class,
        from: Reading,
        to: Aim,
        keys: Vec<KeyChange>,
    ) {
        let Drifted { parameter, item, .. } = *drifted;
        let reading = match (&place, &to) {
            (_, Aim::Absent) => Reading::Absent,
            _ if key_of(&parameter.source).is_some() => drifted.target.clone(),
            (_, Aim::Present { content, attributes }) => {
                // What a file said that gives way to a link or a directory is gone with it.
                let kind = attributes.get(&Attribute::Type).and_then(Kind::read);
                let stays = kind.is_none_or(|kind| kind == Kind::File);
                let now = drifted.current.value().and_then(|value| value.content.clone());
                let content = content.clone().map(Content::Bytes).or(now.filter(|_| stays));
                Reading::Present(Value { content, attributes: attributes.clone() })
            }
        };
        let expected = Expected { item: item.clone(), reading };
        let action = parameter.apply.as_ref().map(Action::configured);
        if let Some(confirm) = &parameter.confirm {
            let agreed = self.plan.confirm.get_or_insert_with(|| Confirmation {
                timeout_ms: u64::MAX,
                probes: Vec::new(),
                by_person: false,
            });
            let timeout_ms = u64::try_from(confirm.timeout.as_millis()).unwrap_or(u64::MAX);
            agreed.timeout_ms = agreed.timeout_ms.min(timeout_ms);
            match &confirm.probe {
                Some(probe) if !agreed.probes.contains(probe) => agreed.probes.push(probe.clone()),
                Some(_) => {}
                None => agreed.by_person = true,
            }
        }
        let change = self.changes.entry(place.clone()).or_insert_with(|| super::Change {
            place,
            class,
            from,
            to: to.clone(),
            keys: Vec::new(),
            items: Vec::new(),
            checks: Vec::new(),
            actions: Vec::new(),
        });
        change.items.push(expected);
        change.keys.extend(
            keys.into_iter()
                .filter(|key| {
                    // Two parameters may watch one key.
                    !change.keys.iter().any(|known| known.key == key.key)
                })
                .collect::<Vec<_>>(),
        );
        if !parameter.validate.is_empty() && !change.checks.contains(&parameter.validate) {
            change.checks.push(parameter.validate.clone());
        }
        change.actions.extend(action.filter(|action| !change.actions.contains(action)));
        if let (
            Aim::Present { content, attributes },
            Aim::Present { content: more, attributes: others },
        ) = (&mut change.to, to)
        {
            *content = more.or(content.take());
            attributes.extend(others);
        }
        // What several items say of one place is what the place says in the end.
        if let Aim::Present { content: Some(content), .. } = &change.to {
            for expected in &mut change.items {
                if let Reading::Present(value) = &mut expected.reading
                    && !value.attributes.is_empty()
                {
                    value.content = Some(Content::Bytes(content.clone()));
                }
            }
        }
    }

    /// Reports a conflict of whole values, if it is one that stops.
    fn stops_at(
        &mut self,
        drifted: &Drifted<'_>,
        target: Option<&[u8]>,
        current: Option<&[u8]>,
    ) -> bool {
        let base = drifted.base.bytes();
        let differ = base != target && base != current;
        let stops = differ && self.request.conflicts == super::Conflicts::Stop;
        if stops {
            let blob = |bytes: Option<&[u8]>| bytes.map(|bytes| Blob(bytes.to_vec()));
            self.plan.conflicts.push(Conflict {
                item: drifted.item.clone(),
                part: None,
                base: blob(base),
                current: blob(current),
                target: blob(target),
            });
        }
        stops
    }

    fn stops_whole(&mut self, drifted: &Drifted<'_>) -> bool {
        let Drifted { parameter, target, base, current, .. } = *drifted;
        if same(parameter, base, target) || same(parameter, base, current) {
            return false;
        }
        let stops = self.request.conflicts == super::Conflicts::Stop;
        if stops {
            let blob = |reading: &Reading| reading.bytes().map(|bytes| Blob(bytes.to_vec()));
            self.plan.conflicts.push(Conflict {
                item: drifted.item.clone(),
                part: None,
                base: blob(base),
                current: blob(current),
                target: blob(target),
            });
        }
        stops
    }

    fn is_never(&self, drifted: &Drifted<'_>, path: &Path) -> Option<&'static str> {
        never::built_in(path, drifted.current)
            .or_else(|| never::configured(drifted.parameter, path))
    }

    fn selects_parameter(&self, parameter: &Parameter) -> bool {
        match self.request.selection {
            Selection::Parameter(name) => parameter.name == *name,
            _ => true,
        }
    }

    fn selects_path(&self, path: &Path) -> bool {
        match self.request.selection {
            Selection::Everything | Selection::Parameter(_) => true,
            Selection::Path(top) => path.starts_with(top),
            Selection::Key { path: file, .. } => path == file,
        }
    }

    fn leave(&mut self, item: &Item, key: Option<&str>, why: &str) {
        let key = key.map(str::to_owned);
        self.plan.left.push(Left { item: item.clone(), key, why: why.to_owned() });
    }
}

const DIGEST_ONLY: &str = "the target keeps only a digest of its content";

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

fn counted(source: &Source) -> &[Attribute] {
    match source {
        Source::File { attributes, .. } | Source::Tree { attributes, .. } => attributes,
        _ => &[],
    }
}

fn key_of(source: &Source) -> Option<&str> {
    match source {
        Source::File { key: Some(key), .. } => Some(&key.key),
        _ => None,
    }
}

fn kind_of(value: &Value) -> Option<Kind> {
    Kind::read(value.attributes.get(&Attribute::Type)?)
}

/// Whether something of another kind is there, or nothing.
fn retyped(value: &Value, current: &Reading) -> bool {
    match current.value() {
        None => true,
        Some(now) => kind_of(now).zip(kind_of(value)).is_some_and(|(now, then)| now != then),
    }
}

/// Whether two readings agree in all that counts.
fn same(parameter: &Parameter, a: &Reading, b: &Reading) -> bool {
    let (Reading::Present(a), Reading::Present(b)) = (a, b) else { return a == b };
    let counted = counted(&parameter.source);
    let contents = match (&a.content, &b.content) {
        (Some(a), Some(b)) => a.same(b),
        (a, b) => a == b,
    };
    let content_counts = counted.is_empty() || counted.contains(&Attribute::Content);
    (contents || !content_counts)
        && counted
            .iter()
            .all(|attribute| a.attributes.get(attribute) == b.attributes.get(attribute))
}

/// Without attributes.
fn bare(reading: &Reading) -> Reading {
    match reading {
        Reading::Present(value) => {
            Reading::Present(Value { content: value.content.clone(), attributes: BTreeMap::new() })
        }
        other => other.clone(),
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

/// A setting's path below `/proc/sys`, as sysctl(8) reads names: the first separator says which
/// one separates.
fn setting_path(name: &str) -> Option<String> {
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

/// Whether an account's password stands in the account itself.
fn is_password(format: Format, key: &str, difference: &format::Difference) -> bool {
    if !matches!(format, Format::Passwd | Format::Group) {
        return matches!(format, Format::Shadow | Format::Gshadow);
    }
    let holds_secret = |text: &[u8]| {
        let field = text.split(|b| *b == b':').nth(1).unwrap_or(text);
        !matches!(field, b"" | b"x" | b"*" | b"!" | b"!!")
    };
    let is_row = |text: &[u8]| text.contains(&b':');
    match difference {
        format::Difference::Removed(text) | format::Difference::Added(text) => {
            (is_row(text) || key.ends_with(".password")) && holds_secret(text)
        }
        format::Difference::Changed { .. } => key.ends_with(".password"),
    }
}
