//! Historical shadows on their shelf: the database.

use tokio::runtime::Handle;
use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::reading::Snapshot;
use umbra_drift::timeline::{pack, unpack};
use umbra_state::Digest;

use crate::db::drift::DriftWrite;
use crate::db::drift::ShadowRow;
use crate::db::{Db, DbError};

/// Texts shrink to a third at this level, in a millisecond per megabyte.
const ZSTD_LEVEL: i32 = 3;
/// No object of a shadow is longer: contents that are kept end far below.
const OBJECT_BYTES_MAX: usize = 64 << 20;

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("find it in the database")]
    Missing,
    #[error("decompress it")]
    Frame(#[source] std::io::Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A snapshot as the rows that keep it. `row` says where; its root and items are filled in.
pub(super) fn put(snapshot: &Snapshot, row: ShadowRow) -> std::io::Result<DriftWrite> {
    let packed = pack(snapshot);
    let frames = packed.objects.into_iter().map(|(digest, bytes)| {
        zstd::bulk::compress(&bytes, ZSTD_LEVEL).map(|frame| (digest, frame))
    });
    let objects = frames.collect::<Result<_, _>>()?;
    let items = snapshot.readings.len() as u64;
    Ok(DriftWrite::Shadow { row: ShadowRow { root: packed.root, items, ..row }, objects })
}

/// The snapshot with this root. Blocking.
pub(super) fn get(db: &Db, runtime: &Handle, root: Digest) -> Result<Snapshot, WireError> {
    let snapshot = unpack(root, |digest| object(db, runtime, digest));
    snapshot.map_err(|error| WireError::from_chain(ErrorCode::Environment, &error))
}

/// The digests of all objects the snapshot with this root needs. Blocking.
pub(super) fn needs(
    db: &Db,
    runtime: &Handle,
    root: Digest,
    needed: &mut std::collections::BTreeSet<Digest>,
) -> Result<(), WireError> {
    let snapshot = unpack(root, |digest| {
        needed.insert(digest);
        object(db, runtime, digest)
    });
    snapshot.map(drop).map_err(|error| WireError::from_chain(ErrorCode::Environment, &error))
}

fn object(db: &Db, runtime: &Handle, digest: Digest) -> Result<Vec<u8>, ObjectError> {
    let frame = runtime.block_on(db.drift_object(digest))?.ok_or(ObjectError::Missing)?;
    zstd::bulk::decompress(&frame, OBJECT_BYTES_MAX).map_err(ObjectError::Frame)
}
