//! What scanners of a whole machine find in the state a build begins from. Whatever a build did
//! not add is no reason to stop it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use umbra_state::{Evidence, Verdict};
use umbra_suite::check::security::Baseline;
use umbra_suite::{Context, Test, TestReport};

/// The origin's findings, by test; looked for when a test first needs them.
#[derive(Default)]
pub(crate) struct Origin(Mutex<BTreeMap<String, Seen>>);

/// What a look at the origin gave.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) baseline: Baseline,
    /// Why it could not be had: then everything found counts as new.
    reason: Option<String>,
}

impl Origin {
    /// What `test` found there; `look` runs it there. Whoever asks meanwhile waits, since one
    /// look is enough.
    pub(super) fn seen<E>(
        &self,
        test: &Test,
        cancel: &AtomicBool,
        look: impl FnOnce(&Context<'_>) -> Result<TestReport, E>,
    ) -> Result<Seen, E> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = known.get(&test.name) {
            return Ok(seen.clone());
        }
        let context = Context { cancel: Some(cancel), ..Context::default() };
        let report = look(&context)?;
        let mut baseline = Baseline::default();
        baseline.add(&report.findings);
        let seen = Seen { baseline, reason: report.error };
        // What somebody stopped says nothing about the origin.
        if !context.is_cancelled() {
            known.insert(test.name.clone(), seen.clone());
        }
        Ok(seen)
    }
}

impl Seen {
    /// Says in a report what its findings were compared with.
    pub(super) fn note(&self, report: &mut TestReport) {
        let seen = match &self.reason {
            None => "what the state this build began from has".to_owned(),
            Some(reason) => format!("none, so everything found is new: failed to {reason}"),
        };
        let (subject, expected) = ("baseline".to_owned(), None);
        report.evidence.push(Evidence { subject, seen, expected, verdict: Verdict::Pass });
    }
}
