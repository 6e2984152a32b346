//! Making a plan from three snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use umbra_api::blob::Blob;

use super::sides::{key_of, same};
use super::single::setting_path;
use super::{Change, Conflict, Conflicts, Left, Place, Plan, Selection, never};
use crate::compare::unexpected;
use crate::config::{Config, Parameter, Source};
use crate::reading::{Item, Reading, Snapshot};

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
    pub conflicts: Conflicts,
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

/// A plan that is being made.
pub(super) struct Maker<'a> {
    pub(super) request: Request<'a>,
    pub(super) plan: Plan,
    pub(super) changes: BTreeMap<Place, Change>,
}

/// One item that has drifted, as all three see it.
pub(super) struct Drifted<'a> {
    pub(super) parameter: &'a Parameter,
    pub(super) item: &'a Item,
    pub(super) target: &'a Reading,
    pub(super) base: &'a Reading,
    pub(super) current: &'a Reading,
}

impl<'a> Maker<'a> {
    fn parameter(&mut self, parameter: &'a Parameter) {
        let Request { target, base, current, .. } = self.request;
        if !parameter.tolerance.is_held() {
            return self.gauge(parameter);
        }
        let of = |snapshot: &'a Snapshot| items_of(snapshot, parameter);
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

    /// What is not held against a shadow has no earlier value to return to. That is worth a word
    /// where it was asked for, and where it is not as expected.
    fn gauge(&mut self, parameter: &Parameter) {
        let Request { current, selection, .. } = self.request;
        let Some(why) = never::source(&parameter.source) else { return };
        for (item, reading) in items_of(current, parameter) {
            let wanted = match selection {
                Selection::Parameter(name) => *name == parameter.name,
                Selection::Everything => unexpected(&parameter.expect, reading).is_some(),
                Selection::Path(_) | Selection::Key { .. } => false,
            };
            if wanted {
                self.leave(item, None, why);
            }
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
                self.keyed(drifted, Path::new(path), &key.key);
            }
            Source::File { path, .. } => self.path(drifted, Path::new(path)),
            _ => match &item.part {
                Some(part) => self.path(drifted, Path::new(OsStr::from_bytes(&part.0))),
                None => self.leave(item, None, "it is no path"),
            },
        }
    }

    /// Whether three whole values are in conflict; then that is reported.
    pub(super) fn stops_at(&mut self, drifted: &Drifted<'_>) -> bool {
        let [base, target, current] =
            [drifted.base, drifted.target, drifted.current].map(Reading::bytes);
        base != target && base != current && self.stop(drifted)
    }

    /// The same by all that counts of them.
    pub(super) fn stops_whole(&mut self, drifted: &Drifted<'_>) -> bool {
        let Drifted { parameter, target, base, current, .. } = *drifted;
        !same(parameter, base, target) && !same(parameter, base, current) && self.stop(drifted)
    }

    fn stop(&mut self, drifted: &Drifted<'_>) -> bool {
        let stops = self.request.conflicts == Conflicts::Stop;
        if stops {
            let blob = |reading: &Reading| reading.bytes().map(|bytes| Blob(bytes.to_vec()));
            self.plan.conflicts.push(Conflict {
                item: drifted.item.clone(),
                part: None,
                base: blob(drifted.base),
                current: blob(drifted.current),
                target: blob(drifted.target),
            });
        }
        stops
    }

    pub(super) fn is_never(&self, drifted: &Drifted<'_>, path: &Path) -> Option<&'static str> {
        never::built_in(path, drifted.current)
            .or_else(|| never::configured(drifted.parameter, path))
    }

    fn selects_parameter(&self, parameter: &Parameter) -> bool {
        match self.request.selection {
            Selection::Parameter(name) => parameter.name == *name,
            _ => true,
        }
    }

    pub(super) fn selects_path(&self, path: &Path) -> bool {
        match self.request.selection {
            Selection::Everything | Selection::Parameter(_) => true,
            Selection::Path(top) => path.starts_with(top),
            Selection::Key { path: file, .. } => path == file,
        }
    }

    /// Says that something stays as it is.
    pub(super) fn leave(&mut self, item: &Item, key: Option<&str>, why: &str) {
        let key = key.map(str::to_owned);
        self.plan.left.push(Left { item: item.clone(), key, why: why.to_owned() });
    }
}

fn items_of<'s>(
    snapshot: &'s Snapshot,
    parameter: &Parameter,
) -> impl Iterator<Item = (&'s Item, &'s Reading)> {
    let first = Item::whole(&parameter.name);
    let name = first.parameter.clone();
    snapshot.readings.range(first..).take_while(move |(item, _)| item.parameter == name)
}

/// Why what was too long to be kept stays.
pub(super) const DIGEST_ONLY: &str = "the target keeps only a digest of its content";
