//! Reads all that is queued, in an order in which it can be understood.

use std::io;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Report;
use super::debounce::Chain;
use super::debt::Lost;
use super::fallback;
use super::fanotify::records;
use super::watcher::Watcher;

/// Buffers read before paths at rest are looked at again.
const READS_MAX: usize = 64;

impl Watcher {
    pub(super) fn read_events(&mut self) -> io::Result<()> {
        let began = SystemTime::now();
        self.read_mounts()?;
        let mut caught_up = self.read_groups()?;
        caught_up &= self.read_inotify()?;
        self.ignore_hot();
        if !caught_up {
            return Ok(());
        }
        // Only now is it known what a scan must make up for.
        let cover = &self.cover;
        self.queue.push_debts(&mut self.intake.debt, |filesystem| {
            cover.filesystems.get(&filesystem).unwrap_or(&self.options.roots).clone()
        });
        self.intake.caught_up = began;
        Ok(())
    }

    /// Who executed what is in queues of its own where files cannot be found by handle, and
    /// so are changes there. They are followed up when every execution that came before
    /// them is known: changes taken first, then executions, then changes followed up.
    fn read_groups(&mut self) -> io::Result<bool> {
        let mut caught_up = true;
        for directories in self.cover.directories.values_mut() {
            caught_up &= !directories.fill()?;
        }
        caught_up &= self.read_group()?;
        let Self { cover, intake, .. } = self;
        for directories in cover.directories.values_mut() {
            directories.follow_up(intake, Instant::now());
        }
        Ok(caught_up)
    }

    /// Whether nothing is left to read.
    fn read_group(&mut self) -> io::Result<bool> {
        let Self { cover, intake, buffer, .. } = self;
        for _ in 0..READS_MAX {
            let now = Instant::now();
            let length = match &cover.group {
                Ok(group) => group.read(buffer)?,
                Err(_) => 0,
            };
            intake.executions.read_forks(now);
            if let Some(programs) = &cover.programs {
                programs.read(|process, file| {
                    let point = cover.table.of(&file).map(|mount| mount.point.as_path());
                    let inside = point.and_then(|point| file.strip_prefix(point).ok());
                    let inside = inside.unwrap_or(&file).to_owned();
                    intake.executions.on_exec_inside(process, &file, inside, now);
                })?;
            }
            if length == 0 {
                return Ok(true);
            }
            let mut lost = false;
            records(&buffer[..length], |record| match record {
                Ok((record, ..)) if record.mask & libc::FAN_Q_OVERFLOW != 0 => lost = true,
                Ok((record, process, _)) => intake.on_record(&record, &process, now),
                Err(_) => lost = true,
            });
            if lost {
                for filesystem in cover.filesystems.keys() {
                    intake.debt.incur(*filesystem, intake.caught_up, Lost::Unknown, None);
                }
            }
        }
        Ok(false)
    }

    /// Whether nothing is left to read.
    fn read_inotify(&mut self) -> io::Result<bool> {
        let Self { cover, intake, .. } = self;
        let Some(mut inotify) = cover.inotify.take() else { return Ok(true) };
        let mut read = || {
            for _ in 0..READS_MAX {
                let Some(events) = inotify.read()? else { return Ok(true) };
                let now = Instant::now();
                for event in events {
                    match event {
                        fallback::Event::Overflow => {
                            for filesystem in cover.filesystems.keys() {
                                let since = intake.caught_up;
                                intake.debt.incur(*filesystem, since, Lost::Unknown, None);
                            }
                        }
                        fallback::Event::Path { path, kinds, subtree } => {
                            let event = Chain::new(now, kinds, subtree, None);
                            intake.on_path(cover.filesystem_of(&path), &path, event);
                        }
                    }
                }
            }
            Ok(false)
        };
        let result = read();
        cover.inotify = Some(inotify);
        result
    }

    fn read_mounts(&mut self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.cover.table, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut fds, Some(&now))? == 0 {
            return Ok(());
        }
        let changed = self.cover.table.refresh()?;
        if changed.is_empty() {
            return Ok(());
        }
        // A directory that was ignored may be mounted into what is watched.
        self.intake.hot.forget_all();
        self.ignore_hot();
        let (news, resolver) = self.cover.establish();
        self.intake.resolver = resolver;
        self.reports.extend(news.into_iter().map(Report::Coverage));
        for point in changed {
            let roots = self.options.roots.iter();
            let tops: Vec<PathBuf> = if roots.clone().any(|root| point.starts_with(root)) {
                vec![point]
            } else {
                roots.filter(|root| root.starts_with(&point)).cloned().collect()
            };
            self.queue.push_mount(tops);
        }
        Ok(())
    }

    fn ignore_hot(&mut self) {
        let decision = self.intake.hot.decide();
        let Ok(group) = &self.cover.group else { return };
        if decision.forget {
            let _ = group.ignore_nothing();
        }
        for directory in decision.ignore {
            match self.cover.ignore(&directory) {
                Ok(()) => self.intake.hot.succeeded(directory),
                Err(Errno::INVAL) => self.intake.hot.disable(),
                // It is gone, or cannot be marked: it costs what it costs.
                Err(_) => {}
            }
        }
    }
}
