//! What waits for one sink.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Limits, Row, WAIT_MAX_MS, WAIT_MIN_MS};
use crate::config::Severity;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Queue {
    rows: BTreeMap<u64, Row>,
    bytes: usize,
    /// The rows about each thing, the first of which is the only one that may be tried.
    about: HashMap<String, BTreeSet<u64>>,
    /// First rows by the time at which they are due; those under way are not among them.
    due: BTreeSet<(i64, u64)>,
    under_way: BTreeSet<u64>,
    /// What goes first where there is no space.
    by_weight: BTreeSet<(Severity, u64)>,
    /// How often in a row the sink has failed, and until when it is left alone.
    failures: u32,
    not_before_ms: i64,
}

impl Queue {
    pub(super) fn add(&mut self, row: Row) {
        let (id, about) = (row.id, row.document.about.clone());
        self.bytes += size(&row);
        self.by_weight.insert((row.document.severity, id));
        self.rows.insert(id, row);
        self.about.entry(about.clone()).or_default().insert(id);
        self.line_up(&about);
    }

    /// Rows may come in any order.
    pub(super) fn restore(&mut self, row: Row) {
        let first = self.about.get(&row.document.about).and_then(BTreeSet::first).copied();
        if let Some(first) = first.filter(|first| *first > row.id)
            && let Some(other) = self.rows.get(&first)
        {
            self.due.remove(&(other.next_at_ms, first));
        }
        self.add(row);
    }

    /// The first row about something becomes due, unless it is under way.
    fn line_up(&mut self, about: &str) {
        let first = self.about.get(about).and_then(BTreeSet::first);
        if let Some(id) = first.filter(|id| !self.under_way.contains(id))
            && let Some(row) = self.rows.get(id)
        {
            self.due.insert((row.next_at_ms, *id));
        }
    }

    pub(super) fn take(&mut self, count: usize, now_ms: i64) -> Vec<Row> {
        if self.not_before_ms > now_ms {
            return Vec::new();
        }
        let room = if self.failures > 0 { 1 } else { count };
        let count = room.saturating_sub(self.under_way.len());
        let due = self.due.range(..=(now_ms, u64::MAX)).take(count).copied();
        let taken: Vec<(i64, u64)> = due.collect();
        for place in &taken {
            self.due.remove(place);
            self.under_way.insert(place.1);
        }
        taken.iter().filter_map(|(_, id)| self.rows.get(id).cloned()).collect()
    }

    pub(super) fn next_at_ms(&self) -> Option<i64> {
        if self.failures > 0 && !self.under_way.is_empty() {
            return None;
        }
        self.due.first().map(|(at_ms, _)| (*at_ms).max(self.not_before_ms))
    }

    pub(super) fn reached(&mut self) {
        (self.failures, self.not_before_ms) = (0, 0);
    }

    /// How often the row was tried, and when it is tried next; `None` if it was not under way.
    pub(super) fn failed(&mut self, id: u64, jitter: f64, now_ms: i64) -> Option<(u32, i64)> {
        if !self.under_way.remove(&id) {
            return None;
        }
        let row = self.rows.get_mut(&id)?;
        row.attempts = row.attempts.saturating_add(1);
        row.next_at_ms = now_ms.saturating_add(wait_ms(row.attempts, jitter));
        self.failures = self.failures.saturating_add(1);
        self.not_before_ms = now_ms.saturating_add(wait_ms(self.failures, jitter));
        let (kept, about) = ((row.attempts, row.next_at_ms), row.document.about.clone());
        self.line_up(&about);
        Some(kept)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<()> {
        let row = self.rows.remove(&id)?;
        self.bytes -= size(&row);
        self.by_weight.remove(&(row.document.severity, id));
        self.due.remove(&(row.next_at_ms, id));
        self.under_way.remove(&id);
        let about = &row.document.about;
        if let Some(rows) = self.about.get_mut(about) {
            rows.remove(&id);
            if rows.is_empty() {
                self.about.remove(about);
            }
        }
        self.line_up(about);
        Some(())
    }

    /// What has to go, if there is too much: of the least grave the oldest that is not under way.
    pub(super) fn too_much(&self, limits: Limits) -> Option<u64> {
        if self.rows.len() <= limits.rows_max && self.bytes <= limits.bytes_max {
            return None;
        }
        let mut ids = self.by_weight.iter().map(|(_, id)| *id);
        ids.find(|id| !self.under_way.contains(id))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.rows.keys().copied()
    }

    /// Rows are numbered as they come, so that the old ones are the first.
    pub(super) fn added_before(&self, at_ms: i64) -> impl Iterator<Item = u64> {
        let old = self.rows.values().take_while(move |row| row.added_at_ms < at_ms);
        old.filter(|row| !self.under_way.contains(&row.id)).map(|row| row.id)
    }

    pub(super) fn row(&self, id: u64) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

fn size(row: &Row) -> usize {
    let document = &row.document;
    document.body.0.len() + document.title.len() + document.id.len() + row.sink.len()
}

/// Between a half and the whole of a wait that doubles.
fn wait_ms(attempts: u32, jitter: f64) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    let wait = WAIT_MIN_MS.saturating_mul(1 << doublings).min(WAIT_MAX_MS);
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
    wait / 2 + (wait as f64 / 2.0 * jitter) as i64
}
