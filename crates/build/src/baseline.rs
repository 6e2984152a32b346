//! What security tests find in the state that another is compared with. Whatever was there is
//! no reason to stop a build.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use umbra_state::{Evidence, Verdict};
use umbra_suite::check::security::Baseline;
use umbra_suite::{Context, Test, TestReport};

/// The findings of a build's origin, by test; looked for when a test first needs them.
#[derive(Default)]
pub(crate) struct Origin(Mutex<BTreeMap<String, Seen>>);

/// What a look at an earlier state gave.
#[derive(Clone)]
pub struct Seen {
    /// What it found.
    pub baseline: Baseline,
    /// Why it could not be had: then everything found later counts as new.
    reason: Option<String>,
}

impl Origin {
    /// What `test` found there; `look` runs it there. Whoever asks meanwhile waits, since one
    /// look is enough.
    pub(crate) fn seen<E>(
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
        let seen = Seen::new(look(&context)?);
        // What somebody stopped says nothing about the origin.
        if !context.is_cancelled() {
            known.insert(test.name.clone(), seen.clone());
        }
        Ok(seen)
    }
}

impl Seen {
    /// What a test said about an earlier state.
    pub fn new(report: TestReport) -> Self {
        let mut baseline = Baseline::default();
        baseline.add(&report.findings);
        Self { baseline, reason: report.error }
    }

    /// Says in a report that its findings were compared with those of `state`, in words.
    pub fn note(&self, state: &str, report: &mut TestReport) {
        let seen = match &self.reason {
            None => format!("what {state} has"),
            Some(reason) => format!("none, so everything found is new: failed to {reason}"),
        };
        let (subject, expected) = ("baseline".to_owned(), None);
        report.evidence.push(Evidence { subject, seen, expected, verdict: Verdict::Pass });
    }
}
