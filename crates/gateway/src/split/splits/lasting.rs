//! What outlives a gateway, and what outlives a split.

use std::sync::Arc;

use umbra_api::error::{ErrorCode, WireError};

use super::Place;
use super::refusing::{bad, conflict, environment, setup_of};
use crate::routes::setup::check_targets;
use crate::split::judging::{self, Mode};
use crate::split::record::{self, Kept, Record};
use crate::split::wire::AssignTargets;
use crate::split::{Split, lock};

impl Place {
    /// Gives a route these targets, instead of those of the file of routes.
    pub fn assign(&self, route: &str, to: AssignTargets) -> Result<(), WireError> {
        let _changing = self.splits().change()?;
        let routes = self.proxy.routes();
        setup_of(&routes, route)?;
        check_targets(route, &to.targets).map_err(|error| bad(&error))?;
        let managed = routes.managed().get(route);
        if managed.is_some_and(|managed| managed.split.is_some()) {
            return Err(conflict(format!("assign targets to {route:?}: its sessions are split")));
        }
        let next = Kept { rollout: to.rollout, assigned: Some(to.targets), split: None };
        let record = managed.map(|managed| Arc::clone(&managed.record));
        let record = record
            .unwrap_or_else(|| Arc::new(Record::new(self.splits().file(route), next.clone())));
        self.manage(route, &record, next, None)
    }

    /// Gives a route back to the file of routes, which has targets for it.
    pub fn release(&self, route: &str) -> Result<(), WireError> {
        self.give_back(route, false)
    }

    /// The same, also where it has none: then nobody is answered there any more.
    pub fn release_to_nothing(&self, route: &str) -> Result<(), WireError> {
        self.give_back(route, true)
    }

    fn give_back(&self, route: &str, may_be_empty: bool) -> Result<(), WireError> {
        let _changing = self.splits().change()?;
        let routes = self.proxy.routes();
        let setup = setup_of(&routes, route)?;
        let Some(managed) = routes.managed().get(route) else {
            let message = format!("release {route:?}: no rollout manages it");
            return Err(WireError::new(ErrorCode::NotFound, message));
        };
        if managed.split.is_some() {
            let message =
                format!("release {route:?}: rollout {} splits its sessions", managed.rollout);
            return Err(conflict(message).with_hint("`umbra rollout abort` ends it"));
        }
        if setup.targets.is_empty() && !may_be_empty {
            let message = format!("release {route:?}: the file of routes has no target for it");
            return Err(conflict(message).with_hint(
                "`umbra route release NAME --to-nothing` does it all the same: nobody is answered \
                 there then",
            ));
        }
        self.unmanage(route, &managed.record)
    }

    /// Goes on with what a gateway before this one kept. What cannot be gone on with is told:
    /// production goes on.
    pub fn resume(&self) {
        let Some(dir) = self.splits().dir.get() else { return };
        for (route, kept) in record::load(dir) {
            let rollout = kept.rollout;
            let taken = self.take_up(&route, kept.clone()).or_else(|error| {
                let why = error.message;
                tracing::error!(route, rollout, why, "a rollout cannot be gone on with");
                self.give_up(&route, kept)
            });
            match taken {
                Ok(()) => tracing::info!(route, rollout, "a route is as its rollout left it"),
                Err(error) => {
                    let why = error.message;
                    tracing::error!(route, rollout, why, "a route is as its file says");
                }
            }
        }
    }

    /// Leaves a split that cannot be gone on with, for good: whoever watches takes it for ended, and
    /// it must not come back. The targets that an earlier rollout put into production are not the
    /// file's, and serve.
    fn give_up(&self, route: &str, kept: Kept) -> Result<(), WireError> {
        setup_of(&self.proxy.routes(), route)?;
        let next = Kept { split: None, ..kept };
        let record = Arc::new(Record::new(self.splits().file(route), next.clone()));
        match next.assigned {
            Some(_) => self.manage(route, &record, next, None),
            None => self.unmanage(route, &record),
        }
    }

    fn take_up(&self, route: &str, mut kept: Kept) -> Result<(), WireError> {
        let routes = self.proxy.routes();
        let setup = setup_of(&routes, route)?;
        if let Some(split) = &mut kept.split {
            if split.start.settings.sticky != setup.sticky.is_some() {
                return Err(conflict("split its sessions: they are told otherwise now".to_owned()));
            }
            split.version = judging::now_ms().unsigned_abs().max(split.version + 1);
        }
        let record = Arc::new(Record::new(self.splits().file(route), kept.clone()));
        let split = match &kept.split {
            None => None,
            Some(one) => {
                let (split, said) = Split::new(route, kept.rollout, one, Arc::clone(&record));
                judging::resume(&split, said, Arc::downgrade(&self.proxy))
                    .map_err(|error| environment("begin a thread that judges", &error))?;
                Some(split)
            }
        };
        self.manage(route, &record, kept, split)
    }

    /// Judges no more, so that a successor can: what was said is kept, and nothing is changed from
    /// here on.
    pub fn leave(&self) {
        *lock(&self.splits().changing) = true;
        for split in self.every() {
            split.ask(Mode::Paused);
        }
    }

    /// Nobody took over.
    pub fn stay(&self) {
        *lock(&self.splits().changing) = false;
        for split in self.every() {
            split.tell(Mode::Judging);
        }
    }
}
