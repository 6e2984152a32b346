//! What a gateway that begins anew goes on with: for each route that somebody manages, a small
//! file beside the control socket.
//!
//! It is replaced as a whole, and it is there before what it says is in force, with one exception:
//! a candidate that is worse is taken out of production first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::wire::{StartSplit, Worse};
use crate::routes::setup::{TargetSetup, is_name};
use crate::routes::weigh::Salt;

/// A file of ours is no longer.
const BYTES_MAX: u64 = 4 << 20;
const ENDING: &str = ".json";

/// What is kept of one route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// The rollout that manages it, or did last.
    pub(crate) rollout: u64,
    /// Its targets, instead of those of the file of routes.
    #[serde(default)]
    pub(crate) assigned: Option<Vec<TargetSetup>>,
    #[serde(default)]
    pub(crate) split: Option<KeptSplit>,
}

/// What is kept of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptSplit {
    /// As it was begun, with the targets of now.
    pub(crate) start: StartSplit,
    /// What decides which sessions are the candidate's.
    pub(crate) salt: Salt,
    /// Every weight so far, the last of which is in force.
    pub(crate) stages: Vec<f64>,
    pub(crate) version: u64,
    pub(crate) worse: Option<Worse>,
    pub(crate) rolled_back: bool,
}

impl Kept {
    /// Puts this in the place of `kept`, but for what was decided of the same split meanwhile.
    pub(crate) fn onto(self, kept: &mut Self) {
        let decided = kept.split.take().filter(|split| split.worse.is_some());
        *kept = self;
        if let (Some(split), Some(decided)) = (&mut kept.split, decided)
            && split.salt == decided.salt
        {
            split.stages = decided.stages;
            (split.worse, split.rolled_back) = (decided.worse, decided.rolled_back);
        }
    }
}

impl KeptSplit {
    /// The weight in force, and its number.
    pub(crate) fn stage(&self) -> (u16, f64) {
        let number = self.stages.len().saturating_sub(1);
        // There are no more: whoever declares one counts.
        (u16::try_from(number).unwrap_or(u16::MAX), self.weight())
    }

    pub(crate) fn weight(&self) -> f64 {
        self.stages.last().copied().unwrap_or(0.0)
    }
}

/// What is kept of one route, and the file it is kept in.
#[derive(Debug)]
pub(crate) struct Record {
    /// `None` where nothing outlives this gateway.
    file: Option<PathBuf>,
    kept: Mutex<Kept>,
}

impl Record {
    pub(crate) fn new(file: Option<PathBuf>, kept: Kept) -> Self {
        Self { file, kept: Mutex::new(kept) }
    }

    /// As it is now. Not for requests: it waits for the disk.
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it otherwise.
    ///
    /// # Errors
    /// It cannot be written; then it is what it was.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Kept)) -> io::Result<()> {
        let mut kept = self.kept();
        let mut next = kept.clone();
        change(&mut next);
        if let Some(file) = &self.file {
            replace(file, &next)?;
        }
        *kept = next;
        Ok(())
    }

    /// Keeps it otherwise, and says so even if the disk does not take it.
    pub(crate) fn change_at_once(&self, change: impl FnOnce(&mut Kept)) -> io::Result<()> {
        let mut kept = self.kept();
        change(&mut kept);
        self.file.as_ref().map_or(Ok(()), |file| replace(file, &kept))
    }

    /// Nothing is kept any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match self.file.as_ref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The file of a route in `dir`.
pub(crate) fn file(dir: &Path, route: &str) -> PathBuf {
    dir.join(format!("{route}{ENDING}"))
}

/// Everything that is kept in `dir`, by route; what cannot be read is told and left as it is.
pub(crate) fn load(dir: &Path) -> Vec<(String, Kept)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let route = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let Some(route) = route.filter(|route| is_name(route)) else { continue };
        match read(&entry.path()) {
            Ok(kept) => found.push((route.to_owned(), kept)),
            Err(error) => {
                tracing::error!(route, %error, "what a rollout left of a route cannot be read");
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

fn read(path: &Path) -> io::Result<Kept> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let mut text = Vec::new();
    options.open(path)?.take(BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let kept: Kept = serde_json::from_slice(&text)?;
    match kept.split.as_ref().is_some_and(|split| split.stages.is_empty()) {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "a split without a weight")),
        false => Ok(kept),
    }
}

fn replace(path: &Path, kept: &Kept) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let draft = path.with_extension("draft");
    // Whoever was killed while writing left one.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(kept)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn kept(rollout: u64) -> Kept {
        Kept { rollout, assigned: None, split: None }
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("splits");
        let record = Record::new(Some(file(&dir, "web")), kept(1));
        record.change(|kept| kept.rollout = 2).unwrap();
        // A draft that nobody finished is in nobody's way.
        fs::write(dir.join("web.draft"), "{").unwrap();
        record.change(|kept| kept.assigned = Some(Vec::new())).unwrap();
        let found = load(&dir);
        assert_eq!(found, [("web".to_owned(), record.kept().clone())]);
        assert_eq!(found[0].1.rollout, 2);
        record.remove().unwrap();
        record.remove().unwrap();
        assert!(load(&dir).is_empty());
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside.json");
        fs::write(&outside, serde_json::to_vec(&kept(1)).unwrap()).unwrap();
        let splits = dir.path().join("splits");
        fs::create_dir(&splits).unwrap();
        symlink(&outside, splits.join("link.json")).unwrap();
        fs::write(splits.join("torn.json"), "{\"rollout\":").unwrap();
        fs::write(splits.join("a b.json"), serde_json::to_vec(&kept(1)).unwrap()).unwrap();
        fs::write(splits.join("odd.json"), "{\"rollout\":1,\"more\":2}").unwrap();
        assert!(load(&splits).is_empty());
        assert!(load(&dir.path().join("nowhere")).is_empty());
    }

    #[test]
    fn what_cannot_be_written_is_not_said() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("file");
        fs::write(&blocked, "").unwrap();
        let record = Record::new(Some(file(&blocked, "web")), kept(1));
        record.change(|kept| kept.rollout = 2).unwrap_err();
        assert_eq!(record.kept().rollout, 1);
        record.change_at_once(|kept| kept.rollout = 2).unwrap_err();
        assert_eq!(record.kept().rollout, 2);
    }
}
