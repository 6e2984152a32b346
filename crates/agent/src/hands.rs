//! Rollback plans carried out, confirmed and undone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use umbra_drift::reading::{Item, Reading};
use umbra_drift::rollback::timer::Timer;
use umbra_drift::rollback::{Finished, Options, Outcome, Rollbacks};
use umbra_drift::wire::{RollBack, Tell};
use umbra_state::chain;

/// What of the primary can be changed, and who undoes it when nobody else does.
pub(crate) struct Hands {
    journals: PathBuf,
    root: Option<PathBuf>,
    timer: Box<dyn Timer>,
}

impl Hands {
    /// Hands on the machine itself, or on a root directory.
    pub(crate) fn new(journals: PathBuf, root: Option<PathBuf>, timer: Box<dyn Timer>) -> Self {
        Self { journals, root, timer }
    }

    /// Finishes or unwinds what an earlier agent left, and says what became of it. One that is
    /// somebody else's work just now is left alone.
    pub(crate) fn recover(&self) -> Vec<Tell> {
        let rollbacks = self.rollbacks();
        let journals = match rollbacks.unfinished() {
            Ok(journals) => journals,
            Err(error) => return vec![Tell::Warning { what: chain(&error) }],
        };
        let settled = journals.iter().map(|journal| match rollbacks.recover(journal) {
            Ok(finished) => told(None, finished),
            Err(error) => Tell::Warning { what: chain(&error) },
        });
        settled.collect()
    }

    /// Carries a plan out; `read` reads items again, to verify.
    pub(crate) fn roll_back(
        &self,
        number: u64,
        wanted: RollBack,
        read: &mut dyn FnMut(&[Item]) -> BTreeMap<Item, Reading>,
    ) -> Tell {
        let RollBack { id, plan, confirm, ignore_packages } = wanted;
        let usual = match &self.root {
            None => Options::machine(&id),
            Some(root) => Options::directory(&id, root.clone()),
        };
        let options = Options { confirm, ignore_packages, ..usual };
        match self.rollbacks().begin(plan, options, read) {
            Ok(finished) => told(Some(number), finished),
            Err(error) => Tell::Failed { number, why: chain(&error) },
        }
    }

    /// Says that a rollback that waits is good.
    pub(crate) fn confirm(&self, number: u64, id: &str) -> Tell {
        self.on_journal(number, id, |rollbacks, journal| rollbacks.confirm(journal))
    }

    /// Undoes a rollback that waits.
    pub(crate) fn abort(&self, number: u64, id: &str, why: &str) -> Tell {
        self.on_journal(number, id, |rollbacks, journal| rollbacks.abort(journal, why))
    }

    /// Says what became of a rollback.
    pub(crate) fn settle(&self, number: u64, id: &str) -> Tell {
        self.on_journal(number, id, |rollbacks, journal| rollbacks.recover(journal))
    }

    /// Frees what rollbacks that are over hold besides their journals; after their outcome was
    /// told.
    pub(crate) fn tidy(&self) -> Option<Tell> {
        let error = self.rollbacks().tidy().err()?;
        Some(Tell::Warning { what: chain(&error) })
    }

    fn on_journal(
        &self,
        number: u64,
        id: &str,
        what: impl FnOnce(
            &Rollbacks<'_>,
            &Path,
        ) -> Result<Finished, umbra_drift::rollback::RollbackError>,
    ) -> Tell {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if id.is_empty() || !id.bytes().all(plain) {
            return Tell::Failed { number, why: "that is no rollback's name".to_owned() };
        }
        match what(&self.rollbacks(), &self.journals.join(id)) {
            Ok(finished) => told(Some(number), finished),
            Err(error) => Tell::Failed { number, why: chain(&error) },
        }
    }

    fn rollbacks(&self) -> Rollbacks<'_> {
        Rollbacks::new(self.journals.clone(), self.timer.as_ref())
    }
}

fn told(number: Option<u64>, finished: Finished) -> Tell {
    let Finished { journal, outcome, report } = finished;
    let left_ms = match &outcome {
        Outcome::Waiting { deadline } => u64::try_from(deadline.left().as_millis()).ok(),
        _ => None,
    };
    // A journal is named as its rollback is.
    let id = journal.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Tell::RolledBack { number, id, outcome, left_ms, report: Box::new(report) }
}
