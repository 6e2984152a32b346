//! Which mechanism watches which filesystem.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatvfs, openat, openat2};
use rustix::io::Errno;

use super::directories::Directories;
use super::fallback::Inotify;
use super::fanotify::{Group, Interest, Rung};
use super::mounts::Table;
use super::programs::Programs;
use super::resolve::Resolver;
use super::tree::Watched;
use super::{Coverage, Mechanism};

/// The mechanisms, and what each of them watches.
#[derive(Debug)]
pub struct Cover {
    roots: Vec<PathBuf>,
    unlimited: bool,
    /// The group, or what it was refused with.
    pub group: Result<Group, Errno>,
    /// Executions where the group cannot be; opened when it is needed first.
    pub programs: Option<Programs>,
    /// A mark per directory, by place.
    pub directories: BTreeMap<PathBuf, Directories>,
    /// Opened when the first filesystem needs it.
    pub inotify: Option<Inotify>,
    /// The mount table.
    pub table: Table,
    marked: HashMap<u64, Interest>,
    coverage: BTreeMap<PathBuf, Coverage>,
    barred: Arc<HashSet<PathBuf>>,
    /// The watched places of each filesystem.
    pub filesystems: HashMap<u64, Vec<PathBuf>>,
}

impl Cover {
    /// Nothing is watched before [`Self::establish`].
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub fn new(
        roots: Vec<PathBuf>,
        group: Result<Group, Errno>,
        unlimited: bool,
    ) -> std::io::Result<Self> {
        Ok(Self {
            roots,
            unlimited,
            group,
            programs: None,
            directories: BTreeMap::new(),
            inotify: None,
            table: Table::open()?,
            marked: HashMap::new(),
            coverage: BTreeMap::new(),
            barred: Arc::default(),
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
        let places = self.places();
        self.directories.retain(|place, _| places.contains(place));
        for place in places {
            let coverage = self.watch(&place, &mut resolver);
            if self.coverage.get(&place) != Some(&coverage) {
                news.push(coverage.clone());
            }
            now.insert(place, coverage);
        }
        self.coverage = now;
        self.watch_executions(&mut resolver);
        let views = self.table.mounts.iter().filter(|mount| mount.is_view());
        self.barred = Arc::new(views.map(|mount| mount.point.clone()).collect());
        (news, resolver)
    }

    /// Directories that appeared while nobody looked get their watches.
    pub fn renew(&mut self) {
        for coverage in self.coverage.values_mut() {
            let watched = match &coverage.by {
                Mechanism::Inotify { .. } => {
                    self.inotify.as_mut().map(|inotify| inotify.watch_tree(&coverage.at))
                }
                Mechanism::Directories { .. } => {
                    let directories = self.directories.get_mut(&coverage.at);
                    directories.and_then(|directories| directories.watch().ok())
                }
                Mechanism::Fanotify(_) | Mechanism::Polled { .. } => None,
            };
            if let Some(now) = watched
                && let Mechanism::Inotify { watches, unwatched, .. }
                | Mechanism::Directories { watches, unwatched, .. } = &mut coverage.by
            {
                (*watches, *unwatched) = (now.watches, now.unwatched);
            }
        }
    }

    /// Every queue that can wake the watcher.
    pub fn queues(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let group = self.group.as_ref().ok().map(AsFd::as_fd);
        let programs = self.programs.as_ref().map(AsFd::as_fd);
        let inotify = self.inotify.as_ref().map(AsFd::as_fd);
        let directories = self.directories.values().map(AsFd::as_fd);
        group.into_iter().chain(programs).chain(inotify).chain(directories)
    }

    /// The filesystem that a watched `path` lies on; 0 if that is not known.
    pub fn filesystem_of(&self, path: &Path) -> u64 {
        let places = self.filesystems.iter().flat_map(|(filesystem, places)| {
            places.iter().filter(|place| path.starts_with(place)).map(|place| (*filesystem, place))
        });
        let deepest = places.max_by_key(|(_, place)| place.as_os_str().len());
        deepest.map_or(0, |(filesystem, _)| filesystem)
    }

    /// Mounts that scans do not look into.
    pub fn barred(&self) -> Arc<HashSet<PathBuf>> {
        Arc::clone(&self.barred)
    }

    /// Ignore what files do in `directory`.
    ///
    /// # Errors
    /// `EINVAL` where the kernel cannot, else what opening it fails with.
    pub fn ignore(&self, directory: &Path) -> Result<(), Errno> {
        let group = self.group.as_ref().map_err(|error| *error)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A link on the way could lead to what is watched.
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = openat2(CWD, directory, flags, Mode::empty(), resolve)?;
        group.ignore(fd.as_fd())
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
                Ok(rung) => {
                    self.directories.remove(place);
                    Mechanism::Fanotify(rung)
                }
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
    ) -> Result<Rung, Errno> {
        let (directory, fd) = open_directory(place)?;
        let filesystem = fstatvfs(&fd)?.f_fsid;
        if interest == Interest::ChangesAndExecutions {
            self.filesystems.entry(filesystem).or_default().push(place.to_owned());
        }
        let group = self.group.as_ref().map_err(|error| *error)?;
        let known = self.marked.get(&filesystem);
        if known != Some(&Interest::ChangesAndExecutions) && known != Some(&interest) {
            group.mark_filesystem(fd.as_fd(), interest)?;
            self.marked.insert(filesystem, interest);
        }
        let rung = group.rung();
        let (mount, stable) = self.stable(filesystem, directory);
        resolver.add(filesystem, mount, stable);
        Ok(rung)
    }

    /// The mount that `directory` lies on, and a directory of it that cannot be renamed: its
    /// point, unless something else is mounted there too.
    fn stable(&self, filesystem: u64, directory: PathBuf) -> (u64, PathBuf) {
        let Some(mount) = self.table.of(&directory) else { return (0, directory) };
        let point = open_directory(&mount.point).and_then(|(point, fd)| Ok((point, fstatvfs(fd)?)));
        match point {
            Ok((point, status)) if status.f_fsid == filesystem => (mount.id, point),
            _ => (mount.id, directory),
        }
    }

    fn fall_back(&mut self, place: &Path, why: Errno) -> Mechanism {
        if self.group.is_ok()
            && matches!(why, Errno::OPNOTSUPP | Errno::XDEV | Errno::NODEV)
            && let Ok((rung, watched)) = self.mark_directories(place)
        {
            let Watched { watches, unwatched } = watched;
            return Mechanism::Directories { rung, watches, unwatched, why };
        }
        self.directories.remove(place);
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

    fn mark_directories(&mut self, place: &Path) -> Result<(Rung, Watched), Errno> {
        let (_, fd) = open_directory(place)?;
        let filesystem = fstatvfs(&fd)?.f_fsid;
        let known = self.directories.remove(place).filter(|known| known.is_of(place, filesystem));
        let mut directories = match known {
            Some(known) => known,
            None => Directories::open(place, filesystem, self.unlimited)?,
        };
        let watched = directories.watch()?;
        let rung = directories.rung();
        self.directories.insert(place.to_owned(), directories);
        self.mark_programs(place);
        Ok((rung, watched))
    }

    /// Executions are worth having where they can be had; a program on a filesystem
    /// without marks is known only while it runs.
    fn watch_executions(&mut self, resolver: &mut Resolver) {
        let mounts = self.table.mounts.iter();
        let programs =
            mounts.filter(|mount| mount.executable && !mount.is_view() && !mount.is_remote());
        let points: Vec<_> = programs.map(|mount| mount.point.clone()).collect();
        for point in points {
            if !self.coverage.contains_key(&point)
                && self.group.is_ok()
                && self.mark(&point, Interest::Executions, resolver).is_err()
            {
                self.mark_programs(&point);
            }
        }
        if let Some(programs) = &mut self.programs {
            programs.keep(&self.table.mounts.iter().map(|mount| mount.id).collect());
        }
    }

    /// Not having them is no more than not knowing who.
    fn mark_programs(&mut self, place: &Path) {
        let Ok((directory, fd)) = open_directory(place) else { return };
        let Some(mount) = self.table.of(&directory).map(|mount| mount.id) else { return };
        if self.programs.is_none() {
            self.programs = Programs::open(self.unlimited).ok();
        }
        if let Some(programs) = &mut self.programs {
            let _ = programs.mark(mount, fd.as_fd());
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
