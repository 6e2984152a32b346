//! A fanotify mark per directory, where a filesystem cannot be marked as a whole.
//!
//! An overlay makes handles but does not open them; a btrfs subvolume has another number
//! than its filesystem. Both can be marked directory by directory, in a group of their own:
//! changes come with who made them, as inotify's do not. Handles are looked up in a table
//! that is filled when a directory is marked. A directory that appears is marked as soon as
//! its event is read, and then looked into, since by then it may hold something.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::Kinds;
use super::debt::Lost;
use super::fanotify::{self, Group, Rung};
use super::intake::{Happened, Intake, kinds};
use super::record::{Place, Record};
use super::tree::{Tree, Watched};

/// `struct file_handle`: length and type, then at most 128 bytes.
const HANDLE_MAX: usize = 8 + 128;
/// Handles of directories that were moved away and may still send something.
const ELSEWHERE_MAX: usize = 64 * 1024;

/// The marks of one filesystem.
#[derive(Debug)]
pub struct Directories {
    /// As `statvfs` numbers it.
    pub filesystem: u64,
    group: Group,
    tree: Tree<Box<[u8]>>,
    elsewhere: HashSet<Box<[u8]>>,
    mount: u64,
    top: PathBuf,
    /// What was read and not yet followed up.
    buffer: Vec<u8>,
    filled: usize,
    /// A directory was heard of that should have been known.
    stale: bool,
}

impl Directories {
    /// A group without marks for the filesystem that `top` lies on.
    ///
    /// # Errors
    /// Where no group can be had, or `top` is not there.
    pub fn open(top: &Path, filesystem: u64, unlimited: bool) -> Result<Self, Errno> {
        let group = Group::open(unlimited)?;
        let (mount, top) = (mount_of(top)?, top.to_owned());
        Ok(Self {
            filesystem,
            group,
            tree: Tree::new(),
            elsewhere: HashSet::new(),
            mount,
            top,
            buffer: Group::buffer(),
            filled: 0,
            stale: false,
        })
    }

    /// What the group reports.
    pub fn rung(&self) -> Rung {
        self.group.rung()
    }

    /// Whether these marks are still those of what is at `place`.
    pub fn is_of(&self, place: &Path, filesystem: u64) -> bool {
        self.filesystem == filesystem && mount_of(place) == Ok(self.mount)
    }

    /// Mark the place and every directory below it, and the directory it is in.
    ///
    /// # Errors
    /// Where not even the first can be marked: why.
    pub fn watch(&mut self) -> Result<Watched, Errno> {
        let top = self.top.clone();
        let mut watched = Watched::default();
        if let Some(parent) = top.parent() {
            // It is elsewhere for the top of a mount, which cannot be renamed.
            watched.watches += usize::from(matches!(self.mark(parent), Ok(true)));
        }
        match self.mark(&top) {
            Ok(_) => {}
            // A single file, or nothing yet.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) if watched.watches > 0 => {
                return Ok(watched);
            }
            Err(error) => return Err(error),
        }
        let below = self.watch_tree(&top);
        watched.watches += below.watches;
        watched.unwatched += below.unwatched;
        Ok(watched)
    }

    fn watch_tree(&mut self, top: &Path) -> Watched {
        let mut watched = Watched::default();
        let mut stack = vec![top.to_owned()];
        while let Some(directory) = stack.pop() {
            // Marked before it is read: what appears meanwhile is seen at least once.
            match self.mark(&directory) {
                Ok(true) => watched.watches += 1,
                // Another mount, which is watched as such.
                Ok(false) => continue,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(_) => watched.unwatched += 1,
            }
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    stack.push(entry.path());
                }
            }
        }
        watched
    }

    /// Whether `directory` lies on this mount and is marked now.
    fn mark(&mut self, directory: &Path) -> Result<bool, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, directory, flags, Mode::empty())?;
        let status = statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
        if status.stx_mnt_id != self.mount {
            return Ok(false);
        }
        let handle = handle_of(fd.as_fd())?;
        self.group.mark_directory(fd.as_fd())?;
        self.elsewhere.remove(&handle);
        self.tree.insert(directory, handle);
        Ok(true)
    }

    /// Take what is queued, at most a buffer of it, without following it up. Whether there
    /// may be more.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn fill(&mut self) -> Result<bool, Errno> {
        self.filled = self.group.read(&mut self.buffer)?;
        Ok(self.filled > 0)
    }

    /// Follow up what was taken.
    pub fn follow_up(&mut self, intake: &mut Intake, now: Instant) {
        let buffer = std::mem::take(&mut self.buffer);
        let filled = std::mem::take(&mut self.filled);
        fanotify::records(&buffer[..filled], |record| match record {
            Ok((record, process, _)) if record.mask & libc::FAN_Q_OVERFLOW == 0 => {
                intake.records += 1;
                if let Some(happened) = self.happened(&record, intake) {
                    intake.on_change(&happened, &process, now);
                }
            }
            Ok(_) | Err(_) => {
                self.stale = true;
                intake.debt.incur(self.filesystem, intake.caught_up, Lost::Unknown, None);
            }
        });
        self.buffer = buffer;
        // Directories may have come whose events were lost; the scan that is owed looks
        // into them only after this.
        if std::mem::take(&mut self.stale) {
            let top = self.top.clone();
            self.watch_tree(&top);
        }
    }

    fn happened(&mut self, record: &Record<'_>, intake: &mut Intake) -> Option<Happened> {
        let kinds = kinds(record.mask);
        let directory = record.mask & libc::FAN_ONDIR != 0;
        let moves = Kinds::CREATE | Kinds::DELETE | Kinds::RENAME;
        let subtree = directory && kinds.intersects(moves);
        let (from, to) = (self.path(record.from.as_ref()), self.path(record.place.as_ref()));
        // Of a rename only one side need be watched.
        let places = [record.from, record.place];
        let left = |place: &Place<'_>| self.elsewhere.contains(place.handle);
        if from.is_none() && to.is_none() && !places.iter().flatten().any(left) {
            self.stale = true;
            intake.debt.incur(self.filesystem, intake.caught_up, Lost::Exactly(1), None);
        }
        if subtree {
            let left = from.iter().chain(&to).filter(|_| kinds != Kinds::CREATE);
            for path in left {
                self.leave(path);
            }
            if let Some(path) = to.as_ref().filter(|path| !intake.in_scope(path, true).is_empty()) {
                self.watch_tree(path);
            }
        }
        let watched = |path: Option<PathBuf>| {
            path.map(|path| intake.in_scope(&path, subtree)).unwrap_or_default()
        };
        let (from, to) = (watched(from), watched(to));
        let any = !from.is_empty() || !to.is_empty();
        any.then_some(Happened { filesystem: self.filesystem, kinds, subtree, from, to })
    }

    /// What was marked at and below `path` is elsewhere now, or gone.
    fn leave(&mut self, path: &Path) {
        let left = self.tree.remove_below(path);
        if self.elsewhere.len() + left.len() > ELSEWHERE_MAX {
            self.elsewhere.clear();
        }
        self.elsewhere.extend(left);
    }

    fn path(&self, place: Option<&Place<'_>>) -> Option<PathBuf> {
        let place = place?;
        let directory = self.tree.path(place.handle)?;
        Some(match place.name {
            Some(name) => directory.join(name),
            None => directory.clone(),
        })
    }
}

impl AsFd for Directories {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}

fn mount_of(path: &Path) -> Result<u64, Errno> {
    let mount = |path: &Path| statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID);
    let status = match (mount(path), path.parent()) {
        (Err(Errno::NOENT), Some(parent)) => mount(parent),
        (status, _) => status,
    };
    status.map(|status| status.stx_mnt_id)
}

/// What events call the directory; a handle that identifies it but need not open it.
fn handle_of(directory: BorrowedFd<'_>) -> Result<Box<[u8]>, Errno> {
    let mut handle = [0u32; HANDLE_MAX / 4];
    handle[0] = 128;
    let mut mount = 0;
    let flags = libc::AT_EMPTY_PATH | libc::AT_HANDLE_FID;
    // SAFETY: `handle` is a file_handle with room for the 128 bytes its first word states,
    // aligned like a word; the path is a string literal with its zero.
    let result = unsafe {
        let to = handle.as_mut_ptr().cast();
        libc::name_to_handle_at(directory.as_raw_fd(), c"".as_ptr(), to, &raw mut mount, flags)
    };
    if result != 0 {
        return Err(fanotify::last_errno());
    }
    let length = 8 + (handle[0] as usize).min(128);
    let bytes = handle.iter().flat_map(|word| word.to_ne_bytes());
    Ok(bytes.take(length).collect())
}
