//! The watcher: one blocking call behind which everything else of this module works.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::cover::Cover;
use super::debounce::{Chain, Debounce};
use super::debt::{Debt, Lost, Mode, Owed};
use super::fallback;
use super::fanotify::Group;
use super::intake::Intake;
use super::scan::{Found, Scan};
use super::stamp::{Memory, Stamp};
use super::who::Executions;
use super::{Change, Kinds, Report, Seen, What};

/// Buffers read before paths at rest are looked at again.
const READS_MAX: usize = 16;
/// Directories looked into before events are read again.
const STEPS: usize = 64;

/// What to watch, and how patiently.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files, and directories with all below them; absolute.
    pub roots: Vec<PathBuf>,
    /// A path rests after this long without events.
    pub quiet: Duration,
    /// A path that never rests is looked at this long after its first event.
    pub longest: Duration,
    /// Paths at unrest beyond which events are not followed up singly but scanned for.
    pub backlog_max: usize,
    /// Compare everything with what is remembered this often: events are verified, not
    /// trusted (writes through memory maps and through other hard links are found so).
    pub verify_every: Option<Duration>,
    /// Let the kernel's queue grow without a bound.
    pub unlimited_queue: bool,
}

impl Options {
    /// The usual patience for `roots`.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self {
            roots,
            quiet: Duration::from_millis(50),
            longest: Duration::from_secs(1),
            backlog_max: 100_000,
            verify_every: Some(Duration::from_secs(30)),
            unlimited_queue: true,
        }
    }
}

/// Watches files; see the module.
#[derive(Debug)]
pub struct Watcher {
    options: Options,
    cover: Cover,
    intake: Intake,
    memory: Memory,
    reports: VecDeque<Report>,
    jobs: VecDeque<Job>,
    running: Option<(Reason, Scan)>,
    generation: u64,
    verify_at: Option<Instant>,
    /// The last complete look before the newest one.
    verified_before: Option<SystemTime>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Job {
    reason: Reason,
    tops: Vec<PathBuf>,
}

/// Why a scan is made.
#[derive(Debug)]
enum Reason {
    /// Nothing had been watched until now.
    Start,
    Debt(u64, Owed),
    Verify,
    /// A directory came, went or was renamed.
    Subtree(Chain),
    Mount,
}

impl Watcher {
    /// Watch, and first compare with `memory`: what changed since it was complete is
    /// reported. An empty memory is filled without reports.
    ///
    /// # Errors
    /// Where `/proc` is not mounted, or a root has no parent directory.
    pub fn start(mut options: Options, memory: Memory) -> io::Result<Self> {
        options.roots = options.roots.iter().map(|root| real(root)).collect::<Result<_, _>>()?;
        let group = Group::open(options.unlimited_queue);
        let mut cover = Cover::new(options.roots.clone(), group)?;
        let (coverage, resolver) = cover.establish();
        let now = Instant::now();
        let intake = Intake {
            roots: options.roots.clone(),
            resolver,
            // After the marks: whoever executes meanwhile is in one of the two.
            executions: Executions::seeded(now),
            debounce: Debounce::new(options.quiet, options.longest),
            debt: Debt::default(),
            backlog_max: options.backlog_max,
            caught_up: SystemTime::now(),
        };
        let start = Job { reason: Reason::Start, tops: options.roots.clone() };
        let generation = memory.newest_generation();
        Ok(Self {
            verify_at: options.verify_every.map(|every| now + every),
            verified_before: memory.complete,
            options,
            cover,
            intake,
            memory,
            reports: coverage.into_iter().map(Report::Coverage).collect(),
            jobs: [start].into(),
            running: None,
            generation,
            buffer: Group::buffer(),
        })
    }

    /// The next report; `None` if there is none within `timeout`.
    ///
    /// # Errors
    /// What the kernel's queues fail with.
    pub fn next(&mut self, timeout: Duration) -> io::Result<Option<Report>> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Ok(Some(report));
            }
            self.read_events()?;
            let now = Instant::now();
            for (path, chain) in self.intake.debounce.settled(now) {
                self.evaluate(path, chain);
            }
            if self.verify_at.is_some_and(|at| at <= now) && !self.scans() {
                self.verify_at = self.options.verify_every.map(|every| now + every);
                self.cover.renew_inotify();
                let tops = self.options.roots.clone();
                self.jobs.push_back(Job { reason: Reason::Verify, tops });
            }
            self.scan_some();
            if !self.reports.is_empty() {
                continue;
            }
            if now >= until {
                return Ok(None);
            }
            if !self.scans() {
                self.wait(until)?;
            }
        }
    }

    /// What is remembered, to be handed to [`Self::start`] next time.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn scans(&self) -> bool {
        self.running.is_some() || !self.jobs.is_empty()
    }

    fn wait(&self, until: Instant) -> io::Result<()> {
        let deadlines = [self.intake.debounce.next_deadline(), self.verify_at];
        let until = deadlines.into_iter().flatten().fold(until, Instant::min);
        let wait = until.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        let mut fds = vec![PollFd::new(&self.cover.table, PollFlags::PRI)];
        if let Ok(group) = &self.cover.group {
            fds.push(PollFd::new(group, PollFlags::IN));
        }
        if let Some(inotify) = &self.cover.inotify {
            fds.push(PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_events(&mut self) -> io::Result<()> {
        let began = SystemTime::now();
        self.read_mounts()?;
        let caught_up = self.read_group()? & self.read_inotify()?;
        if !caught_up {
            return Ok(());
        }
        // Only now is it known what a scan must make up for.
        for (filesystem, owed) in self.intake.debt.take() {
            let known = self.cover.filesystems.get(&filesystem);
            let tops = known.unwrap_or(&self.options.roots).clone();
            self.jobs.push_back(Job { reason: Reason::Debt(filesystem, owed), tops });
        }
        self.intake.caught_up = began;
        Ok(())
    }

    /// Whether nothing is left to read.
    fn read_group(&mut self) -> io::Result<bool> {
        let Self { cover, intake, buffer, .. } = self;
        let Ok(group) = &cover.group else { return Ok(true) };
        for _ in 0..READS_MAX {
            let now = Instant::now();
            let mut lost = false;
            let more = group.read(buffer, |record| match record {
                Ok((record, _)) if record.mask & libc::FAN_Q_OVERFLOW != 0 => lost = true,
                Ok((record, process)) => intake.on_record(&record, &process, now),
                Err(_) => lost = true,
            })?;
            if lost {
                for filesystem in cover.filesystems.keys() {
                    intake.debt.incur(*filesystem, intake.caught_up, Lost::Unknown, None);
                }
            }
            if !more {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nothing is left to read.
    fn read_inotify(&mut self) -> io::Result<bool> {
        let Self { cover, intake, .. } = self;
        let Some(inotify) = &mut cover.inotify else { return Ok(true) };
        for _ in 0..READS_MAX {
            let Some(events) = inotify.read()? else { return Ok(true) };
            let now = Instant::now();
            for event in events {
                match event {
                    fallback::Event::Overflow => {
                        for filesystem in cover.filesystems.keys() {
                            intake.debt.incur(*filesystem, intake.caught_up, Lost::Unknown, None);
                        }
                    }
                    fallback::Event::Path { path, kinds, subtree } => {
                        let under =
                            |places: &[PathBuf]| places.iter().any(|place| path.starts_with(place));
                        let mut all = cover.filesystems.iter();
                        let filesystem = all.find(|(_, places)| under(places));
                        let filesystem = filesystem.map_or(0, |(filesystem, _)| *filesystem);
                        let event = Chain::new(now, kinds, subtree, None);
                        intake.on_path(filesystem, &path, event);
                    }
                }
            }
        }
        Ok(false)
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
        let (news, resolver) = self.cover.establish();
        self.intake.resolver = resolver;
        self.reports.extend(news.into_iter().map(Report::Coverage));
        for point in changed {
            let roots = self.options.roots.iter();
            let tops: Vec<_> = if roots.clone().any(|root| point.starts_with(root)) {
                vec![point]
            } else {
                roots.filter(|root| root.starts_with(&point)).cloned().collect()
            };
            if !tops.is_empty() {
                self.jobs.push_back(Job { reason: Reason::Mount, tops });
            }
        }
        Ok(())
    }

    /// A path came to rest: what is it now?
    fn evaluate(&mut self, path: PathBuf, chain: Chain) {
        if chain.subtree {
            let reason = Reason::Subtree(chain.clone());
            self.jobs.push_back(Job { reason, tops: vec![path.clone()] });
        }
        let stamp = Stamp::of(CWD, &path).ok();
        let what = match (self.memory.get(&path), &stamp) {
            // It came and went.
            (None, None) => return,
            (None, Some(_)) => What::Appeared,
            (Some(_), None) => What::Vanished,
            (Some(before), Some(now)) => What::Changed(before.differs(now)),
        };
        // A verification saw it, and no event came.
        let unseen = chain.kinds == Kinds::default();
        let seen = match unseen {
            true => Seen::Scan { since: self.verified_before },
            false => Seen::Events(chain),
        };
        self.memory.set(&path, stamp, self.generation);
        self.reports.push_back(Report::Change(Change { path, what, stamp, seen }));
    }

    fn scan_some(&mut self) {
        for _ in 0..STEPS {
            let Some((reason, mut scan)) = self.running.take().or_else(|| self.begin()) else {
                return;
            };
            // What a verification finds may only be ahead of its events: it waits for
            // them, since they say who.
            let verifies = matches!(reason, Reason::Verify);
            let debounce = &mut self.intake.debounce;
            let now = Instant::now();
            let mut leave = |path: &Path| {
                let busy = debounce.holds(path);
                if verifies && !busy {
                    debounce.on(path, Chain::new(now, Kinds::default(), false, None));
                }
                busy || verifies
            };
            match scan.step(&mut self.memory, &mut leave) {
                Some(found) => {
                    self.report(&reason, found);
                    self.running = Some((reason, scan));
                }
                None => {
                    let found = scan.missing(&mut self.memory, leave);
                    self.report(&reason, found);
                    self.end(reason, &scan);
                }
            }
        }
    }

    fn begin(&mut self) -> Option<(Reason, Scan)> {
        let Job { reason, tops } = self.jobs.pop_front()?;
        self.generation += 1;
        let (first, last) = match &reason {
            Reason::Debt(_, owed) => (owed.dirty.clone(), Some(owed.since)),
            Reason::Start => (Default::default(), self.memory.complete),
            _ => Default::default(),
        };
        let scan = Scan::new(tops, first, self.generation, last);
        Some((reason, scan))
    }

    fn report(&mut self, reason: &Reason, found: Vec<Found>) {
        let seen = match reason {
            // The first look at everything has nothing to compare with.
            Reason::Start if self.memory.complete.is_none() => return,
            // What a verification finds is left to `evaluate`.
            Reason::Start | Reason::Verify => Seen::Scan { since: self.memory.complete },
            Reason::Debt(_, owed) => Seen::Scan { since: Some(owed.since) },
            Reason::Subtree(chain) => Seen::Events(chain.clone()),
            Reason::Mount => Seen::Mount,
        };
        self.reports.extend(found.into_iter().map(|Found { path, what, stamp }| {
            Report::Change(Change { path, what, stamp, seen: seen.clone() })
        }));
    }

    fn end(&mut self, reason: Reason, scan: &Scan) {
        let from = self.memory.complete;
        let receipt = match &reason {
            Reason::Start => scan.receipt(None, from, Mode::Scan, Lost::Exactly(0)),
            Reason::Verify => scan.receipt(None, from, Mode::Events, Lost::Exactly(0)),
            Reason::Debt(filesystem, owed) => {
                scan.receipt(Some(*filesystem), Some(owed.since), Mode::Scan, owed.lost)
            }
            Reason::Subtree(_) | Reason::Mount => return,
        };
        if matches!(reason, Reason::Start | Reason::Verify) {
            self.verified_before = from;
            self.memory.complete = Some(scan.began());
        }
        self.reports.push_back(Report::Receipt(receipt));
    }
}

/// `root` without links on the way to it: events name what is really there.
fn real(root: &Path) -> io::Result<PathBuf> {
    match (root.parent(), root.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => root.canonicalize(),
    }
}
