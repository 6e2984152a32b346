//! Shadows put into a timeline: the rows that keep one, and the event that tells of it. They hold
//! what a primary is held against; what moves by itself would make each day's another.

use umbra_api::error::WireError;
use umbra_drift::reading::Snapshot;
use umbra_drift::service::{ShadowEntry, TakeShadow, What};
use umbra_state::Cause;

use super::Desk;
use crate::clock::now_ms;
use crate::db::drift::DriftWrite;

/// A shadow that is in the timeline once its rows are committed.
pub(super) struct Kept {
    pub(super) entry: ShadowEntry,
    pub(super) writes: Vec<DriftWrite>,
    pub(super) taken: What,
}

impl Desk {
    /// Keeps what the primary says now.
    pub(super) fn keep_current(
        &mut self,
        cause: Cause,
        wanted: TakeShadow,
    ) -> Result<Kept, WireError> {
        let held = self.given.config.held(self.current()?);
        self.keep(&held, cause, wanted, false)
    }

    /// Keeps a shadow that is the known good one from now on.
    pub(super) fn keep_good(&mut self, good: &Snapshot, cause: Cause) -> Result<Kept, WireError> {
        let held = self.given.config.held(good);
        self.keep(&held, cause, TakeShadow::default(), true)
    }

    fn keep(
        &mut self,
        held: &Snapshot,
        cause: Cause,
        wanted: TakeShadow,
        good: bool,
    ) -> Result<Kept, WireError> {
        let at_ms = now_ms();
        let (mut entry, row) = self.timeline.add(held, cause.clone(), wanted, at_ms)?;
        let (sequence, mut writes) = (entry.sequence, vec![row]);
        if good {
            entry.good = true;
            self.given.row.good = sequence;
            writes.push(DriftWrite::Good { name: self.name().to_owned(), sequence });
        }
        writes.extend(self.timeline.thin(self.given.row.good, at_ms));
        Ok(Kept { entry, writes, taken: What::Taken { sequence, cause, good } })
    }

    /// That a shadow is of what was read.
    pub(super) fn captured(&self) -> Cause {
        Cause::Capture { source: self.given.row.root.clone().unwrap_or_else(|| "/".to_owned()) }
    }
}
