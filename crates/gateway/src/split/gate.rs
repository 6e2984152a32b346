//! Which arm a unit is of. One number says it, so that it changes from one request to the next
//! and no request sees half of a change.
//!
//! ```text
//!  0          weight                      1 - weight         1
//!  ├─candidate──┼───────── baseline ──────────┼────control────┤   a unit's place: a secret hash
//! ```
//!
//! Raising the weight only adds units to the candidate (and to the control), lowering it only
//! takes some away: nobody goes to and fro.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::SplitArm;

/// A weight is a multiple of 2^-47, which leaves room beside it for the stage's number.
const PLACE_BITS: u32 = 47;
const WHOLE: u64 = 1 << PLACE_BITS;
const STAGE_SHIFT: u32 = PLACE_BITS + 1;

/// What requests read: the number of the weight in force, and that weight.
#[derive(Debug)]
pub(crate) struct Gate {
    packed: AtomicU64,
    has_control: bool,
}

/// Where a unit goes, and by which declared weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) arm: SplitArm,
    /// The weight's number.
    pub(crate) stage: u16,
    /// Who is assigned, as a number.
    pub(crate) unit: u64,
}

impl Gate {
    /// At this weight, which is the `stage`th.
    pub(super) fn new(stage: u16, weight: f64, has_control: bool) -> Self {
        Self { packed: AtomicU64::new(packed(stage, weight)), has_control }
    }

    /// From the next request on.
    pub(super) fn set(&self, stage: u16, weight: f64) {
        self.packed.store(packed(stage, weight), Ordering::Release);
    }

    /// Where a unit goes whose place is made of `hash`.
    pub(super) fn assign(&self, unit: u64, hash: u64) -> Assigned {
        let packed = self.packed.load(Ordering::Acquire);
        let (weight, place) = (packed & ((1 << STAGE_SHIFT) - 1), hash >> (64 - PLACE_BITS));
        let arm = if place < weight {
            SplitArm::Candidate
        } else if self.has_control && place >= WHOLE - weight {
            SplitArm::Control
        } else {
            SplitArm::Baseline
        };
        Assigned { arm, stage: (packed >> STAGE_SHIFT) as u16, unit }
    }
}

/// `weight` is from 0 to 1, which whoever declares it has checked.
fn packed(stage: u16, weight: f64) -> u64 {
    let places = (weight.clamp(0.0, 1.0) * WHOLE as f64).round() as u64;
    u64::from(stage) << STAGE_SHIFT | places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fraction::mixed;

    fn counted(gate: &Gate, units: u64) -> [u64; 3] {
        let mut counted = [0; 3];
        for unit in 0..units {
            counted[gate.assign(unit, mixed(unit)).arm as usize] += 1;
        }
        counted
    }

    #[test]
    fn shares_are_the_weight() {
        #[track_caller]
        fn check(weight: f64, has_control: bool) {
            let units = 200_000;
            let [baseline, candidate, control] = counted(&Gate::new(3, weight, has_control), units);
            // Six standard deviations.
            let bound = 6.0 * (weight * (1.0 - weight) * units as f64).sqrt();
            let is_share = |count: u64| (count as f64 - weight * units as f64).abs() <= bound;
            assert!(is_share(candidate), "{weight}: {candidate}");
            assert!(if has_control { is_share(control) } else { control == 0 });
            assert_eq!(baseline + candidate + control, units);
        }
        for weight in [0.0, 1e-4, 0.01, 0.05, 0.25, 0.5] {
            check(weight, false);
            check(weight, true);
        }
        check(0.9, false);
        check(1.0, false);
    }

    #[test]
    fn the_stage_is_told_beside_the_weight() {
        let gate = Gate::new(0, 1.0, false);
        for (stage, weight) in [(1, 0.5), (u16::MAX, 1.0), (7, 0.0)] {
            gate.set(stage, weight);
            let assigned = gate.assign(9, 0);
            assert_eq!((assigned.stage, assigned.unit), (stage, 9));
            assert_eq!(assigned.arm == SplitArm::Candidate, weight > 0.0);
            let last = gate.assign(9, u64::MAX);
            assert_eq!(last.arm == SplitArm::Candidate, weight == 1.0);
        }
    }

    proptest! {
        #[test]
        fn raising_the_weight_only_adds(
            low in 0.0..0.5f64, high in 0.0..0.5f64, has_control: bool, seed: u64,
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let gate = Gate::new(0, low, has_control);
            for unit in 0..200 {
                let hash = mixed(seed ^ unit);
                gate.set(0, low);
                let before = gate.assign(unit, hash).arm;
                gate.set(1, high);
                let after = gate.assign(unit, hash).arm;
                prop_assert!(before == after || before == SplitArm::Baseline);
            }
        }
    }
}
