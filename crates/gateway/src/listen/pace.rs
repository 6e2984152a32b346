//! How long a client may leave its connection in which state.
//!
//! ```text
//! accepted ──> Head ── whole head ──> Busy ── last answer's end ──> Idle ── first byte ──> Head
//! ```
//!
//! What is asked often only writes down what is; whoever waits looks again when the earliest end
//! can have come, and after each rest when it can have been long enough to be parked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What a client is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// For a head.
    pub(crate) head: Duration,
    /// Between an answer and the next request.
    pub(crate) idle: Duration,
    /// To take something of what it is sent.
    pub(crate) stalled: Duration,
}

/// Whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// It did not finish a head.
    Head,
    /// It asked nothing.
    Idle,
    /// It took nothing.
    Stalled,
}

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Pace {
    began: Instant,
    times: Times,
    /// Whether requests of one connection overlap: then what comes between two may be no head, and
    /// it is not parked.
    overlapping: bool,
    /// Microseconds since `began`, twice, and one more where a head has begun.
    since: AtomicU64,
    /// Requests that were not answered to their end.
    requests: AtomicU32,
    /// Microseconds since `began` at which the client took no more; 0 while it takes.
    stalled: AtomicU64,
    /// Whether this side closes it.
    closing: AtomicBool,
}

impl Pace {
    /// Of a connection accepted at `began`, whose first head has begun.
    pub(crate) fn new(began: Instant, times: Times, overlapping: bool) -> Self {
        let pace = Self {
            began,
            times,
            overlapping,
            since: AtomicU64::new(1),
            requests: AtomicU32::new(0),
            stalled: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        };
        if overlapping {
            pace.rests();
        }
        pace
    }

    /// Bytes came.
    pub(crate) fn came(&self) {
        if self.is_between(self.since.load(Ordering::Relaxed)) {
            self.since.store(self.now() << 1 | 1, Ordering::Relaxed);
        }
    }

    /// Bytes were, or could not be, sent.
    pub(crate) fn written(&self, some: bool) {
        let stalled = self.stalled.load(Ordering::Relaxed) != 0;
        if some && stalled {
            self.stalled.store(0, Ordering::Relaxed);
        } else if !some && !stalled {
            self.stalled.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// A head is whole.
    pub(crate) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer is at its end.
    pub(crate) fn answered(&self) {
        // Before it counts as answered: who looks between the two finds it busy.
        self.rests();
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Since when nothing is asked, if that is not what `seen` says.
    pub(crate) fn rests_anew(&self, seen: &mut u64) -> Option<Instant> {
        let since = self.since.load(Ordering::Relaxed);
        if !self.is_between(since) || since == *seen {
            return None;
        }
        *seen = since;
        Some(self.began + Duration::from_micros(since >> 1))
    }

    /// Whether nothing is asked, nothing is still to be sent, and the connection is to go on.
    pub(crate) fn may_be_parked(&self) -> bool {
        self.is_between(self.since.load(Ordering::Relaxed))
            && self.stalled.load(Ordering::Relaxed) == 0
            && !self.closing.load(Ordering::Relaxed)
    }

    /// Its end has begun.
    pub(crate) fn closes(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// When to look again: nothing is over before then.
    ///
    /// # Errors
    /// What is over by `now`.
    pub(crate) fn at(&self, now: Instant) -> Result<Instant, Over> {
        let stalled = self.stalled.load(Ordering::Relaxed);
        let mut next = now + self.shortest();
        if stalled != 0 {
            let end = self.began + Duration::from_micros(stalled) + self.times.stalled;
            if end <= now {
                return Err(Over::Stalled);
            }
            next = next.min(end);
        }
        if self.requests.load(Ordering::Relaxed) == 0 {
            let since = self.since.load(Ordering::Relaxed);
            let (over, time) = match since & 1 {
                1 => (Over::Head, self.times.head),
                _ => (Over::Idle, self.times.idle),
            };
            let end = self.began + Duration::from_micros(since >> 1) + time;
            if end <= now {
                return Err(over);
            }
            next = next.min(end);
        }
        Ok(next)
    }

    /// Whatever begins after a look ends no earlier than this after it.
    fn shortest(&self) -> Duration {
        self.times.head.min(self.times.idle).min(self.times.stalled)
    }

    /// Whether a last answer is at its end and no next head has begun; `since` is what was read.
    fn is_between(&self, since: u64) -> bool {
        !self.overlapping && since & 1 == 0 && self.requests.load(Ordering::Relaxed) == 0
    }

    fn rests(&self) {
        self.since.store(self.now() << 1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        // Half a million years.
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX >> 1)
    }
}

/// A request, or its body, that is not at its end.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Pace>);

impl UnderWay {
    /// From now on.
    pub(crate) fn new(pace: &Arc<Pace>) -> Self {
        pace.asked();
        Self(Arc::clone(pace))
    }

    /// Nothing else is asked on the connection.
    pub(crate) fn is_last(&self) {
        self.0.closes();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.answered();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        head: Duration::from_secs(30),
        idle: Duration::from_secs(90),
        stalled: Duration::from_secs(60),
    };

    /// After so many seconds something is over, and a second before nothing was.
    #[track_caller]
    fn check(pace: &Pace, seconds: u64, over: Over) {
        let at = |seconds: u64| pace.at(pace.began + Duration::from_secs(seconds));
        let earlier = at(seconds - 1);
        assert!(earlier.is_ok(), "{over:?}: {earlier:?}");
        assert_eq!(at(seconds + 1), Err(over));
    }

    #[track_caller]
    fn never(pace: &Pace) {
        let late = pace.began + Duration::from_secs(100_000);
        assert_eq!(pace.at(late), Ok(late + TIMES.head));
    }

    #[test]
    fn each_state_has_its_time() {
        let pace = Pace::new(Instant::now(), TIMES, false);
        check(&pace, 30, Over::Head);
        pace.asked();
        never(&pace);
        pace.came();
        never(&pace);
        pace.answered();
        check(&pace, 90, Over::Idle);
        pace.came();
        check(&pace, 30, Over::Head);
        pace.asked();
        pace.written(false);
        check(&pace, 60, Over::Stalled);
        pace.written(true);
        never(&pace);
    }

    #[test]
    fn what_overlaps_is_idle_once_all_is_answered() {
        let pace = Pace::new(Instant::now(), TIMES, true);
        check(&pace, 90, Over::Idle);
        pace.came();
        check(&pace, 90, Over::Idle);
        pace.asked();
        pace.asked();
        pace.answered();
        never(&pace);
        pace.answered();
        check(&pace, 90, Over::Idle);
        assert!(!pace.may_be_parked() && pace.rests_anew(&mut 0).is_none(), "it stays as it is");
    }

    #[test]
    fn what_rests_is_parked_unless_it_ends() {
        let pace = Pace::new(Instant::now(), TIMES, false);
        let mut seen = 0;
        assert!(!pace.may_be_parked() && pace.rests_anew(&mut seen).is_none(), "a head has begun");
        pace.asked();
        pace.answered();
        assert!(pace.may_be_parked() && pace.rests_anew(&mut seen).is_some());
        assert!(pace.rests_anew(&mut seen).is_none(), "it is no news");
        pace.written(false);
        assert!(!pace.may_be_parked(), "something is still to be sent");
        pace.written(true);
        pace.closes();
        assert!(!pace.may_be_parked(), "nothing will be asked any more");
    }

    #[test]
    fn nothing_is_over_before_it_is_looked_at_again() {
        let pace = Pace::new(Instant::now(), TIMES, false);
        pace.asked();
        assert_eq!(pace.at(pace.began), Ok(pace.began + TIMES.head));
    }
}
