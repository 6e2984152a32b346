//! Rollouts that the last daemon left.

use std::sync::Arc;

use umbra_api::error::WireError;
use umbra_api::rollout::{Happened, RolloutEvent, RolloutPhase, RolloutStatus};
use umbra_rollout::controller::{Controller, Event};

use super::made::Made;
use super::plan::Plan;
use super::{Rollouts, phase_word};
use crate::clock::now_ms;
use crate::db::Write;
use crate::db::rollouts::{EventKind, EventRow, RolloutBatch, RolloutRow, RolloutWrite};

impl Rollouts {
    /// Goes on with every rollout the last daemon left. A sentence for each. Blocking.
    pub(crate) fn resume(self: &Arc<Self>) -> Result<Vec<String>, WireError> {
        let rows = self.runtime.block_on(self.db.rollouts_that_go_on())?;
        let mut notes = Vec::new();
        for row in rows {
            let (id, service) = (row.id, row.service.clone());
            match read(&row) {
                Ok((plan, controller, made)) => {
                    let first = first(&plan, &controller);
                    self.seat(row, plan, controller, made, first)?;
                    notes.push(format!("rollout {id} of {service} goes on"));
                }
                Err(why) => {
                    self.bury(row, &why)?;
                    notes.push(format!("rollout {id} of {service} cannot go on: {why}"));
                }
            }
        }
        Ok(notes)
    }

    /// One that nobody can go on with: it ends, and says why.
    fn bury(&self, row: RolloutRow, why: &str) -> Result<(), WireError> {
        let ended_at_ms = now_ms();
        let reason = format!(
            "nobody can go on with it: {why}; look at `umbra route list` where requests go"
        );
        let seq = self.runtime.block_on(self.db.next_rollout_event(row.id))?;
        let what = Happened::Phase { phase: RolloutPhase::Error, reason: reason.clone() };
        let event = RolloutEvent { seq, at_ms: ended_at_ms, what };
        let line = serde_json::to_string(&event).unwrap_or_default();
        let status = serde_json::from_str::<RolloutStatus>(&row.status).ok().map(|status| {
            let (phase, ended_at_ms) = (RolloutPhase::Error, Some(ended_at_ms));
            RolloutStatus { phase, reason, ended_at_ms, ..status }
        });
        let status = status.and_then(|status| serde_json::to_string(&status).ok());
        let event = EventRow { rollout: row.id, seq, kind: EventKind::Change, line };
        let row = RolloutRow {
            goes_on: false,
            phase: phase_word(RolloutPhase::Error).to_owned(),
            status: status.unwrap_or_else(|| row.status.clone()),
            ended_at_ms: Some(ended_at_ms),
            ..row
        };
        let writes = vec![RolloutWrite::Event(event), RolloutWrite::Rollout(Box::new(row))];
        self.writer.send(Write::Rollout(RolloutBatch { writes, committed: None }))?;
        Ok(self.writer.flush()?)
    }
}

/// What one begins with that was kept: one whose daemon was killed just after it was written down
/// has not begun at all.
fn first(plan: &Plan, kept: &Controller) -> Event {
    let fresh = Controller::new(plan.spec.clone(), kept.began_at_ms());
    if *kept == fresh { Event::Begin } else { Event::Resumed }
}

/// What was kept of a rollout.
fn read(row: &RolloutRow) -> Result<(Plan, Controller, Made), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: serde_json::Error| format!("{what} cannot be read: {error}")
    };
    Ok((
        serde_json::from_str(&row.plan).map_err(failed("its plan"))?,
        serde_json::from_str(&row.controller).map_err(failed("where it was"))?,
        serde_json::from_str(&row.made).map_err(failed("what it made"))?,
    ))
}
