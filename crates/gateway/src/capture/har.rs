//! HAR 1.2, the browsers' archive: one JSON document, read as a whole.
//!
//! A `connection` is a session; without any, a file is of one client, and one session. Bodies are
//! text, or Base64 where they are none. What HAR has no place for is in fields of our own, whose
//! names begin with an underscore as the format asks.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Uri;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::exchange::header;
use super::{Answered, Asked, Exchange, Headers, Kept, ReadError, WriteError};
use crate::headers::is_token;

/// A file is no longer.
const BYTES_MAX: u64 = 256 << 20;
const CREATOR: &str = "umbra";

#[derive(Deserialize)]
struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    creator: Creator,
    entries: Vec<Entry>,
}

#[derive(Deserialize, Default)]
struct Creator {
    #[serde(default)]
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    #[serde(default)]
    time: f64,
    request: Request,
    response: Response,
    #[serde(default)]
    cache: Nothing,
    #[serde(default)]
    timings: Timings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
}

/// An object that says nothing.
#[derive(Serialize, Deserialize, Default)]
struct Nothing {}

#[derive(Serialize, Deserialize, Default)]
struct Timings {
    #[serde(default = "none")]
    blocked: f64,
    #[serde(default = "none")]
    dns: f64,
    #[serde(default = "none")]
    connect: f64,
    #[serde(default)]
    send: f64,
    #[serde(default)]
    wait: f64,
    #[serde(default)]
    receive: f64,
}

/// What HAR writes where there was no such time.
fn none() -> f64 {
    -1.0
}

#[derive(Serialize, Deserialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    http_version: String,
    #[serde(default)]
    cookies: Vec<Nothing>,
    #[serde(default)]
    headers: Vec<Pair>,
    #[serde(default)]
    query_string: Vec<Pair>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    post_data: Option<Content>,
    #[serde(default = "none", skip_serializing)]
    #[allow(dead_code)]
    headers_size: f64,
    #[serde(default)]
    body_size: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: i64,
    #[serde(default)]
    status_text: String,
    #[serde(default)]
    http_version: String,
    #[serde(default)]
    cookies: Vec<Nothing>,
    #[serde(default)]
    headers: Vec<Pair>,
    #[serde(default)]
    content: Content,
    #[serde(default, rename = "redirectURL")]
    redirect_url: String,
    #[serde(default)]
    body_size: f64,
}

/// A body. That of a request has an encoding with us only.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    mime_type: String,
    #[serde(default)]
    size: f64,
    #[serde(default)]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(default, skip_serializing)]
    params: Vec<Param>,
    #[serde(default, rename = "_cut", skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

#[derive(Deserialize)]
struct Param {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

/// Reads a file.
#[derive(Debug)]
pub struct Reader {
    exchanges: std::vec::IntoIter<Exchange>,
    refused: BTreeMap<String, u64>,
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
    let mut number = [0; 8];
    number.copy_from_slice(&blake3::hash(connection.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(number)
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
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs = params.iter().map(|one| format!("{}={}", encoded(&one.name), encoded(&one.value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Writes a file.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    first: bool,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(mut to: W) -> Result<Self, WriteError> {
        let version = env!("CARGO_PKG_VERSION");
        write!(
            to,
            "{{\"log\":{{\"version\":\"1.2\",\"creator\":{{\"name\":\"{CREATOR}\",\"version\":\"{version}\"}},\"entries\":["
        )?;
        Ok(Self { to, first: true })
    }

    /// Appends an exchange. Bytes of a header that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// It cannot stand there, or the kernel refuses.
    pub fn put(&mut self, exchange: &Exchange) -> Result<(), WriteError> {
        let entry = entry(exchange)?;
        let json = serde_json::to_vec(&entry).map_err(std::io::Error::other)?;
        self.to.write_all(if self.first { b"\n" } else { b",\n" })?;
        self.to.write_all(&json)?;
        self.first = false;
        Ok(())
    }

    /// Ends it, and gives back what it was written to.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.to.write_all(b"\n]}}\n")?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn entry(exchange: &Exchange) -> Result<Entry, WriteError> {
    let Exchange { began_us, session, request, answer } = exchange;
    let late = || WriteError::Unfit("its time is too late");
    let at = i64::try_from(*began_us).map_err(|_| late())?;
    let at = Timestamp::from_microsecond(at).map_err(|_| late())?;
    let host = header(&request.headers, "host");
    let host = host.map_or("unknown.invalid".into(), |host| String::from_utf8_lossy(host));
    let url = format!("http://{host}{}", request.target);
    if !request.target.starts_with('/') || url.parse::<Uri>().is_err() {
        return Err(WriteError::Unfit("its host or path is none"));
    }
    let ms = answer.as_ref().map_or(0.0, |answer| answer.after_us as f64 / 1e3);
    let version = || "HTTP/1.1".to_owned();
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let query_string = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Pair { name: name.to_owned(), value: value.to_owned() }
    });
    let is_empty = request.body == Kept::default();
    Ok(Entry {
        started_date_time: at.to_string(),
        time: ms,
        request: Request {
            method: request.method.clone(),
            url,
            http_version: version(),
            cookies: Vec::new(),
            headers: pairs(&request.headers),
            query_string: query_string.collect(),
            post_data: (!is_empty).then(|| content(&request.headers, &request.body)),
            headers_size: -1.0,
            body_size: request.body.bytes.len() as f64,
        },
        response: match answer {
            Some(answer) => Response {
                status: i64::from(answer.status),
                status_text: String::new(),
                http_version: version(),
                cookies: Vec::new(),
                headers: pairs(&answer.headers),
                content: content(&answer.headers, &answer.body),
                redirect_url: String::new(),
                body_size: answer.body.bytes.len() as f64,
            },
            None => Response {
                status: 0,
                status_text: String::new(),
                http_version: version(),
                cookies: Vec::new(),
                headers: Vec::new(),
                content: Content::default(),
                redirect_url: String::new(),
                body_size: -1.0,
            },
        },
        cache: Nothing {},
        timings: Timings {
            blocked: -1.0,
            dns: -1.0,
            connect: -1.0,
            send: 0.0,
            wait: ms,
            receive: 0.0,
        },
        connection: Some(format!("{session:016x}")),
    })
}

fn pairs(headers: &Headers) -> Vec<Pair> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| Pair { name: text(name), value: text(value) }).collect()
}

fn content(headers: &Headers, body: &Kept) -> Content {
    let kind = header(headers, "content-type");
    let kind = kind.map_or("application/octet-stream".into(), |kind| String::from_utf8_lossy(kind));
    let (text, encoding) = match std::str::from_utf8(&body.bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(&body.bytes), Some("base64".to_owned())),
    };
    Content {
        mime_type: kind.into_owned(),
        size: body.bytes.len() as f64,
        text: Some(text),
        encoding,
        params: Vec::new(),
        cut: body.cut,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Exchange>, ReadError> {
        Ok(Reader::new(text.as_bytes())?.exchanges.collect())
    }

    fn with_entry(entry: &str) -> String {
        format!("{{\"log\":{{\"version\":\"1.2\",\"entries\":[{entry}]}}}}")
    }

    const ENTRY: &str = r#"{
        "startedDateTime": "2026-01-02T03:04:05.678+01:00", "time": 50,
        "request": {"method": "POST", "url": "https://shop.example:8443/cart?id=7#top",
            "httpVersion": "h2", "headers": [{"name": ":authority", "value": "shop"}, {"name": "X", "value": "1"}],
            "queryString": [], "cookies": [{"name": "a", "value": "b"}], "headersSize": -1, "bodySize": 3,
            "postData": {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a b", "value": "c&d"}]}},
        "response": {"status": 201, "statusText": "", "httpVersion": "h2", "cookies": [], "headers": [{"name": "Content-Encoding", "value": "gzip"}],
            "content": {"size": 2, "mimeType": "x", "text": "/wA=", "encoding": "base64"}, "redirectURL": "", "headersSize": -1, "bodySize": 2},
        "cache": {}, "timings": {"blocked": -1, "dns": 1, "connect": 2, "ssl": 1, "send": 0.5, "wait": 20, "receive": 5},
        "_initiator": {"type": "other"}}"#;

    #[test]
    fn what_a_browser_writes_is_read() {
        let all = read(&with_entry(ENTRY)).unwrap();
        let [Exchange { began_us, session, request, answer: Some(answer) }] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((*began_us, *session), (1_767_319_445_678_000, 0));
        assert_eq!((&*request.method, &*request.target), ("POST", "/cart?id=7"));
        assert_eq!(&request.headers[0].1[..], b"shop.example:8443");
        assert_eq!(&request.body.bytes[..], b"a%20b=c%26d");
        assert_eq!((answer.status, answer.after_us), (201, 23_500));
        assert_eq!((&answer.body.bytes[..], answer.headers.len()), (&b"\xff\0"[..], 0));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let bad =
            |from: &str, to: &str| read(&with_entry(&ENTRY.replacen(from, to, 1))).unwrap_err();
        for (from, to) in
            [("2026-01", "2026-13"), ("201", "1201"), ("/wA=", "/w"), ("2026-", "1926-")]
        {
            let error = bad(from, to);
            assert!(matches!(error, ReadError::Entry { record: 1, .. }), "{to}: {error}");
        }
        assert!(matches!(bad("{", "["), ReadError::Place { .. }));
        assert!(matches!(read("{}"), Err(ReadError::Place { .. })));
        let text = with_entry(&ENTRY.replacen("https:", "wss:", 1));
        let reader = Reader::new(text.as_bytes()).unwrap();
        assert_eq!(reader.refused, BTreeMap::from([("scheme".into(), 1)]));
    }

    prop_compose! {
        fn kept()(bytes in vec(any::<u8>(), 0..40), cut: bool) -> Kept {
            Kept { bytes: bytes.into(), cut }
        }
    }

    prop_compose! {
        fn exchange()(
            began_us in 0_u64..4_000_000_000_000_000,
            session: u64,
            target in "/[a-z0-9/]{0,9}(\\?[a-z=&]{0,9})?",
            value in "[ -~é]{0,9}",
            body in kept(),
            answer in proptest::option::of((100_u16..1000, 0_u64..1 << 40, kept())),
        ) -> Exchange {
            let headers = vec![("Host".into(), "a:80".into()), ("X".into(), value.into())];
            let answer = answer.map(|(status, after_us, body)| {
                let headers = vec![("Content-Encoding".into(), "br".into())];
                Answered { status, after_us, headers, body }
            });
            let request = Asked { method: "PUT".into(), target, headers, body };
            Exchange { began_us, session, request, answer }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in vec(exchange(), 0..4)) {
            let mut writer = Writer::new(Vec::new()).unwrap();
            all.iter().for_each(|one| writer.put(one).unwrap());
            let text = String::from_utf8(writer.finish().unwrap()).unwrap();
            prop_assert_eq!(read(&text).unwrap(), all);
        }
    }

    #[test]
    fn cut_at_any_byte_it_is_no_har() {
        let text = with_entry(ENTRY);
        for length in 0..text.len() {
            assert!(read(&text[..length]).is_err(), "{length}");
        }
    }
}
