//! Receipts: proof of what is covered, each bound to the one before it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use umbra_state::Digest;

use super::debt::Lost;

/// How the time of a receipt is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every event was followed up and a scan compared the result; what it found that no
    /// event had told is reported as a change seen by a scan.
    Events,
    /// A scan found the final state; what was between, and who, is not known.
    Scan,
}

/// Why there is a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// Nothing was remembered: this is what later looks are compared with.
    First,
    /// Nobody watched since the memory was last written, or handed over.
    Restart,
    /// As after a restart, and the machine was started in between.
    Reboot,
    /// There was a memory, and it is not to be believed: what changed since it was written
    /// cannot be told.
    MemoryRefused(String),
    /// Events were lost, or were too many to be followed up.
    Loss,
    /// Everything was compared, to be sure.
    Verification,
}

/// Proof of what is covered between two moments on one filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Why.
    pub occasion: Occasion,
    /// The filesystem, as `statvfs` numbers it; `None` stands for all that is watched.
    pub filesystem: Option<u64>,
    /// Until here everything had been covered; `None` if nothing ever was.
    pub from: Option<SystemTime>,
    /// Up to here everything is covered now.
    pub to: SystemTime,
    /// How.
    pub mode: Mode,
    /// Events not followed up singly.
    pub lost_events: Lost,
    /// Entries that were compared with what was remembered.
    pub entries_verified: u64,
    /// Entries that could not be looked at, so that nothing is known of them.
    pub entries_unread: u64,
    /// BLAKE3 of the receipt before, zeros before the first, and of all fields above: a
    /// receipt that is changed, taken out or put in breaks the sequence.
    pub chain_hash: Digest,
}

impl Receipt {
    /// Bind it to the receipt before.
    pub(super) fn seal(mut self, previous: &Digest) -> Self {
        self.chain_hash = self.hash_after(previous);
        self
    }

    /// Whether this is, unchanged, the receipt that was written after the one with the
    /// hash `previous`.
    pub fn follows(&self, previous: &Digest) -> bool {
        self.chain_hash == self.hash_after(previous)
    }

    fn hash_after(&self, previous: &Digest) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("umbra 2026 coverage receipt");
        hasher.update(previous.as_bytes());
        let (occasion, why) = match &self.occasion {
            Occasion::First => (0, ""),
            Occasion::Restart => (1, ""),
            Occasion::Reboot => (2, ""),
            Occasion::MemoryRefused(why) => (3, why.as_str()),
            Occasion::Loss => (4, ""),
            Occasion::Verification => (5, ""),
        };
        let mode = match self.mode {
            Mode::Events => 0,
            Mode::Scan => 1,
        };
        let (exact, lost) = match self.lost_events {
            Lost::Exactly(events) => (1, events),
            Lost::Unknown => (0, 0),
        };
        let (some, filesystem) = self.filesystem.map_or((0, 0), |number| (1, number));
        hasher.update(&[occasion, mode, exact, some, u8::from(self.from.is_some())]);
        hasher.update(&(why.len() as u64).to_le_bytes()).update(why.as_bytes());
        let times = [self.from.unwrap_or(SystemTime::UNIX_EPOCH), self.to].map(nanoseconds);
        for time in times {
            hasher.update(&time.to_le_bytes());
        }
        for number in [filesystem, lost, self.entries_verified, self.entries_unread] {
            hasher.update(&number.to_le_bytes());
        }
        Digest::new(*hasher.finalize().as_bytes())
    }
}

/// Since 1970, negative before.
fn nanoseconds(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos().cast_signed(),
        Err(before) => -before.duration().as_nanos().cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            occasion: Occasion::Restart,
            filesystem: Some(7),
            from: Some(SystemTime::UNIX_EPOCH),
            to: SystemTime::UNIX_EPOCH + Duration::from_secs(9),
            mode: Mode::Scan,
            lost_events: Lost::Exactly(3),
            entries_verified: 4,
            entries_unread: 0,
            chain_hash: Digest::new([0; 32]),
        }
    }

    #[test]
    fn a_changed_receipt_breaks_the_sequence() {
        #[track_caller]
        fn check(edit: impl FnOnce(&mut Receipt)) {
            let first = receipt().seal(&Digest::new([0; 32]));
            let mut second = receipt().seal(&first.chain_hash);
            assert!(second.follows(&first.chain_hash));
            assert!(!second.follows(&Digest::new([0; 32])));
            edit(&mut second);
            assert!(!second.follows(&first.chain_hash));
        }
        check(|receipt| receipt.occasion = Occasion::Reboot);
        check(|receipt| receipt.occasion = Occasion::MemoryRefused(String::new()));
        check(|receipt| receipt.filesystem = None);
        check(|receipt| receipt.filesystem = Some(8));
        check(|receipt| receipt.from = None);
        check(|receipt| receipt.to += Duration::from_nanos(1));
        check(|receipt| receipt.mode = Mode::Events);
        check(|receipt| receipt.lost_events = Lost::Unknown);
        check(|receipt| receipt.lost_events = Lost::Exactly(4));
        check(|receipt| receipt.entries_verified = 5);
        check(|receipt| receipt.entries_unread = 1);
    }

    #[test]
    fn the_wire_form_keeps_the_hash() {
        let sealed = receipt().seal(&Digest::new([1; 32]));
        let json = serde_json::to_string(&sealed).expect("serialisable");
        let back: Receipt = serde_json::from_str(&json).expect("readable");
        assert_eq!(back, sealed);
        assert!(back.follows(&Digest::new([1; 32])));
    }
}
