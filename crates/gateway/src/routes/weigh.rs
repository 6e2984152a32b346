//! Which of several targets a session goes to, by weights.
//!
//! Each target draws a number from the session: an exponential variable whose rate is the
//! target's weight, made of a hash that is as good as random. The least wins (weighted rendezvous
//! hashing; Schindelhauer, Schomaker 2005). The least of exponentials with rates w is that of rate
//! w_i with probability w_i / sum w, so shares are exact in expectation. Raising one weight makes
//! this one's numbers smaller and changes no other: sessions only move to it, and nobody between
//! others or back. Leaving one out moves only its own.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};

use crate::fraction::mixed;

/// What sessions are hashed with. A secret: clients cannot choose where they go.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Salt([u8; 32]);

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

impl Salt {
    /// Made of a secret, so that several gateways and their successors agree; of chance if there
    /// is none.
    pub(crate) fn new(secret: Option<&str>) -> Self {
        match secret {
            Some(secret) => {
                Self(blake3::derive_key("umbra gateway 2026 sessions", secret.as_bytes()))
            }
            None => {
                let words = std::array::from_fn::<u64, 4, _>(|n| RandomState::new().hash_one(n));
                let mut salt = [0; 32];
                for (bytes, word) in salt.chunks_exact_mut(8).zip(words) {
                    bytes.copy_from_slice(&word.to_le_bytes());
                }
                Self(salt)
            }
        }
    }

    /// Of bytes that nobody knows.
    pub(crate) fn of(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A session as a number.
    pub(crate) fn session(&self, of: &[u8]) -> u64 {
        first_word(&blake3::keyed_hash(&self.0, of))
    }
}

/// Who a target is, as a number: the same wherever it stands among others.
pub(super) fn identity(target: &str) -> u64 {
    first_word(&blake3::hash(target.as_bytes()))
}

/// A hash as a number.
pub(crate) fn first_word(hash: &blake3::Hash) -> u64 {
    let (word, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*word)
}

/// What a target draws from a session, in (0, 1).
fn draw(session: u64, target: u64) -> f64 {
    let bits = mixed(session ^ mixed(target));
    // 53 bits and a half: neither 0 nor 1.
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// The place of the target that wins, of those with their weights and who they are; those of
/// weight 0 are not there.
pub(super) fn choose(
    session: u64,
    targets: impl Iterator<Item = (usize, u64, f64)>,
) -> Option<usize> {
    let drawn = targets
        .filter(|(_, _, weight)| *weight > 0.0)
        .map(|(place, target, weight)| (place, -draw(session, target).ln() / weight));
    drawn.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(salt: &Salt, weights: &[f64], sessions: u64) -> Vec<usize> {
        let choose = |number: u64| {
            let targets = weights.iter().enumerate();
            let targets = targets.map(|(place, weight)| (place, place as u64, *weight));
            choose(salt.session(&number.to_le_bytes()), targets).expect("a weight")
        };
        (0..sessions).map(choose).collect()
    }

    proptest! {
        #[test]
        fn raising_a_weight_moves_sessions_only_to_it(
            weights in prop::collection::vec(0.01..100.0f64, 1..6),
            raised in 0usize..6,
            by in 1.0..50.0f64,
        ) {
            let salt = Salt::new(None);
            let raised = raised % weights.len();
            let mut more = weights.clone();
            more[raised] *= by;
            let moved = places(&salt, &weights, 300).into_iter().zip(places(&salt, &more, 300));
            for (before, after) in moved {
                prop_assert!(before == after || after == raised, "{before} -> {after}");
            }
        }
    }

    #[test]
    fn shares_are_weights() {
        let salt = Salt::new(None);
        let (weights, sessions) = ([90.0, 9.0, 1.0, 0.0], 200_000u64);
        let places = places(&salt, &weights, sessions);
        for (target, weight) in weights.iter().enumerate() {
            let share = weight / 100.0;
            let found = places.iter().filter(|place| **place == target).count() as f64;
            let expected = share * sessions as f64;
            // Six standard deviations.
            let bound = 6.0 * (expected * (1.0 - share)).sqrt();
            assert!((found - expected).abs() <= bound, "{target}: {found}, not {expected}");
        }
    }

    #[test]
    fn one_secret_is_one_salt() {
        assert_eq!(Salt::new(Some("a")), Salt::new(Some("a")));
        assert_ne!(Salt::new(Some("a")), Salt::new(Some("b")));
        assert_ne!(Salt::new(None), Salt::new(None));
    }

    #[test]
    fn nothing_has_no_place() {
        assert_eq!(choose(1, [(0, 0, 0.0)].into_iter()), None);
    }
}
