//! Refs: names for states that keep them from being collected.
//!
//! A ref is a symbolic link `repo/images/refs/NAME` to the state's listing, as composefs itself
//! makes them. A new value is written beside the old one and renamed over it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, fsync, renameat, symlinkat, unlinkat};
use rustix::io::Errno;
use umbra_state::StateId;

use crate::error::{StoreError, io_error};
use crate::fault::Fault;
use crate::lock::Lock;
use crate::state::PREFIX_MIN;
use crate::store::{Store, SyncPolicy};

const NAME_MAX: usize = 512;
const PART_MAX: usize = 128;
const PARTS_MAX: usize = 16;

/// Why a name is no ref's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefNameError {
    /// Too long, or nothing.
    #[error("a ref's name has 1 to 512 bytes, in 1 to 16 parts of 1 to 128 separated by '/'")]
    Length,
    /// A character outside the set.
    #[error("a ref's name is made of ASCII letters, digits, '.', '_', '-', '+' and '@'")]
    Character,
    /// A part that hides or looks like an option.
    #[error("no part of a ref's name begins with '.' or '-'")]
    Beginning,
    /// Could be taken for a state's id.
    #[error("a ref's name is not 6 or more hexadecimal digits: it would look like a state's id")]
    LooksLikeId,
}

/// What became of each ref that was found.
pub(crate) struct RefList {
    pub(crate) good: BTreeMap<String, StateId>,
    /// Paths below the refs folder that are no refs, or lead nowhere.
    pub(crate) bad: Vec<PathBuf>,
}

/// Checks a ref's name.
pub(crate) fn check_name(name: &str) -> Result<(), RefNameError> {
    let parts: Vec<&str> = name.split('/').collect();
    let lengths_fit = parts.iter().all(|part| (1..=PART_MAX).contains(&part.len()));
    if name.len() > NAME_MAX || parts.len() > PARTS_MAX || !lengths_fit {
        return Err(RefNameError::Length);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@/".contains(&byte);
    if !name.bytes().all(allowed) {
        return Err(RefNameError::Character);
    }
    if parts.iter().any(|part| part.starts_with(['.', '-'])) {
        return Err(RefNameError::Beginning);
    }
    if name.len() >= PREFIX_MIN && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(RefNameError::LooksLikeId);
    }
    Ok(())
}

impl Store {
    /// Makes `name` mean this state from now on. Atomic: whoever looks sees the old value or
    /// the new one. With [`SyncPolicy::OnRef`] the state is on the disk before.
    ///
    /// Names look like `image/web` or `build/12/step-3`; see [`RefNameError`] for the rules. A
    /// name cannot be a ref and a folder of refs at once.
    pub fn set_ref(&self, name: &str, id: StateId) -> Result<(), StoreError> {
        let doing = || format!("set ref {name:?}");
        check_name(name).map_err(invalid(doing()))?;
        let _lock = Lock::shared(&self.inner.root)?;
        if !self.contains(id) {
            return Err(StoreError::NoState(id));
        }
        if self.inner.sync == SyncPolicy::OnRef {
            self.inner.journal.sync()?;
        }
        let draft = self.inner.journal.fresh_name("ref");
        let up = "../".repeat(name.split('/').count());
        symlinkat(format!("{up}{id}"), &self.inner.journal.dir, &draft)
            .map_err(io_error(doing()))?;
        self.inner.faults.hit(Fault::RefWritten);
        let target = self.ref_path(name);
        let replaced = replace(&self.inner.journal.dir, &draft, &target);
        if replaced.is_err() {
            // Should this fail too, the next open removes it.
            let _ = unlinkat(&self.inner.journal.dir, &draft, AtFlags::empty());
        }
        replaced.map_err(io_error(doing()))?;
        if self.inner.sync == SyncPolicy::OnRef {
            sync_dir(target.parent().unwrap_or(Path::new("/"))).map_err(io_error(doing()))?;
        }
        self.inner.faults.hit(Fault::RefReplaced);
        Ok(())
    }

    /// The state a ref means; `None` if there is no such ref.
    pub fn get_ref(&self, name: &str) -> Result<Option<StateId>, StoreError> {
        let doing = || format!("read ref {name:?}");
        check_name(name).map_err(invalid(doing()))?;
        match fs::read_link(self.ref_path(name)) {
            Ok(target) => match state_of(&target) {
                Some(id) => Ok(Some(id)),
                None => Err(StoreError::Corrupt {
                    what: format!("ref {name:?}"),
                    why: "it does not lead to a state".into(),
                }),
            },
            // A folder of refs is not a symbolic link, a file in its place no folder.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(io_error(doing())(error)),
        }
    }

    /// Forgets a ref; whether there was one. Its state stays until it is collected.
    pub fn remove_ref(&self, name: &str) -> Result<bool, StoreError> {
        let doing = || format!("remove ref {name:?}");
        check_name(name).map_err(invalid(doing()))?;
        let _lock = Lock::shared(&self.inner.root)?;
        let path = self.ref_path(name);
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
            return Ok(false);
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(io_error(doing())(error)),
        }
        // Folders that became empty go too; one in use refuses.
        for folder in path.ancestors().skip(1).take(name.matches('/').count()) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(true)
    }

    /// All refs by name.
    pub fn list_refs(&self) -> Result<BTreeMap<String, StateId>, StoreError> {
        Ok(self.read_refs()?.good)
    }

    pub(crate) fn read_refs(&self) -> Result<RefList, StoreError> {
        let mut list = RefList { good: BTreeMap::new(), bad: Vec::new() };
        read_folder(&self.refs_dir(), &mut Vec::new(), &mut list)?;
        Ok(list)
    }

    pub(crate) fn refs_dir(&self) -> PathBuf {
        self.inner.root.join("repo/images/refs")
    }

    fn ref_path(&self, name: &str) -> PathBuf {
        self.refs_dir().join(name)
    }
}

/// Moves a draft to its place; folders on the way are made.
fn replace(journal: &OwnedFd, draft: &str, target: &Path) -> io::Result<()> {
    loop {
        fs::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
        match renameat(journal, draft, CWD, target) {
            // Somebody removed the folder, empty as it was.
            Err(Errno::NOENT) => {}
            renamed => return Ok(renamed?),
        }
    }
}

fn read_folder(
    folder: &Path,
    parts: &mut Vec<Vec<u8>>,
    list: &mut RefList,
) -> Result<(), StoreError> {
    let failed = || io_error(format!("list {}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(failed()(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed())?;
        parts.push(entry.file_name().as_bytes().to_vec());
        if entry.file_type().map_err(failed())?.is_dir() && parts.len() < PARTS_MAX {
            read_folder(&entry.path(), parts, list)?;
        } else {
            let name = parts.join(&b'/');
            let name = std::str::from_utf8(&name).ok().filter(|name| check_name(name).is_ok());
            let id = fs::read_link(entry.path()).ok().and_then(|target| state_of(&target));
            match (name, id) {
                (Some(name), Some(id)) => {
                    list.good.insert(name.to_owned(), id);
                }
                _ => list.bad.push(parts.iter().map(|part| OsStr::from_bytes(part)).collect()),
            }
        }
        parts.pop();
    }
    Ok(())
}

fn state_of(target: &Path) -> Option<StateId> {
    target.file_name()?.to_str()?.parse().ok()
}

fn is_absent(error: &io::Error) -> bool {
    let absent = [Errno::NOENT, Errno::NOTDIR, Errno::INVAL, Errno::ISDIR];
    absent.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn invalid(doing: String) -> impl FnOnce(RefNameError) -> StoreError {
    move |error| io_error(doing)(io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn sync_dir(path: &Path) -> io::Result<()> {
    Ok(fsync(fs::File::open(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Result<(), RefNameError>) {
        assert_eq!(check_name(name), expected, "{name:?}");
    }

    #[test]
    fn names_cannot_leave_the_folder_or_pass_for_ids() {
        check("image/web", Ok(()));
        check("build/12/step-3", Ok(()));
        check("a", Ok(()));
        check("abcde", Ok(()));
        check("abcdef", Err(RefNameError::LooksLikeId));
        check("abcdef/1", Ok(()));
        check("", Err(RefNameError::Length));
        check("/a", Err(RefNameError::Length));
        check("a//b", Err(RefNameError::Length));
        check("a/", Err(RefNameError::Length));
        check("..", Err(RefNameError::Beginning));
        check("a/../b", Err(RefNameError::Beginning));
        check(".hidden", Err(RefNameError::Beginning));
        check("-option", Err(RefNameError::Beginning));
        check("a b", Err(RefNameError::Character));
        check("a\0", Err(RefNameError::Character));
        check("größe", Err(RefNameError::Character));
        check(&"a".repeat(129), Err(RefNameError::Length));
        check(&["z"; 17].join("/"), Err(RefNameError::Length));
    }
}
