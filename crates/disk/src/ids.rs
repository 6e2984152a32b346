//! The names of a disk and its parts, derived from the state: the same state, the same names.

use std::fmt;

use sha2::{Digest as _, Sha256};
use umbra_state::StateId;

/// A UUID, as its sixteen bytes in the order in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uuid(pub(crate) [u8; 16]);

/// Everything on a disk that has a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    /// Of the partition table.
    pub(crate) disk: Uuid,
    /// Of the partition with the BIOS's boot loader.
    pub(crate) bios: Uuid,
    /// Of the EFI system partition.
    pub(crate) esp: Uuid,
    /// The serial number of the filesystem in it.
    pub(crate) esp_volume: u32,
    /// Of the root partition.
    pub(crate) root: Uuid,
    /// Of the filesystem in it.
    pub(crate) filesystem: Uuid,
    /// With which it hashes the names in large directories.
    pub(crate) hash_seed: Uuid,
}

impl Ids {
    /// Those of a disk with this state.
    pub(crate) fn of(state: StateId) -> Self {
        let volume = bytes(state, "esp volume");
        Self {
            disk: uuid(state, "disk"),
            bios: uuid(state, "bios partition"),
            esp: uuid(state, "esp partition"),
            esp_volume: u32::from_le_bytes([volume[0], volume[1], volume[2], volume[3]]),
            root: uuid(state, "root partition"),
            filesystem: uuid(state, "root filesystem"),
            hash_seed: uuid(state, "directory hash"),
        }
    }
}

fn bytes(state: StateId, part: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"umbra disk\0");
    hash.update(state.0.as_bytes());
    hash.update(part.as_bytes());
    let digest = hash.finalize();
    std::array::from_fn(|index| digest[index])
}

/// Version 8: made of whatever its maker likes.
fn uuid(state: StateId, part: &str) -> Uuid {
    let mut bytes = bytes(state, part);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}

impl Uuid {
    /// The UUID that is written so, for the constants of specifications.
    pub(crate) const fn from_number(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// As GUID partition tables hold it: the first three fields with the low byte first.
    pub(crate) fn mixed_endian(self) -> [u8; 16] {
        let b = self.0;
        [
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15],
        ]
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use umbra_state::Digest;

    use super::*;

    #[test]
    fn a_name_follows_from_the_state_alone() {
        let of = |byte| Ids::of(StateId(Digest::new([byte; 32])));
        assert_eq!(of(1).root, of(1).root);
        assert_ne!(of(1).root, of(2).root);
        assert_ne!(of(1).root, of(1).filesystem);
        assert_eq!(of(1).root.to_string().as_bytes()[14], b'8', "version 8");
    }

    #[test]
    fn both_spellings() {
        let uuid = Uuid::from_number(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
        assert_eq!(uuid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(uuid.mixed_endian()[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
    }
}
