//! One value inside a text.

use super::collector::digest_only;
use crate::format::{self, Format, Key};
use crate::reading::{Content, Reading, Value};
use umbra_api::blob::Blob;

/// What a reading says under a key; a secret value stays one.
pub(super) fn under(reading: Reading, key: Option<&Key>, format: Format, secret: bool) -> Reading {
    let Some(key) = key else {
        return Reading::Unreadable { why: "its key cannot be understood".to_owned() };
    };
    let (bytes, attributes) = match reading {
        Reading::Present(Value { content: Some(Content::Bytes(bytes)), attributes }) => {
            (bytes, attributes)
        }
        Reading::Present(_) => {
            return Reading::Unreadable {
                why: "it is too long to look for a key in it".to_owned(),
            };
        }
        other => return other,
    };
    let Some(value) = format::parse(format, &bytes.0).get(key).map(<[u8]>::to_vec) else {
        return Reading::Absent;
    };
    let content = Some(Content::Bytes(Blob(value)));
    let reading = Reading::Present(Value { content, attributes });
    if secret { digest_only(reading) } else { reading }
}
