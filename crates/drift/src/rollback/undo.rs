//! The way back: each place gets its old version again, however far the rollback came. What
//! inodes lie where says it, not what was meant to be done; so it may be cut off and begun anew
//! any number of times.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{AtFlags, RenameFlags, unlinkat};
use rustix::io::Errno;

use super::commit::{bytes_of, dress, overwrite, rename};
use super::error::{Trouble, shown, system};
use super::fault::Fault;
use super::lock::{self, Unlocked};
use super::look::{self, look};
use super::place::Spot;
use super::run::Run;
use super::step::{Act, Step, staged_path};
use super::{journal, put, setting};

impl Run<'_> {
    /// Puts every old version back; goes on after a failure and tells the first.
    pub(super) fn undo(&mut self) -> Result<(), Trouble> {
        let mut first = Ok(());
        for index in (0..self.reach.min(self.steps.len())).rev() {
            let step = self.steps[index].clone();
            let undone = self.unplace(&step, self.inodes.get(index).copied().flatten());
            self.faults.hit(Fault::Undone);
            first = first.and(undone);
        }
        first.and(self.sync_directories())
    }

    fn unplace(&mut self, step: &Step, staged: Option<u64>) -> Result<(), Trouble> {
        let path = step.path();
        match step.act {
            Act::Within { .. } => return Ok(()),
            Act::Set => {
                let bytes = bytes_of(step.from.as_ref());
                return setting::write(&self.options, path, bytes);
            }
            _ => {}
        }
        let spot = match self.root.spot(path) {
            Ok(spot) => spot,
            // Nothing is left that could be put back beside.
            Err(Errno::NOENT) if step.from.is_none() => return Ok(()),
            Err(error) => return Err(system("reach", path)(error)),
        };
        let _open = Unlocked::directory(&spot.dir, step.locks[1], path)?;
        let temp = self.temp(&spot, step)?;
        match step.act {
            Act::Exchange | Act::Remove => self.bring_back(step, staged, &spot, &temp)?,
            Act::Create => self.take_away(step, staged, &spot, &temp)?,
            Act::Overwrite => self.write_back(step, &spot)?,
            Act::Dress => {
                lock::file(&spot, step.locks[0], false, path)?;
                dress(&spot, step.from.as_ref(), path)?;
            }
            Act::Within { .. } | Act::Set => {}
        }
        lock::file(&spot, step.locks[0], true, path)
    }

    /// The old version lies at the temporary name, or where it was, or in the journal.
    fn bring_back(
        &mut self,
        step: &Step,
        staged: Option<u64>,
        spot: &Spot,
        temp: &Spot,
    ) -> Result<(), Trouble> {
        let path = step.path();
        let inode = |spot| look::stamp(spot).map(|stamp| stamp.map(|stamp| stamp.ino));
        let failed = || system("look at", path);
        let (there, aside) = (inode(spot).map_err(failed())?, inode(temp).map_err(failed())?);
        let old = step.stamp.map(|stamp| stamp.ino);
        // It never left, or what came is still aside: whoever has the name now has it rightly.
        let never_left = there == old || staged.is_some() && aside == staged;
        if never_left || step.act == Act::Remove && aside.is_none() {
            return Ok(());
        }
        if aside.is_none() {
            self.make_again(step, temp)?;
        }
        match there {
            None => rename(temp, spot, RenameFlags::NOREPLACE, path),
            Some(now) => {
                lock::file(spot, step.locks[0], false, path)?;
                if Some(now) != staged || self.is_changed(spot, step)? {
                    self.keep_strange(spot, step)?;
                }
                rename(temp, spot, RenameFlags::EXCHANGE, path)
            }
        }
    }

    /// Makes the old version anew from what the journal keeps of it.
    fn make_again(&self, step: &Step, temp: &Spot) -> Result<(), Trouble> {
        let path = step.path();
        let lost = || Trouble::Lost { path: shown(path) };
        let from = step.from.as_ref().ok_or_else(lost)?;
        let mut content: Box<dyn Read> = match step.displaces() {
            Some(digest) => Box::new(journal::kept(&self.journal.dir, digest).map_err(|_| lost())?),
            None => Box::new(std::io::empty()),
        };
        let kind = from.kind().ok_or_else(lost)?;
        put::make(temp, kind, &mut content, from, path).map(drop)
    }

    /// What was not there goes.
    fn take_away(
        &mut self,
        step: &Step,
        staged: Option<u64>,
        spot: &Spot,
        temp: &Spot,
    ) -> Result<(), Trouble> {
        let path = step.path();
        let failed = || system("look at", path);
        let Some(there) = look::stamp(spot).map_err(failed())? else { return Ok(()) };
        if look::stamp(temp).map_err(failed())?.is_some() {
            // The new version never got its name: what has it is somebody else's.
            return Ok(());
        }
        if Some(there.ino) != staged || self.is_changed(spot, step)? {
            self.keep_strange(spot, step)?;
        }
        rename(spot, temp, RenameFlags::NOREPLACE, path)
    }

    fn write_back(&mut self, step: &Step, spot: &Spot) -> Result<(), Trouble> {
        let path = step.path();
        let content = |value: &Option<crate::reading::Value>| {
            value.as_ref().and_then(|value| value.content.clone())
        };
        let seen = look(spot).map_err(system("look at", path))?;
        let now = seen.as_ref().and_then(|seen| seen.value.content.clone());
        let is = |other: Option<crate::reading::Content>| {
            now.as_ref().zip(other.as_ref()).is_some_and(|(now, other)| now.same(other))
        };
        lock::file(spot, step.locks[0], false, path)?;
        if is(content(&step.from)) {
            return dress(spot, step.from.as_ref(), path);
        }
        // Half of the new version is nobody's; what is neither is somebody's, perhaps.
        if now.is_some() && !is(content(&step.to)) {
            self.keep_strange(spot, step)?;
        }
        let lost = || Trouble::Lost { path: shown(path) };
        let digest = step.displaces().ok_or_else(lost)?;
        let mut kept: File = journal::kept(&self.journal.dir, digest).map_err(|_| lost())?;
        overwrite(spot, &mut kept, step.from.as_ref(), path)
    }

    /// Whether a new version was written to after it had got its name.
    fn is_changed(&self, spot: &Spot, step: &Step) -> Result<bool, Trouble> {
        let seen = look(spot).map_err(system("look at", step.path()))?;
        let now = seen.and_then(|seen| seen.value.content);
        let meant = step.to.as_ref().and_then(|to| to.content.as_ref());
        Ok(match (&now, meant) {
            (Some(now), Some(meant)) => !now.same(meant),
            _ => false,
        })
    }

    /// Removes every version that lies beside another. What cannot be removed is noted.
    pub(super) fn clear(&mut self) -> Result<(), Trouble> {
        for index in (0..self.steps.len()).rev() {
            let step = self.steps[index].clone();
            if let Err(error) = self.clear_step(&step) {
                let why = umbra_state::chain(&error);
                let name = shown(&staged_path(&self.steps, &step));
                self.report.notes.push(format!("/{name} is left over: {why}"));
            }
            self.faults.hit(Fault::Cleared);
        }
        Ok(())
    }

    fn clear_step(&mut self, step: &Step) -> Result<(), Trouble> {
        if matches!(step.act, Act::Set | Act::Dress | Act::Overwrite) {
            return Ok(());
        }
        let spot = match self.root.spot(&staged_path(&self.steps, step)) {
            Ok(spot) => spot,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(system("reach", step.path())(error)),
        };
        let _open = Unlocked::directory(&spot.dir, step.locks[1], step.path())?;
        let stamp = look::stamp(&spot).map_err(system("look at", step.path()))?;
        let old = step.stamp.filter(|old| stamp.is_some_and(|now| now.ino == old.ino));
        // Whoever had it open may have gone on writing.
        if old.zip(stamp).is_some_and(|(old, now)| !now.is_same_file(&old))
            && step.from.as_ref().is_some_and(|from| from.content.is_some())
        {
            self.keep_strange(&spot, step)?;
        }
        // To free a file's blocks can take a disk longer than all the rest.
        if stamp.is_some() && self.journal.put_away(&spot, &step.temp) {
            return Ok(());
        }
        remove(&spot, step.path())
    }
}

/// Removes one file or one empty directory, if it is there.
fn remove(spot: &Spot, path: &Path) -> Result<(), Trouble> {
    let unlinked = match unlinkat(&spot.dir, &*spot.name, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(&spot.dir, &*spot.name, AtFlags::REMOVEDIR),
        other => other,
    };
    match unlinked {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(system("remove the other version of", path)(error)),
    }
}
