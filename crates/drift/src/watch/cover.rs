//! Which mechanism watches which filesystem.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstatvfs, openat};
use rustix::io::Errno;

use super::fallback::Inotify;
use super::fanotify::{Group, Interest};
use super::mounts::Table;
use super::resolve::Resolver;
use super::{Coverage, Mechanism};

/// The mechanisms, and what each of them watches.
#[derive(Debug)]
pub struct Cover {
    roots: Vec<PathBuf>,
    /// The group, or what it was refused with.
    pub group: Result<Group, Errno>,
    /// Opened when the first filesystem needs it.
    pub inotify: Option<Inotify>,
    /// The mount table.
    pub table: Table,
    marked: HashMap<u64, Interest>,
    coverage: BTreeMap<PathBuf, Coverage>,
    /// The watched places of each filesystem.
    pub filesystems: HashMap<u64, Vec<PathBuf>>,
}

impl Cover {
    /// Nothing is watched before [`Self::establish`].
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub fn new(roots: Vec<PathBuf>, group: Result<Group, Errno>) -> std::io::Result<Self> {
        Ok(Self {
            roots,
            group,
            inotify: None,
            table: Table::open()?,
            marked: HashMap::new(),
            coverage: BTreeMap::new(),
            filesystems: HashMap::new(),
        })
    }

    /// Watch every filesystem that holds something of the roots, and executions wherever
    /// programs are; to be repeated when mounts change. What is new of the coverage, and
    /// how handles are resolved from now on.
    pub fn establish(&mut self) -> (Vec<Coverage>, Resolver) {
        let mut resolver = Resolver::default();
        let mut news = Vec::new();
        let mut now = BTreeMap::new();
        // A filesystem number can pass to another filesystem.
        self.marked.clear();
        self.filesystems.clear();
        for place in self.places() {
            let coverage = self.watch(&place, &mut resolver);
            if self.coverage.get(&place) != Some(&coverage) {
                news.push(coverage.clone());
            }
            now.insert(place, coverage);
        }
        self.coverage = now;
        self.watch_executions(&mut resolver);
        (news, resolver)
    }

    /// Directories that appeared while nobody looked get their inotify watches.
    pub fn renew_inotify(&mut self) {
        for coverage in self.coverage.values_mut() {
            if let (Mechanism::Inotify { watches, unwatched, .. }, Some(inotify)) =
                (&mut coverage.by, &mut self.inotify)
            {
                let watched = inotify.watch_tree(&coverage.at);
                (*watches, *unwatched) = (watched.watches, watched.unwatched);
            }
        }
    }

    fn places(&self) -> Vec<PathBuf> {
        let points = self.table.mounts.iter().map(|mount| &mount.point);
        let below = points.filter(|point| self.roots.iter().any(|root| point.starts_with(root)));
        let mut places: Vec<_> = self.roots.iter().chain(below).cloned().collect();
        places.sort();
        places.dedup();
        places
    }

    fn watch(&mut self, place: &Path, resolver: &mut Resolver) -> Coverage {
        let mount = self.table.of(place);
        let kind = mount.map(|mount| mount.kind.clone()).unwrap_or_default();
        let view = mount.is_some_and(super::mounts::Mount::is_view);
        let by = if view {
            Mechanism::Polled { why: Errno::OPNOTSUPP }
        } else {
            match self.mark(place, Interest::ChangesAndExecutions, resolver) {
                Ok(rung) => Mechanism::Fanotify(rung),
                Err(why) => self.fall_back(place, why),
            }
        };
        Coverage { at: place.to_owned(), kind, by }
    }

    fn mark(
        &mut self,
        place: &Path,
        interest: Interest,
        resolver: &mut Resolver,
    ) -> Result<super::fanotify::Rung, Errno> {
        let (directory, fd) = open_directory(place)?;
        let filesystem = fstatvfs(&fd)?.f_fsid;
        if interest == Interest::ChangesAndExecutions {
            self.filesystems.entry(filesystem).or_default().push(place.to_owned());
        }
        let group = self.group.as_ref().map_err(|error| *error)?;
        let known = self.marked.get(&filesystem);
        if known != Some(&Interest::ChangesAndExecutions) && known != Some(&interest) {
            use std::os::fd::AsFd;
            group.mark_filesystem(fd.as_fd(), interest)?;
            self.marked.insert(filesystem, interest);
        }
        resolver.add(filesystem, directory);
        Ok(group.rung())
    }

    fn fall_back(&mut self, place: &Path, why: Errno) -> Mechanism {
        if self.inotify.is_none() {
            self.inotify = Inotify::open().ok();
        }
        let Some(inotify) = &mut self.inotify else { return Mechanism::Polled { why } };
        let watched = inotify.watch_tree(place);
        if watched.watches == 0 {
            return Mechanism::Polled { why };
        }
        Mechanism::Inotify { watches: watched.watches, unwatched: watched.unwatched, why }
    }

    /// Executions are worth having where they can be had; a program on a filesystem
    /// without marks is known only while it runs.
    fn watch_executions(&mut self, resolver: &mut Resolver) {
        let mounts = self.table.mounts.iter();
        let programs =
            mounts.filter(|mount| mount.executable && !mount.is_view() && !mount.is_remote());
        let points: Vec<_> = programs.map(|mount| mount.point.clone()).collect();
        for point in points {
            if !self.coverage.contains_key(&point) {
                let _ = self.mark(&point, Interest::Executions, resolver);
            }
        }
    }
}

/// `place`, or the directory it is in.
fn open_directory(place: &Path) -> Result<(PathBuf, rustix::fd::OwnedFd), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = |path: &Path| openat(CWD, path, flags, Mode::empty());
    match (open(place), place.parent()) {
        (Ok(fd), _) => Ok((place.to_owned(), fd)),
        (Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT), Some(parent)) => {
            Ok((parent.to_owned(), open(parent)?))
        }
        (Err(error), _) => Err(error),
    }
}
