//! What is sent of what was captured.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};

use crate::capture::Exchange;
use crate::capture::message::find;
use crate::capture::redact::MARKER;
use crate::headers::strip;

/// What is sent, and how it is changed.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    /// Only these methods; all that are allowed, if there are none.
    pub methods: Vec<Method>,
    /// Whether requests are sent that are not only to read.
    pub allow_writes: bool,
    /// The `Host`, instead of the captured one.
    pub host: Option<HeaderValue>,
    /// Headers, instead of captured ones of their names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Texts that stand for others in paths, headers and bodies, such as a marker of what was
    /// redacted for a token.
    pub tokens: Vec<(String, String)>,
}

/// Whether a request of this method is only to read.
pub fn only_reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Why a captured request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// It may change something, and that is not allowed.
    Write,
    /// It has another method than is wanted.
    Method,
    /// Not all of its body was kept.
    Cut,
    /// It cannot be sent.
    Unfit,
}

/// A request that is to be sent.
#[derive(Debug)]
pub struct Prepared {
    /// When the captured one came.
    pub began_us: u64,
    /// Whose it is.
    pub session: u64,
    /// It.
    pub request: Request<Full<Bytes>>,
    /// What the captured one was answered.
    pub status: Option<u16>,
    /// Whether something in it is redacted.
    pub redacted: bool,
}

impl Rewrite {
    /// What is sent of it.
    ///
    /// # Errors
    /// It is not sent.
    pub fn apply(&self, exchange: Exchange) -> Result<Prepared, Skipped> {
        let Exchange { began_us, session, request: asked, answer } = exchange;
        let method: Method = asked.method.parse().map_err(|_| Skipped::Unfit)?;
        if !self.methods.is_empty() && !self.methods.contains(&method) {
            return Err(Skipped::Method);
        }
        if !only_reads(method.as_str()) && !self.allow_writes {
            return Err(Skipped::Write);
        }
        if asked.body.cut {
            return Err(Skipped::Cut);
        }
        let target = self.swapped(asked.target.into());
        let uri = Uri::from_maybe_shared(target.clone()).map_err(|_| Skipped::Unfit)?;
        if !target.starts_with(b"/") || method == Method::CONNECT {
            return Err(Skipped::Unfit);
        }
        let headers = self.headers(asked.headers)?;
        let body = self.swapped(asked.body.bytes);
        let redacted = find(&target, MARKER.as_bytes()).is_some()
            || find(&body, MARKER.as_bytes()).is_some()
            || headers.values().any(|value| find(value.as_bytes(), MARKER.as_bytes()).is_some());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let status = answer.map(|answer| answer.status);
        Ok(Prepared { began_us, session, request, status, redacted })
    }

    fn headers(&self, captured: Vec<(Bytes, Bytes)>) -> Result<HeaderMap, Skipped> {
        let mut headers = HeaderMap::with_capacity(captured.len() + self.headers.len());
        for (name, value) in captured {
            let name = HeaderName::from_bytes(&name).map_err(|_| Skipped::Unfit)?;
            let value = HeaderValue::from_maybe_shared(self.swapped(value));
            let value = value.map_err(|_| Skipped::Unfit)?;
            headers.try_append(name, value).map_err(|_| Skipped::Unfit)?;
        }
        strip(&mut headers);
        // Who sends it says anew how long it is.
        headers.remove(CONTENT_LENGTH);
        headers.remove(EXPECT);
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let hosts = headers.get_all(HOST).iter().count();
        if hosts > 1 {
            return Err(Skipped::Unfit);
        }
        if hosts == 0 {
            headers.insert(HOST, HeaderValue::from_static("umbra.invalid"));
        }
        Ok(headers)
    }

    fn swapped(&self, bytes: Bytes) -> Bytes {
        let mut bytes = bytes;
        for (from, to) in &self.tokens {
            if !from.is_empty() && find(&bytes, from.as_bytes()).is_some() {
                bytes = swap(&bytes, from.as_bytes(), to.as_bytes()).into();
            }
        }
        bytes
    }
}

fn swap(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut swapped, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some(at) = find(rest, from) {
        swapped.extend_from_slice(&rest[..at]);
        swapped.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    swapped.extend_from_slice(rest);
    swapped
}

/// A header as it is typed: `NAME:VALUE`.
///
/// # Errors
/// It is none, or one that says how the message is framed.
pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let shown = || umbra_state::escape::line(text.as_bytes(), 80);
    let refused = || format!("read `{}` as a header: expected NAME:VALUE", shown());
    let (name, value) = text.split_once(':').ok_or_else(refused)?;
    let name: HeaderName = name.trim().parse().map_err(|_| refused())?;
    let value: HeaderValue = value.trim().parse().map_err(|_| refused())?;
    let mut framing = HeaderMap::new();
    framing.insert(name.clone(), value.clone());
    strip(&mut framing);
    if framing.is_empty() || name == CONTENT_LENGTH || name == EXPECT {
        return Err(format!("set `{}`: how a request is framed is not captured", shown()));
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Asked, Kept};

    fn exchange(method: &str, target: &str, headers: &[(&'static str, &'static str)]) -> Exchange {
        let headers = headers.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let body = Kept { bytes: "b=redacted-0123".into(), cut: false };
        let request = Asked { method: method.into(), target: target.into(), headers, body };
        Exchange { began_us: 7, session: 1, request, answer: None }
    }

    #[test]
    fn writes_are_not_sent_unless_that_is_allowed() {
        #[track_caller]
        fn check(method: &str, methods: &[Method], allow_writes: bool, is: Option<Skipped>) {
            let rewrite = Rewrite { methods: methods.to_vec(), allow_writes, ..Rewrite::default() };
            let read = rewrite.apply(exchange(method, "/", &[]));
            assert_eq!(read.map(drop).err(), is, "{method}");
        }
        check("GET", &[], false, None);
        check("HEAD", &[Method::GET], false, Some(Skipped::Method));
        check("POST", &[], false, Some(Skipped::Write));
        check("POST", &[Method::POST], false, Some(Skipped::Write));
        check("POST", &[Method::POST], true, None);
        check("GET", &[Method::POST], true, Some(Skipped::Method));
        check("G T", &[], true, Some(Skipped::Unfit));
        check("CONNECT", &[], true, Some(Skipped::Unfit));
    }

    #[test]
    fn what_is_sent_is_framed_and_addressed_anew() {
        let rewrite = Rewrite {
            host: Some(HeaderValue::from_static("new")),
            headers: vec![header("Authorization: Bearer t").unwrap()],
            tokens: vec![("redacted-0123".into(), "secret".into())],
            ..Rewrite::default()
        };
        let captured = [
            ("Host", "old"),
            ("content-length", "3"),
            ("Connection", "x-hop"),
            ("X-Hop", "1"),
            ("Transfer-Encoding", "chunked"),
            ("authorization", "Bearer redacted-4567"),
            ("cookie", "a=redacted-0123"),
        ];
        let prepared = rewrite.apply(exchange("GET", "/?t=redacted-0123", &captured)).unwrap();
        assert_eq!(prepared.request.uri(), "/?t=secret");
        let mut headers: Vec<_> = prepared
            .request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        assert_eq!(headers, ["authorization: Bearer t", "cookie: a=secret", "host: new"]);
        assert!(!prepared.redacted);
        let left = Rewrite::default().apply(exchange("GET", "/", &captured)).unwrap();
        assert!(left.redacted);
    }

    #[test]
    fn what_cannot_be_sent_is_skipped() {
        for (target, headers) in [
            ("http://a/", &[][..]),
            ("/a b", &[]),
            ("", &[]),
            ("/", &[("a b", "c")]),
            ("/", &[("a", "b\r\nc: d")]),
            ("/", &[("host", "a"), ("host", "b")]),
        ] {
            let read = Rewrite::default().apply(exchange("GET", target, headers));
            assert_eq!(read.map(drop).err(), Some(Skipped::Unfit), "{target} {headers:?}");
        }
        let mut cut = exchange("GET", "/", &[]);
        cut.request.body.cut = true;
        assert_eq!(Rewrite::default().apply(cut).map(drop).err(), Some(Skipped::Cut));
    }

    #[test]
    fn headers_are_typed_with_a_colon() {
        assert!(header("a: b:c").is_ok_and(|(name, value)| name == "a" && value == "b:c"));
        for bad in ["", "a", "a b: c", "a: b\nc", "Transfer-Encoding: chunked", "content-length: 1"]
        {
            assert!(header(bad).is_err(), "{bad}");
        }
    }
}
