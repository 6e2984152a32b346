//! Rollbacks without asking: what the policy allows now, what is rehearsed before, and what is
//! tried again because the reason against it passes.
//!
//! ```text
//! drift ──> read all ──> plan ──> policy ── allowed ──> (rehearsed) ──> carried out
//!   ^                               └────── refused, told
//!   └───────── tick: nothing that passes speaks against it any more
//! ```

use std::collections::BTreeSet;

use umbra_api::error::WireError;
use umbra_drift::config::{OnDrift, Requirement};
use umbra_drift::discrepancy::Discrepancy;
use umbra_drift::policy::{self, Refusal, Situation};
use umbra_drift::reading::Item;
use umbra_drift::rollback::Plan;
use umbra_drift::service::{By, RollbackRequest, Selection, What};
use umbra_state::Verdict;

use super::rollback::{Wanted, items_of};
use super::{Desk, Task};
use crate::clock::{minute_of_day, now_ms};

/// What is another each time it was rehearsed is not rehearsed more often.
const REHEARSALS_MAX: u32 = 3;

/// What is known of a rollback's rehearsal.
enum Said {
    /// The policy wants none.
    NotAsked,
    /// It wants one, and there was none of this plan yet.
    Nothing,
    /// What one said; `None` if none could be made.
    Verdict(Option<Verdict>),
}

impl Said {
    /// What the policy goes by. That nothing was said yet must not be what speaks against it:
    /// whatever else does saves the rehearsal.
    fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::NotAsked => None,
            Self::Nothing => Some(Verdict::Pass),
            Self::Verdict(verdict) => *verdict,
        }
    }
}

/// What of a plan the policy lets be carried out.
pub(super) enum Allowed {
    /// All of it.
    All(Wanted),
    /// Not all; this is left to be planned.
    Rest(Wanted),
    /// Nothing now.
    Nothing,
}

/// What rollbacks without asking go by.
#[derive(Debug, Default)]
pub(super) struct Unasked {
    /// When which items were put back.
    begun: Vec<(i64, BTreeSet<Item>)>,
    /// Parameters that drifted and wait until what speaks against their rollback has passed.
    postponed: BTreeSet<String>,
}

impl Unasked {
    /// One begins.
    pub(super) fn begins(&mut self, at_ms: i64, plan: &Plan) {
        self.begun.push((at_ms, items_of(plan)));
    }
}

impl Desk {
    /// What a decision has to know of the time before this daemon: earlier rollbacks, and what
    /// drifted and may have waited for one.
    pub(super) fn load_unasked(&mut self) -> Result<(), WireError> {
        let by_policy = self.rollbacks()?.into_iter().filter(|info| info.by == By::Policy);
        self.unasked.begun =
            by_policy.map(|info| (info.begun_at_ms, items_of(&info.plan))).collect();
        let open = self.primary.iter().flat_map(|primary| primary.discrepancies());
        self.unasked.postponed = self.to_roll_back(open);
        Ok(())
    }

    /// The parameters among those of some drifts that are to be rolled back without asking.
    fn to_roll_back<'a>(&self, drifts: impl Iterator<Item = &'a Discrepancy>) -> BTreeSet<String> {
        let parameters = self.given.config.parameters.iter();
        let wanting: BTreeSet<&str> = parameters
            .filter(|parameter| parameter.on_drift == OnDrift::Rollback)
            .map(|parameter| parameter.name.as_str())
            .collect();
        let names = drifts.map(|drift| &drift.item.parameter);
        names.filter(|name| wanting.contains(name.as_str())).cloned().collect()
    }

    /// Something drifted.
    pub(super) fn on_drift(&mut self, differs: &[Discrepancy]) -> Result<(), WireError> {
        let parameters = self.to_roll_back(differs.iter());
        self.roll_back_unasked(parameters)
    }

    /// What was put off is tried again once nothing that passes speaks against it.
    pub(super) fn on_unasked_tick(&mut self) -> Result<(), WireError> {
        if self.unasked.postponed.is_empty() || self.line.is_none() {
            return Ok(());
        }
        let Some(primary) = &self.primary else { return Ok(()) };
        let (mut waits, mut free) = (BTreeSet::new(), BTreeSet::new());
        // What agrees again needs no rollback.
        for drift in primary.discrepancies() {
            let name = &drift.item.parameter;
            if self.unasked.postponed.contains(name) {
                let against = self.decide(drift, 0, Some(Verdict::Pass)).err();
                let passes = against.is_some_and(|refusal| refusal.passes());
                if passes { &mut waits } else { &mut free }.insert(name.clone());
            }
        }
        free.retain(|name| !waits.contains(name));
        self.unasked.postponed = waits;
        self.roll_back_unasked(free)
    }

    fn roll_back_unasked(&mut self, parameters: BTreeSet<String>) -> Result<(), WireError> {
        if parameters.is_empty() {
            return Ok(());
        }
        let selection =
            Selection { parameters: parameters.into_iter().collect(), ..Selection::default() };
        let request = RollbackRequest { selection, ..RollbackRequest::default() };
        let wanted = Wanted { request, by: By::Policy, answer: None, rehearsed: None };
        self.after_a_look(Task::RollBack(Box::new(wanted)))
    }

    /// Whether the policy lets a plan be carried out now. If not, why is told, and what it lets
    /// be is planned anew.
    pub(super) fn let_by_policy(
        &mut self,
        wanted: Wanted,
        plan: &Plan,
    ) -> Result<Allowed, WireError> {
        let said = self.rehearsal_of(&wanted, plan);
        let refused = self.refusals(&wanted, plan.conflicts.len(), said.verdict());
        if !refused.is_empty() {
            return Ok(match self.refuse_some(wanted, refused)? {
                Some(rest) => Allowed::Rest(rest),
                None => Allowed::Nothing,
            });
        }
        if matches!(said, Said::Nothing) && !plan.is_empty() {
            self.rehearse_first(wanted)?;
            return Ok(Allowed::Nothing);
        }
        Ok(Allowed::All(wanted))
    }

    /// Nothing can be done without asking while another rollback goes on.
    pub(super) fn refuse_for_now(&mut self, wanted: Wanted) -> Result<(), WireError> {
        let refused = self.refusals(&wanted, 0, Some(Verdict::Pass));
        self.refuse_some(wanted, refused).map(drop)
    }

    /// Tells what speaks against a rollback, and leaves the parameters it does not concern.
    fn refuse_some(
        &mut self,
        mut wanted: Wanted,
        refused: Vec<(Item, Refusal)>,
    ) -> Result<Option<Wanted>, WireError> {
        let names = &mut wanted.request.selection.parameters;
        names.retain(|name| refused.iter().all(|(item, _)| item.parameter != *name));
        let passing = refused.iter().filter(|(_, refusal)| refusal.passes());
        self.unasked.postponed.extend(passing.map(|(item, _)| item.parameter.clone()));
        let rest = (!names.is_empty()).then_some(wanted);
        let told = refused.into_iter().map(|(item, refusal)| What::NotRolledBack { item, refusal });
        self.commit(Vec::new(), Vec::new(), told.collect())?;
        Ok(rest)
    }

    /// What the policy has against putting back what somebody wants put back.
    fn refusals(
        &self,
        wanted: &Wanted,
        conflicts: usize,
        rehearsal: Option<Verdict>,
    ) -> Vec<(Item, Refusal)> {
        let parameters = &wanted.request.selection.parameters;
        let drifts = self.primary.iter().flat_map(|primary| primary.discrepancies());
        let concerned = drifts.filter(|drift| parameters.contains(&drift.item.parameter));
        let refused = concerned.filter_map(|drift| {
            let refusal = self.decide(drift, conflicts, rehearsal).err()?;
            Some((drift.item.clone(), refusal))
        });
        refused.collect()
    }

    fn decide(
        &self,
        drift: &Discrepancy,
        conflicts: usize,
        rehearsal: Option<Verdict>,
    ) -> Result<(), Refusal> {
        let now_ms = now_ms();
        let begun = &self.unasked.begun;
        let all: Vec<i64> = begun.iter().map(|(at, _)| *at).collect();
        let of_item = begun.iter().filter(|(_, items)| items.contains(&drift.item));
        let of_item: Vec<i64> = of_item.map(|(at, _)| *at).collect();
        policy::decide(&Situation {
            on_drift: OnDrift::Rollback,
            severity: drift.severity,
            policy: self.given.config.policy.auto_rollback.as_ref(),
            rehearsal,
            conflicts,
            in_progress: self.undo.is_some(),
            rollbacks_ms: &all,
            rollbacks_of_item_ms: &of_item,
            now_ms,
            minute: minute_of_day(now_ms),
        })
    }

    /// What a rehearsal says of what is planned now.
    fn rehearsal_of(&self, wanted: &Wanted, plan: &Plan) -> Said {
        let policy = self.given.config.policy.auto_rollback.as_ref();
        if !policy.is_some_and(|policy| policy.require.contains(&Requirement::RehearsalPass)) {
            return Said::NotAsked;
        }
        match &wanted.rehearsed {
            Some(said) if said.verdict.is_none() || said.changes == plan.changes => {
                Said::Verdict(said.verdict)
            }
            Some(said) if said.times >= REHEARSALS_MAX => Said::Verdict(None),
            _ => Said::Nothing,
        }
    }
}
