//! The mirrors in force together: those that go by themselves, and the pair that is compared.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Copy, Mirror, Offered};
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
        let of = |set: &Self, role| set.with(role).map(Arc::as_ptr);
        let changed = |role: &Role| of(self, *role) != of(&next, *role);
        let roles = [Role::Candidate, Role::Baseline];
        let Some(first) = roles.iter().find(|role| changed(role)) else { return next };
        let stopped = roles.iter().find(|role| changed(role) && next.with(**role).is_none());
        if let Some(comparison) = &self.comparison {
            comparison.end(match stopped {
                Some(Role::Candidate) => "the candidate was stopped",
                Some(Role::Baseline) => "the baseline was stopped",
                None if *first == Role::Candidate => "another candidate was started",
                None => "another baseline was started",
            });
        }
        let candidate = next.with(Role::Candidate).filter(|_| stopped.is_none());
        if let Some(candidate) = candidate {
            let baseline = next.with(Role::Baseline).map(|mirror| mirror.name());
            next.comparison = Some(Arc::new(candidate.comparison(baseline)));
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

    /// Whether a shadow is told whose a request is.
    pub(crate) fn announce(&self) -> bool {
        self.all.iter().any(|mirror| mirror.shadow().announces().is_some())
    }

    /// Begins to copy a request for whoever is to get it: what takes its body, and what keeps its
    /// answer. Never waits.
    pub(crate) fn begin(&self, offered: &Offered<'_>, has_body: bool) -> (Vec<Copy>, Option<Keep>) {
        let alone = self.all.iter().filter(|mirror| mirror.settings().role.is_none());
        let mut copies: Vec<Copy> =
            alone.filter_map(|mirror| mirror.begin(offered, has_body)).collect();
        let keep = self.begin_pair(offered, has_body, &mut copies);
        (copies, keep)
    }

    /// Both get it or neither does: a shadow that lacks one request of the other's could differ
    /// from then on.
    fn begin_pair(
        &self,
        offered: &Offered<'_>,
        has_body: bool,
        copies: &mut Vec<Copy>,
    ) -> Option<Keep> {
        let head = offered.head;
        let candidate = self.with(Role::Candidate).filter(|mirror| mirror.chooses(offered))?;
        let both = [Some(candidate), self.with(Role::Baseline)].into_iter().flatten();
        let rooms: Result<Vec<_>, _> = both.clone().map(|mirror| mirror.admit(head)).collect();
        both.clone().for_each(|mirror| mirror.eligible(rooms.as_ref().err().copied()));
        let comparison = self.comparison.as_ref().filter(|one| !one.is_over());
        let Ok(rooms) = rooms else {
            comparison.inspect(|one| one.dropped());
            return None;
        };
        let keeps = comparison.map(|one| one.begin(head)).unwrap_or_default();
        let shadows = keeps.shadows.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let mut all: Vec<_> = both.zip(rooms).zip(shadows).collect();
        if keeps.baseline_first {
            all.reverse();
        }
        for ((mirror, room), keep) in all {
            copies.extend(mirror.copy(head, has_body, room, keep));
        }
        keeps.production
    }
}
