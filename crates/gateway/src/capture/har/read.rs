//! From a file to exchanges.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Uri;
use jiff::Timestamp;
use umbra_api::client::percent;

use super::CREATOR;
use super::shapes::{Content, Entry, Har, Pair, Param, Request, Response, Timings};
use crate::capture::exchange::header;
use crate::capture::{Answered, Asked, Exchange, Headers, Kept, ReadError};
use crate::headers::is_token;
use crate::routes::weigh::first_word;

/// A file is no longer.
const BYTES_MAX: u64 = 256 << 20;

/// Reads a file.
#[derive(Debug)]
pub struct Reader {
    pub(super) exchanges: std::vec::IntoIter<Exchange>,
    pub(super) refused: BTreeMap<String, u64>,
}

impl Reader {
    /// Of all there is to read.
    ///
    /// # Errors
    /// It is no HAR, is too long, or the kernel refuses.
    pub fn new(from: impl Read) -> Result<Self, ReadError> {
        let mut bytes = Vec::new();
        from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(ReadError::TooLong { bytes_max: BYTES_MAX });
        }
        let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let har: Har = serde_json::from_slice(json).map_err(|error| ReadError::Place {
            line: error.line(),
            column: error.column(),
            why: umbra_state::escape::line(error.to_string().as_bytes(), 300),
        })?;
        let ours = har.log.creator.name == CREATOR;
        let (mut all, mut refused) = (Vec::new(), BTreeMap::new());
        for (index, entry) in har.log.entries.into_iter().enumerate() {
            match exchange(entry, ours) {
                Ok(exchange) => all.push(exchange),
                Err(Unread::Refused(cause)) => *refused.entry(cause.to_owned()).or_default() += 1,
                Err(Unread::Bad(why)) => {
                    return Err(ReadError::Entry { record: index as u64 + 1, why });
                }
            }
        }
        Ok(Self { exchanges: all.into_iter(), refused })
    }

    /// What was not taken, by cause.
    pub fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// The next exchange.
    pub fn next_exchange(&mut self) -> Option<Exchange> {
        self.exchanges.next()
    }
}

enum Unread {
    /// It is no request of ours.
    Refused(&'static str),
    /// The file is wrong.
    Bad(&'static str),
}

fn exchange(entry: Entry, ours: bool) -> Result<Exchange, Unread> {
    let at: Timestamp =
        entry.started_date_time.parse().map_err(|_| Unread::Bad("startedDateTime is no time"))?;
    let began_us = u64::try_from(at.as_microsecond())
        .map_err(|_| Unread::Bad("startedDateTime is before 1970"))?;
    let Timings { blocked, dns, connect, send, wait, .. } = entry.timings;
    let session = entry.connection.as_deref().map_or(0, session);
    let request = asked(entry.request)?;
    let answer = answered(entry.response, ours)?;
    let ms: f64 = [blocked, dns, connect, send, wait].iter().filter(|&&ms| ms > 0.0).sum();
    let answer = answer.map(|answer| Answered { after_us: (ms * 1e3).round() as u64, ..answer });
    Ok(Exchange { began_us, session, request, answer })
}

/// One that we wrote is what it was.
fn session(connection: &str) -> u64 {
    let ours = connection.len() == 16 && connection.bytes().all(|byte| byte.is_ascii_hexdigit());
    if ours && let Ok(session) = u64::from_str_radix(connection, 16) {
        return session;
    }
    first_word(&blake3::hash(connection.as_bytes()))
}

fn asked(request: Request) -> Result<Asked, Unread> {
    let uri: Uri = request
        .url
        .split('#')
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|_| Unread::Refused("target"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Unread::Refused("scheme"));
    }
    let authority = uri.authority().ok_or(Unread::Refused("target"))?;
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let mut headers = headers(request.headers);
    if header(&headers, "host").is_none() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        headers.insert(0, ("Host".into(), Bytes::copy_from_slice(host.as_bytes())));
    }
    if !is_token(request.method.as_bytes()) {
        return Err(Unread::Refused("method"));
    }
    let body = request.post_data.map_or(Ok(Kept::default()), body)?;
    Ok(Asked { method: request.method, target, headers, body })
}

fn answered(response: Response, ours: bool) -> Result<Option<Answered>, Unread> {
    // What browsers write where none came.
    if response.status <= 0 {
        return Ok(None);
    }
    let status = u16::try_from(response.status).ok().filter(|status| (100..1000).contains(status));
    let status = status.ok_or(Unread::Bad("a status is from 100 to 999"))?;
    let mut headers = headers(response.headers);
    if !ours {
        // A browser's text is unpacked.
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-encoding"));
    }
    Ok(Some(Answered { status, after_us: 0, headers, body: body(response.content)? }))
}

/// Without HTTP/2's names that are no headers, and without what frames a body that is not framed
/// any more.
fn headers(pairs: Vec<Pair>) -> Headers {
    let pairs = pairs.into_iter().filter(|pair| {
        !pair.name.starts_with(':') && !pair.name.eq_ignore_ascii_case("transfer-encoding")
    });
    pairs.map(|Pair { name, value }| (name.into(), value.into())).collect()
}

fn body(content: Content) -> Result<Kept, Unread> {
    let Content { text, encoding, params, cut, .. } = content;
    let bytes: Bytes = match (text, encoding.as_deref()) {
        (Some(text), Some("base64")) => {
            STANDARD.decode(text).map_err(|_| Unread::Bad("a body is not Base64"))?.into()
        }
        (Some(text), None | Some("")) => text.into(),
        (Some(_), Some(_)) => return Err(Unread::Bad("a body's encoding is not base64")),
        (None, _) => form(&params).into(),
    };
    Ok(Kept { bytes, cut })
}

fn form(params: &[Param]) -> String {
    let pairs = params.iter().map(|one| format!("{}={}", percent(&one.name), percent(&one.value)));
    pairs.collect::<Vec<_>>().join("&")
}
