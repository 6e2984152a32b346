//! What people and programs want of a primary, and how a desk answers.
//!
//! Some questions are answered from what is known; others only once everything was read again.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::alert;
use umbra_drift::config::Provenance;
use umbra_drift::metrics::Standing;
use umbra_drift::primary::{Circumstance, Primary};
use umbra_drift::reading::{Item, Snapshot};
use umbra_drift::service::{
    AcceptReply, AcceptRequest, DriftReply, Forecast, RollbackInfo, RollbackReply, ShadowDiff,
    ShadowEntry, TakeShadow,
};
use umbra_drift::wire::Ask;
use umbra_state::Cause;

use super::{Desk, RehearsalWanted, Wanted};
use crate::clock::now_ms;

/// Who waits for an answer.
pub(in crate::primaries) type Answer<T> = oneshot::Sender<Result<T, WireError>>;

/// What somebody wants.
pub(in crate::primaries) enum Task {
    /// What differs, after everything was read again.
    Check(Answer<DriftReply>),
    /// What differs as far as is known.
    Drift(Answer<DriftReply>),
    /// A shadow of what is now.
    Take(TakeShadow, Answer<ShadowEntry>),
    /// What is to be expected of numbers.
    Forecasts(Answer<Vec<Forecast>>),
    /// The timeline, oldest first.
    Shadows(Answer<Vec<ShadowEntry>>),
    /// What differs between two shadows, or one and what is now.
    Diff(u64, Option<u64>, Answer<ShadowDiff>),
    /// A drift is good.
    Accept(AcceptRequest, Answer<AcceptReply>),
    /// A drift is undone, or it is said how.
    RollBack(Box<Wanted>),
    /// A rollback that waits is good, or is undone.
    Decide(bool, Answer<RollbackReply>),
    /// Rollbacks, newest first.
    Rollbacks(Answer<Vec<RollbackInfo>>),
    /// Something is tried on a shadow.
    Rehearse(Box<RehearsalWanted>),
    /// A rollback has ended.
    Settled(Box<RollbackInfo>),
    /// What is counted.
    Standing(Answer<Standing>),
    /// Whether the primary can be let go of.
    LetGo(Answer<()>),
    /// The desk is closed.
    Close,
}

impl Desk {
    pub(super) fn on_task(&mut self, task: Task) -> Result<(), WireError> {
        match task {
            Task::Check(_) | Task::Take(..) | Task::RollBack(_) | Task::Settled(_) => {
                self.after_a_look(task)
            }
            Task::Rehearse(wanted) => self.want_rehearsal(*wanted),
            Task::Drift(answer) => {
                // Who asked may be gone; so it is below.
                let _ = answer.send(Ok(self.drift()));
                Ok(())
            }
            Task::Forecasts(answer) => {
                let _ = answer.send(Ok(self.forecasts()));
                Ok(())
            }
            Task::Shadows(answer) => {
                let _ = answer.send(Ok(self.timeline.entries(self.given.row.good)));
                Ok(())
            }
            Task::Diff(from, to, answer) => {
                let _ = answer.send(self.diff(from, to));
                Ok(())
            }
            Task::Standing(answer) => {
                let _ = answer.send(Ok(self.outgoing.standing(&self.counts, &self.book)));
                Ok(())
            }
            Task::LetGo(answer) => {
                let _ = answer.send(self.can_be_let_go());
                Ok(())
            }
            Task::Accept(request, answer) => {
                let accepted = self.accept(request);
                self.given.feed.flush()?;
                let _ = answer.send(accepted);
                Ok(())
            }
            Task::Decide(confirm, answer) => {
                self.decide_rollback(confirm, answer);
                Ok(())
            }
            Task::Rollbacks(answer) => {
                let _ = answer.send(self.rollbacks());
                Ok(())
            }
            Task::Close => Ok(()),
        }
    }

    /// Does a task once everything was read again.
    pub(super) fn after_a_look(&mut self, task: Task) -> Result<(), WireError> {
        let asked = self.line.as_mut().map(|line| line.ask(Ask::All));
        match asked {
            Some(Ok(number)) => self.waiting.push((number, task)),
            Some(Err(error)) => self.turn_away(task, &self.unread(&error.to_string())),
            None => {
                let why = self.lost.as_ref().map_or("its agent is gone", |lost| lost.why.as_str());
                self.turn_away(task, &self.unread(why));
            }
        }
        Ok(())
    }

    pub(super) fn unread(&self, why: &str) -> WireError {
        WireError::new(ErrorCode::Environment, format!("read {}: {why}", self.name()))
    }

    pub(super) fn on_fresh(&mut self, task: Task) -> Result<(), WireError> {
        match task {
            Task::Check(answer) => {
                self.given.feed.flush()?;
                let _ = answer.send(Ok(self.drift()));
            }
            Task::Take(request, answer) => {
                let taken = self.take(request);
                self.given.feed.flush()?;
                let _ = answer.send(taken);
            }
            Task::RollBack(wanted) => self.begin_rollback(*wanted)?,
            Task::Rehearse(wanted) => self.begin_rehearsal(*wanted)?,
            Task::Settled(info) => self.on_settled(&info)?,
            other => self.on_task(other)?,
        }
        Ok(())
    }

    /// The agent could not do what it was asked for.
    pub(super) fn on_failed(&mut self, number: u64, why: &str) -> Result<(), WireError> {
        let error = self.unread(why);
        for task in self.answered(number) {
            task.refuse(&error);
        }
        self.rehearsal_unanswered(&error)?;
        self.on_rollback_failed(number, why)
    }

    pub(super) fn drift(&self) -> DriftReply {
        // Where nobody watches nobody knows whether more differs: that is no difference.
        let (unwatched, mut alerts): (Vec<_>, Vec<_>) =
            self.book.open().cloned().partition(|one| one.discrepancy.why_unwatched().is_some());
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.discrepancy.severity));
        let unwatched = unwatched.iter().map(|alert| &alert.discrepancy);
        let unwatched = unwatched.filter_map(|one| Some((&one.item, one.why_unwatched()?)));
        let unknown = unwatched.chain(self.primary.iter().flat_map(Primary::unknown));
        DriftReply {
            alerts,
            unknown: unknown.map(|(item, why)| (item.clone(), why.to_owned())).collect(),
            items: self.items(),
            looked_at_ms: self.counts.looked_at_ms(),
            rehearsal: self.last_rehearsal(),
        }
    }

    pub(super) fn items(&self) -> u64 {
        self.primary.as_ref().map_or(0, |primary| primary.current().readings.len() as u64)
    }

    pub(super) fn take(&mut self, request: TakeShadow) -> Result<ShadowEntry, WireError> {
        let cause = self.captured();
        let kept = self.keep_current(cause, request)?;
        self.commit(kept.writes, Vec::new(), vec![kept.taken])?;
        Ok(kept.entry)
    }

    pub(super) fn current(&self) -> Result<&Snapshot, WireError> {
        let unread = || {
            WireError::new(ErrorCode::Conflict, format!("know {}: it is not read yet", self.name()))
        };
        self.primary.as_ref().map(Primary::current).ok_or_else(unread)
    }

    fn diff(&self, from: u64, to: Option<u64>) -> Result<ShadowDiff, WireError> {
        let earlier = self.timeline.snapshot(from)?;
        let later = match to {
            Some(to) => self.timeline.snapshot(to)?,
            None => self.current()?.clone(),
        };
        let differs = umbra_drift::compare::between(&self.given.config, &earlier, &later);
        Ok(ShadowDiff { from, to, differs })
    }

    fn accept(&mut self, request: AcceptRequest) -> Result<AcceptReply, WireError> {
        let AcceptRequest { selection, reason } = request;
        let Some(primary) = &mut self.primary else {
            return Err(self.unread("it is not read yet"));
        };
        let items: BTreeSet<Item> = primary
            .discrepancies()
            .map(|one| one.item.clone())
            .filter(|item| selection.chooses(&self.given.config, item))
            .collect();
        if items.is_empty() {
            let message = format!(
                "accept a drift of {}: nothing that was named differs",
                self.given.row.name
            );
            return Err(WireError::new(ErrorCode::NotFound, message));
        }
        let good = primary.good_from(primary.current(), &items);
        let at_ms = now_ms();
        let how = Circumstance { attribution: None, provenance: Provenance::Expected, at_ms };
        let news = primary.on_good(good.clone(), &how);
        let kept = self.keep_good(&good, Cause::Accept { reason })?;
        let mut effects = Vec::new();
        for item in news.agrees {
            effects.extend(self.resolved(item, alert::Ended::Accepted, at_ms));
        }
        self.commit(kept.writes, effects, vec![kept.taken])?;
        Ok(AcceptReply { items: items.into_iter().collect(), good: kept.entry.sequence })
    }
}

impl Task {
    /// Answers that it cannot be done.
    pub(super) fn refuse(self, error: &WireError) {
        let error = error.clone();
        // Who asked may be gone.
        match self {
            Self::Check(answer) | Self::Drift(answer) => drop(answer.send(Err(error))),
            Self::Take(_, answer) => drop(answer.send(Err(error))),
            Self::Forecasts(answer) => drop(answer.send(Err(error))),
            Self::Shadows(answer) => drop(answer.send(Err(error))),
            Self::Diff(_, _, answer) => drop(answer.send(Err(error))),
            Self::Accept(_, answer) => drop(answer.send(Err(error))),
            Self::Standing(answer) => drop(answer.send(Err(error))),
            Self::LetGo(answer) => drop(answer.send(Err(error))),
            Self::RollBack(wanted) => wanted.refuse(&error),
            Self::Rehearse(wanted) => Self::refuse_rehearsal(*wanted, error),
            Self::Decide(_, answer) => drop(answer.send(Err(error))),
            Self::Rollbacks(answer) => drop(answer.send(Err(error))),
            Self::Settled(_) | Self::Close => {}
        }
    }
}
