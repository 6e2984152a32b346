//! inotify, where filesystem marks fail: a watch per directory, and no word of who.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Kinds;
use super::tree::{Tree, Watched};

const MOVED: ReadFlags = ReadFlags::MOVED_FROM.union(ReadFlags::MOVED_TO);

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Something happened to a path, and if so to all below it.
    Path {
        /// The path.
        path: PathBuf,
        /// What.
        kinds: Kinds,
        /// Everything below may have changed as well.
        subtree: bool,
    },
    /// The kernel dropped events.
    Overflow,
}

/// Watches on directories.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
    tree: Tree<i32>,
}

impl Inotify {
    /// An inotify instance without watches.
    ///
    /// # Errors
    /// `EMFILE` when the user has too many.
    pub fn open() -> Result<Self, Errno> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { fd, tree: Tree::new() })
    }

    /// Watch `top` and every directory below it; of anything else, the directory it is in.
    /// Directories that are watched already stay so.
    pub fn watch_tree(&mut self, top: &Path) -> Watched {
        let mut watched = Watched::default();
        let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        if let Some(parent) = top.parent() {
            self.watch(parent, &mut watched);
        }
        let mut stack = if is_directory(top) { vec![top.to_owned()] } else { Vec::new() };
        while let Some(directory) = stack.pop() {
            // Watched before it is read: what appears meanwhile is seen at least once.
            self.watch(&directory, &mut watched);
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    stack.push(entry.path());
                }
            }
        }
        watched
    }

    fn watch(&mut self, directory: &Path, watched: &mut Watched) {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW
            | WatchFlags::EXCL_UNLINK;
        match inotify::add_watch(&self.fd, directory, flags) {
            Ok(watch) => {
                watched.watches += 1;
                self.tree.insert(directory, watch);
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(_) => watched.unwatched += 1,
        }
    }

    /// Forget the watches at and below `top`, which is elsewhere now.
    fn forget_tree(&mut self, top: &Path) {
        for watch in self.tree.remove_below(top) {
            // It fails where the directory is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.fd, watch);
        }
    }

    /// What is queued, at most a buffer of it; `None` when nothing is.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn read(&mut self) -> Result<Option<Vec<Event>>, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
        let mut raw = Vec::new();
        let mut reader = Reader::new(&self.fd, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    raw.push((event.wd(), event.events(), name));
                }
                Err(Errno::AGAIN) if raw.is_empty() => return Ok(None),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        Ok(Some(
            raw.into_iter()
                .filter_map(|(watch, flags, name)| self.event(watch, flags, name.as_deref()))
                .collect(),
        ))
    }

    fn event(&mut self, watch: i32, flags: ReadFlags, name: Option<&[u8]>) -> Option<Event> {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(Event::Overflow);
        }
        let directory = self.tree.path(&watch)?.clone();
        if flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
            self.tree.remove(&watch);
            return None;
        }
        let path = match name {
            Some(name) => directory.join(std::ffi::OsStr::from_bytes(name)),
            None => directory,
        };
        let own = flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF);
        let is_directory = own || flags.contains(ReadFlags::ISDIR);
        let named = ReadFlags::CREATE | ReadFlags::DELETE | MOVED;
        let subtree = own || (is_directory && flags.intersects(named));
        if flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::MOVE_SELF) && is_directory {
            self.forget_tree(&path);
        }
        if is_directory && flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            self.watch_tree(&path);
        }
        Some(Event::Path { path, kinds: kinds(flags), subtree })
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn kinds(flags: ReadFlags) -> Kinds {
    let table = [
        (ReadFlags::CREATE, Kinds::CREATE),
        (ReadFlags::DELETE | ReadFlags::DELETE_SELF, Kinds::DELETE),
        (MOVED.union(ReadFlags::MOVE_SELF), Kinds::RENAME),
        (ReadFlags::MODIFY, Kinds::MODIFY),
        (ReadFlags::CLOSE_WRITE, Kinds::WRITTEN),
        (ReadFlags::ATTRIB, Kinds::ATTRIBUTES),
    ];
    let set = table.iter().filter(|(flag, _)| flags.intersects(*flag));
    set.fold(Kinds::default(), |kinds, (_, kind)| kinds | *kind)
}
