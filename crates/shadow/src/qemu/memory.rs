//! How much memory a machine gets, and what it may take of this one.

use super::machine::Accel;
use crate::provider::Limits;

const MIB: u64 = 1 << 20;

/// The guest's kernel, our programs in it, and room to breathe.
const OWN_BYTES: u64 = 192 * MIB;

/// What a view gets where nobody says how much.
const VIEW_BYTES: u64 = 512 * MIB;

/// What QEMU and the server of files take beside the guest's memory.
const PROGRAMS_BYTES: u64 = 320 * MIB;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The machine's memory.
    pub(crate) machine_bytes: u64,
    /// Its limits on this machine.
    pub(crate) here: Limits,
    /// Processors.
    pub(crate) cpus: u16,
}

impl Plan {
    /// For a shadow with these limits, which hold inside for its view. Where nobody says how many
    /// processors it is to have, it has as many as it can use well.
    pub(crate) fn of(limits: &Limits, cpus_here: usize, accel: Accel) -> Self {
        let view = limits.memory_bytes.unwrap_or(VIEW_BYTES);
        let machine_bytes = (OWN_BYTES + view).next_multiple_of(MIB);
        // What views write is in this machine's memory, up to half of what they may have.
        let here = limits.memory_bytes.map(|view| machine_bytes + view / 2 + PROGRAMS_BYTES);
        let usual = match accel {
            Accel::Kvm => 2,
            // Each is translated by a thread that keeps the others waiting.
            Accel::Tcg => 1,
        };
        let wanted = limits.cpu_millis.map_or(usual, |millis| millis.div_ceil(1000).max(1));
        let most = u16::try_from(cpus_here).unwrap_or(u16::MAX).max(1);
        Self {
            machine_bytes,
            here: Limits { memory_bytes: here, cpu_millis: limits.cpu_millis, pids: None },
            cpus: u16::try_from(wanted).unwrap_or(u16::MAX).min(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_room_for_its_view_and_no_more_than_is_here() {
        #[track_caller]
        fn check(memory_mib: Option<u64>, cpu_millis: Option<u32>, mib: u64, cpus: u16) {
            let memory_bytes = memory_mib.map(|mib| mib * MIB);
            let limits = Limits { memory_bytes, cpu_millis, pids: None };
            let plan = Plan::of(&limits, 4, Accel::Kvm);
            assert_eq!((plan.machine_bytes / MIB, plan.cpus), (mib, cpus));
            assert!(plan.here.memory_bytes.is_none_or(|here| here > plan.machine_bytes));
        }
        check(None, None, 704, 2);
        check(Some(32), Some(1000), 224, 1);
        check(Some(1024), Some(1500), 1216, 2);
        check(None, Some(64_000), 704, 4);
    }
}
