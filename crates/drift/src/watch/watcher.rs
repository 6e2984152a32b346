//! The watcher: one blocking call behind which everything else of this module works.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::io::Errno;
use umbra_state::Digest;

use super::cover::Cover;
use super::debounce::{Chain, Debounce};
use super::debt::{Debt, Lost};
use super::fanotify::Group;
use super::hot::Hot;
use super::intake::Intake;
use super::memory::Memory;
use super::options::Options;
use super::queue::{Queue, Reason};
use super::stamp::Stamp;
use super::who::Executions;
use super::{Change, Kinds, Report, Seen, Statistics, What};

/// Reports made ahead of being asked for.
pub(super) const REPORTS_MAX: usize = 8192;

/// Watches files; see the module.
#[derive(Debug)]
pub struct Watcher {
    pub(super) options: Options,
    pub(super) cover: Cover,
    pub(super) intake: Intake,
    pub(super) memory: Memory,
    pub(super) reports: VecDeque<Report>,
    pub(super) queue: Queue,
    verify_at: Option<Instant>,
    /// The last complete look before the newest one.
    pub(super) verified_before: Option<SystemTime>,
    pub(super) buffer: Vec<u8>,
    /// The hash of the last receipt.
    pub(super) head: Digest,
}

impl Watcher {
    /// Watch, and first compare with `memory`: what changed since it was complete is
    /// reported. An empty memory is filled without reports, and so are roots it did not
    /// have yet.
    ///
    /// # Errors
    /// Where `/proc` is not mounted, or a root has no parent directory.
    pub fn start(mut options: Options, mut memory: Memory) -> io::Result<Self> {
        options.roots = options.real_roots()?;
        let group = Group::open(options.unlimited_queue);
        let mut cover = Cover::new(options.roots.clone(), group, options.unlimited_queue)?;
        let (coverage, resolver) = cover.establish();
        let now = Instant::now();
        let intake = Intake {
            roots: options.roots.clone(),
            resolver,
            // After the marks: whoever executes meanwhile is in one of the two.
            executions: Executions::seeded(now, options.system.clone()),
            debounce: Debounce::new(options.patience()),
            debt: Debt::default(),
            backlog_max: options.backlog_max,
            caught_up: SystemTime::now(),
            hot: Hot::default(),
            records: 0,
        };
        let head = memory.head.unwrap_or(Digest::new([0; 32]));
        let start = Reason::start(&memory, &options.roots);
        memory.keep_below(&options.roots);
        Ok(Self {
            verify_at: options.verify_every.map(|every| now + every),
            verified_before: memory.complete,
            queue: Queue::new(start, options.roots.clone()),
            options,
            cover,
            intake,
            memory,
            reports: coverage.into_iter().map(Report::Coverage).collect(),
            buffer: Group::buffer(),
            head,
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
            for (path, chain) in self.intake.debounce.settled(now, REPORTS_MAX) {
                self.evaluate(path, chain);
            }
            if self.verify_at.is_some_and(|at| at <= now) && self.queue.is_empty() {
                self.verify_at = self.options.verify_every.map(|every| now + every);
                self.cover.renew();
                self.queue.push(Reason::Verify, self.options.roots.clone());
            }
            self.scan_some();
            if !self.reports.is_empty() {
                continue;
            }
            if now >= until {
                return Ok(None);
            }
            if self.queue.is_empty() && self.intake.debt.is_empty() {
                self.wait(until)?;
            }
        }
    }

    /// What is remembered, to be handed to [`Self::start`] next time.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Write what is remembered to `path`, durably and at once or not at all, for
    /// [`Memory::load`] after a restart or a reboot. Whoever saves must have made durable
    /// what was reported before: it is not reported again. Of what is reported later,
    /// whoever loads must [`Memory::doubt`]. What is at unrest or owed now is found by the
    /// look at the start.
    ///
    /// False: nothing was written, since reports wait to be taken with [`Self::next`] that
    /// a restart would not make again. There are some thousands of them at most.
    ///
    /// # Errors
    /// What writing fails with; what was there before is still there then.
    pub fn save(&self, path: &Path) -> io::Result<bool> {
        if !self.reports.is_empty() {
            return Ok(false);
        }
        let settled =
            self.queue.is_empty() && self.intake.debounce.is_empty() && self.intake.debt.is_empty();
        let covered = if settled { Some(self.intake.caught_up) } else { self.memory.complete };
        let covered = covered.filter(|_| self.memory.complete.is_some());
        self.memory.save(path, covered, &self.head).map(|()| true)
    }

    /// What it has seen and done so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            records: self.intake.records,
            executions: self.intake.executions.replayed(),
            queued_scans: self.queue.len(),
            unrest: self.intake.debounce.len(),
        }
    }

    /// Directories that are not watched and whose events are not delivered any more, since
    /// they were many.
    pub fn ignored(&self) -> &[PathBuf] {
        self.intake.hot.ignored()
    }

    fn wait(&self, until: Instant) -> io::Result<()> {
        let deadlines = [self.intake.debounce.next_deadline(), self.verify_at];
        let until = deadlines.into_iter().flatten().fold(until, Instant::min);
        let wait = until.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        let mut fds = vec![PollFd::new(&self.cover.table, PollFlags::PRI)];
        fds.extend(self.cover.queues().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A path came to rest: what is it now?
    fn evaluate(&mut self, path: PathBuf, chain: Chain) {
        let stamp = match Stamp::of(CWD, &path) {
            Ok(stamp) => Some(stamp),
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            // It may be there or not: the receipt of a scan says how much is not known.
            Err(_) => {
                let filesystem = self.cover.filesystem_of(&path);
                let since = self.intake.caught_up;
                return self.intake.debt.incur(filesystem, since, Lost::Exactly(1), None);
            }
        };
        if chain.subtree {
            self.scan_subtree(&path, &chain);
        }
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
        self.memory.set(&path, stamp);
        self.reports.push_back(Report::Change(Change { path, what, stamp, seen }));
    }

    /// A directory came, went or was renamed: what lies below it did too.
    fn scan_subtree(&mut self, path: &Path, chain: &Chain) {
        if self.queue.is_full() {
            let filesystem = self.cover.filesystem_of(path);
            let since = self.intake.caught_up;
            return self.intake.debt.incur(filesystem, since, Lost::Exactly(1), path.parent());
        }
        self.queue.push(Reason::Subtree(chain.clone()), vec![path.to_owned()]);
    }
}
