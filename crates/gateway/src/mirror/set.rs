//! The mirrors in force together: those that go by themselves, and the pair that is compared.

use std::ops::Deref;
use std::sync::Arc;

use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};

use super::{Copy, Mirror};
use crate::compare::Comparison;
use crate::compare::keep::Keep;

/// What a mirror's answers are for, if they are for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A shadow of what is to come, whose answers are compared.
    Candidate,
    /// A shadow of what is in production. It gets what the candidate gets, and nothing while
    /// there is none.
    Baseline,
}

/// Mirrors, of which one may be the candidate and one the baseline.
#[derive(Debug, Default)]
pub struct Mirrors {
    all: Vec<Arc<Mirror>>,
    /// The last, which has ended if there is no candidate any more.
    comparison: Option<Arc<Comparison>>,
}

impl Deref for Mirrors {
    type Target = [Arc<Mirror>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Mirrors {
    /// These instead. A comparison goes on while its shadows are the same; it ends when one
    /// stops, and another begins when one starts.
    pub(crate) fn become_these(&self, all: Vec<Arc<Mirror>>) -> Self {
        let mut next = Self { all, comparison: self.comparison.clone() };
        let mirror = |set: &Self, role| set.with(role).map(Arc::as_ptr);
        let changed = |role| mirror(self, role) != mirror(&next, role);
        let (candidate, baseline) = (changed(Role::Candidate), changed(Role::Baseline));
        if !candidate && !baseline {
            return next;
        }
        let stopped = |role, changed| changed && next.with(role).is_none();
        let why = match (stopped(Role::Candidate, candidate), stopped(Role::Baseline, baseline)) {
            (true, _) => "the candidate was stopped",
            (false, true) => "the baseline was stopped",
            (false, false) => "another began",
        };
        if let Some(comparison) = &self.comparison {
            comparison.end(why);
        }
        if why == "another began"
            && let Some(candidate) = next.with(Role::Candidate)
        {
            let baseline = next.with(Role::Baseline).map(|mirror| mirror.name());
            let comparison = candidate.comparison(baseline);
            next.comparison = Some(Arc::new(comparison));
        }
        next
    }

    /// The one that has this role.
    pub fn with(&self, role: Role) -> Option<&Arc<Mirror>> {
        self.all.iter().find(|mirror| mirror.settings().role == Some(role))
    }

    /// What is compared, or was last.
    pub fn comparison(&self) -> Option<&Arc<Comparison>> {
        self.comparison.as_ref()
    }

    /// Whose choice of requests a mirror goes by; nobody's where it gets none.
    pub fn chooser<'a>(&'a self, mirror: &'a Mirror) -> Option<&'a Mirror> {
        match mirror.settings().role {
            Some(Role::Baseline) => self.with(Role::Candidate).map(Arc::as_ref),
            Some(Role::Candidate) | None => Some(mirror),
        }
    }

    /// Begins to copy a request with this head for whoever is to get it: what takes its body, and
    /// what keeps its answer. Never waits.
    pub(crate) fn begin(&self, head: &Parts, has_body: bool) -> (Vec<Copy>, Option<Keep>) {
        let alone = self.all.iter().filter(|mirror| mirror.settings().role.is_none());
        let mut copies: Vec<Copy> =
            alone.filter_map(|mirror| mirror.begin(head, has_body)).collect();
        let keep = self.begin_pair(head, has_body, &mut copies);
        (copies, keep)
    }

    fn begin_pair(&self, head: &Parts, has_body: bool, copies: &mut Vec<Copy>) -> Option<Keep> {
        let candidate = self.with(Role::Candidate).filter(|mirror| mirror.chooses(head))?;
        let baseline = self.with(Role::Baseline);
        let Some(comparison) = self.comparison.as_ref().filter(|one| !one.is_over()) else {
            for mirror in [Some(candidate), baseline].into_iter().flatten() {
                copies.extend(mirror.copy(head, has_body, None));
            }
            return None;
        };
        let keeps = comparison.begin(head);
        let mut both = vec![(candidate, keeps.candidate)];
        both.extend(baseline.zip(keeps.baseline));
        if !keeps.candidate_first {
            both.reverse();
        }
        for (mirror, keep) in both {
            copies.extend(mirror.copy(head, has_body, Some(keep)));
        }
        Some(keeps.production)
    }
}
