//! What is counted by arm.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::wire::Latency;

/// Counted by requests themselves: only what has to be right at every moment.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) begun: AtomicU64,
    pub(super) ended: AtomicU64,
}

impl Count {
    /// Requests under way.
    pub(super) fn in_flight(&self) -> u64 {
        // In this order: what ends meanwhile is not there, but nothing is less than nothing.
        let ended = self.ended.load(Ordering::Acquire);
        self.begun.load(Ordering::Acquire).saturating_sub(ended)
    }
}

/// Counted by the thread that judges.
#[derive(Debug)]
pub(super) struct Tally {
    /// Those that ended in the time of another gateway.
    pub(super) earlier: u64,
    pub(super) errors: u64,
    latencies: Histogram<u64>,
}

/// An hour; what takes longer counts as that.
const LATENCY_MAX_US: u64 = 3_600_000_000;
const DIGITS: u8 = 2;

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(LATENCY_MAX_US, DIGITS);
        let Ok(latencies) = latencies else { unreachable!("the bounds are those of a histogram") };
        Self { earlier: 0, errors: 0, latencies }
    }
}

impl Tally {
    pub(super) fn ended(&mut self, failed: bool, latency_us: u32) {
        self.errors += u64::from(failed);
        self.latencies.saturating_record(u64::from(latency_us));
    }

    pub(super) fn latency(&self) -> Option<Latency> {
        let at = |part| self.latencies.value_at_quantile(part);
        (!self.latencies.is_empty()).then(|| Latency {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
        })
    }
}
