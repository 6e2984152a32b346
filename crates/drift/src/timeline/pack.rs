//! Snapshots to objects and back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_state::Digest;

use crate::reading::{Content, Item, Reading, Snapshot};

/// Contents longer than this are objects of their own: shared by all shadows that have them.
const INLINE_BYTES_MAX: usize = 128;
/// One chunk in so many items ends; a power of two.
const CHUNK_ITEMS: u32 = 64;
/// Where no item ends a chunk, it ends here.
const CHUNK_ITEMS_MAX: usize = 1024;
/// More than any machine's: what claims to have more is refused.
const CHUNKS_MAX: usize = 1 << 20;

/// A snapshot as objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Its name: the digest of the root object.
    pub root: Digest,
    /// All objects it needs, the root among them, by digest.
    pub objects: BTreeMap<Digest, Vec<u8>>,
}

/// Why objects are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError<E: std::error::Error + 'static> {
    /// An object could not be had.
    #[error("get the object {digest}")]
    Get {
        /// Its name.
        digest: Digest,
        /// Why not.
        #[source]
        source: E,
    },
    /// An object is not what its name says.
    #[error("believe the object {0}: its content has another digest")]
    Corrupt(Digest),
    /// An object makes no sense.
    #[error("understand the object {digest}")]
    Meaningless {
        /// Its name.
        digest: Digest,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
    /// A root lists more chunks than any snapshot has.
    #[error("understand the object {0}: it lists too many parts")]
    TooMany(Digest),
}

/// A reading in a chunk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    item: Item,
    reading: Reading,
    /// The reading's digest names an object that holds all bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    kept: bool,
}

/// The objects of a snapshot; the same for equal snapshots.
pub fn pack(snapshot: &Snapshot) -> Packed {
    let mut objects = BTreeMap::new();
    let mut put = |bytes: Vec<u8>| {
        let digest = name(&bytes);
        objects.entry(digest).or_insert(bytes);
        digest
    };
    let mut chunks = Vec::new();
    let mut chunk: Vec<Line> = Vec::new();
    for (item, reading) in &snapshot.readings {
        let (reading, content) = without_long_content(reading);
        let kept = content.map(|bytes| put(bytes.to_vec())).is_some();
        chunk.push(Line { item: item.clone(), reading, kept });
        if ends_chunk(item) || chunk.len() == CHUNK_ITEMS_MAX {
            chunks.push(put(json(&std::mem::take(&mut chunk))));
        }
    }
    if !chunk.is_empty() {
        chunks.push(put(json(&chunk)));
    }
    let root = put(json(&chunks));
    Packed { root, objects }
}

/// The snapshot named `root`. Every object is held against its name.
///
/// # Errors
/// What `get` fails with; an object that is not what its name says.
pub fn unpack<E: std::error::Error + 'static>(
    root: Digest,
    mut get: impl FnMut(Digest) -> Result<Vec<u8>, E>,
) -> Result<Snapshot, UnpackError<E>> {
    let mut checked = |digest: Digest| {
        let bytes = get(digest).map_err(|source| UnpackError::Get { digest, source })?;
        if name(&bytes) == digest { Ok(bytes) } else { Err(UnpackError::Corrupt(digest)) }
    };
    let chunks: Vec<Digest> = read(root, &checked(root)?)?;
    if chunks.len() > CHUNKS_MAX {
        return Err(UnpackError::TooMany(root));
    }
    let mut readings = BTreeMap::new();
    for chunk in chunks {
        let lines: Vec<Line> = read(chunk, &checked(chunk)?)?;
        for Line { item, mut reading, kept } in lines {
            if kept
                && let Reading::Present(value) = &mut reading
                && let Some(Content::Digest { blake3, .. }) = value.content
            {
                value.content = Some(Content::Bytes(Blob(checked(blake3)?)));
            }
            readings.insert(item, reading);
        }
    }
    Ok(Snapshot { readings })
}

/// The reading with a long content replaced by its digest, and that content.
fn without_long_content(reading: &Reading) -> (Reading, Option<&[u8]>) {
    let long = reading.bytes().filter(|bytes| bytes.len() > INLINE_BYTES_MAX);
    match (reading, long) {
        (Reading::Present(value), Some(bytes)) => {
            let attributes = value.attributes.clone();
            let content = Some(Content::digest_of(bytes));
            (Reading::Present(crate::reading::Value { content, attributes }), Some(bytes))
        }
        _ => (reading.clone(), None),
    }
}

fn ends_chunk(item: &Item) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(item.parameter.as_bytes());
    hasher.update(&[0]);
    hasher.update(item.part.as_ref().map(|part| part.0.as_slice()).unwrap_or_default());
    let hash = hasher.finalize();
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]).is_multiple_of(CHUNK_ITEMS)
}

fn name(bytes: &[u8]) -> Digest {
    Digest::new(*blake3::hash(bytes).as_bytes())
}

/// Plain data with text keys always has a JSON form.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn read<T: serde::de::DeserializeOwned, E: std::error::Error + 'static>(
    digest: Digest,
    bytes: &[u8],
) -> Result<T, UnpackError<E>> {
    serde_json::from_slice(bytes).map_err(|source| UnpackError::Meaningless { digest, source })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Attribute;
    use crate::reading::Value;

    fn reading() -> impl Strategy<Value = Reading> {
        let bytes = prop::collection::vec(any::<u8>(), 0..300);
        let value = (bytes, any::<bool>(), any::<bool>()).prop_map(|(bytes, digest, mode)| {
            let content = match digest {
                true => Content::digest_of(&bytes),
                false => Content::Bytes(Blob(bytes)),
            };
            let mode = mode.then(|| (Attribute::Mode, Blob(b"0644".to_vec())));
            Value { content: Some(content), attributes: mode.into_iter().collect() }
        });
        prop_oneof![
            Just(Reading::Absent),
            ".{0,8}".prop_map(|why| Reading::Unreadable { why }),
            value.prop_map(Reading::Present),
        ]
    }

    fn snapshot() -> impl Strategy<Value = Snapshot> {
        let item = ("[ab]", prop::option::of(prop::collection::vec(any::<u8>(), 0..6)))
            .prop_map(|(parameter, part)| Item { parameter, part: part.map(Blob) });
        prop::collection::btree_map(item, reading(), 0..200)
            .prop_map(|readings| Snapshot { readings })
    }

    fn unpacked(packed: &Packed) -> Result<Snapshot, UnpackError<io::Error>> {
        unpack(packed.root, |digest| {
            packed.objects.get(&digest).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_snapshot_comes_back(snapshot in snapshot()) {
            let packed = pack(&snapshot);
            prop_assert_eq!(unpacked(&packed).expect("unpacked"), snapshot);
        }

        #[test]
        fn one_change_changes_little(snapshot in snapshot(), which: prop::sample::Index, new in reading()) {
            prop_assume!(!snapshot.readings.is_empty());
            let before = pack(&snapshot);
            let mut after = snapshot;
            let at = which.index(after.readings.len());
            if let Some(reading) = after.readings.values_mut().nth(at) {
                *reading = new;
            }
            let after = pack(&after);
            let new = after.objects.keys().filter(|name| !before.objects.contains_key(*name));
            prop_assert!(new.count() <= 3, "a content, a chunk and the root");
        }

        #[test]
        fn any_bytes_are_refused_or_a_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = unpack(name(&bytes), |_| Ok::<_, Infallible>(bytes.clone()));
        }
    }

    #[test]
    fn what_is_missing_or_corrupt_is_said() {
        let readings = [(Item::whole("a"), Reading::text(vec![b'x'; 500]))].into();
        let packed = pack(&Snapshot { readings });
        for digest in packed.objects.keys() {
            let mut without = packed.clone();
            without.objects.remove(digest);
            assert!(matches!(unpacked(&without), Err(UnpackError::Get { .. })));
            let mut corrupt = packed.clone();
            corrupt.objects.insert(*digest, b"[]".to_vec());
            assert!(matches!(unpacked(&corrupt), Err(UnpackError::Corrupt(_))));
        }
    }
}
