//! What a judge was told, as bytes, so that anyone can judge it again.
//!
//! ```text
//! header   "umbra judge 1\n" | n: u32 | n bytes of JSON: the settings | check
//! batch    n: u32, at least 1 | n records of 16 bytes (see `record`) | check
//! batch    ...
//! ```
//!
//! A *check* is 8 bytes of the BLAKE3 digest of the check before it, if there is one, and of all
//! of its own part that comes before it. So no batch can be changed, left out or put elsewhere
//! without notice, and what a crash left of the last one is known to be no batch.
//!
//! Reading is strict, bounded and goes up to the last whole batch: [`read::Reader::finish`] says
//! how far that is, which is where a [`write::Writer`] goes on.

pub mod read;
pub mod record;
pub mod replay;
pub mod way;
pub mod write;

use record::RECORD_BYTES;

/// What a journal begins with.
pub const MAGIC: &[u8; 14] = b"umbra judge 1\n";

/// Records in one batch, at most.
pub const BATCH_RECORDS_MAX: usize = 4_096;

/// Bytes of settings, at most.
pub const SETTINGS_BYTES_MAX: usize = 16 << 10;

const CHECK_BYTES: usize = 8;
const COUNT_BYTES: usize = 4;

/// What ties a part to all before it.
pub(crate) type Check = [u8; CHECK_BYTES];

/// Of a part, after the one with this check.
fn check(before: Option<Check>, part: &[u8]) -> Check {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_ref().map_or(&[], |check| check));
    hasher.update(part);
    let mut check = [0; CHECK_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// What comes before a header's settings.
const PREFIX_BYTES: usize = MAGIC.len() + COUNT_BYTES;
const BATCH_BYTES_MAX: usize = COUNT_BYTES + BATCH_RECORDS_MAX * RECORD_BYTES + CHECK_BYTES;
