//! Looking after instances that are there: whether they still are, and where.

use std::time::{Duration, Instant};

use umbra_api::rollout::InstancePhase;
use umbra_rollout::controller::{Event, Role};
use umbra_rollout::spec::Control;

use super::Desk;
use crate::db::DbError;
use crate::instances::Instance;
use crate::rollouts::inbox::News;
use crate::rollouts::made::Held;
use crate::rollouts::{status, steer};

/// How often it is looked whether instances are there still.
const PATROL_EVERY: Duration = Duration::from_secs(2);

impl Desk {
    /// What of a role's instances changed without us.
    pub(super) fn on_listed(&mut self, role: Role, all: &[Instance]) -> Result<(), DbError> {
        if self.stopping.contains(&role) {
            return Ok(());
        }
        let ready = |held: &&Held| {
            matches!(held.phase, InstancePhase::Ready | InstancePhase::Unwell)
                && !held.to.is_empty()
        };
        let held: Vec<Held> = self.made.of(role).iter().filter(ready).cloned().collect();
        let mut moved = false;
        for held in held {
            let Some(name) = &held.name else { continue };
            let Some(found) = all.iter().find(|one| one.name == *name) else {
                self.note(role, Held { phase: InstancePhase::Gone, ..held.clone() }, None)?;
                let why = format!("{name} is gone");
                self.on(Event::InstancesFailed { role, why })?;
                continue;
            };
            moved |= found.to != held.to;
            let now = Held {
                name: held.name.clone(),
                to: found.to.clone(),
                phase: status::phase_of(found),
            };
            self.note(role, now, found.why.clone())?;
        }
        if moved {
            self.aim(role);
        }
        Ok(())
    }

    /// Has an arm's requests go to where its instances are.
    pub(super) fn aim(&mut self, role: Role) {
        let targets = self.made.targets(role);
        let is_arm = role == Role::Candidate || self.tools.plan.spec.control == Control::Fresh;
        if is_arm && self.watch.is_some() && !targets.is_empty() {
            self.at_gate(move |tools| steer::aim(tools, role, &targets));
        }
    }

    fn note(&mut self, role: Role, held: Held, why: Option<String>) -> Result<(), DbError> {
        self.on_news(News::Instance { role, held, why })
    }

    /// Looks whether instances are there still.
    pub(super) fn patrol(&mut self) {
        let ours = [Role::Candidate, Role::Control].into_iter();
        let any = ours.flat_map(|role| self.made.of(role)).any(|held| held.name.is_some());
        if !any || self.patrolling || self.patrolled.elapsed() < PATROL_EVERY {
            return;
        }
        (self.patrolling, self.patrolled) = (true, Instant::now());
        self.beside(|tools| match tools.instances.list() {
            Ok(all) => vec![News::Listed(all)],
            // Nobody can look: nothing is known to have changed.
            Err(_) => vec![News::Unlisted],
        });
    }
}
