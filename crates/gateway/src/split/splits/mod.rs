//! Splits, as they are begun, changed, ended and taken up again, and routes as rollouts leave
//! them.
//!
//! What is changed is on the disk before it is in force: a gateway that is killed at any moment
//! begins again with one or the other. Everything here may wait for the disk, so it is not for
//! threads that serve.

mod lasting;
mod refusing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use umbra_api::error::{ErrorCode, WireError};
use umbra_judge::settings::Control as Compared;
use umbra_judge::trial::Trial;

pub(crate) use self::refusing::refused;
use self::refusing::{bad, check, check_weight, conflict, environment, none, none_of, setup_of};
use super::arms::Managed;
use super::journal::Journal;
use super::judging::{self, Mode};
use super::record::{self, Kept, KeptSplit, Record};
use super::wire::{EndTo, SetTargets, SplitArm, SplitStatus, StartSplit};
use super::{NoWeight, Split, lock};
use crate::proxy::Proxy;
use crate::routes::Routes;
use crate::routes::setup::{TargetSetup, check_targets};
use crate::routes::weigh::Salt;
use crate::upstream::Trust;

/// So many routes are split at once: each has a thread.
const SPLITS_MAX: usize = 16;

/// Whoever manages routes of a gateway does it here.
#[derive(Debug, Default)]
pub struct Splits {
    /// Where it is kept; nothing outlives the gateway if nobody said.
    dir: OnceLock<PathBuf>,
    /// One change at a time; whether somebody else is about to go on with them.
    changing: Mutex<bool>,
}

/// What a change needs of its gateway.
#[derive(Debug, Clone)]
pub struct Place {
    /// Whose routes they are.
    pub proxy: Arc<Proxy>,
    /// Whom targets that speak TLS have to be.
    pub trust: Trust,
}

/// Which split is meant.
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    /// Of this route.
    pub route: &'a str,
    /// Of this rollout, and no other: one that ended elsewhere must not change the next. `None` is
    /// whichever there is.
    pub rollout: Option<u64>,
}

impl<'a> From<&'a str> for Which<'a> {
    fn from(route: &'a str) -> Self {
        Self { route, rollout: None }
    }
}

impl Splits {
    /// Keeps what is changed from now on in a directory beside this socket.
    pub fn keep_beside(&self, socket: &Path) {
        let dir = socket.parent().unwrap_or(Path::new(".")).join("splits");
        // Whoever said so first stays right.
        let _ = self.dir.set(dir);
    }

    fn file(&self, route: &str) -> Option<PathBuf> {
        self.dir.get().map(|dir| record::file(dir, route))
    }

    fn change(&self) -> Result<MutexGuard<'_, bool>, WireError> {
        let leaving = lock(&self.changing);
        if *leaving {
            let message = "change a split: a successor is about to take over";
            let error = WireError::new(ErrorCode::Conflict, message);
            return Err(error.with_hint("ask again in a moment"));
        }
        Ok(leaving)
    }
}

impl Place {
    fn splits(&self) -> &Splits {
        self.proxy.splits()
    }

    /// Begins to split a route's sessions.
    pub fn start(&self, route: &str, mut wanted: StartSplit) -> Result<SplitStatus, WireError> {
        let _changing = self.splits().change()?;
        let routes = self.proxy.routes();
        let setup = setup_of(&routes, route)?;
        let managed = routes.managed().get(route);
        if let Some(taken) = managed.filter(|managed| managed.split.is_some()) {
            return Err(conflict(format!(
                "split {route:?}: rollout {} does so already",
                taken.rollout
            ))
            .with_hint("a rollout ends before the next begins"));
        }
        if self.every().len() >= SPLITS_MAX {
            return Err(conflict(format!("split {route:?}: {SPLITS_MAX} routes are split")));
        }
        let assigned = managed.and_then(|managed| managed.assigned.clone());
        check(route, &wanted, assigned.as_ref().unwrap_or(&setup.targets))?;
        wanted.settings.sticky = setup.sticky.is_some();
        wanted.settings.control =
            if wanted.control.is_empty() { Compared::Production } else { Compared::Fresh };
        let trial = Trial::new(wanted.settings).map_err(|error| bad(&error))?;
        let journal = Journal::create(&wanted.journal, &wanted.settings)
            .map_err(|error| environment("begin the journal", &error))?;
        let begun = self.begin(route, wanted, managed, assigned, trial, journal);
        begun.and_then(|split| self.status(&split))
    }

    fn begin(
        &self,
        route: &str,
        wanted: StartSplit,
        managed: Option<&Managed>,
        assigned: Option<Vec<TargetSetup>>,
        trial: Trial,
        journal: Journal,
    ) -> Result<Arc<Split>, WireError> {
        let (rollout, path) = (wanted.rollout, wanted.journal.clone());
        let before = Kept { rollout, assigned, split: None };
        let record = managed.map(|managed| Arc::clone(&managed.record));
        let record = record
            .unwrap_or_else(|| Arc::new(Record::new(self.splits().file(route), before.clone())));
        let kept = KeptSplit {
            salt: Salt::new(None),
            stages: vec![wanted.weight],
            version: judging::now_ms().unsigned_abs(),
            worse: None,
            rolled_back: false,
            start: wanted,
        };
        let (split, said) = Split::new(route, rollout, &kept, Arc::clone(&record));
        let next = Kept { split: Some(kept), ..before };
        let begun = judging::begin(&split, said, Arc::downgrade(&self.proxy), (trial, journal))
            .map_err(|error| environment("begin a thread that judges", &error))
            .and_then(|()| self.manage(route, &record, next, Some(Arc::clone(&split))));
        match begun {
            Ok(()) => Ok(split),
            Err(error) => {
                // Nobody was assigned by it.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Another weight, from the next request on.
    pub fn weigh<'a>(
        &self,
        which: impl Into<Which<'a>>,
        weight: f64,
    ) -> Result<SplitStatus, WireError> {
        let _changing = self.splits().change()?;
        let split = self.meant(which.into())?;
        let route = &split.route;
        check_weight(weight, split.has_control)?;
        let refused = |why| match why {
            NoWeight::RolledBack => {
                conflict(format!("weigh {route:?}: its candidate was rolled back"))
                    .with_hint("a rollout that failed is begun anew")
            }
            NoWeight::TooMany => conflict(format!("weigh {route:?}: that was done too often")),
        };
        if split.is_rolled_back() {
            return Err(refused(NoWeight::RolledBack));
        }
        if split.weight() != weight {
            let kept = split.record.change(|kept| {
                if let Some(kept) = &mut kept.split
                    && !kept.rolled_back
                {
                    kept.stages.push(weight);
                    kept.start.weight = weight;
                }
            });
            kept.map_err(|error| environment("keep a weight", &error))?;
            split.weigh(weight).map_err(refused)?;
            split.changed();
        }
        self.status(&split)
    }

    /// Other targets of an arm, from the next request on.
    pub fn aim<'a>(
        &self,
        which: impl Into<Which<'a>>,
        to: SetTargets,
    ) -> Result<SplitStatus, WireError> {
        let _changing = self.splits().change()?;
        let split = self.meant(which.into())?;
        let route = split.route.as_str();
        check_targets(route, &to.targets).map_err(|error| bad(&error))?;
        if to.arm == SplitArm::Control && !split.has_control {
            let message = format!("aim the control of {route:?}: it has none");
            return Err(WireError::new(ErrorCode::BadRequest, message));
        }
        let mut next = split.record.kept().clone();
        match (to.arm, &mut next.split) {
            (SplitArm::Baseline, _) => next.assigned = Some(to.targets),
            (SplitArm::Candidate, Some(kept)) => kept.start.candidate = to.targets,
            (SplitArm::Control, Some(kept)) => kept.start.control = to.targets,
            (SplitArm::Candidate | SplitArm::Control, None) => return Err(none(route)),
        }
        self.manage(route, &split.record, next, Some(Arc::clone(&split)))?;
        split.changed();
        self.status(&split)
    }

    /// Ends a split. The route has the targets of one arm from the next request on.
    pub fn end<'a>(
        &self,
        which: impl Into<Which<'a>>,
        to: EndTo,
    ) -> Result<SplitStatus, WireError> {
        let _changing = self.splits().change()?;
        let split = self.meant(which.into())?;
        // A judge that is interrupted reads its whole journal again: not where it is refused anyway.
        self.check_end(&split, to)?;
        // All there is to judge is judged, and on the disk.
        split.ask(Mode::Paused);
        let ended = self.check_end(&split, to).and_then(|()| {
            let status = self.status(&split)?;
            self.end_to(&split, to)?;
            Ok(status)
        });
        split.tell(if ended.is_ok() { Mode::Over } else { Mode::Judging });
        split.changed();
        ended
    }

    /// What was judged last may be what the candidate is rolled back for.
    fn check_end(&self, split: &Split, to: EndTo) -> Result<(), WireError> {
        if to == EndTo::Candidate && split.is_rolled_back() {
            let route = &split.route;
            return Err(conflict(format!("give {route:?} to its candidate: it was rolled back")));
        }
        Ok(())
    }

    fn end_to(&self, split: &Split, to: EndTo) -> Result<(), WireError> {
        let route = split.route.as_str();
        let Kept { rollout, assigned, split: kept } = split.record.kept().clone();
        let candidate = kept.map(|kept| kept.start.candidate);
        let assigned = if to == EndTo::Candidate { candidate } else { assigned };
        if assigned.is_none() {
            return self.unmanage(route, &split.record);
        }
        self.manage(route, &split.record, Kept { rollout, assigned, split: None }, None)?;
        let said = "a route has the targets of its rollout, whatever the file of routes says";
        tracing::warn!(route, rollout, until = "umbra route release", said);
        Ok(())
    }

    /// Every split.
    fn every(&self) -> Vec<Arc<Split>> {
        let routes = self.proxy.routes();
        let arms = routes.all().iter().filter_map(|route| route.arms());
        arms.map(|arms| Arc::clone(&arms.split)).collect()
    }

    /// How all of them stand.
    pub fn statuses(&self) -> Result<Vec<SplitStatus>, WireError> {
        self.every().iter().map(|split| self.status(split)).collect()
    }

    /// The split of a route.
    pub fn split(&self, route: &str) -> Result<Arc<Split>, WireError> {
        let found = self.every().into_iter().find(|split| split.route == route);
        found.ok_or_else(|| none(route))
    }

    /// The same, if it is that rollout's.
    fn meant(&self, which: Which<'_>) -> Result<Arc<Split>, WireError> {
        let split = self.split(which.route)?;
        match which.rollout {
            Some(rollout) if rollout != split.rollout => {
                Err(none_of(which.route, rollout, split.rollout))
            }
            _ => Ok(split),
        }
    }

    /// How one stands.
    pub fn status(&self, split: &Split) -> Result<SplitStatus, WireError> {
        let routes = self.proxy.routes();
        let route = routes.all().iter().find(|route| route.name() == split.route);
        route.map(|route| split.status(route)).ok_or_else(|| none(&split.route))
    }

    /// Has `next` said of a route, and keeps it.
    fn manage(
        &self,
        route: &str,
        record: &Arc<Record>,
        next: Kept,
        split: Option<Arc<Split>>,
    ) -> Result<(), WireError> {
        let managed = Managed::new(Arc::clone(record), &next, split);
        self.put(
            |all| drop(all.insert(route.to_owned(), managed)),
            || record.change(|kept| next.onto(kept)),
        )
    }

    /// Has nothing said of a route any more.
    fn unmanage(&self, route: &str, record: &Record) -> Result<(), WireError> {
        self.put(|all| drop(all.remove(route)), || record.remove())
    }

    fn put(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Managed>),
        keep: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<(), WireError> {
        let changed = self.proxy.change_routes(|before: &Routes| {
            let mut managed = before.managed().clone();
            change(&mut managed);
            let routes = before.managing(managed, &self.trust).map_err(|error| refused(&error))?;
            keep().map_err(|error| environment("keep what a rollout says of a route", &error))?;
            Ok::<_, WireError>(routes)
        });
        changed.map(drop)
    }
}
