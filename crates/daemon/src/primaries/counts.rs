//! What a desk counts and remembers besides its rows: one JSON value in the database.
//!
//! What is counted is written with the next thing that is committed, but no more than once a
//! second: a storm of changes is not one of counts. A daemon that is killed forgets a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use umbra_drift::alert::Windows;
use umbra_drift::config::Maintenance;
use umbra_drift::discrepancy::Attribution;
use umbra_drift::metrics::Metrics;
use umbra_drift::sink::outbox::{Cause, Losses};

use crate::db::drift::DriftWrite;
use crate::db::{Db, DbError};

/// How often counts are written at most, where nothing urges.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// A primary's counts.
pub(super) struct Counts {
    name: String,
    kept: Kept,
    /// Whether there is something to write, and whether it may wait.
    unwritten: bool,
    urgent: bool,
    written: Option<Instant>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    looked_at_ms: Option<i64>,
    metrics: Metrics,
    losses: BTreeMap<String, BTreeMap<Cause, u64>>,
    windows: Windows,
}

impl Counts {
    /// As the database has them. Blocking.
    pub(super) fn load(db: &Db, runtime: &Handle, name: &str) -> Result<Self, DbError> {
        let kept = runtime.block_on(db.drift_counts(name))?.map(|text| {
            serde_json::from_str(&text).unwrap_or_else(|error| {
                tracing::warn!(primary = name, %error, "counts begin anew: they cannot be read");
                Kept::default()
            })
        });
        let kept = kept.unwrap_or_default();
        Ok(Self { name: name.to_owned(), kept, unwritten: false, urgent: false, written: None })
    }

    /// When all of the primary was last known.
    pub(super) fn looked_at_ms(&self) -> Option<i64> {
        self.kept.looked_at_ms
    }

    /// All of it is known now.
    pub(super) fn looked(&mut self, at_ms: i64) {
        self.kept.looked_at_ms = Some(at_ms);
        self.unwritten = true;
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.kept.metrics
    }

    /// Counts something.
    pub(super) fn count(&mut self, count: impl FnOnce(&mut Metrics)) {
        count(&mut self.kept.metrics);
        self.unwritten = true;
    }

    /// Documents that were lost.
    pub(super) fn losses(&self) -> Losses {
        let sinks = self.kept.losses.iter();
        let all = sinks.flat_map(|(sink, causes)| {
            causes.iter().map(|(cause, count)| ((sink.clone(), *cause), *count))
        });
        all.collect()
    }

    /// So many were lost by now.
    pub(super) fn lost(&mut self, sink: &str, cause: Cause, count: u64) {
        self.kept.losses.entry(sink.to_owned()).or_default().insert(cause, count);
        self.urge();
    }

    /// Whether a change is to be expected of those who maintain the primary.
    pub(super) fn is_expected(&mut self, policy: &[Maintenance], change: &Attribution) -> bool {
        if policy.is_empty() {
            return false;
        }
        self.unwritten = true;
        self.kept.windows.is_expected(policy, change)
    }

    /// What is counted is not to wait.
    pub(super) fn urge(&mut self) {
        (self.unwritten, self.urgent) = (true, true);
    }

    /// The row that keeps them, if it is time.
    pub(super) fn due(&mut self) -> Option<DriftWrite> {
        let time = self.written.is_none_or(|written| written.elapsed() >= WRITE_EVERY);
        if self.urgent || time { self.row() } else { None }
    }

    /// The row that keeps them, if it is another than before.
    pub(super) fn row(&mut self) -> Option<DriftWrite> {
        if !self.unwritten {
            return None;
        }
        (self.unwritten, self.urgent, self.written) = (false, false, Some(Instant::now()));
        let counts = serde_json::to_string(&self.kept).ok()?;
        Some(DriftWrite::Counts { name: self.name.clone(), counts })
    }
}
