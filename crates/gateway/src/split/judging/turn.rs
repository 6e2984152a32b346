//! One look at the queue: what is told to the judge and to the journal, and what happens where the
//! candidate is worse.

use std::time::Instant;

use umbra_judge::outcome::Record;
use umbra_judge::standing::Standing;
use umbra_judge::trial::Trial;

use super::now_ms;
use crate::split::journal::Journal;
use crate::split::wire::{OnWorse, Worse};
use crate::split::{Judged, Split, Weights, lock};

/// What is there for one look at the queue.
pub(super) struct Turn<'a> {
    pub(super) split: &'a Split,
    pub(super) judged: &'a mut Judged,
    pub(super) journal: &'a mut Journal,
}

impl Turn<'_> {
    pub(super) fn tell(&mut self, record: &Record) {
        if let Some(trial) = &mut self.judged.trial {
            trial.on(record);
        }
        self.journal.put(record);
    }

    /// Says how the judge stands where somebody acts on it.
    pub(super) fn decide(&mut self) {
        if let Some(decision) = self.judged.trial.as_ref().map(Trial::decision) {
            self.tell(&Record::Decision(decision));
        }
    }

    /// First the candidate gets nothing any more; all the rest follows.
    pub(super) fn worse(&mut self, at_us: u64) {
        let split = self.split;
        let rolls_back = split.start.on_worse == OnWorse::Rollback;
        let weight = if rolls_back { split.roll_back() } else { split.weight() };
        let took_us = split.at_us(Instant::now()).saturating_sub(at_us);
        self.decide();
        let Some(standing) = self.judged.standing() else { return };
        let worse = Worse {
            at_ms: now_ms(),
            weight,
            took_us,
            log_e: standing.log_e_peak,
            words: words(&standing),
        };
        let (route, why) = (&split.route, &worse.words);
        tracing::warn!(route, why, took_us, rolls_back, "a candidate is worse");
        lock(&split.weights).worse = Some(worse);
        split.changed();
    }
}

/// What the metric says by which it is worse.
fn words(standing: &Standing) -> String {
    let Some(worse) = standing.worse else { return "nothing".to_owned() };
    let evidence = standing.metrics.iter().find(|one| one.metric == worse);
    let evidence = evidence.map(|one| one.evidence.as_str()).unwrap_or_default();
    format!("{}: {evidence}", worse.name())
}

impl Split {
    /// Puts on the disk what was decided.
    pub(super) fn keep_decision(&self) {
        let Weights { stages, worse, rolled_back } = lock(&self.weights).clone();
        let version = *self.version.borrow();
        let kept = self.record.change_at_once(|kept| {
            if let Some(kept) = &mut kept.split {
                kept.start.weight = stages.last().copied().unwrap_or(0.0);
                (kept.stages, kept.worse, kept.rolled_back) = (stages, worse, rolled_back);
                kept.version = version;
            }
        });
        if let Err(error) = kept {
            let route = &self.route;
            tracing::error!(route, %error, "a decision is in force and in its journal only");
        }
    }
}
