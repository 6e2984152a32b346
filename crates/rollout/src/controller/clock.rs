//! Time that counts.
//!
//! Clocks of machines are set, step backwards, and jump by hours. A stage must not end early by
//! that, so time is counted by ticks, and no tick counts for more than it can have been.

use serde::{Deserialize, Serialize};

/// Ticks come about once a second; one that comes late does not make up for it.
const TICK_MS_MAX: i64 = 2_000;

/// The last tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Clock {
    last_ms: Option<i64>,
}

impl Clock {
    /// Time counts from now on.
    pub(super) fn begin(&mut self, now_ms: i64) {
        self.last_ms = Some(now_ms);
    }

    /// How much time counts with this tick.
    pub(super) fn tick(&mut self, now_ms: i64) -> u64 {
        let since = self.last_ms.map_or(0, |last_ms| now_ms.saturating_sub(last_ms));
        self.last_ms = Some(now_ms);
        since.clamp(0, TICK_MS_MAX).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_jump_counts() {
        let mut clock = Clock::default();
        let hour = 3_600_000;
        let times = [0, 1_000, 1_000 + hour, 1_000, 2_000, i64::MIN, i64::MAX];
        assert_eq!(times.map(|now_ms| clock.tick(now_ms)), [0, 1_000, 2_000, 0, 1_000, 0, 2_000]);
    }
}
