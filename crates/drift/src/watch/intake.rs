//! From events to paths at unrest, or, when there are too many, to debts.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::Kinds;
use super::debounce::{Chain, Debounce};
use super::debt::{Debt, Lost};
use super::record::{Place, Record};
use super::resolve::Resolver;
use super::who::{Executions, ProcessRef};

/// What events are turned into.
#[derive(Debug)]
pub struct Intake {
    /// What is watched: files, and directories with all below them.
    pub roots: Vec<PathBuf>,
    /// Handles to paths.
    pub resolver: Resolver,
    /// Who.
    pub executions: Executions,
    /// Paths at unrest.
    pub debounce: Debounce,
    /// What is owed.
    pub debt: Debt,
    /// Paths at unrest beyond which events become debts.
    pub backlog_max: usize,
    /// Until here every event was followed up.
    pub caught_up: SystemTime,
}

impl Intake {
    /// A record of the group. The queue's overflow is not for here: it concerns all.
    pub fn on_record(&mut self, record: &Record<'_>, process: &ProcessRef, now: Instant) {
        if record.mask & libc::FAN_OPEN_EXEC != 0
            && let Some(file) = record.place.and_then(|place| self.resolver.path(&place))
        {
            self.executions.on_exec(process, &file, now);
        }
        let kinds = kinds(record.mask);
        if kinds == Kinds::default() {
            return;
        }
        let directory = record.mask & libc::FAN_ONDIR != 0;
        if directory
            && kinds.intersects(Kinds::RENAME | Kinds::DELETE)
            && let Some(place) = &record.place
        {
            self.resolver.forget(place.fsid);
        }
        let subtree = directory && kinds.intersects(Kinds::RENAME | Kinds::DELETE);
        let to = record.place.and_then(|place| Some((place, self.watched(&place, subtree)?)));
        let from = record.from.and_then(|place| Some((place, self.watched(&place, subtree)?)));
        let paths = || from.iter().chain(&to);
        let known = paths().all(|(_, path)| self.debounce.holds(path));
        if !known && self.debounce.len() >= self.backlog_max {
            for (place, path) in paths() {
                let since = self.caught_up;
                self.debt.incur(place.fsid, since, Lost::Exactly(1), path.parent());
            }
            return;
        }
        if from.is_none() && to.is_none() {
            return;
        }
        let writer = self.executions.writer(process, now);
        let event = Chain::new(now, kinds, subtree, Some(writer));
        match (from, to) {
            (Some((_, from)), Some((_, to))) => self.debounce.on_rename(&from, &to, event),
            (Some((_, path)), None) | (None, Some((_, path))) => self.debounce.on(&path, event),
            (None, None) => {}
        }
    }

    /// Something seen without saying who, on `filesystem`.
    pub fn on_path(&mut self, filesystem: u64, path: &Path, event: Chain) {
        let Some(path) = self.in_scope(path, event.subtree) else { return };
        if self.debounce.len() >= self.backlog_max && !self.debounce.holds(&path) {
            self.debt.incur(filesystem, self.caught_up, Lost::Exactly(1), path.parent());
        } else {
            self.debounce.on(&path, event);
        }
    }

    fn watched(&mut self, place: &Place<'_>, subtree: bool) -> Option<PathBuf> {
        let path = self.resolver.path(place)?;
        self.in_scope(&path, subtree)
    }

    /// `path` if it is watched; if what is watched lies below it and went with it, that.
    fn in_scope(&self, path: &Path, subtree: bool) -> Option<PathBuf> {
        if self.roots.iter().any(|root| path.starts_with(root)) {
            return Some(path.to_owned());
        }
        self.roots.iter().find(|root| subtree && root.starts_with(path)).cloned()
    }
}

fn kinds(mask: u64) -> Kinds {
    let table = [
        (libc::FAN_CREATE, Kinds::CREATE),
        (libc::FAN_DELETE, Kinds::DELETE),
        (libc::FAN_RENAME | libc::FAN_MOVE, Kinds::RENAME),
        (libc::FAN_MODIFY, Kinds::MODIFY),
        (libc::FAN_CLOSE_WRITE, Kinds::WRITTEN),
        (libc::FAN_ATTRIB, Kinds::ATTRIBUTES),
    ];
    let set = table.iter().filter(|(bits, _)| mask & bits != 0);
    set.fold(Kinds::default(), |kinds, (_, kind)| kinds | *kind)
}
