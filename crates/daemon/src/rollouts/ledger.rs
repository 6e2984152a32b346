//! What is kept of a rollout, in the order in which it happens, each step in one transaction.

use std::sync::Arc;

use tokio::sync::watch;
use umbra_api::rollout::{Happened, RolloutEvent, RolloutStatus};
use umbra_drift::config::Notify;
use umbra_drift::sink::Notice;
use umbra_rollout::controller::Controller;

use super::made::Made;
use super::mail::Mail;
use super::phase_word;
use crate::clock::now_ms;
use crate::db::DbError;
use crate::db::rollouts::{
    EventKind, EventRow, RolloutBatch, RolloutRow, RolloutWrite, ServiceRow,
};

/// See the module.
pub(super) struct Ledger {
    /// As it was kept last.
    pub(super) row: RolloutRow,
    /// Through whose hands everything goes.
    pub(super) mail: Arc<Mail>,
    /// Whom the rollout tells.
    pub(super) notify: Vec<Notify>,
    /// The number of its next event.
    pub(super) next_event: u64,
    /// Told when events are committed.
    pub(super) committed: Arc<watch::Sender<u64>>,
    /// Waiting for the next commit.
    pub(super) waiting: Waiting,
}

/// What waits to be committed.
#[derive(Default)]
pub(super) struct Waiting {
    events: Vec<EventRow>,
    /// What serves the service now.
    pub(super) service: Option<ServiceRow>,
    /// What the service's timeline gets.
    pub(super) growth: Option<RolloutWrite>,
}

impl Ledger {
    /// Something happened, for people to know.
    pub(super) fn happened(&mut self, what: Happened) {
        let kind = match &what {
            Happened::Phase { .. } | Happened::Step { .. } | Happened::Weight { .. } => {
                EventKind::Change
            }
            Happened::Standing { .. } => EventKind::Standing,
            Happened::Instance { .. }
            | Happened::Analysis { .. }
            | Happened::Hook { .. }
            | Happened::Warning { .. } => EventKind::Detail,
        };
        let (seq, at_ms) = (self.next_event, now_ms());
        let event = RolloutEvent { seq, at_ms, what };
        match serde_json::to_string(&event) {
            Ok(line) => {
                self.next_event += 1;
                self.waiting.events.push(EventRow { rollout: self.row.id, seq, kind, line });
            }
            Err(error) => tracing::error!(%error, "an event could not be written as JSON"),
        }
    }

    /// How it stands, for who follows.
    pub(super) fn standing(&mut self, status: &RolloutStatus) {
        self.happened(Happened::Standing { status: Box::new(status.clone()) });
    }

    /// Commits everything that is other than it was. Returns when that is done.
    pub(super) fn commit(
        &mut self,
        controller: &Controller,
        made: &Made,
        status: &RolloutStatus,
        notices: &[Notice],
    ) -> Result<(), DbError> {
        let row = RolloutRow {
            goes_on: !status.phase.is_over(),
            phase: phase_word(status.phase).to_owned(),
            made: json(made),
            controller: json(controller),
            status: json(status),
            ended_at_ms: status.ended_at_ms,
            ..self.row.clone()
        };
        let Waiting { events, service, growth } = std::mem::take(&mut self.waiting);
        let mut writes: Vec<RolloutWrite> = events.into_iter().map(RolloutWrite::Event).collect();
        if row != self.row {
            self.row = row.clone();
            writes.push(RolloutWrite::Rollout(Box::new(row)));
        }
        writes.extend(service.map(RolloutWrite::Service));
        writes.extend(growth);
        if writes.is_empty() && notices.is_empty() {
            return Ok(());
        }
        let committed = Some((Arc::clone(&self.committed), self.next_event));
        let batch = RolloutBatch { writes, committed };
        self.mail.send(self.row.id, &self.notify, notices, batch)?;
        self.mail.flush()
    }
}

/// As it is kept. What cannot be written is not kept, and tells so when it is read.
fn json(what: &impl serde::Serialize) -> String {
    serde_json::to_string(what).unwrap_or_default()
}
