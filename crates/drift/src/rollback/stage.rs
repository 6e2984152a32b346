//! Everything made ready beside what is there, and what will be displaced kept: whatever can
//! fail for want of space or rights fails here, with nothing changed.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use umbra_api::blob::Blob;

use super::error::{Trouble, shown, system};
use super::fault::Fault;
use super::journal::Record;
use super::lock::Unlocked;
use super::look;
use super::place::{Spot, hold};
use super::put;
use super::report::Displaced;
use super::run::Run;
use super::step::{Act, Step, staged_path};
use crate::attributes::Kind;

impl Run<'_> {
    /// Keeps what will be displaced and makes what will come.
    pub(super) fn stage(&mut self) -> Result<(), Trouble> {
        for index in 0..self.steps.len() {
            self.keep(index)?;
            let inode = self.stage_step(index)?;
            self.inodes.push(inode);
        }
        let inodes = self.inodes.clone();
        self.journal.append(&Record::Staged { inodes })?;
        Ok(())
    }

    fn keep(&mut self, index: usize) -> Result<(), Trouble> {
        let step = &self.steps[index];
        let Some(value) = &step.from else { return Ok(()) };
        if let Some(digest) = step.displaces() {
            let spot = self.spot(step.path())?;
            let mut file = self.open(&spot, step.path())?;
            if self.journal.save(&mut file)? != *digest {
                return Err(Trouble::Moved { path: shown(step.path()) });
            }
        }
        let above: &[u8] = if step.act == Act::Set { b"/proc/sys/" } else { b"/" };
        let path = Blob([above, &step.path.0].concat());
        self.report.displaced.push(Displaced { path, value: value.clone() });
        Ok(())
    }

    /// The inode of the new version, where there is one.
    fn stage_step(&mut self, index: usize) -> Result<Option<u64>, Trouble> {
        let step = &self.steps[index];
        let comes = matches!(step.act, Act::Exchange | Act::Create | Act::Within { .. });
        let (Some(to), Some(kind), true) = (&step.to, step.kind(), comes) else {
            return Ok(None);
        };
        let spot = self.spot(&staged_path(&self.steps, step))?;
        let _open = Unlocked::directory(&spot.dir, step.locks[1], step.path())?;
        let bytes = to.content.as_ref().and_then(|content| content.bytes()).unwrap_or_default();
        let seen = put::make(&spot, kind, &mut &bytes[..], to, step.path())?;
        self.faults.hit(Fault::Staged);
        Ok(Some(seen.stamp.ino))
    }

    pub(super) fn spot(&self, path: &Path) -> Result<Spot, Trouble> {
        self.root.spot(path).map_err(system("reach", path))
    }

    /// A regular file, to be read.
    pub(super) fn open(&self, spot: &Spot, path: &Path) -> Result<std::fs::File, Trouble> {
        let held = hold(spot.dir.as_fd(), &spot.name).map_err(system("open", path))?;
        let file = look::reopen(held.as_fd()).map_err(system("open", path))?;
        Ok(file.into())
    }

    /// Keeps what somebody else put at a place after the rollback did.
    pub(super) fn keep_strange(&mut self, spot: &Spot, step: &Step) -> Result<(), Trouble> {
        let failed = |error| system("look at", step.path())(error);
        let Some(seen) = look::look(spot).map_err(failed)? else { return Ok(()) };
        if seen.kind == Kind::File {
            let mut file: Box<dyn Read> = Box::new(self.open(spot, step.path())?);
            self.journal.save(&mut file)?;
        }
        let path = Blob([b"/", step.path.0.as_slice()].concat());
        self.report.notes.push(format!(
            "{} was changed by somebody else meanwhile; their version is kept",
            shown(step.path())
        ));
        self.report.displaced.push(Displaced { path, value: seen.value });
        // No step knows of it, and it is about to go: kept first, then listed. That the list
        // cannot be written stops nobody on the way back.
        self.journal.sync()?;
        if let Err(error) = self.journal.record(&Record::Told { report: self.report.clone() }) {
            self.report.notes.push(umbra_state::chain(&error).to_string());
        }
        Ok(())
    }
}
