//! Waiting for a moment, on the kernel's high-resolution timer.

use std::time::{Duration, Instant};

/// The longest sleep without looking whether it is still wanted.
const NAP_MAX: Duration = Duration::from_millis(50);

/// Sleeps until then; false if it is not `wanted` any more.
pub fn sleep_until(moment: Instant, wanted: impl Fn() -> bool) -> bool {
    loop {
        if !wanted() {
            return false;
        }
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(NAP_MAX));
    }
}
