//! All paths of a tree, walked relative to open directories.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, openat, openat2, statat,
};
use rustix::io::Errno;
use umbra_api::blob::Blob;

use super::context::Context;
use super::entry::{link, listed, open_quietly, real_path, refused, silent, unreadable};
use super::globs::Globs;
use super::place::Place;
use super::secret::Secrecy;
use crate::config::Attribute;
use crate::file::{Reason, is_view, locate};
use crate::reading::Reading;

/// Deeper directories are not walked; each takes a descriptor while it is.
pub const DEPTH_MAX: usize = 128;
/// More paths than this are no configuration.
pub const ENTRIES_MAX: usize = 1_000_000;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Paths with their readings.
pub(super) type Found = Vec<(Vec<u8>, Reading)>;

/// A tree, and what was last there.
#[derive(Debug)]
pub(super) struct Tree {
    globs: Globs,
    /// Where the bases really lie, in the same order: links on the way to them are followed.
    real: Vec<PathBuf>,
    known: BTreeMap<Box<[u8]>, Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Whether it belongs to the tree, and not only lies on the way.
    member: bool,
    /// Device and inode of a directory.
    directory: Option<(u64, u64)>,
}

impl Tree {
    pub(super) fn new(globs: Globs) -> Self {
        Self { real: globs.bases.clone(), globs, known: BTreeMap::new() }
    }

    /// Where it really begins, once it has been read.
    pub(super) fn bases(&self) -> &[PathBuf] {
        &self.real
    }

    /// Everything. A base that is missing is said to be.
    pub(super) fn all(&mut self, context: &mut Context, secrecy: &Secrecy) -> Found {
        self.known.clear();
        self.real = self.globs.bases.iter().map(|base| real(context, base)).collect();
        let mut found = Found::new();
        for base in self.globs.bases.clone() {
            let mut walk = Walk { tree: self, context, secrecy, found: &mut found };
            if !walk.top(&base) {
                found.push((bytes(&base).to_vec(), Reading::Absent));
            }
        }
        found
    }

    /// What is or was at `path`, and below it where that is another directory than it was.
    pub(super) fn path(&mut self, context: &mut Context, secrecy: &Secrecy, path: &Path) -> Found {
        let mut found = self.named(context, secrecy, path);
        let bases = self.globs.bases.iter().zip(&self.real).filter(|(base, real)| base != real);
        let elsewhere: Vec<PathBuf> = bases
            .filter_map(|(base, real)| match path.strip_prefix(real) {
                Ok(below) if below.as_os_str().is_empty() => Some(base.clone()),
                Ok(below) => Some(base.join(below)),
                Err(_) => real.starts_with(path).then(|| base.clone()),
            })
            .collect();
        for path in elsewhere {
            found.extend(self.named(context, secrecy, &path));
        }
        found
    }

    /// The same for a path below a base as it is named.
    fn named(&mut self, context: &mut Context, secrecy: &Secrecy, path: &Path) -> Found {
        let below: Vec<PathBuf> =
            self.globs.bases.iter().filter(|base| base.starts_with(path)).cloned().collect();
        let mut found = Found::new();
        if below.is_empty() {
            if self.globs.reach(path) {
                self.look_again(context, secrecy, path, &mut found);
            }
        } else {
            // A base itself, or a directory on the way to it.
            below.iter().for_each(|base| self.look_again(context, secrecy, base, &mut found));
        }
        found
    }

    fn look_again(
        &mut self,
        context: &mut Context,
        secrecy: &Secrecy,
        path: &Path,
        found: &mut Found,
    ) {
        let before = self.known.get(bytes(path)).copied();
        let same = before.is_some_and(|known| {
            known.directory.is_some() && known.directory == identity(context, &self.globs, path)
        });
        if same {
            let mut walk = Walk { tree: self, context, secrecy, found };
            walk.only(path);
            return;
        }
        let gone = self.forget(path);
        let already = found.len();
        let mut walk = Walk { tree: self, context, secrecy, found };
        let there = walk.top(path);
        if !there && self.globs.matches(path) {
            found.push((bytes(path).to_vec(), Reading::Absent));
        }
        let new: std::collections::BTreeSet<Vec<u8>> =
            found.iter().skip(already).map(|(path, _)| path.clone()).collect();
        let gone = gone.into_iter().filter(|path| !new.contains(path));
        found.extend(gone.map(|path| (path, Reading::Absent)));
    }

    /// The members that were known at `top` and below it.
    fn forget(&mut self, top: &Path) -> Vec<Vec<u8>> {
        let top = bytes(top);
        let (first, last) = below(top);
        let range = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
        let mut paths: Vec<Box<[u8]>> =
            self.known.range::<[u8], _>(range).map(|(path, _)| path.clone()).collect();
        paths.push(top.into());
        let mut members = Vec::new();
        for path in paths {
            if self.known.remove(&path).is_some_and(|known| known.member) {
                members.push(path.into_vec());
            }
        }
        members
    }
}

/// The bounds of what lies below a directory: '0' is the byte after '/'.
pub(super) fn below(top: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let top = top.strip_suffix(b"/").unwrap_or(top);
    ([top, b"/"].concat(), [top, b"0"].concat())
}

/// Where a path really lies; of what is missing its directory at least.
fn real(context: &Context, path: &Path) -> PathBuf {
    let place = &context.place;
    let at = |path: &Path| locate(place.root(), path).ok()?.and_then(|it| real_path(place, &it));
    let in_parent = || Some(at(path.parent()?)?.join(path.file_name()?));
    at(path).or_else(in_parent).unwrap_or_else(|| path.to_owned())
}

fn identity(context: &Context, globs: &Globs, path: &Path) -> Option<(u64, u64)> {
    let stat = look(context, globs, path).ok()?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    directory.then_some((stat.st_dev, stat.st_ino))
}

/// What is at the path itself.
fn look(context: &Context, globs: &Globs, path: &Path) -> Result<Stat, Reason> {
    let Some(name) = path.file_name() else {
        return fstat(context.place.root()).map_err(Reason::Refused);
    };
    let parent = parent(&context.place, globs, path)?;
    statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(Reason::Refused)
}

/// The directory a path lies in. Links lead to a base; behind one below it lies nothing of the
/// tree.
fn parent(place: &Place, globs: &Globs, path: &Path) -> Result<OwnedFd, Reason> {
    let missing = Reason::Refused(Errno::NOENT);
    let above = path.parent().unwrap_or(Path::new("/"));
    let Some(base) = globs.bases.iter().find(|base| above.starts_with(base)) else {
        return locate(place.root(), above)?.ok_or(missing);
    };
    let found = locate(place.root(), base)?.ok_or(missing)?;
    let below = above.strip_prefix(base).unwrap_or(Path::new(""));
    if below.as_os_str().is_empty() {
        return Ok(found);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(&found, below, flags, Mode::empty(), resolve).map_err(|error| match error {
        Errno::LOOP => Reason::Refused(Errno::NOENT),
        error => Reason::Refused(error),
    })
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// One look at a part of a tree.
struct Walk<'a> {
    tree: &'a mut Tree,
    context: &'a mut Context,
    secrecy: &'a Secrecy,
    found: &'a mut Found,
}

/// A directory that is being walked.
struct Open {
    fd: OwnedFd,
    device: u64,
    /// How much of the path is its own.
    length: usize,
    /// Its directories that are still to be walked.
    waiting: Vec<Box<[u8]>>,
}

impl Walk<'_> {
    /// Walks `top`; false if nothing is there.
    fn top(&mut self, top: &Path) -> bool {
        let stat = match look(self.context, &self.tree.globs, top) {
            Ok(stat) => stat,
            Err(Reason::Refused(Errno::NOENT | Errno::NOTDIR)) => return false,
            Err(reason) => {
                self.push(bytes(top), None, unreadable(&reason));
                return true;
            }
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory || kind == FileType::Symlink && self.leads_on(top) {
            self.directories(top);
        } else {
            self.single(top, kind);
        }
        true
    }

    /// Whether this is a base that is a link to a directory. No other link is followed.
    fn leads_on(&self, top: &Path) -> bool {
        let found = || locate(self.context.place.root(), top).ok().flatten();
        self.tree.globs.bases.iter().any(|base| base == top)
            && found()
                .and_then(|found| fstat(&found).ok())
                .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// The path itself, and nothing below it.
    fn only(&mut self, path: &Path) {
        if !self.tree.globs.matches(path) {
            return;
        }
        let reading = match self.open_top(path) {
            Ok(fd) => match fstat(&fd) {
                Ok(stat) => silent(&fd, &stat, false),
                Err(error) => refused(error),
            },
            Err(Reason::Refused(error)) => refused(error),
            Err(reason) => unreadable(&reason),
        };
        self.found.push((bytes(path).to_vec(), reading));
    }

    fn single(&mut self, path: &Path, kind: FileType) {
        let (Some(name), true) = (path.file_name(), self.tree.globs.matches(path)) else { return };
        match parent(&self.context.place, &self.tree.globs, path) {
            Ok(parent) => self.leaf(&parent, name.as_bytes(), kind, bytes(path)),
            Err(Reason::Refused(error)) => self.push(bytes(path), None, refused(error)),
            Err(reason) => self.push(bytes(path), None, unreadable(&reason)),
        }
    }

    fn open_top(&self, top: &Path) -> Result<OwnedFd, Reason> {
        let Some(name) = top.file_name() else {
            return openat(self.context.place.root(), ".", DIRECTORY, Mode::empty())
                .map_err(Reason::Refused);
        };
        if self.leads_on(top) {
            let found = locate(self.context.place.root(), top)?;
            let found = found.ok_or(Reason::Refused(Errno::NOENT))?;
            return open_quietly(found.as_fd(), b".", DIRECTORY).map_err(Reason::Refused);
        }
        let parent = parent(&self.context.place, &self.tree.globs, top)?;
        open_quietly(parent.as_fd(), name.as_bytes(), DIRECTORY).map_err(Reason::Refused)
    }

    fn directories(&mut self, top: &Path) {
        let mut path = bytes(top).to_vec();
        let first = match self.open_top(top) {
            Ok(fd) => fd,
            Err(reason) => return self.push(&path, None, unreadable(&reason)),
        };
        let mut listing = vec![MaybeUninit::uninit(); 32 << 10];
        let mut stack = Vec::new();
        let own = self.found.len();
        stack.extend(self.enter(first, None, &mut path, 0, &mut listing));
        // A base that is a link is what it leads to, and says that it is one.
        if let Some(target) = link(&self.context.place, top)
            && let Some((at, Reading::Present(value))) = self.found.get_mut(own)
            && at == bytes(top)
        {
            value.attributes.insert(Attribute::Link, Blob(target));
        }
        while let Some(open) = stack.last_mut() {
            path.truncate(open.length);
            let Some(name) = open.waiting.pop() else {
                stack.pop();
                continue;
            };
            push_name(&mut path, &name);
            let below = Path::new(OsStr::from_bytes(&path));
            if self.tree.globs.prunes(below) && !self.tree.globs.matches(below) {
                continue;
            }
            let (fd, device) = (open_quietly(open.fd.as_fd(), &name, DIRECTORY), open.device);
            match fd {
                Ok(fd) => {
                    let depth = stack.len();
                    stack.extend(self.enter(fd, Some(device), &mut path, depth, &mut listing));
                }
                Err(Errno::NOENT) => {}
                // It was a directory when it was listed.
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    self.push(&path, None, unreadable(&Reason::Changing));
                }
                Err(error) => self.push(&path, None, unreadable(&Reason::Refused(error))),
            }
        }
    }

    /// Reads a directory itself and all in it that is none.
    fn enter(
        &mut self,
        fd: OwnedFd,
        above: Option<u64>,
        path: &mut Vec<u8>,
        depth: usize,
        listing: &mut [MaybeUninit<u8>],
    ) -> Option<Open> {
        let stat = match fstat(&fd) {
            Ok(stat) => stat,
            Err(error) => {
                self.push(path, None, unreadable(&Reason::Refused(error)));
                return None;
            }
        };
        let identity = Some((stat.st_dev, stat.st_ino));
        let here = Path::new(OsStr::from_bytes(path));
        if depth >= DEPTH_MAX {
            let why = format!("it lies more than {DEPTH_MAX} directories deep");
            self.push(path, identity, Reading::Unreadable { why });
            return None;
        }
        let pruned = self.tree.globs.prunes(here);
        if self.tree.globs.matches(here) {
            self.push(path, identity, silent(&fd, &stat, false));
        } else if !pruned {
            self.tree
                .known
                .insert(path.as_slice().into(), Known { member: false, directory: identity });
        }
        // Such a directory itself belongs to the tree, what is below does not.
        let device = stat.st_dev;
        if pruned || above.is_some_and(|above| above != device && is_view(&fd)) {
            return None;
        }
        let length = path.len();
        let mut waiting = Vec::new();
        let mut entries = RawDir::new(&fd, listing);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let reading = unreadable(&Reason::Refused(error));
                    path.truncate(length);
                    self.push(path, identity, reading);
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            path.truncate(length);
            push_name(path, name);
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                },
                kind => kind,
            };
            if kind == FileType::Directory {
                waiting.push(name.into());
            } else if self.tree.globs.matches(Path::new(OsStr::from_bytes(path))) {
                self.leaf(&fd, name, kind, path);
            }
        }
        path.truncate(length);
        Some(Open { fd, device, length, waiting })
    }

    fn leaf(&mut self, directory: &OwnedFd, name: &[u8], kind: FileType, path: &[u8]) {
        if self.tree.known.len() > ENTRIES_MAX {
            return;
        }
        let hidden = self.secrecy.hides(Path::new(OsStr::from_bytes(path)));
        let keep = (!hidden && self.context.may_keep()).then_some(self.secrecy);
        let reading = listed(&mut self.context.reader, directory.as_fd(), name, kind, keep);
        self.context.kept(&reading);
        // It went after it was listed.
        if reading != Reading::Absent {
            self.push(path, None, reading);
        }
    }

    fn push(&mut self, path: &[u8], directory: Option<(u64, u64)>, reading: Reading) {
        if self.tree.known.len() == ENTRIES_MAX {
            let why = format!("the tree has more than {ENTRIES_MAX} paths");
            self.found.push((path.to_vec(), Reading::Unreadable { why }));
        } else if self.tree.known.len() < ENTRIES_MAX {
            self.found.push((path.to_vec(), reading));
        }
        self.tree.known.insert(path.into(), Known { member: true, directory });
    }
}

fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
