//! What somebody who manages a route says of it, and the targets that come of it.

use std::sync::Arc;

use super::Split;
use super::record::{Kept, Record};
use super::wire::{ManagedStatus, SplitArm};
use crate::routes::Backend;
use crate::routes::setup::{RouteSetup, TargetSetup};

/// Targets and their weights.
pub(crate) type Targets = Vec<(Arc<Backend>, f64)>;

/// What is said of a route beside the file of routes.
#[derive(Debug, Clone)]
pub(crate) struct Managed {
    pub(crate) record: Arc<Record>,
    pub(crate) rollout: u64,
    /// Its targets, instead of those that are set up.
    pub(crate) assigned: Option<Vec<TargetSetup>>,
    pub(crate) split: Option<SplitSetup>,
}

/// A split, and what its arms are beside the route's own targets.
#[derive(Debug, Clone)]
pub(crate) struct SplitSetup {
    pub(crate) split: Arc<Split>,
    candidate: Vec<TargetSetup>,
    control: Vec<TargetSetup>,
}

/// The arms of a route that is split; the baseline's targets are the route's.
#[derive(Debug)]
pub(crate) struct Arms {
    pub(crate) split: Arc<Split>,
    candidate: Targets,
    control: Targets,
}

impl Managed {
    /// What is kept, with the split that is under way.
    pub(crate) fn new(record: Arc<Record>, kept: &Kept, split: Option<Arc<Split>>) -> Self {
        let split = kept.split.as_ref().zip(split).map(|(kept, split)| SplitSetup {
            split,
            candidate: kept.start.candidate.clone(),
            control: kept.start.control.clone(),
        });
        Self { record, rollout: kept.rollout, assigned: kept.assigned.clone(), split }
    }

    /// Who manages the route, and what that does to it.
    pub(crate) fn status(&self) -> ManagedStatus {
        let split = self.split.as_ref().map(|setup| &setup.split);
        ManagedStatus {
            rollout: self.rollout,
            assigned: self.assigned.is_some(),
            weight: split.map(|split| split.weight()),
            rolled_back: split.is_some_and(|split| split.is_rolled_back()),
        }
    }

    /// Why a route that is set up so cannot go on with this.
    pub(crate) fn conflict(&self, before: &RouteSetup, next: &RouteSetup) -> Option<&'static str> {
        let other = self.split.is_some() && before.sticky != next.sticky;
        other.then_some("its sessions are split, and would be other sessions")
    }
}

impl Arms {
    /// Made of their setups by whoever makes targets.
    pub(crate) fn new<E>(
        setup: &SplitSetup,
        mut targets: impl FnMut(&[TargetSetup]) -> Result<Targets, E>,
    ) -> Result<Self, E> {
        let (candidate, control) = (targets(&setup.candidate)?, targets(&setup.control)?);
        Ok(Self { split: Arc::clone(&setup.split), candidate, control })
    }

    /// The targets of an arm, of a route with these of its own.
    pub(crate) fn targets<'a>(&'a self, arm: SplitArm, own: &'a Targets) -> &'a Targets {
        match arm {
            SplitArm::Baseline => own,
            SplitArm::Candidate => &self.candidate,
            SplitArm::Control => &self.control,
        }
    }

    /// Those that are not the route's own.
    pub(crate) fn others(&self) -> impl Iterator<Item = &(Arc<Backend>, f64)> {
        self.candidate.iter().chain(&self.control)
    }
}
