//! What speaks of one connection only, and what tells where a request is from.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Version};

use crate::interim::Interim;
use crate::listen::proxy_header::Ends;

/// Headers of one connection (RFC 9110, 7.6.1), but those that upgrade it.
const OF_CONNECTION: [HeaderName; 4] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    TE,
];

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What of a request's head makes it one that is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A request says whom it is for, once.
    #[error("a request has exactly one Host, which names its host")]
    Host,
    /// The gateway is no proxy for clients.
    #[error("CONNECT is not for this server")]
    Connect,
    /// `OPTIONS *` asks about a server, and there are two.
    #[error("a request asks for a path")]
    Path,
    /// Where its body ends is not said in one way only.
    #[error("a body has one Content-Length, or the Transfer-Encoding chunked and no other")]
    Framing,
}

/// Makes the head one that can be passed on, and says which protocol it wants to change to.
///
/// # Errors
/// Two parties could understand it differently.
pub fn pass_on(head: &mut Parts) -> Result<Option<HeaderValue>, Refused> {
    if head.method == hyper::Method::CONNECT {
        return Err(Refused::Connect);
    }
    if !head.uri.path().starts_with('/') {
        return Err(Refused::Path);
    }
    settle_host(head)?;
    settle_framing(&mut head.headers)?;
    let upgrade = wanted_upgrade(head);
    let trailers = words(&head.headers, &TE).any(|word| word.eq_ignore_ascii_case("trailers"));
    strip(&mut head.headers);
    if trailers {
        // Who asks for them gets them: they are passed on.
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // The server side of this connection answers it by itself as soon as the body is wanted.
    head.headers.remove(EXPECT);
    if let Some(protocol) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.clone());
    }
    head.version = Version::HTTP_11;
    Ok(upgrade)
}

/// One `Host`, which an authority in the request's target overrules (RFC 9112, 3.2.2).
fn settle_host(head: &mut Parts) -> Result<(), Refused> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (first, more) = (hosts.next(), hosts.next().is_some());
    if more {
        return Err(Refused::Host);
    }
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refused::Host)?;
        if !is_host(host.as_bytes()) {
            return Err(Refused::Host);
        }
        head.headers.insert(HOST, host);
        return Ok(());
    }
    let named = first.is_some_and(|host| is_host(host.as_bytes()));
    if named || (first.is_none() && head.version == Version::HTTP_10) {
        return Ok(());
    }
    Err(Refused::Host)
}

/// A body framed in one way, written in one way. An encoding beside `chunked` would go with its
/// header while what it encodes is passed on; `010` is eight to some.
///
/// # Errors
/// Where it ends is said in two ways, or in one that is none.
pub fn settle_framing(headers: &mut HeaderMap) -> Result<(), Refused> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), encodings.next(), encodings.next()) {
        (None, None, _) => Ok(()),
        (None, Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(first), None, _) => {
            let bytes = length(first).ok_or(Refused::Framing)?;
            // Mostly there is one, written as it would be.
            let mut stays = !first.as_bytes().starts_with(b"0");
            for other in lengths {
                if length(other) != Some(bytes) {
                    return Err(Refused::Framing);
                }
                stays = false;
            }
            if !stays {
                headers.insert(CONTENT_LENGTH, bytes.into());
            }
            Ok(())
        }
        _ => Err(Refused::Framing),
    }
}

/// The number a `Content-Length` is.
fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    // A sign is a number's to Rust.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Nothing that ends a host's name early for somebody else.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(byte);
    !host.is_empty() && host.iter().all(plain)
}

/// Letters, digits and a few signs (RFC 9110, 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_of_token)
}

pub(crate) fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn wanted_upgrade(head: &Parts) -> Option<HeaderValue> {
    if head.version != Version::HTTP_11 {
        return None;
    }
    let wants = words(&head.headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"));
    let protocol = head.headers.get(UPGRADE).filter(|_| wants)?;
    // To HTTP/2 nothing is upgraded on the way.
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// Removes what is of one connection: what is known to be, and what `Connection` names.
pub fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            words(headers, &CONNECTION).filter_map(|word| word.parse().ok()).collect();
        for name in named {
            // What the message is about cannot be of its connection only.
            if name != HOST && name != CONTENT_LENGTH {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    for name in &OF_CONNECTION {
        headers.remove(name);
    }
    headers.remove(UPGRADE);
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// A client, as it is told.
#[derive(Debug, Clone)]
pub struct Client {
    address: HeaderValue,
    source: SocketAddr,
    destination: Option<SocketAddr>,
    proto: &'static str,
    connection: u64,
    interim: Option<Interim>,
}

impl Client {
    /// Made once for each connection, which has no TLS.
    pub fn new(source: SocketAddr) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let text = source.ip().to_canonical().to_string();
        // Digits, dots and colons can stand in a header.
        let address = HeaderValue::from_str(&text);
        let address = address.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { address, source, destination: None, proto: "http", connection, interim: None }
    }

    /// Its address in words.
    pub fn told(&self) -> &HeaderValue {
        &self.address
    }

    /// A number that no other connection has.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// To which address it came.
    pub fn came_to(self, destination: SocketAddr) -> Self {
        Self { destination: Some(destination), ..self }
    }

    /// Its connection has TLS.
    pub fn over_tls(self) -> Self {
        Self { proto: "https", ..self }
    }

    /// What comes before an answer can be written to it so.
    pub(crate) fn told_early_by(self, interim: Interim) -> Self {
        Self { interim: Some(interim), ..self }
    }

    /// How what comes before an answer is written to it, if it can be.
    pub(crate) fn interim(&self) -> Option<&Interim> {
        self.interim.as_ref()
    }

    /// Where it is from.
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    /// To which address it came, where that is known.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// Between whom its connection is, where that is known.
    pub(crate) fn ends(&self) -> Option<Ends> {
        let (source, destination) = (self.source, self.destination?);
        Some(Ends { source, destination })
    }

    /// How it speaks: `http` or `https`.
    pub fn proto(&self) -> &'static str {
        self.proto
    }
}

/// Tells the target who asked, and how. What the client says of others before it is kept only if
/// it is `trusted`.
pub fn forwarded(headers: &mut HeaderMap, client: &Client, trusted: bool) {
    if !trusted || !headers.contains_key(FORWARDED_FOR) {
        headers.insert(FORWARDED_FOR, client.address.clone());
    } else {
        headers.append(FORWARDED_FOR, client.address.clone());
    }
    if !trusted || !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.proto));
    }
    if !trusted || !headers.contains_key(FORWARDED_HOST) {
        match headers.get(HOST).cloned() {
            Some(host) => headers.insert(FORWARDED_HOST, host),
            None => headers.remove(FORWARDED_HOST),
        };
    }
    if !trusted {
        headers.remove(FORWARDED);
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn head(lines: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/a");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[track_caller]
    fn check(lines: &[(&str, &str)], passed: Result<&[(&str, &str)], Refused>) {
        let mut head = head(lines);
        let is = pass_on(&mut head).map(|_| {
            let lines = head.headers.iter();
            lines.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect::<Vec<_>>()
        });
        assert_eq!(is, passed.map(<[_]>::to_vec), "{lines:?}");
    }

    #[test]
    fn what_is_of_one_connection_stays_on_it() {
        let host = ("host", "app");
        check(&[host, ("connection", "close, X-Mine"), ("x-mine", "1")], Ok(&[host]));
        check(&[host, ("keep-alive", "1"), ("te", "deflate"), ("upgrade", "x")], Ok(&[host]));
        let trailers = [("te", "trailers"), ("trailer", "x-sum")];
        let (other, kept) = (("te", "deflate, Trailers"), trailers[1]);
        check(&[host, other, kept], Ok(&[host, kept, trailers[0]]));
        check(&[host, ("expect", "100-continue")], Ok(&[host]));
        let length = ("content-length", "3");
        check(&[host, ("connection", "content-length, host"), length], Ok(&[host, length]));
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
        check(&[host, upgrade[0], upgrade[1]], Ok(&[host, upgrade[0], upgrade[1]]));
        check(&[host, ("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")], Ok(&[host]));
    }

    #[test]
    fn a_request_is_for_one_host() {
        check(&[], Err(Refused::Host));
        check(&[("host", "a"), ("host", "b")], Err(Refused::Host));
        for bad in ["", "a b", "a/b", "a@b", "a#b"] {
            check(&[("host", bad)], Err(Refused::Host));
        }
        check(&[("host", "[::1]:80")], Ok(&[("host", "[::1]:80")]));
    }

    #[test]
    fn a_body_is_framed_once() {
        let (host, encoding) = (("host", "a"), "transfer-encoding");
        check(&[host, (encoding, "Chunked")], Ok(&[host]));
        for bad in ["xchunked", "gzip, chunked", "chunked, chunked", "identity", ""] {
            check(&[host, (encoding, bad)], Err(Refused::Framing));
        }
        check(&[host, (encoding, "chunked"), (encoding, "chunked")], Err(Refused::Framing));
        let length = "content-length";
        check(&[host, (length, "3"), (encoding, "chunked")], Err(Refused::Framing));
        check(&[host, (length, "3"), (length, "4")], Err(Refused::Framing));
        check(&[host, (length, "3"), (length, "03")], Ok(&[host, (length, "3")]));
        check(&[host, (length, "010")], Ok(&[host, (length, "10")]));
        for bad in ["+3", "-3", "3, 3", "0x3", "", "18446744073709551616"] {
            check(&[host, (length, bad)], Err(Refused::Framing));
        }
    }

    #[test]
    fn who_asked_is_told_and_others_are_believed_only_if_trusted() {
        let client = Client::new("[::ffff:192.0.2.7]:4000".parse().unwrap());
        let told = |trusted: bool| {
            let mut headers = head(&[
                ("host", "app"),
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=198.51.100.1"),
            ])
            .headers;
            forwarded(&mut headers, &client, trusted);
            let value = |name: HeaderName| {
                let all: Vec<_> = headers.get_all(name).iter().collect();
                let all = all.iter().map(|value| value.to_str().unwrap());
                all.map(str::to_owned).reduce(|all, one| format!("{all}, {one}"))
            };
            [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED].map(value)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told(false), [some("192.0.2.7"), some("http"), some("app"), None]);
        let chain = some("198.51.100.1, 192.0.2.7");
        assert_eq!(told(true), [chain, some("https"), some("app"), some("for=198.51.100.1")]);
    }
}
