//! Whether a primary is watched: an agent that is lost is started again, and people are told
//! where that takes too long.
//!
//! ```text
//! watched ── lost ──> an agent is started, again and again ── grace is over ──> alert
//!    ^                                 │                                          │
//!    └────── everything was read ──────┴──────────────── over ────────────────────┘
//! ```
//!
//! The alert is one like any drift's: it survives a restart of the daemon, reaches every sink at
//! least once, flaps and settles. It is no drift: nothing is rolled back or rehearsed because of
//! it.

use std::time::{Duration, Instant};

use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::alert::{self, Key, Life};
use umbra_drift::discrepancy::Discrepancy;
use umbra_drift::reading::Item;
use umbra_drift::service::What;

use super::Desk;
use crate::clock::now_ms;

/// How long to wait before an agent that was lost is started again, at first and at most.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How much is told of why an agent was lost.
const WHY_CHARS_MAX: usize = 4_000;

/// That there is no agent, or one that has not read everything yet.
pub(super) struct Lost {
    pub(super) why: String,
    /// Another was started, and watches already: what it takes to read everything is no news.
    pub(super) is_back: bool,
    since: Instant,
    again_at: Instant,
    wait: Duration,
}

impl Lost {
    fn again(before: Option<Self>, why: String) -> Self {
        let now = Instant::now();
        let (since, wait) = before
            .map_or((now, RESTART.0), |before| (before.since, (before.wait * 2).min(RESTART.1)));
        Self { why, is_back: false, since, again_at: now + wait, wait }
    }
}

impl Desk {
    /// Its agent is gone, or cannot be started.
    pub(super) fn on_lost(&mut self, why: &str) -> Result<(), WireError> {
        let why: String = why.chars().take(WHY_CHARS_MAX).collect();
        self.line = None;
        let unread = self.unread(&why);
        for (_, task) in std::mem::take(&mut self.waiting) {
            self.turn_away(task, &unread);
        }
        if let Some(added) = self.given.added.take() {
            let message = format!("watch {}: {why}", self.name());
            // Who asked may be gone.
            let _ = added.send(Err(WireError::new(ErrorCode::Environment, message)));
        }
        self.on_rollback_lost(&why);
        self.rehearsal_unanswered(&unread)?;
        // What never was watched is not unwatched.
        let first = self.lost.is_none() && self.primary.is_some();
        self.lost = Some(Lost::again(self.lost.take(), why.clone()));
        let events = if first { vec![What::Unwatched { why }] } else { Vec::new() };
        self.commit(Vec::new(), Vec::new(), events)
    }

    /// Time passed: an agent is started again, or one is taken for dead, or people are told.
    pub(super) fn on_watch_tick(&mut self) -> Result<(), WireError> {
        if self.line.is_none()
            && self.lost.as_ref().is_none_or(|lost| lost.again_at <= Instant::now())
        {
            self.start_agent()?;
        }
        if let Some(why) = self.line.as_mut().and_then(|line| line.feel(Instant::now())) {
            self.on_lost(&why)?;
        }
        let grace = self.given.pace.grace;
        let too_long = |lost: &&Lost| !lost.is_back && lost.since.elapsed() >= grace;
        let Some(lost) = self.lost.as_ref().filter(too_long) else { return Ok(()) };
        // Each attempt may fail in its own way: why it was lost is told once.
        let key = Key { primary: self.name().to_owned(), item: Item::primary() };
        if self.primary.is_none() || self.book.get(&key).is_some_and(Life::differs) {
            return Ok(());
        }
        let unwatched = Discrepancy::unwatched(lost.why.clone());
        let effects = self.differing(unwatched, None, now_ms());
        self.commit(Vec::new(), effects, Vec::new())
    }

    /// Everything was read: if people were told that nobody watches, that is over.
    pub(super) fn on_watched(&mut self, at_ms: i64) -> Result<(), WireError> {
        let effects = self.resolved(Item::primary(), alert::Ended::Watched, at_ms);
        self.commit(Vec::new(), effects, Vec::new())
    }
}
