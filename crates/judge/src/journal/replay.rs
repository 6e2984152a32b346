//! A rollout judged again from its journal.

use super::read::{End, JournalError, Reader};
use super::way::Way;
use crate::outcome::{Decision, Record};
use crate::trial::Trial;

/// Judges while a journal is read piece by piece.
#[derive(Debug, Default)]
pub struct Replay {
    reader: Reader,
    judged: Option<Judged>,
}

/// What came of it.
#[derive(Debug)]
pub struct Replayed {
    /// The judge, as it stood at the end.
    pub trial: Trial,
    /// All records.
    pub records: u64,
    /// Decisions that were recorded.
    pub decisions: u64,
    /// Those of them that are not reproduced to the last bit.
    pub different: u64,
    /// The first of these.
    pub first: Option<Different>,
    /// The e-value's natural logarithm after so many records: not after each, but in order, and
    /// with the last.
    pub way: Vec<(u64, f64)>,
    /// How far the journal could be read.
    pub end: End,
}

/// A decision that is not reproduced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Different {
    /// The record's number, from 0.
    pub record: u64,
    /// As it was recorded.
    pub recorded: Decision,
    /// As it is when judged again.
    pub again: Decision,
}

#[derive(Debug)]
struct Judged {
    trial: Trial,
    records: u64,
    decisions: u64,
    different: u64,
    first: Option<Different>,
    way: Way,
}

/// Of a journal that is at hand as a whole.
pub fn replay(bytes: &[u8]) -> Result<Replayed, JournalError> {
    let mut replay = Replay::new();
    replay.push(bytes)?;
    replay.finish()
}

impl Replay {
    /// Before the first piece.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), JournalError> {
        let judged = &mut self.judged;
        self.reader.push(piece, |settings, record| {
            if judged.is_none() {
                // Settings were checked when they were read.
                *judged = Trial::new(*settings).ok().map(Judged::new);
            }
            if let Some(judged) = judged {
                judged.on(record);
            }
        })
    }

    /// There is no more.
    pub fn finish(self) -> Result<Replayed, JournalError> {
        let settings = *self.reader.settings().ok_or(JournalError::Cut)?;
        let judged = match self.judged {
            Some(judged) => judged,
            None => Judged::new(Trial::new(settings)?),
        };
        let Judged { trial, records, decisions, different, first, way } = judged;
        let way = way.end(records, trial.log_e());
        let end = self.reader.finish()?;
        Ok(Replayed { trial, records, decisions, different, first, way, end })
    }
}

impl Judged {
    fn new(trial: Trial) -> Self {
        Self { trial, records: 0, decisions: 0, different: 0, first: None, way: Way::default() }
    }

    fn on(&mut self, record: &Record) {
        if let Record::Decision(recorded) = *record {
            let again = self.trial.decision();
            self.decisions += 1;
            if !recorded.is_exactly(&again) {
                self.different += 1;
                let record = self.records;
                self.first.get_or_insert(Different { record, recorded, again });
            }
        }
        self.trial.on(record);
        self.records += 1;
        self.way.on(self.records, || self.trial.log_e());
    }
}

#[cfg(test)]
mod tests;
