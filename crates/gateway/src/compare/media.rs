//! What a body is: JSON, text, or bytes.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};

/// Bytes of a body once it is decoded.
const DECODED_BYTES_MAX: u64 = 8 << 20;

/// A body as its media type and encoding say, as far as that is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// None.
    Empty,
    /// A JSON document.
    Json(Vec<u8>),
    /// UTF-8.
    Text(String),
    /// Anything else, as it was sent.
    Bytes(Vec<u8>),
}

impl Media {
    /// What this body is.
    pub fn of(headers: &HeaderMap, pieces: &[Bytes]) -> Self {
        let sent = pieces.concat();
        if sent.is_empty() {
            return Self::Empty;
        }
        let kind = word(headers, &CONTENT_TYPE);
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let (json, text) = (is_json(kind), is_text(kind));
        if !json && !text {
            return Self::Bytes(sent);
        }
        let decoded = decoded(&word(headers, &CONTENT_ENCODING), &sent);
        let Some(decoded) = decoded else { return Self::Bytes(sent) };
        if json && super::json::is_document(&decoded) {
            return Self::Json(decoded);
        }
        match String::from_utf8(decoded) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Bytes(sent),
        }
    }
}

/// A header's value in lower case, nothing where there is none.
fn word(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

fn is_text(kind: &str) -> bool {
    const TEXTS: [&str; 4] = [
        "application/xml",
        "application/javascript",
        "application/x-www-form-urlencoded",
        "application/x-ndjson",
    ];
    kind.starts_with("text/") || kind.ends_with("+xml") || TEXTS.contains(&kind)
}

/// `None` where it cannot be, or is too long.
fn decoded(encoding: &str, sent: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let limit = DECODED_BYTES_MAX + 1;
    match encoding {
        "" | "identity" => return Some(sent.to_vec()),
        "gzip" | "x-gzip" => {
            MultiGzDecoder::new(sent).take(limit).read_to_end(&mut decoded).ok()?
        }
        "deflate" => ZlibDecoder::new(sent).take(limit).read_to_end(&mut decoded).ok()?,
        _ => return None,
    };
    (decoded.len() as u64 <= DECODED_BYTES_MAX).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use hyper::header::HeaderValue;

    use super::*;

    fn media(kind: &'static str, encoding: &'static str, body: &[u8]) -> Media {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        // In pieces that end anywhere.
        let (a, b) = body.split_at(body.len() / 3);
        Media::of(&headers, &[Bytes::copy_from_slice(a), Bytes::copy_from_slice(b)])
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_is_what_it_says_if_it_is() {
        #[track_caller]
        fn check(kind: &'static str, encoding: &'static str, body: &[u8], is: &Media) {
            assert_eq!(media(kind, encoding, body), *is, "{kind} {encoding}");
        }
        let (json, text) = (br#"{"a": 1}"#, "größe\n");
        let is_json = Media::Json(json.to_vec());
        check("application/json", "", json, &is_json);
        check("Application/Problem+JSON; charset=utf-8", "identity", json, &is_json);
        check("application/json", "gzip", &gzip(json), &is_json);
        check("application/json", "", b"{\"a\": ", &Media::Text("{\"a\": ".into()));
        check("text/html", "", text.as_bytes(), &Media::Text(text.into()));
        check("text/html", "", b"caf\xe9", &Media::Bytes(b"caf\xe9".to_vec()));
        check("text/html", "br", text.as_bytes(), &Media::Bytes(text.as_bytes().to_vec()));
        check("text/html", "gzip", b"no gzip", &Media::Bytes(b"no gzip".to_vec()));
        check("image/png", "", b"\x89PNG", &Media::Bytes(b"\x89PNG".to_vec()));
        check("application/json", "", b"", &Media::Empty);
    }

    #[test]
    fn what_unfolds_without_end_stays_folded() {
        let bomb = gzip(&vec![b' '; DECODED_BYTES_MAX as usize + 1]);
        assert_eq!(media("text/plain", "gzip", &bomb), Media::Bytes(bomb));
    }
}
