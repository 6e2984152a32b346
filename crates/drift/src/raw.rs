//! Names from the system on the wire: bytes, readable where they are text.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use umbra_api::blob::Blob;

fn blob(name: &OsStr) -> Blob {
    Blob(name.as_bytes().to_vec())
}

/// For `#[serde(with)]` on a path that may be missing.
pub(crate) mod path {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| blob(path.as_os_str())).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let bytes = Option::<Blob>::deserialize(from)?;
        Ok(bytes.map(|bytes| OsString::from_vec(bytes.0).into()))
    }
}

/// For `#[serde(with)]` on a list of names.
pub(crate) mod names {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(names: &[OsString], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(names.iter().map(|name| blob(name)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<OsString>, D::Error> {
        let names = Vec::<Blob>::deserialize(from)?;
        Ok(names.into_iter().map(|name| OsString::from_vec(name.0)).collect())
    }
}
