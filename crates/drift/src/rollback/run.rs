//! A rollback that is being carried out: does what the controller says, one thing after the
//! other, and tells it what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_state::chain;

use super::activate::{actions, activate};
use super::error::{RollbackError, Trouble};
use super::fault::Faults;
use super::journal::{Journal, Record};
use super::machine::{Effect, Event, Phase, Stand, Work};
use super::options::{CONFIRM_TIMEOUT_MS, Options};
use super::place::Root;
use super::plan::{Confirmation, Plan};
use super::prepare::{Prepared, prepare};
use super::report::{Outcome, Report};
use super::step::{Act, Step};
use super::timer::{Armed, Deadline, Order, Timer};
use super::validate::{Said, validate};
use crate::reading::{Item, Reading};

/// Reads items again.
pub type Reader<'a> = dyn FnMut(&[Item]) -> BTreeMap<Item, Reading> + 'a;

/// One rollback at work.
pub(super) struct Run<'a> {
    pub(super) plan: Plan,
    pub(super) options: Options,
    pub(super) root: Root,
    pub(super) journal: Journal,
    pub(super) steps: Vec<Step>,
    /// The new versions, by step.
    pub(super) inodes: Vec<Option<u64>>,
    /// How many steps may have been taken.
    pub(super) reach: usize,
    pub(super) report: Report,
    pub(super) armed: Option<Armed>,
    pub(super) timer: &'a dyn Timer,
    pub(super) faults: Faults,
}

impl<'a> Run<'a> {
    /// One that begins; its journal says so.
    pub(super) fn begin(
        mut journal: Journal,
        plan: Plan,
        options: Options,
        timer: &'a dyn Timer,
        faults: Faults,
    ) -> Result<Self, RollbackError> {
        // Nothing is touched before the steps are recorded, too.
        journal.append(&Record::Begun { plan: plan.clone(), options: options.clone() })?;
        Self::new(journal, plan, options, timer, faults)
    }

    /// One that goes on where its journal ends, and what it says there.
    pub(super) fn resume(
        mut journal: Journal,
        timer: &'a dyn Timer,
        faults: Faults,
    ) -> Result<(Self, Option<Stand>), RollbackError> {
        let empty = RollbackError::Empty(journal.dir.clone());
        let mut records = journal.replay()?.into_iter();
        let Some(Record::Begun { plan, options }) = records.next() else { return Err(empty) };
        let mut run = Self::new(journal, plan, options, timer, faults)?;
        let mut last = None;
        for record in records {
            match record {
                Record::Begun { .. } => {}
                Record::Prepared { steps } => {
                    run.reach = steps.len();
                    run.steps = steps;
                }
                Record::Staged { inodes } => run.inodes = inodes,
                Record::Armed { armed } => run.armed = Some(armed),
                Record::Stands(stand) => last = Some(stand),
                Record::Told { report } => run.report = report,
            }
        }
        if run.report.displaced.is_empty() && !run.inodes.is_empty() {
            run.report.displaced = run.displaced_by_steps();
        }
        Ok((run, last))
    }

    fn new(
        journal: Journal,
        plan: Plan,
        options: Options,
        timer: &'a dyn Timer,
        faults: Faults,
    ) -> Result<Self, RollbackError> {
        let root = Root::open(&options.root).map_err(|error| match error {
            Trouble::System { doing, source } => RollbackError::Journal { doing, source },
            _ => RollbackError::Plan("its root cannot be opened"),
        })?;
        let (steps, inodes, report) = Default::default();
        Ok(Self {
            plan,
            options,
            root,
            journal,
            steps,
            inodes,
            reach: 0,
            report,
            armed: None,
            timer,
            faults,
        })
    }

    /// Goes on until it is over or waits; what became of it.
    pub(super) fn drive(&mut self, phase: Phase, effects: Vec<Effect>) -> Outcome {
        // Nothing is verified on the way back or out.
        self.drive_with(phase, effects, &mut |_| BTreeMap::new())
    }

    /// The same from its beginning.
    pub(super) fn drive_with(
        &mut self,
        phase: Phase,
        effects: Vec<Effect>,
        reader: &mut Reader<'_>,
    ) -> Outcome {
        let (mut phase, mut effects) = (phase, effects);
        while let Some(event) = self.perform(&phase, effects, reader) {
            (phase, effects) = phase.on(event);
        }
        match phase {
            Phase::Over(outcome) => outcome,
            _ => Outcome::Waiting { deadline: self.deadline() },
        }
    }

    /// What came of the effects; `None` if nothing can.
    fn perform(
        &mut self,
        phase: &Phase,
        effects: Vec<Effect>,
        reader: &mut Reader<'_>,
    ) -> Option<Event> {
        let mut event = None;
        for effect in effects {
            match effect {
                Effect::Record(stand) => match self.stand(stand) {
                    Err(error) if phase.is_way_back() => {
                        self.report.notes.push(chain(&error).to_string());
                    }
                    Err(error) => return Some(Event::Failed(chain(&error).to_string())),
                    Ok(()) => {}
                },
                Effect::Do(work) => {
                    event = Some(match self.work(work, reader) {
                        Ok(event) => event,
                        Err(error) => Event::Failed(chain(&error).to_string()),
                    });
                }
            }
        }
        event
    }

    /// Records a stand, after the report where whoever reads the journal there wants it.
    fn stand(&mut self, stand: Stand) -> Result<(), RollbackError> {
        if matches!(stand, Stand::Verified | Stand::Undone { .. } | Stand::Over { .. }) {
            self.journal.append(&Record::Told { report: self.report.clone() })?;
        }
        match stand {
            Stand::Committing | Stand::Committed | Stand::Over { .. } => {
                self.journal.append(&Record::Stands(stand))
            }
            _ => self.journal.record(&Record::Stands(stand)),
        }
    }

    fn work(&mut self, work: Work, reader: &mut Reader<'_>) -> Result<Event, Trouble> {
        match work {
            Work::Prepare => self.prepare()?,
            Work::Stage => self.stage()?,
            Work::Validate => return Ok(self.validate()),
            Work::Arm => return self.arm(),
            Work::Commit => self.commit()?,
            Work::Activate => {
                if !self.activate() {
                    return Ok(Event::Failed(self.why_inactive()));
                }
            }
            Work::Verify => return Ok(self.verify(reader)),
            Work::Pass => {}
            Work::Undo => self.undo()?,
            Work::Reactivate => {
                // That a service did not take it well is in the report.
                self.activate();
                return Ok(self.is_as_before());
            }
            Work::Clear => {
                self.clear()?;
                if self.armed.is_some()
                    && let Err(error) = self.timer.disarm(&self.options.id, &self.journal.dir)
                {
                    self.report.notes.push(chain(&error).to_string());
                }
            }
        }
        Ok(Event::Done)
    }

    fn prepare(&mut self) -> Result<(), Trouble> {
        let Prepared { steps, unfit } = prepare(&self.plan, &self.options, &self.root)?;
        self.report.unfit = unfit;
        if let [first, others @ ..] = self.report.unfit.as_slice() {
            return Err(Trouble::unfit(first, others.len()));
        }
        self.steps = steps;
        self.journal.record(&Record::Prepared { steps: self.steps.clone() })?;
        Ok(())
    }

    fn validate(&mut self) -> Event {
        let scratch = self.journal.dir.join("view");
        let made = match std::fs::create_dir(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        if let Err(error) = made {
            return Event::Failed(error.to_string());
        }
        self.report.checked = validate(&self.plan, &self.steps, &self.options, &scratch);
        // Empty: what was mounted there went with its thread.
        let _ = std::fs::remove_dir(&scratch);
        let rejected = self.report.checked.iter().find_map(|checked| match &checked.said {
            Said::Rejects { how, output } => {
                let (argv, output) = (checked.argv.join(" "), output.trim());
                Some(format!("`{argv}` rejects the files ({how}): {output}"))
            }
            _ => None,
        });
        rejected.map_or(Event::Done, Event::Failed)
    }

    fn arm(&mut self) -> Result<Event, Trouble> {
        let after = Duration::from_millis(self.confirmation().timeout_ms);
        let deadline = Deadline::after(after);
        let armed = Armed { by: self.timer.name().to_owned(), deadline };
        // Written before it runs: who wakes must find it.
        self.journal.append(&Record::Armed { armed: armed.clone() })?;
        self.armed = Some(armed);
        let (id, journal) = (self.options.id.clone(), self.journal.dir.clone());
        match self.timer.arm(&Order { id, journal, after }) {
            Ok(()) => Ok(Event::Done),
            Err(error) => Ok(Event::Failed(chain(&error).to_string())),
        }
    }

    fn activate(&mut self) -> bool {
        let set = |step: &&Step| !matches!(step.act, Act::Set);
        let paths: Vec<PathBuf> =
            self.steps.iter().filter(set).map(|step| Path::new("/").join(step.path())).collect();
        let configured = self.plan.changes.iter().flat_map(|change| &change.actions);
        let is_machine = self.options.is_machine;
        let actions = actions(paths.iter().map(PathBuf::as_path), configured, is_machine);
        let (done, worked) = activate(&actions, &self.options);
        for activation in done.iter().filter(|activation| activation.ended.is_none()) {
            let note = match activation.argv.as_slice() {
                [] => "a service was not told: nothing here manages it".to_owned(),
                argv => {
                    format!("a service was not told: `{}` finds it not running", argv.join(" "))
                }
            };
            if !self.report.notes.contains(&note) {
                self.report.notes.push(note);
            }
        }
        self.report.activated.extend(done);
        worked
    }

    fn why_inactive(&self) -> String {
        use super::command::Ended;
        let failed = self.report.activated.iter().rev().find_map(|activation| {
            let argv = activation.argv.join(" ");
            match activation.ended.as_ref()? {
                Ended::Passed => None,
                Ended::Failed { how, output } => {
                    Some(format!("`{argv}` failed ({how}): {}", output.trim()))
                }
                Ended::TimedOut => Some(format!("`{argv}` took too long")),
                Ended::Missing => Some(format!("`{argv}` is not installed")),
                Ended::NotRun { why } => Some(format!("`{argv}` could not be run: {why}")),
            }
        });
        failed.unwrap_or_default()
    }

    pub(super) fn confirmation(&self) -> Confirmation {
        let wanted = self.options.confirm.clone().or_else(|| self.plan.confirm.clone());
        let mut wanted = wanted.unwrap_or(Confirmation {
            timeout_ms: CONFIRM_TIMEOUT_MS,
            probes: Vec::new(),
            by_person: false,
        });
        // A day is as long as anybody should hold their breath.
        wanted.timeout_ms = wanted.timeout_ms.min(24 * 60 * 60 * 1000);
        wanted
    }

    /// The end, for whoever asked.
    pub(super) fn finished(self, outcome: Outcome) -> super::Finished {
        super::Finished { journal: self.journal.dir, outcome, report: self.report }
    }

    /// One that is over if it was never armed.
    pub(super) fn deadline(&self) -> Deadline {
        let armed = self.armed.as_ref().map(|armed| armed.deadline.clone());
        armed.unwrap_or_else(|| Deadline::after(Duration::ZERO))
    }

    /// What the steps displace, where the report was never written.
    fn displaced_by_steps(&self) -> Vec<super::report::Displaced> {
        let displaced = self.steps.iter().filter_map(|step| {
            let above: &[u8] = if step.act == Act::Set { b"/proc/sys/" } else { b"/" };
            let path = umbra_api::blob::Blob([above, &step.path.0].concat());
            Some(super::report::Displaced { path, value: step.from.clone()? })
        });
        displaced.collect()
    }
}
