//! What a replay showed.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use umbra_state::{Evidence, Verdict};

use super::rewrite::Skipped;

/// Times are kept in microseconds, with three digits, up to an hour.
const US_MAX: u64 = 3_600_000_000;
/// How many pairs of statuses are told apart.
const PAIRS_MAX: usize = 50;

/// Times that were measured.
#[derive(Debug)]
pub(super) struct Times(Option<Histogram<u64>>);

impl Times {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, US_MAX, 3).ok())
    }

    pub(super) fn add(&mut self, time: Duration) {
        if let Some(times) = &mut self.0 {
            let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            times.saturating_record(us.max(1));
        }
    }

    pub(super) fn spread(&self) -> Spread {
        let Some(times) = self.0.as_ref().filter(|times| !times.is_empty()) else {
            return Spread::default();
        };
        let at = |quantile: f64| times.value_at_quantile(quantile);
        Spread {
            count: times.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: times.max(),
        }
    }
}

/// Times in a few numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// The middle one.
    pub p50_us: u64,
    /// What nine of ten do not exceed.
    pub p90_us: u64,
    /// What 99 of 100 do not exceed.
    pub p99_us: u64,
    /// What 999 of 1000 do not exceed.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// Captured statuses beside those that came now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Statuses {
    /// How many answers had a captured one beside them.
    pub compared: u64,
    /// How many differ.
    pub differing: u64,
    /// How often which became which: `200 -> 500`.
    pub pairs: BTreeMap<String, u64>,
}

impl Statuses {
    pub(super) fn add(&mut self, captured: u16, is: u16) {
        self.compared += 1;
        if captured == is {
            return;
        }
        self.differing += 1;
        let pair = format!("{captured} -> {is}");
        let known = self.pairs.len() < PAIRS_MAX || self.pairs.contains_key(&pair);
        let pair = if known { pair } else { "others".to_owned() };
        *self.pairs.entry(pair).or_default() += 1;
    }
}

/// What a replay showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Exchanges read.
    pub read: u64,
    /// Requests not sent, by cause.
    pub skipped: BTreeMap<Skipped, u64>,
    /// Requests sent.
    pub sent: u64,
    /// Requests that were due and not sent, since too many were under way.
    pub dropped: u64,
    /// Requests with an answer, whatever it says.
    pub answered: u64,
    /// What went wrong, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Requests that still had something redacted in them.
    pub redacted: u64,
    /// Exchanges whose place in the capture was too late to send them in order.
    pub late: u64,
    /// From the first intended start to the last answer.
    pub elapsed_us: u64,
    /// Good answers per second.
    pub per_second: f64,
    /// What the replay itself added: from the intended start, or the answer that was waited for,
    /// to the real start.
    pub lag: Spread,
    /// How long requests waited for the answer before them in their session, of those that did.
    pub waited: Spread,
    /// Latency from the intended start.
    pub corrected: Spread,
    /// Latency from the real start.
    pub raw: Spread,
    /// Captured statuses beside those that came.
    pub statuses: Statuses,
    /// Why the capture could not be read to its end.
    pub broken: Option<String>,
    /// Whether it was told to end.
    pub cancelled: bool,
    /// What the thresholds say.
    pub evidence: Vec<Evidence>,
    /// All of it in a word.
    pub verdict: Verdict,
}

impl Report {
    /// Whether the schedule was kept.
    pub fn on_time(&self) -> bool {
        u128::from(self.lag.p99_us) <= super::LAG_MAX.as_micros()
    }

    /// The verdict: what the thresholds say, and never a pass where the replay was not what it
    /// was meant to be.
    pub(super) fn judged(mut self) -> Self {
        let whole = self.sent > 0
            && self.dropped == 0
            && self.broken.is_none()
            && !self.cancelled
            && self.on_time();
        let own = if whole { Verdict::Pass } else { Verdict::Inconclusive };
        let verdicts = self.evidence.iter().map(|evidence| evidence.verdict);
        self.verdict = Verdict::combine(verdicts.chain([own]));
        self
    }
}
