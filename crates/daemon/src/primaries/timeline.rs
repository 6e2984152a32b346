//! A primary's historical shadows.

use tokio::runtime::Handle;
use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::config::History;
use umbra_drift::reading::Snapshot;
use umbra_drift::service::{ShadowEntry, TakeShadow};
use umbra_drift::timeline::{Entry, Keep, pack, thin};
use umbra_state::{Cause, Digest};

use super::shelf;
use crate::db::Db;
use crate::db::drift::{DriftWrite, ShadowRow};

/// A primary's timeline, oldest first.
pub(super) struct Timeline {
    db: Db,
    runtime: Handle,
    name: String,
    rows: Vec<ShadowRow>,
    keep: Keep,
}

impl Timeline {
    /// As the database has it. Blocking.
    pub(super) fn load(
        db: Db,
        runtime: Handle,
        name: &str,
        history: &History,
    ) -> Result<Self, WireError> {
        let rows = runtime.block_on(db.primary_shadows(name))?;
        let keep = Keep { count: history.count as usize, age: history.age };
        Ok(Self { db, runtime, name: name.to_owned(), rows, keep })
    }

    /// When the newest was taken; `None` if there is none.
    pub(super) fn newest_at_ms(&self) -> Option<i64> {
        self.rows.last().map(|row| row.taken_at_ms)
    }

    /// Whether the newest says exactly this.
    pub(super) fn is_newest(&self, snapshot: &Snapshot) -> bool {
        self.rows.last().is_some_and(|row| row.root == pack(snapshot).root)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// All of them.
    pub(super) fn entries(&self, good: u64) -> Vec<ShadowEntry> {
        self.rows.iter().map(|row| entry(row, good)).collect()
    }

    /// What one of them says. Blocking.
    pub(super) fn snapshot(&self, sequence: u64) -> Result<Snapshot, WireError> {
        let row = self.rows.iter().find(|row| row.sequence == sequence).ok_or_else(|| {
            let message = format!("find shadow {sequence} of {}", self.name);
            WireError::new(ErrorCode::NotFound, message)
                .with_hint(format!("`umbra drift log {}` lists the shadows there are", self.name))
        })?;
        shelf::get(&self.db, &self.runtime, row.root)
    }

    /// One more, and the row that keeps it.
    pub(super) fn add(
        &mut self,
        snapshot: &Snapshot,
        cause: Cause,
        wanted: TakeShadow,
        taken_at_ms: i64,
    ) -> Result<(ShadowEntry, DriftWrite), WireError> {
        let row = ShadowRow {
            name: self.name.clone(),
            sequence: self.rows.last().map_or(1, |last| last.sequence + 1),
            root: Digest::new([0; 32]),
            cause: serde_json::to_string(&cause).unwrap_or_default(),
            labels: wanted.labels,
            kept: wanted.keep,
            items: 0,
            taken_at_ms,
        };
        let write = shelf::put(snapshot, row).map_err(|error| {
            WireError::new(ErrorCode::Environment, "compress a shadow").caused_by(error)
        })?;
        if let DriftWrite::Shadow { row, .. } = &write {
            self.rows.push(row.clone());
        }
        let added = self.rows.last().map(|row| entry(row, 0));
        let added = added.ok_or_else(|| WireError::new(ErrorCode::Internal, "add a shadow"))?;
        Ok((added, write))
    }

    /// Lets go of what is too old or too many; the row that does so.
    pub(super) fn thin(&mut self, good: u64, now_ms: i64) -> Option<DriftWrite> {
        let entries: Vec<Entry> = self
            .rows
            .iter()
            .map(|row| Entry {
                sequence: row.sequence,
                taken_at_ms: row.taken_at_ms,
                keep: row.kept || row.sequence == good,
            })
            .collect();
        let gone = thin(&entries, self.keep, now_ms);
        self.rows.retain(|row| !gone.contains(&row.sequence));
        let name = self.name.clone();
        (!gone.is_empty()).then_some(DriftWrite::Thin { name, sequences: gone })
    }
}

fn entry(row: &ShadowRow, good: u64) -> ShadowEntry {
    ShadowEntry {
        sequence: row.sequence,
        id: row.root.to_string(),
        taken_at_ms: row.taken_at_ms,
        cause: serde_json::from_str(&row.cause)
            .unwrap_or(Cause::Import { source: "another version of umbra".to_owned() }),
        labels: row.labels.clone(),
        kept: row.kept,
        items: row.items,
        good: row.sequence == good,
    }
}
