//! Something that is tried until it is done.

use serde::{Deserialize, Serialize};

/// What failed is tried again after so long.
pub(super) const RETRY_MS: u64 = 5_000;

/// What takes no time at all is answered by then.
const ANSWER_MS: u64 = 60_000;

/// Something that is tried until it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Attempt {
    under_way: bool,
    tried: bool,
    /// Since it was tried, or failed.
    waited_ms: u64,
    /// Since it was wanted.
    all_ms: u64,
    /// Of the last time.
    failed: Option<String>,
}

impl Attempt {
    pub(super) fn tick(&mut self, passed_ms: u64) {
        self.waited_ms = self.waited_ms.saturating_add(passed_ms);
        self.all_ms = self.all_ms.saturating_add(passed_ms);
    }

    /// Whether it is to be tried now; then it is.
    pub(super) fn begin(&mut self) -> bool {
        let due = !self.under_way && (self.failed.is_none() || self.waited_ms >= RETRY_MS);
        if due {
            (self.under_way, self.tried, self.waited_ms) = (true, true, 0);
        }
        due
    }

    /// It did not work.
    pub(super) fn fail(&mut self, why: &str) {
        (self.under_way, self.waited_ms, self.failed) = (false, 0, Some(why.to_owned()));
    }

    /// Nobody does it any more, and nobody knows whether it was done.
    pub(super) fn forget(&mut self) {
        (self.under_way, self.failed) = (false, None);
    }

    /// An answer that did not come by now will not.
    pub(super) fn expire(&mut self) {
        if self.under_way && self.waited_ms > ANSWER_MS {
            self.fail("there is no answer");
        }
    }

    /// It goes on: the time it may take begins anew.
    pub(super) fn progress(&mut self) {
        self.all_ms = 0;
    }

    /// Whether somebody does it now.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Whether it may have been done.
    pub(super) fn was_tried(&self) -> bool {
        self.tried
    }

    /// Whether it goes on for longer than `ms`.
    pub(super) fn is_overdue(&self, ms: u64) -> bool {
        self.all_ms > ms
    }

    /// How it is going.
    pub(super) fn words(&self) -> &str {
        self.failed.as_deref().unwrap_or("there is no answer")
    }
}
