//! Scans that are due: one after the other, a few directories at a time between events.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::debounce::Chain;
use super::debt::{Debt, Lost, Owed};
use super::memory::{Memory, Origin};
use super::receipt::{Mode, Occasion, Receipt};
use super::scan::{Found, Scan, Terms};
use super::watcher::{REPORTS_MAX, Watcher};
use super::{Change, Kinds, Report, Seen, What};

/// Directories looked into before events are read again.
const STEPS: usize = 64;
/// Scans waiting; beyond that a directory becomes a debt of its filesystem.
const JOBS_MAX: usize = 1024;

/// Scans waiting, and the one that is being made.
#[derive(Debug)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    running: Option<(Reason, Scan)>,
}

#[derive(Debug)]
struct Job {
    reason: Reason,
    tops: Vec<PathBuf>,
}

/// Why a scan is made.
#[derive(Debug)]
pub(super) enum Reason {
    /// What is remembered is to be compared with what is there now.
    Start(Start),
    Debt(u64, Owed),
    Verify,
    /// A directory came, went or was renamed.
    Subtree(Chain),
    Mount,
}

/// What was known when the watcher started.
#[derive(Debug)]
pub(super) struct Start {
    occasion: Occasion,
    /// Until then everything had been covered.
    covered: Option<SystemTime>,
    /// When the last complete look began.
    complete: Option<SystemTime>,
    /// Roots of which nothing was known: what is there is no news.
    fresh: Vec<PathBuf>,
}

impl Reason {
    pub(super) fn start(memory: &Memory, roots: &[PathBuf]) -> Self {
        let occasion = match &memory.origin {
            Origin::Refused(why) => Occasion::MemoryRefused(why.clone()),
            _ if memory.complete.is_none() => Occasion::First,
            Origin::Saved { rebooted: true, .. } => Occasion::Reboot,
            Origin::Saved { .. } | Origin::Own => Occasion::Restart,
        };
        let covered = match &memory.origin {
            Origin::Saved { covered, .. } => *covered,
            Origin::Own | Origin::Refused(_) => memory.complete,
        };
        let known = |root: &PathBuf| memory.roots().iter().any(|known| root.starts_with(known));
        let fresh = roots.iter().filter(|root| !known(root)).cloned().collect();
        Self::Start(Start { occasion, covered, complete: memory.complete, fresh })
    }
}

impl Queue {
    pub(super) fn new(reason: Reason, tops: Vec<PathBuf>) -> Self {
        Self { jobs: [Job { reason, tops }].into(), running: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.running.is_none()
    }

    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() >= JOBS_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len() + usize::from(self.running.is_some())
    }

    pub(super) fn push(&mut self, reason: Reason, tops: Vec<PathBuf>) {
        self.jobs.push_back(Job { reason, tops });
    }

    /// What is owed is paid by one scan per filesystem, however often more is added.
    pub(super) fn push_debts(&mut self, debt: &mut Debt, tops: impl Fn(u64) -> Vec<PathBuf>) {
        if debt.is_empty() {
            return;
        }
        let mut waiting = VecDeque::with_capacity(self.jobs.len());
        for job in self.jobs.drain(..) {
            match job.reason {
                Reason::Debt(filesystem, owed) => debt.add(filesystem, owed),
                reason => waiting.push_back(Job { reason, ..job }),
            }
        }
        self.jobs = waiting;
        for (filesystem, owed) in debt.take() {
            self.push(Reason::Debt(filesystem, owed), tops(filesystem));
        }
    }

    /// A mount came or went: what it covers is looked at once.
    pub(super) fn push_mount(&mut self, tops: Vec<PathBuf>) {
        let same = |job: &Job| matches!(job.reason, Reason::Mount) && job.tops == tops;
        if !tops.is_empty() && !self.jobs.iter().any(same) {
            self.push(Reason::Mount, tops);
        }
    }
}

impl Watcher {
    pub(super) fn scan_some(&mut self) {
        for _ in 0..STEPS {
            let limit = REPORTS_MAX.saturating_sub(self.reports.len());
            if limit == 0 {
                return;
            }
            let Some((reason, mut scan)) = self.queue.running.take().or_else(|| self.begin())
            else {
                return;
            };
            // What a verification finds may only be ahead of its events: it waits for
            // them, since they say who.
            let verifies = matches!(reason, Reason::Verify);
            let (debounce, most) = (&mut self.intake.debounce, self.intake.backlog_max);
            let now = Instant::now();
            let leave = |path: &std::path::Path| {
                if debounce.holds(path) {
                    return true;
                }
                let waits = verifies && debounce.len() < most;
                if waits {
                    debounce.on(path, Chain::new(now, Kinds::default(), false, None));
                }
                waits
            };
            match scan.step(&mut self.memory, limit, leave) {
                Some(found) => {
                    self.report(&reason, found);
                    self.queue.running = Some((reason, scan));
                }
                None => self.end(reason, &scan),
            }
        }
    }

    fn begin(&mut self) -> Option<(Reason, Scan)> {
        let Job { reason, tops } = self.queue.jobs.pop_front()?;
        let (first, last) = match &reason {
            Reason::Debt(_, owed) => (owed.dirty.clone(), Some(owed.since)),
            Reason::Start(start) => (Default::default(), start.complete),
            _ => Default::default(),
        };
        let rebooted = matches!(&reason, Reason::Start(Start { occasion: Occasion::Reboot, .. }));
        let terms = Terms { last, rebooted, barred: self.cover.barred() };
        let orphans = match reason {
            Reason::Subtree(_) | Reason::Mount => Vec::new(),
            _ => self.memory.orphans(&self.options.roots),
        };
        Some((reason, Scan::new(tops, first, terms).with_gone(orphans)))
    }

    fn report(&mut self, reason: &Reason, mut found: Vec<Found>) {
        let seen = match reason {
            Reason::Start(start) => {
                let under =
                    |found: &Found| start.fresh.iter().any(|top| found.path.starts_with(top));
                found.retain(|found| found.what != What::Appeared || !under(found));
                Seen::Scan { since: start.covered }
            }
            // Only what is too much to be left to `evaluate`.
            Reason::Verify => Seen::Scan { since: self.memory.complete },
            Reason::Debt(_, owed) => Seen::Scan { since: Some(owed.since) },
            Reason::Subtree(chain) => Seen::Events(chain.clone()),
            Reason::Mount => Seen::Mount,
        };
        self.reports.extend(found.into_iter().map(|Found { path, what, stamp }| {
            Report::Change(Change { path, what, stamp, seen: seen.clone() })
        }));
    }

    fn end(&mut self, reason: Reason, scan: &Scan) {
        let complete = self.memory.complete;
        let (filesystem, from, mode, lost_events, occasion) = match reason {
            Reason::Start(Start { occasion, covered, .. }) => {
                (None, covered, Mode::Scan, Lost::Exactly(0), occasion)
            }
            Reason::Verify => {
                (None, complete, Mode::Events, Lost::Exactly(0), Occasion::Verification)
            }
            Reason::Debt(filesystem, owed) => {
                (Some(filesystem), Some(owed.since), Mode::Scan, owed.lost, Occasion::Loss)
            }
            Reason::Subtree(_) | Reason::Mount => return,
        };
        if filesystem.is_none() {
            self.verified_before = complete;
            self.memory.completed(scan.began(), &self.options.roots);
        }
        let (entries_verified, entries_unread) = scan.counts();
        let receipt = Receipt {
            occasion,
            filesystem,
            from,
            to: scan.began(),
            mode,
            lost_events,
            entries_verified,
            entries_unread,
            chain_hash: self.head,
        };
        let receipt = receipt.seal(&self.head);
        self.head = receipt.chain_hash;
        self.reports.push_back(Report::Receipt(receipt));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_scan_pays_all_that_a_filesystem_owes() {
        let mut queue = Queue::new(Reason::Verify, Vec::new());
        let start = SystemTime::UNIX_EPOCH;
        for second in [5, 3, 9] {
            let mut debt = Debt::default();
            let since = start + Duration::from_secs(second);
            debt.incur(1, since, Lost::Exactly(second), None);
            queue.push_debts(&mut debt, |_| vec!["/etc".into()]);
            assert!(debt.is_empty());
        }
        assert_eq!(queue.len(), 2);
        let Reason::Debt(1, owed) = &queue.jobs[1].reason else { panic!("{queue:?}") };
        assert_eq!((owed.since, owed.lost), (start + Duration::from_secs(3), Lost::Exactly(17)));
    }

    #[test]
    fn the_same_mount_is_looked_at_once() {
        let mut queue = Queue::new(Reason::Verify, Vec::new());
        for top in ["/a", "/b", "/a"] {
            queue.push_mount(vec![top.into()]);
        }
        queue.push_mount(Vec::new());
        assert_eq!(queue.len(), 3);
    }
}
