//! Old and new change places: one sync of all that was made ready, then one rename each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, RenameFlags, fsync, open, renameat_with, syncfs};
use rustix::io::Errno;

use super::error::{Trouble, shown, system};
use super::fault::Fault;
use super::lock::{self, Unlocked};
use super::look::{self, Stamp};
use super::place::{Spot, by_descriptor, hold};
use super::run::Run;
use super::step::{Act, Step};
use super::{put, setting};
use crate::reading::Value;

impl Run<'_> {
    /// Puts every new version in its place.
    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        self.sync_filesystems()?;
        self.reach = 0;
        for index in 0..self.steps.len() {
            let step = &self.steps[index];
            if let (Some(stamp), false) = (&step.stamp, matches!(step.act, Act::Within { .. })) {
                is_still(&self.spot(step.path())?, stamp, step.path())?;
            }
            self.reach = index + 1;
            self.place(&self.steps[index])?;
            self.faults.hit(Fault::Placed);
        }
        self.sync_directories()
    }

    /// One sync for each filesystem that holds new versions, and the journal's.
    fn sync_filesystems(&self) -> Result<(), Trouble> {
        let mut filesystems = BTreeMap::new();
        for step in &self.steps {
            if matches!(step.act, Act::Exchange | Act::Create) {
                let spot = self.spot(step.path())?;
                let failed = || system("sync the filesystem of", step.path());
                let stat = rustix::fs::fstat(&spot.dir).map_err(failed())?;
                filesystems.entry(stat.st_dev).or_insert((spot.dir, step.path()));
            }
        }
        for (dir, path) in filesystems.values() {
            syncfs(dir).map_err(system("sync the filesystem of", path))?;
        }
        let kept = std::fs::metadata(&self.journal.dir).map_err(|source| Trouble::System {
            doing: "look at the journal".to_owned(),
            source,
        })?;
        if !filesystems.contains_key(&std::os::unix::fs::MetadataExt::dev(&kept)) {
            self.journal.sync()?;
        }
        Ok(())
    }

    /// Makes the new names durable: a directory alone by its own sync, several of a filesystem
    /// by one of all, with which little is left to do.
    pub(super) fn sync_directories(&self) -> Result<(), Trouble> {
        let renames = |step: &&Step| matches!(step.act, Act::Exchange | Act::Create | Act::Remove);
        let parent = |step| Step::path(step).parent().unwrap_or(Path::new(""));
        let parents: BTreeSet<&Path> = self.steps.iter().filter(renames).map(parent).collect();
        let mut filesystems: BTreeMap<u64, Vec<(OwnedFd, &Path)>> = BTreeMap::new();
        for parent in parents {
            let failed = || system("sync the directory", parent);
            match self.root.dir(parent) {
                Ok(dir) => {
                    let filesystem = rustix::fs::fstat(&dir).map_err(failed())?.st_dev;
                    filesystems.entry(filesystem).or_default().push((dir, parent));
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed()(error)),
            }
        }
        for directories in filesystems.values() {
            let synced = match directories.as_slice() {
                [(dir, parent)] => fsync(dir).map_err(system("sync the directory", parent)),
                [(dir, parent), ..] => {
                    syncfs(dir).map_err(system("sync the filesystem of", parent))
                }
                [] => Ok(()),
            };
            synced?;
        }
        Ok(())
    }

    /// The name of the other version in the same directory.
    pub(super) fn temp(&self, spot: &Spot, step: &Step) -> Result<Spot, Trouble> {
        let dir = rustix::io::fcntl_dupfd_cloexec(&spot.dir, 0);
        let dir = dir.map_err(system("reach", step.path()))?;
        Ok(Spot { dir, name: OsString::from_vec(step.temp.0.clone()) })
    }

    fn place(&self, step: &Step) -> Result<(), Trouble> {
        let path = step.path();
        match step.act {
            Act::Within { .. } => return Ok(()),
            Act::Set => {
                let bytes = bytes_of(step.to.as_ref());
                return setting::write(&self.options, path, bytes);
            }
            _ => {}
        }
        let spot = self.spot(path)?;
        let _open = Unlocked::directory(&spot.dir, step.locks[1], path)?;
        lock::file(&spot, step.locks[0], false, path)?;
        if step.locks[0] != 0 {
            self.faults.hit(Fault::Unlocked);
        }
        let temp = self.temp(&spot, step)?;
        match step.act {
            Act::Exchange => {
                rename(&temp, &spot, RenameFlags::EXCHANGE, path)?;
                displaced(&temp, step)?;
            }
            Act::Create => rename(&temp, &spot, RenameFlags::NOREPLACE, path)?,
            Act::Remove => {
                rename(&spot, &temp, RenameFlags::NOREPLACE, path)?;
                displaced(&temp, step)?;
            }
            Act::Overwrite => {
                overwrite(&spot, &mut bytes_of(step.to.as_ref()), step.to.as_ref(), path)?;
            }
            Act::Dress => dress(&spot, step.to.as_ref(), path)?,
            Act::Within { .. } | Act::Set => {}
        }
        if step.act != Act::Remove {
            lock::file(&spot, step.locks[0], true, path)?;
        }
        Ok(())
    }
}

pub(super) fn bytes_of(value: Option<&Value>) -> &[u8] {
    let content = value.and_then(|value| value.content.as_ref());
    content.and_then(|content| content.bytes()).unwrap_or_default()
}

pub(super) fn rename(
    from: &Spot,
    to: &Spot,
    flags: RenameFlags,
    path: &Path,
) -> Result<(), Trouble> {
    match renameat_with(&from.dir, &*from.name, &to.dir, &*to.name, flags) {
        Ok(()) => Ok(()),
        // Somebody made or removed it in this very moment.
        Err(Errno::EXIST | Errno::NOENT) => Err(Trouble::Moved { path: shown(path) }),
        Err(error) => Err(system("put the new version in the place of", path)(error)),
    }
}

/// Whether nobody touched it since it was looked at.
fn is_still(spot: &Spot, stamp: &Stamp, path: &Path) -> Result<(), Trouble> {
    let now = look::stamp(spot).map_err(system("look at", path))?;
    if now.as_ref() == Some(stamp) { Ok(()) } else { Err(Trouble::Moved { path: shown(path) }) }
}

/// Whether what was displaced is what was meant: somebody may have been quicker.
fn displaced(temp: &Spot, step: &Step) -> Result<(), Trouble> {
    let now = look::stamp(temp).map_err(system("look at", step.path()))?;
    match (now, &step.stamp) {
        (Some(now), Some(then)) if now.is_same_file(then) => Ok(()),
        _ => Err(Trouble::Moved { path: shown(step.path()) }),
    }
}

pub(super) fn dress(spot: &Spot, value: Option<&Value>, path: &Path) -> Result<(), Trouble> {
    let Some(value) = value else { return Ok(()) };
    let held = hold(spot.dir.as_fd(), &spot.name).map_err(system("open", path))?;
    put::dress(held.as_fd(), value, path)
}

/// Writes over a file that must stay the file it is.
pub(super) fn overwrite(
    spot: &Spot,
    content: &mut dyn Read,
    value: Option<&Value>,
    path: &Path,
) -> Result<(), Trouble> {
    let failed = |source| Trouble::System { doing: format!("write {}", shown(path)), source };
    let held = hold(spot.dir.as_fd(), &spot.name).map_err(system("open", path))?;
    // Only ever a regular file: a pipe would wait for a reader.
    look::reopen(held.as_fd()).map_err(system("open", path))?;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(by_descriptor(held.as_fd()), flags, Mode::empty());
    let mut file = File::from(file.map_err(system("open", path))?);
    std::io::copy(content, &mut file).map_err(failed)?;
    let length = file.stream_position().map_err(failed)?;
    file.set_len(length).map_err(failed)?;
    file.flush().map_err(failed)?;
    if let Some(value) = value {
        put::dress(held.as_fd(), value, path)?;
    }
    file.sync_all().map_err(failed)
}
