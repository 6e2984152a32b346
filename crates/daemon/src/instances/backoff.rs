//! How long something that ended rests before it is started again.

use std::time::Duration;

/// After the first end.
const FIRST: Duration = Duration::from_millis(100);

/// At most.
const MOST: Duration = Duration::from_secs(30);

/// What ran so long ended by chance: it rests as after the first end.
const CALM: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait after an end, `ran` after the beginning: twice as long each time.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= CALM {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(MOST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_grows_and_is_bounded_and_calm_is_rewarded() {
        let mut backoff = Backoff::default();
        let rests = |backoff: &mut Backoff, count| -> Vec<u128> {
            (0..count).map(|_| backoff.after(Duration::ZERO).as_millis()).collect()
        };
        assert_eq!(
            rests(&mut backoff, 11),
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]
        );
        assert_eq!(backoff.after(CALM), FIRST);
        assert_eq!(rests(&mut backoff, 1), [200]);
    }
}
