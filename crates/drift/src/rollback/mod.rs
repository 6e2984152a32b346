//! Rollback: a plan carried out so that the primary is as before or as planned at any instant
//! anybody looks after a crash, that nothing is lost, and that it undoes itself unless somebody
//! says that it is good.
//!
//! ```text
//! plan > prepare > stage > validate > arm > commit > activate > verify > confirm
//!                                       '-> a timer outside the process: revert
//! ```
//!
//! * [`plan()`](plan::plan) is pure; a [`Plan`] is shown, stored, sent.
//! * [`Rollbacks::begin`] carries it out and returns when it is done, refused, reverted, or
//!   waits for [`Rollbacks::confirm`].
//! * [`Rollbacks::recover`] finishes or unwinds what a journal holds, any number of times.
//!
//! Files change places by one rename each, after one sync of each filesystem. Several renames
//! are not one: others may see a mixture for milliseconds; after a crash there is none once
//! `recover` has run. A directory that is removed or made goes by one rename with all in it.
//!
//! Times of files are not put back. Readings do not hold them; and who compares them, as make,
//! rsync and services that look whether their files are newer do, would take a file with an
//! earlier time for one that has not changed. What a revert puts back is the very file that was
//! displaced, with its times.

mod activate;
mod command;
mod commit;
mod error;
mod fault;
mod journal;
mod lock;
mod look;
mod machine;
mod options;
mod place;
pub mod plan;
mod prepare;
mod probe;
mod put;
mod report;
mod run;
mod setting;
mod stage;
mod step;
pub mod timer;
mod undo;
mod validate;
mod verify;

pub use activate::{Action, Activation};
pub use command::Ended;
pub use error::RollbackError;
pub use fault::{Fault, Faults};
pub use options::Options;
pub use plan::Plan;
pub use report::{Displaced, Outcome, Report, Unfit};
pub use run::Reader;
pub use step::is_temporary;
pub use validate::{Checked, Known, Said, known as validators};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_state::chain;

use error::Trouble;
use journal::{Journal, Record};
use machine::{Event, Phase, Stand};
use place::Root;
use prepare::prepare;
use run::Run;
use timer::Timer;

/// The rollbacks of one primary: where their journals are, and who undoes them.
#[derive(Clone)]
pub struct Rollbacks<'a> {
    /// A directory only root may look into; on the primary, durable, not below what is rolled
    /// back.
    pub journals: PathBuf,
    /// What undoes a rollback when this process is gone.
    pub timer: &'a dyn Timer,
    /// Where a test stops the program.
    pub faults: Faults,
}

/// What became of a rollback, and where its journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its journal, which holds what was displaced until it is removed.
    pub journal: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
    /// What was done.
    pub report: Report,
}

impl<'a> Rollbacks<'a> {
    /// Rollbacks whose journals are in a directory.
    pub fn new(journals: PathBuf, timer: &'a dyn Timer) -> Self {
        Self { journals, timer, faults: Faults::default() }
    }

    /// Carries a plan out. `read` reads items again, to verify.
    ///
    /// # Errors
    /// The plan has conflicts or does nothing, another rollback is not over, or there can be no
    /// journal. What the machine refuses is an outcome.
    pub fn begin(
        &self,
        plan: Plan,
        options: Options,
        read: &mut Reader<'_>,
    ) -> Result<Finished, RollbackError> {
        if !plan.conflicts.is_empty() {
            return Err(RollbackError::Plan("its plan has conflicts"));
        }
        if plan.is_empty() {
            return Err(RollbackError::Plan("its plan changes nothing"));
        }
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if options.id.is_empty() || options.id.len() > 64 || !options.id.bytes().all(sound) {
            return Err(RollbackError::Plan("its name is not letters, digits and `-`"));
        }
        // Two that undo themselves at different times undo each other.
        if let Some(other) = self.unfinished()?.pop() {
            return Err(RollbackError::Unfinished(other));
        }
        let dir = self.journals.join(&options.id);
        let journal = Journal::create(&dir, self.faults.clone())?;
        let mut run = Run::begin(journal, plan, options, self.timer, self.faults.clone())?;
        let (phase, effects) = machine::begin();
        let outcome = run.drive_with(phase, effects, read);
        Ok(run.finished(outcome))
    }

    /// Says that a rollback that waits is good. One whose time is over is undone all the same.
    ///
    /// # Errors
    /// It does not wait, or its journal cannot be read.
    pub fn confirm(&self, journal: &Path) -> Result<Finished, RollbackError> {
        let (run, last) = self.resume(journal)?;
        match last {
            Some(Stand::Verified) if run.deadline().is_over() => Ok(self.end(run, last, LATE)),
            Some(Stand::Verified) => Ok(self.go_on(run, Event::Confirmed)),
            Some(Stand::Over { .. }) => Err(RollbackError::NotWaiting("over already")),
            _ => Err(RollbackError::NotWaiting("not verified")),
        }
    }

    /// Undoes a rollback that waits, or that was interrupted.
    ///
    /// # Errors
    /// Its journal cannot be read.
    pub fn abort(&self, journal: &Path, why: &str) -> Result<Finished, RollbackError> {
        let (run, last) = self.resume(journal)?;
        Ok(self.end(run, last, why))
    }

    /// Undoes a rollback if its time is over: what a timer calls.
    ///
    /// # Errors
    /// Its journal cannot be read.
    pub fn expire(&self, journal: &Path) -> Result<Finished, RollbackError> {
        self.recover(journal)
    }

    /// Finishes or unwinds what a journal holds. One that waits and has time left goes on
    /// waiting; one that could not be undone is tried again. Idempotent.
    ///
    /// # Errors
    /// Its journal cannot be read, or another process works on it.
    pub fn recover(&self, journal: &Path) -> Result<Finished, RollbackError> {
        let (mut run, last) = self.resume(journal)?;
        if last == Some(Stand::Verified) {
            if run.deadline().is_over() {
                return Ok(self.end(run, last, LATE));
            }
            let outcome = Outcome::Waiting { deadline: run.deadline() };
            return Ok(run.finished(outcome));
        }
        if let Some(Stand::Over { outcome }) = &last
            && !matches!(outcome, Outcome::Stuck { .. })
        {
            return Ok(run.finished(outcome.clone()));
        }
        let (phase, effects) = machine::resume(last.as_ref());
        let outcome = run.drive(phase, effects);
        Ok(run.finished(outcome))
    }

    /// The places that this machine does not let a rollback change, looked at now: a person who
    /// is asked can leave them out ([`Plan::without`]) and go on with the rest. [`begin`] does
    /// not: it refuses the whole, and names all of them in its report.
    ///
    /// [`begin`]: Self::begin
    ///
    /// # Errors
    /// Something else stands in the way, for which no place can be blamed.
    pub fn unfit(&self, plan: &Plan, options: &Options) -> Result<Vec<Unfit>, RollbackError> {
        let blocked = |error: Trouble| RollbackError::Blocked(chain(&error).to_string());
        let root = Root::open(&options.root).map_err(blocked)?;
        Ok(prepare(plan, options, &root).map_err(blocked)?.unfit)
    }

    /// The journals that are not over.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn unfinished(&self) -> Result<Vec<PathBuf>, RollbackError> {
        let failed = || error::journal("list the journals in", &self.journals);
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(&self.journals) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            entries => entries.map_err(failed())?,
        };
        for entry in entries {
            let path = entry.map_err(failed())?.path();
            if path.join("log").exists() && !journal::is_over(&path) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Frees the space of files that rollbacks which are over have put away. That can take longer
    /// than a rollback itself: it is for whoever has told everybody what became of it.
    ///
    /// # Errors
    /// The directory cannot be read, or something in it cannot be removed.
    pub fn tidy(&self) -> Result<(), RollbackError> {
        let failed = || error::journal("tidy the journals in", &self.journals);
        let entries = match std::fs::read_dir(&self.journals) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed())?,
        };
        for entry in entries {
            let path = entry.map_err(failed())?.path();
            if journal::is_over(&path) {
                journal::tidy(&path).map_err(failed())?;
            }
        }
        Ok(())
    }

    /// Waits until a rollback's time is over and undoes it then, unless it was confirmed; at once
    /// if whoever carried it out was killed. What the process runs that a [`Timer`] starts. Says
    /// on `ready` that it waits.
    ///
    /// # Errors
    /// Its journal cannot be read.
    pub fn keep_watch(
        &self,
        journal: &Path,
        mut ready: impl Write,
    ) -> Result<Outcome, RollbackError> {
        let failed = || error::journal("keep watch over", journal);
        timer::sign(journal).map_err(failed())?;
        ready.write_all(timer::READY.as_bytes()).map_err(failed())?;
        ready.flush().map_err(failed())?;
        drop(ready);
        loop {
            let (records, _) = journal::read(journal)?;
            let (mut deadline, mut last) = (None, None);
            for record in records {
                match record {
                    Record::Armed { armed } => deadline = Some(armed.deadline),
                    Record::Stands(Stand::Over { outcome }) => return Ok(outcome),
                    Record::Stands(stand) => last = Some(stand),
                    _ => {}
                }
            }
            let left = deadline.map_or(LOOK_AGAIN, |deadline| deadline.left());
            // Nobody holds a rollback that waits. Any other is held by whoever is at work on
            // it; if nobody is, it was killed, and there is nothing to wait for.
            if left.is_zero() || last != Some(Stand::Verified) {
                match self.expire(journal) {
                    Err(RollbackError::Busy(_)) => std::thread::sleep(LOOK_AGAIN),
                    Ok(Finished { outcome: Outcome::Waiting { .. }, .. }) => {}
                    ended => return ended.map(|finished| finished.outcome),
                }
            } else {
                // The clock of a sleep stands still while the machine sleeps.
                std::thread::sleep(left.min(LOOK_AGAIN));
            }
        }
    }

    fn resume(&self, dir: &Path) -> Result<(Run<'a>, Option<Stand>), RollbackError> {
        let journal = Journal::open(dir, self.faults.clone())?;
        Run::resume(journal, self.timer, self.faults.clone())
    }

    fn go_on(&self, mut run: Run<'a>, event: Event) -> Finished {
        let (phase, effects) = Phase::Waiting.on(event);
        let outcome = run.drive(phase, effects);
        run.finished(outcome)
    }

    /// Undoes it, as far as there is something to undo.
    fn end(&self, mut run: Run<'a>, last: Option<Stand>, why: &str) -> Finished {
        if last == Some(Stand::Verified) {
            return self.go_on(run, Event::Expired(why.to_owned()));
        }
        let (phase, effects) = machine::resume(last.as_ref());
        let outcome = match phase {
            Phase::Over(outcome) => outcome,
            phase => run.drive(phase, effects),
        };
        run.finished(outcome)
    }
}

/// Why a rollback is undone when nobody said anything.
const LATE: &str = "nobody confirmed it in time";

/// How often a watch looks at the journal.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
