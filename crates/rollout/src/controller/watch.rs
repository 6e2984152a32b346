//! Guards: limits for both arms together, whoever is to blame.
//!
//! What a candidate does to something that both arms use harms both, and no comparison of them
//! shows it.

use serde::{Deserialize, Serialize};

use super::event::Seen;
use crate::spec::{Guard, Limit};

/// One guard, over its time again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    of: Guard,
    passed_ms: u64,
    /// Requests and errors when its time began.
    from: Option<([u64; 2], [u64; 2])>,
    /// How it was passed, in words.
    breach: Option<String>,
}

impl Watch {
    pub(super) fn new(of: &Guard) -> Self {
        Self { of: *of, passed_ms: 0, from: None, breach: None }
    }

    pub(super) fn tick(&mut self, passed_ms: u64) {
        self.passed_ms = self.passed_ms.saturating_add(passed_ms);
    }

    pub(super) fn see(&mut self, seen: &Seen) {
        let (requests, errors) = *self.from.get_or_insert((seen.requests, seen.errors));
        let Some((requests, errors)) =
            since(requests, seen.requests).zip(since(errors, seen.errors))
        else {
            // The gateway counts anew.
            (self.from, self.passed_ms) = (Some((seen.requests, seen.errors)), 0);
            return;
        };
        let all = requests[0].saturating_add(requests[1]);
        let breach = match self.of.limit {
            Limit::Errors(max) => self.errors(errors[0].saturating_add(errors[1]), all, max),
            Limit::P99Us(max) => self.slow(requests, seen.p99_us, max),
        };
        let over = self.passed_ms >= self.of.over_ms && all >= self.of.requests_min;
        // Once passed it stays so until a whole time says otherwise.
        if over || breach.is_some() {
            self.breach = breach;
        }
        if over {
            (self.from, self.passed_ms) = (Some((seen.requests, seen.errors)), 0);
        }
    }

    fn errors(&self, errors: u64, all: u64, max: f64) -> Option<String> {
        let part = errors as f64 / all.max(1) as f64;
        let passed = all >= self.of.requests_min.max(1) && part > max;
        let percent = |part: f64| crate::words::percent(part * 100.0);
        passed.then(|| {
            let (part, max) = (percent(part), percent(max));
            format!("guard: {part} of {all} requests of both arms failed, {max} may")
        })
    }

    fn slow(&self, requests: [u64; 2], p99_us: [Option<u64>; 2], max: u64) -> Option<String> {
        let arms = ["baseline", "candidate"].into_iter().zip(requests).zip(p99_us);
        let slow = arms.filter(|((_, requests), _)| *requests >= self.of.requests_min.max(1));
        let mut slow =
            slow.filter_map(|((arm, _), p99)| Some((arm, p99.filter(|p99| *p99 > max)?)));
        slow.next().map(|(arm, p99)| {
            let time = |us: u64| crate::words::time_us(us);
            format!(
                "guard: the 99th percentile of the {arm} is {}, {} may be",
                time(p99),
                time(max)
            )
        })
    }

    /// How it was passed, if it was.
    pub(super) fn breach(&self) -> Option<&str> {
        self.breach.as_deref()
    }
}

/// What came since then; `None` where there is less now.
fn since(from: [u64; 2], now: [u64; 2]) -> Option<[u64; 2]> {
    Some([now[0].checked_sub(from[0])?, now[1].checked_sub(from[1])?])
}
