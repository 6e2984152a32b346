//! From events to paths at unrest, or, when there are too many, to debts.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::Kinds;
use super::debounce::{Chain, Debounce};
use super::debt::{Debt, Lost};
use super::hot::Hot;
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
    /// Directories that are not watched and send much.
    pub hot: Hot,
    /// Records seen.
    pub records: u64,
}

/// What happened, and where.
#[derive(Debug)]
pub struct Happened {
    /// The filesystem.
    pub filesystem: u64,
    /// What.
    pub kinds: Kinds,
    /// Everything below may have changed as well.
    pub subtree: bool,
    /// Of a rename, the paths it had.
    pub from: Vec<PathBuf>,
    /// The paths it has.
    pub to: Vec<PathBuf>,
}

impl Intake {
    /// A record of the group. The queue's overflow is not for here: it concerns all.
    pub fn on_record(&mut self, record: &Record<'_>, process: &ProcessRef, now: Instant) {
        self.records += 1;
        if record.mask & libc::FAN_OPEN_EXEC != 0
            && let Some(place) = &record.place
            && let Ok(files) = self.resolver.paths(place)
            && let Some(file) = files.first()
        {
            self.executions.on_exec(process, file, now);
        }
        let kinds = kinds(record.mask);
        if kinds == Kinds::default() {
            return;
        }
        let directory = record.mask & libc::FAN_ONDIR != 0;
        let subtree = directory && kinds.intersects(Kinds::RENAME | Kinds::DELETE);
        if subtree && let Some(place) = &record.place {
            self.resolver.forget(place.fsid);
        }
        let from = self.watched(record.from.as_ref(), subtree);
        let to = self.watched(record.place.as_ref(), subtree);
        if from.is_empty() && to.is_empty() {
            return self.not_watched(record, directory, now);
        }
        if directory && kinds.contains(Kinds::RENAME) && !to.is_empty() {
            // It, or a directory below it, may have been ignored until now.
            self.hot.forget_all();
        }
        let filesystem = record.place.or(record.from).map_or(0, |place| place.fsid);
        self.on_change(&Happened { filesystem, kinds, subtree, from, to }, process, now);
    }

    /// Something happened to watched paths.
    pub fn on_change(&mut self, happened: &Happened, process: &ProcessRef, now: Instant) {
        let Happened { filesystem, kinds, subtree, from, to } = happened;
        let known = from.iter().chain(to).all(|path| self.debounce.holds(path));
        if !known && self.debounce.len() >= self.backlog_max {
            for path in from.iter().chain(to) {
                self.debt.incur(*filesystem, self.caught_up, Lost::Exactly(1), path.parent());
            }
            return;
        }
        let event = Chain::new(now, *kinds, *subtree, Some(self.executions.writer(process, now)));
        if let ([from], [to]) = (&from[..], &to[..]) {
            return self.debounce.on_rename(from, to, event);
        }
        for path in from.iter().chain(to) {
            self.debounce.on(path, event.clone());
        }
    }

    /// Something seen without saying who, on `filesystem`.
    pub fn on_path(&mut self, filesystem: u64, path: &Path, event: Chain) {
        for path in self.in_scope(path, event.subtree) {
            if self.debounce.len() >= self.backlog_max && !self.debounce.holds(&path) {
                let lost = Lost::Exactly(1);
                self.debt.incur(filesystem, self.caught_up, lost, path.parent());
            } else {
                self.debounce.on(&path, event.clone());
            }
        }
    }

    /// Whoever works elsewhere should cost little.
    fn not_watched(&mut self, record: &Record<'_>, directory: bool, now: Instant) {
        let Some(place) = record.place.filter(|_| !directory && record.from.is_none()) else {
            return;
        };
        if !self.hot.on(place.handle, now) {
            return;
        }
        if let Ok(paths) = self.resolver.directories(&place)
            && let Some(path) = paths.first()
            && paths.iter().all(|path| self.is_apart(path))
        {
            self.hot.propose(path.clone());
        }
    }

    /// Whether nothing at, above or below `directory` is watched.
    fn is_apart(&self, directory: &Path) -> bool {
        let mut roots = self.roots.iter();
        !roots.any(|root| root.starts_with(directory) || directory.starts_with(root))
    }

    fn watched(&mut self, place: Option<&Place<'_>>, subtree: bool) -> Vec<PathBuf> {
        let Some(place) = place else { return Vec::new() };
        match self.resolver.paths(place) {
            Ok(paths) => {
                let mut watched: Vec<_> =
                    paths.iter().flat_map(|path| self.in_scope(path, subtree)).collect();
                watched.dedup();
                watched
            }
            Err(_) => {
                self.debt.incur(place.fsid, self.caught_up, Lost::Exactly(1), None);
                Vec::new()
            }
        }
    }

    /// `path` if it is watched; if watched roots lie below it and went with it, those.
    pub fn in_scope(&self, path: &Path, subtree: bool) -> Vec<PathBuf> {
        if self.roots.iter().any(|root| path.starts_with(root)) {
            return vec![path.to_owned()];
        }
        let below = self.roots.iter().filter(|root| subtree && root.starts_with(path));
        below.cloned().collect()
    }
}

/// What a mask says was done.
pub(super) fn kinds(mask: u64) -> Kinds {
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
