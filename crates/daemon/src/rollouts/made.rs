//! What a rollout has made in the world, kept with it so that the next daemon finds all of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use umbra_api::rollout::{InstancePhase, InstanceStatus, RolledBack};
use umbra_gateway::routes::setup::TargetSetup;
use umbra_rollout::controller::{Role, Winner};

use super::plan::target;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Made {
    /// The candidate's instances.
    pub(super) candidate: Vec<Held>,
    /// Fresh ones of what was in production.
    pub(super) control: Vec<Held>,
    /// What served before, as far as we run it.
    pub(super) previous: Vec<Held>,
    /// What the gateway keeps, once it splits.
    pub(super) journal: Option<PathBuf>,
    /// When users got to the candidate first, in milliseconds since 1970 UTC.
    pub(super) exposed_at_ms: Option<i64>,
    /// Since when everything is taken back, likewise.
    pub(super) back_at_ms: Option<i64>,
    /// How the candidate was taken away from everybody.
    pub(super) rolled_back: Option<RolledBack>,
    /// Whose all requests are, since the split ended.
    pub(super) winner: Option<Winner>,
    /// Tellings so far.
    pub(super) told: u64,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Its name, if we run it.
    pub(super) name: Option<String>,
    /// Where it is; empty until that is known.
    pub(super) to: String,
    /// Where it is in its life.
    pub(super) phase: InstancePhase,
}

impl Made {
    pub(super) fn of(&self, role: Role) -> &[Held] {
        match role {
            Role::Candidate => &self.candidate,
            Role::Control => &self.control,
        }
    }

    fn of_mut(&mut self, role: Role) -> &mut Vec<Held> {
        match role {
            Role::Candidate => &mut self.candidate,
            Role::Control => &mut self.control,
        }
    }

    /// Where requests of a role go.
    pub(super) fn targets(&self, role: Role) -> Vec<TargetSetup> {
        let there = self.of(role).iter().filter(|held| !held.to.is_empty() && held.is_kept());
        there.map(|held| target(&held.to)).collect()
    }

    /// An instance is so now. Whether that is news.
    pub(super) fn note(&mut self, role: Role, held: Held) -> bool {
        let all = self.of_mut(role);
        let is_same = |one: &Held| match &held.name {
            Some(name) => one.name.as_ref() == Some(name),
            None => one.name.is_none() && one.to == held.to,
        };
        match all.iter_mut().find(|one| is_same(one)) {
            Some(known) if *known == held => false,
            Some(known) => {
                *known = held;
                true
            }
            None => {
                all.push(held);
                true
            }
        }
    }
}

impl Held {
    /// Whether it is to get requests.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self.phase, InstancePhase::Gone | InstancePhase::Draining)
    }

    pub(super) fn status(&self) -> InstanceStatus {
        InstanceStatus { name: self.name.clone(), to: self.to.clone(), phase: self.phase }
    }
}
