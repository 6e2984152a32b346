//! What a rollout goes by: settled when it begins, kept with it, never changed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umbra_gateway::routes::setup::TargetSetup;
use umbra_rollout::spec::Spec;
use umbra_state::StateId;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What it is to do.
    pub(super) spec: Spec,
    /// The gateway's socket.
    pub(super) gateway: PathBuf,
    /// What is to be in production.
    pub(super) candidate: Serving,
    /// What was, and is again if this does not succeed.
    pub(super) baseline: Serving,
    /// The directory of what the gateway keeps of it.
    pub(super) dir: PathBuf,
    /// What people are told of how it differs from what was asked for.
    pub(super) remarks: Vec<String>,
}

/// What serves a service, or is to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Serving {
    /// In words: an image's name, or targets.
    pub(super) words: String,
    /// The state its instances show, if we know.
    pub(super) state: Option<StateId>,
    /// Where requests go; none yet where instances are still to be made.
    pub(super) targets: Vec<TargetSetup>,
    /// The instances among them that we run, by name.
    pub(super) instances: Vec<String>,
}

/// What serves a service, as the database keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The gateway's socket.
    pub(super) gateway: PathBuf,
    /// The route there.
    pub(super) route: String,
    /// The rollout that made it so.
    pub(super) rollout: u64,
    /// Since when, in milliseconds since 1970 UTC.
    pub(super) since_ms: i64,
    /// What serves it.
    pub(super) now: Serving,
    /// What did before.
    pub(super) before: Serving,
}

impl Serving {
    /// What instances are for others than us to run.
    pub(super) fn of_targets(targets: &[String]) -> Self {
        let targets: Vec<TargetSetup> = targets.iter().map(|to| target(to)).collect();
        Self { words: words(&targets), state: None, targets, instances: Vec::new() }
    }

    /// What a route leads to, of which nothing else is known.
    pub(super) fn of_route(targets: Vec<TargetSetup>) -> Self {
        Self { words: words(&targets), state: None, targets, instances: Vec::new() }
    }

    /// Whether it leads to the same places.
    pub(super) fn is_at(&self, targets: &[TargetSetup]) -> bool {
        let places = |targets: &[TargetSetup]| {
            let mut places: Vec<String> = targets.iter().map(|one| one.to.clone()).collect();
            places.sort();
            places
        };
        places(&self.targets) == places(targets)
    }
}

impl Plan {
    /// Where the gateway keeps the outcomes of one of its splits, counted from 1.
    pub(super) fn journal(&self, number: u32) -> PathBuf {
        self.dir.join(format!("outcomes-{number}"))
    }
}

/// The directory of what is kept of a rollout.
pub(super) fn dir(state_dir: &Path, rollout: u64) -> PathBuf {
    state_dir.join("rollouts").join(rollout.to_string())
}

/// A target that gets as much as any other.
pub(super) fn target(to: &str) -> TargetSetup {
    TargetSetup { to: to.to_owned(), weight: 1.0, send_proxy: None }
}

fn words(targets: &[TargetSetup]) -> String {
    match targets {
        [] => "nothing".to_owned(),
        targets => targets.iter().map(|one| one.to.as_str()).collect::<Vec<_>>().join(", "),
    }
}
