//! HTTP/1 messages as they stood on the wire, read strictly: what two parties could read
//! differently is refused, as the gateway refuses it.

use bytes::{Bytes, BytesMut};
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, StatusCode};

use super::record::HEADERS_MAX;
use super::{Answered, Asked, Headers, Kept};
use crate::chunks::Chunks;
use crate::headers::{is_host, is_token, settle_framing};

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Refused {
    /// Its first line or its headers are none.
    #[error("head")]
    Head,
    /// It asks for no path.
    #[error("target")]
    Target,
    /// It does not name one host.
    #[error("host")]
    Host,
    /// Where its body ends is not said in one way.
    #[error("framing")]
    Framing,
    /// There is more than it says.
    #[error("length")]
    Length,
    /// Its chunks are none.
    #[error("chunks")]
    Chunks,
}

/// Reads a request that is all of `message`, or its beginning.
pub(super) fn request(message: &Bytes) -> Result<Asked, Refused> {
    let (first, headers, body) = head(message)?;
    let mut words = first.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused::Head);
    };
    if !is_token(method) {
        return Err(Refused::Head);
    }
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Refused::Head),
    };
    settle_host(&headers, old)?;
    let body = match framing(&headers)? {
        Framing::Chunked if old => return Err(Refused::Framing),
        Framing::None if !body.is_empty() => return Err(Refused::Length),
        framing => framed(body, framing)?,
    };
    let method = String::from_utf8_lossy(method).into_owned();
    Ok(Asked { method, target: path(target)?, headers, body })
}

/// Reads an answer that is all of `message`, or its beginning. When it came it does not say.
pub(super) fn answer(message: &Bytes, asked: &str) -> Result<Answered, Refused> {
    let (first, headers, body) = head(message)?;
    let rest = first.strip_prefix(b"HTTP/1.1 ").or(first.strip_prefix(b"HTTP/1.0 "));
    let digits = rest.and_then(|rest| rest.get(..3)).ok_or(Refused::Head)?;
    if rest.is_some_and(|rest| rest.get(3).is_some_and(|&byte| byte != b' ')) {
        return Err(Refused::Head);
    }
    let status = StatusCode::from_bytes(digits).map_err(|_| Refused::Head)?.as_u16();
    let bare = is_bare(asked, status);
    let body = match framing(&headers)? {
        _ if bare && body.is_empty() => Kept::default(),
        _ if bare => return Err(Refused::Length),
        // It ends with its connection.
        Framing::None => Kept { bytes: body, cut: false },
        framing => framed(body, framing)?,
    };
    Ok(Answered { status, after_us: 0, headers, body })
}

/// Whether an answer ends with its head, whatever that says of a body.
pub(super) fn is_bare(asked: &str, status: u16) -> bool {
    asked == "HEAD" || status < 200 || status == 204 || status == 304
}

/// The first line, the headers, and what follows.
fn head(message: &Bytes) -> Result<(Bytes, Headers, Bytes), Refused> {
    let end = find(message, b"\r\n\r\n").ok_or(Refused::Head)?;
    let lines = message.slice(..end);
    // Some take each of these for a line's end.
    let mut bare = lines.iter().enumerate().filter(|(_, byte)| matches!(byte, b'\r' | b'\n' | 0));
    let paired = |at: usize, byte: u8| match byte {
        b'\r' => lines.get(at + 1) == Some(&b'\n'),
        b'\n' => at > 0 && lines[at - 1] == b'\r',
        _ => false,
    };
    if !bare.all(|(at, &byte)| paired(at, byte)) {
        return Err(Refused::Head);
    }
    let mut rest = lines;
    let first = line(&mut rest);
    let mut headers = Vec::new();
    while !rest.is_empty() {
        if headers.len() == HEADERS_MAX {
            return Err(Refused::Head);
        }
        let line = line(&mut rest);
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Refused::Head)?;
        let name = line.slice(..colon);
        // A line that goes on with the one before begins with a space.
        if !is_token(&name) {
            return Err(Refused::Head);
        }
        let value = line.slice_ref(line[colon + 1..].trim_ascii());
        headers.push((name, value));
    }
    Ok((first, headers, message.slice(end + 4..)))
}

fn line(rest: &mut Bytes) -> Bytes {
    match find(rest, b"\r\n") {
        Some(at) => {
            let line = rest.split_to(at);
            let _ = rest.split_to(2);
            line
        }
        None => std::mem::take(rest),
    }
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Path and query, whether or not a host stands before them.
fn path(target: &[u8]) -> Result<String, Refused> {
    let text = std::str::from_utf8(target).map_err(|_| Refused::Target)?;
    let uri: hyper::Uri = text.parse().map_err(|_| Refused::Target)?;
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    if !path.starts_with('/') || text.contains('#') {
        return Err(Refused::Target);
    }
    Ok(path.to_owned())
}

fn settle_host(headers: &Headers, old: bool) -> Result<(), Refused> {
    let mut hosts = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    match (hosts.next(), hosts.next()) {
        (Some((_, host)), None) if is_host(host) => Ok(()),
        (None, _) if old => Ok(()),
        _ => Err(Refused::Host),
    }
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    None,
    Length(u64),
    Chunked,
}

fn framing(headers: &Headers) -> Result<Framing, Refused> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        for known in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            if name.eq_ignore_ascii_case(known.as_str().as_bytes()) {
                let value = HeaderValue::from_bytes(value).map_err(|_| Refused::Framing)?;
                map.append(known, value);
            }
        }
    }
    settle_framing(&mut map).map_err(|_| Refused::Framing)?;
    if map.contains_key(TRANSFER_ENCODING) {
        return Ok(Framing::Chunked);
    }
    let length = map.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(length.map_or(Framing::None, Framing::Length))
}

fn framed(body: Bytes, framing: Framing) -> Result<Kept, Refused> {
    let length = match framing {
        Framing::None => 0,
        Framing::Length(length) => length,
        Framing::Chunked => return chunked(&body),
    };
    if (body.len() as u64) > length {
        return Err(Refused::Length);
    }
    Ok(Kept { cut: (body.len() as u64) < length, bytes: body })
}

/// A body in chunks, to the end of what there is; trailers are not kept, and nothing follows them.
fn chunked(body: &[u8]) -> Result<Kept, Refused> {
    let (mut chunks, mut rest, mut bytes) = (Chunks::default(), body, BytesMut::new());
    while !rest.is_empty() && !chunks.is_over() {
        bytes.extend_from_slice(chunks.take(&mut rest).map_err(|_| Refused::Chunks)?);
    }
    if !rest.is_empty() {
        return Err(Refused::Length);
    }
    Ok(Kept { bytes: bytes.freeze(), cut: !chunks.is_over() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, is: Result<(&str, bool), Refused>) {
        let read = request(&Bytes::copy_from_slice(text.as_bytes()));
        let read = read.map(|request| (request.body.bytes, request.body.cut));
        assert_eq!(
            read,
            is.map(|(body, cut)| (Bytes::copy_from_slice(body.as_bytes()), cut)),
            "{text:?}"
        );
    }

    #[test]
    fn bodies_end_where_it_is_said_once() {
        let post =
            |lines: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}");
        check(&post("", ""), Ok(("", false)));
        check(&post("", "x"), Err(Refused::Length));
        check(&post("Content-Length: 3\r\n", "abc"), Ok(("abc", false)));
        check(&post("Content-Length: 4\r\n", "abc"), Ok(("abc", true)));
        check(&post("Content-Length: 2\r\n", "abc"), Err(Refused::Length));
        let chunked = "Transfer-Encoding: chunked\r\n";
        check(&post(chunked, "3;x=y\r\nabc\r\n0\r\n\r\n"), Ok(("abc", false)));
        check(&post(chunked, "3\r\nabc\r\n0\r\nA: b\r\n\r\n"), Ok(("abc", false)));
        check(&post(chunked, "3\r\nabc\r\n0\r\n"), Ok(("abc", true)));
        check(&post(chunked, "3\r\nab"), Ok(("ab", true)));
        check(&post(chunked, "3\r\nabcd\r\n0\r\n\r\n"), Err(Refused::Chunks));
        check(&post(chunked, "x\r\n"), Err(Refused::Chunks));
        check(&post(chunked, "0\r\n\r\nGET / HTTP/1.1\r\n"), Err(Refused::Length));
        let both = format!("{chunked}Content-Length: 3\r\n");
        check(&post(&both, "0\r\n\r\n"), Err(Refused::Framing));
        check(&post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"), Err(Refused::Framing));
        check(&post("Transfer-Encoding: xchunked\r\n", ""), Err(Refused::Framing));
        check(
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Err(Refused::Framing),
        );
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        check("GET / HTTP/1.0\r\n\r\n", Ok(("", false)));
        check("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", Ok(("", false)));
        for bad in [
            "",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            check(bad, Err(Refused::Head));
        }
        check("GET / HTTP/1.1\r\n\r\n", Err(Refused::Host));
        check("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", Err(Refused::Host));
        for target in ["*", "a:80", "x"] {
            check(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Refused::Target));
        }
    }

    #[test]
    fn answers_end_with_their_length_or_their_connection() {
        #[track_caller]
        fn check(text: &str, asked: &str, is: Result<(u16, &str), Refused>) {
            let read = answer(&Bytes::copy_from_slice(text.as_bytes()), asked);
            let read = read.map(|answer| (answer.status, answer.body.bytes));
            assert_eq!(
                read,
                is.map(|(status, body)| (status, Bytes::copy_from_slice(body.as_bytes())))
            );
        }
        check("HTTP/1.1 200 OK\r\n\r\nabc", "GET", Ok((200, "abc")));
        check("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", "HEAD", Ok((200, "")));
        check("HTTP/1.1 304 N\r\nContent-Length: 3\r\n\r\n", "GET", Ok((304, "")));
        check("HTTP/1.1 099 N\r\n\r\n", "GET", Err(Refused::Head));
        check("HTTP/1.1 2000 N\r\n\r\n", "GET", Err(Refused::Head));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", "GET", Err(Refused::Length));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(text in "((GET|POST) /a? HTTP/1\\.[01]\r\n)?((Host: a|Content-Length: [0-9]|Transfer-Encoding: chunked)?\r?\n?| |[0-9a-f]\r\n|;|.){0,20}") {
            let bytes = Bytes::from(text);
            let _ = request(&bytes);
            let _ = answer(&bytes, "GET");
        }
    }
}
