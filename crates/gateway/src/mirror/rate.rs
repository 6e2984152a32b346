//! How fast a shadow's answers are read, all of them together.
//!
//! They are read by the threads that serve production. What is read at most so fast takes a small
//! part of them only, however much a shadow sends; one that sends more waits, and what comes of
//! that (an answer that takes too long, copies that find no place) is counted as always.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes a second, of one mirror. Reading them takes some hundredths of a processor.
const BYTES_EACH_SECOND: u64 = 64 << 20;
/// What may be read at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A generic cell rate algorithm (ITU-T I.371, annex A): one number says until when what was read
/// so far would have taken at the steady rate.
#[derive(Debug)]
pub(super) struct ReadRate {
    began: Instant,
    until_us: AtomicU64,
}

impl Default for ReadRate {
    fn default() -> Self {
        Self { began: Instant::now(), until_us: AtomicU64::new(0) }
    }
}

impl ReadRate {
    /// How long to wait after so many bytes were read.
    pub(super) fn read(&self, bytes: u64) -> Duration {
        self.read_at(microseconds(self.began.elapsed()), bytes)
    }

    fn read_at(&self, now_us: u64, bytes: u64) -> Duration {
        let takes_us = bytes.saturating_mul(1_000_000) / BYTES_EACH_SECOND;
        let next = |until: u64| until.max(now_us).saturating_add(takes_us);
        let update = |until| Some(next(until));
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        // It always succeeds.
        let until = self.until_us.fetch_update(set, fetch, update).map_or(0, next);
        Duration::from_micros(until.saturating_sub(now_us)).saturating_sub(BURST)
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_never_waits_and_a_flood_does() {
        let rate = ReadRate::default();
        // 1 KiB, 20,000 times a second.
        for n in 0..20_000 {
            assert_eq!(rate.read_at(n * 50, 1 << 10), Duration::ZERO);
        }
        let rate = ReadRate::default();
        let mut now_us = 0;
        let bytes: u64 = 1 << 16;
        for _ in 0..4_096 {
            now_us += microseconds(rate.read_at(now_us, bytes));
        }
        let expected = 4_096 * bytes * 1_000_000 / BYTES_EACH_SECOND;
        // Each is rounded down to a microsecond.
        let least = expected - microseconds(BURST) - 4_096;
        assert!((least..=expected).contains(&now_us), "{now_us} us, not {expected}");
    }
}
