//! Heads of messages, and how long what follows them is. Read strictly: where two parties could
//! read a head differently it is ambiguous, and nothing is made of it.

use bytes::Bytes;

use super::counts::Because;
use crate::capture::Headers;
use crate::capture::message::find;

/// A longer head is not read.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// A head with more headers is not read.
const HEADERS_MAX: usize = 128;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// As long as the connection.
    UntilEnd,
}

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body's.
    pub framing: Framing,
    /// Whether its connection may become something else.
    pub upgrade: bool,
    /// Whether its sender waits to be told to go on.
    pub expects: bool,
}

/// An answer's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, 100 to 999.
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
    /// Its body's.
    pub framing: Framing,
}

/// A head in the making.
#[derive(Debug, Default)]
pub struct Gathered {
    bytes: Vec<u8>,
}

impl Gathered {
    /// Takes bytes up to the head's end; the head, if it is there.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Bytes>, Because> {
        let room = HEAD_BYTES_MAX.saturating_sub(self.bytes.len());
        let end = self.end_in(bytes);
        let mine = end.unwrap_or(bytes.len());
        if mine > room {
            return Err(Because::TooLong);
        }
        let (mine, rest) = bytes.split_at(mine);
        *bytes = rest;
        self.bytes.extend_from_slice(mine);
        Ok(end.map(|_| std::mem::take(&mut self.bytes).into_boxed_slice().into()))
    }

    /// Where in these bytes the empty line ends, which may have begun in those before.
    fn end_in(&self, bytes: &[u8]) -> Option<usize> {
        const END: &[u8] = b"\r\n\r\n";
        let before = &self.bytes[self.bytes.len().saturating_sub(3)..];
        let across = [before, &bytes[..bytes.len().min(3)]].concat();
        let inside = || find(bytes, END).map(|at| at + END.len());
        find(&across, END).map(|at| at + END.len() - before.len()).or_else(inside)
    }

    /// Whether nothing came of it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What it takes up.
    pub fn holds(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Reads a request's head.
///
/// # Errors
/// Where it is none, or could be read in two ways.
pub fn request(head: &Bytes) -> Result<Request, Because> {
    if head.starts_with(b"PRI * HTTP/2.0\r\n") {
        return Err(Because::Http2);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let read = parsed.parse(head).map_err(refused)?;
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Because::NotHttp);
    };
    whole(head, read)?;
    let headers = kept(head, parsed.headers);
    let said = Said::of(&headers, minor)?;
    Ok(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        framing: said.framing(Framing::Length(0)),
        upgrade: method == "CONNECT" || has(&headers, "upgrade"),
        expects: has(&headers, "expect"),
        headers,
    })
}

/// Reads the head of an answer to a request with this method.
///
/// # Errors
/// Where it is none, or could be read in two ways.
pub fn answer(head: &Bytes, method: &str) -> Result<Answer, Because> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let read = parsed.parse(head).map_err(refused)?;
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(Because::NotHttp);
    };
    whole(head, read)?;
    if !(100..=999).contains(&status) {
        return Err(Because::Ambiguous);
    }
    let headers = kept(head, parsed.headers);
    let said = Said::of(&headers, minor)?;
    let none = method == "HEAD" || status < 200 || [204, 304].contains(&status);
    let framing = if none { Framing::Length(0) } else { said.framing(Framing::UntilEnd) };
    Ok(Answer { status, headers, framing })
}

/// Whether a client could begin a request so.
pub fn begins_request(bytes: &[u8]) -> bool {
    let word = bytes.iter().position(|&byte| byte == b' ').map(|space| &bytes[..space]);
    word.is_some_and(|word| {
        (1..=20).contains(&word.len())
            && word.iter().all(u8::is_ascii_uppercase)
            && matches!(bytes.get(word.len() + 1), Some(b'/' | b'*' | b'h'))
    })
}

/// Whether a server could begin an answer so.
pub fn begins_answer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.")
}

fn refused(error: httparse::Error) -> Because {
    match error {
        httparse::Error::TooManyHeaders => Because::TooLong,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Because::Ambiguous,
        _ => Because::NotHttp,
    }
}

/// It is the whole head that was read, and its lines end as they must: some take a line feed alone
/// for a line's end, and others do not.
fn whole(head: &[u8], read: httparse::Status<usize>) -> Result<(), Because> {
    let alone = |(at, &byte): (usize, &u8)| byte == b'\n' && (at == 0 || head[at - 1] != b'\r');
    let is_whole = read == httparse::Status::Complete(head.len());
    if !is_whole || head.iter().enumerate().any(alone) {
        return Err(Because::Ambiguous);
    }
    Ok(())
}

/// The headers, as parts of the head.
fn kept(head: &Bytes, headers: &[httparse::Header<'_>]) -> Headers {
    let part = |bytes: &[u8]| if bytes.is_empty() { Bytes::new() } else { head.slice_ref(bytes) };
    headers.iter().map(|header| (part(header.name.as_bytes()), part(header.value))).collect()
}

fn values<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let named = headers.iter().filter(move |(is, _)| is.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| value.as_ref())
}

fn has(headers: &Headers, name: &str) -> bool {
    values(headers, name).next().is_some()
}

/// What headers say of a body's length.
struct Said {
    chunked: bool,
    length: Option<u64>,
}

impl Said {
    fn of(headers: &Headers, minor: u8) -> Result<Self, Because> {
        let mut encodings = values(headers, "transfer-encoding");
        let encoding = encodings.next();
        let chunked = match encoding {
            Some(value) if value.trim_ascii().eq_ignore_ascii_case(b"chunked") => true,
            Some(_) => return Err(Because::Ambiguous),
            None => false,
        };
        let lengths =
            values(headers, "content-length").flat_map(|value| value.split(|&b| b == b','));
        let mut length = None;
        for text in lengths {
            let number = number(text.trim_ascii()).ok_or(Because::Ambiguous)?;
            if length.replace(number).is_some_and(|before| before != number) {
                return Err(Because::Ambiguous);
            }
        }
        if chunked && (encodings.next().is_some() || length.is_some() || minor == 0) {
            return Err(Because::Ambiguous);
        }
        Ok(Self { chunked, length })
    }

    fn framing(&self, otherwise: Framing) -> Framing {
        match self.length {
            _ if self.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => otherwise,
        }
    }
}

/// Digits only: others read signs, spaces and underscores differently.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()?;
    (number <= u64::MAX >> 1).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Bytes {
        Bytes::from(text.to_owned() + "\r\n\r\n")
    }

    #[track_caller]
    fn check_request(text: &str, expected: Result<Framing, Because>) {
        assert_eq!(request(&head(text)).map(|request| request.framing), expected, "{text:?}");
    }

    #[track_caller]
    fn check_answer(method: &str, text: &str, expected: Result<Framing, Because>) {
        assert_eq!(answer(&head(text), method).map(|answer| answer.framing), expected, "{text:?}");
    }

    #[test]
    fn a_request_says_how_long_it_is_in_one_way() {
        let ambiguous = Err(Because::Ambiguous);
        check_request("GET / HTTP/1.1\r\nHost: a", Ok(Framing::Length(0)));
        check_request("POST / HTTP/1.1\r\nContent-Length: 7", Ok(Framing::Length(7)));
        check_request("POST / HTTP/1.1\r\nContent-Length: 7, 7", Ok(Framing::Length(7)));
        check_request("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked", Ok(Framing::Chunked));
        for headers in [
            "Content-Length: 7\r\nContent-Length: 8",
            "Content-Length: 7, 8",
            "Content-Length: +7",
            "Content-Length: 0x7",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 7\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding: xchunked",
            "Host: a\n  b",
            "Host: a\nHost: b",
            " Host: a",
        ] {
            check_request(&format!("POST / HTTP/1.1\r\n{headers}"), ambiguous);
        }
        check_request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked", ambiguous);
        check_request("PRI * HTTP/2.0", Err(Because::Http2));
        check_request("GET /", Err(Because::NotHttp));
        check_request("GET / HTTP/2.0", Err(Because::NotHttp));
        check_request(&format!("GET / HTTP/1.1{}", "\r\na: b".repeat(129)), Err(Because::TooLong));
    }

    #[test]
    fn an_answer_is_as_long_as_its_request_and_status_say() {
        let empty = Ok(Framing::Length(0));
        check_answer("GET", "HTTP/1.1 200 OK\r\nContent-Length: 7", Ok(Framing::Length(7)));
        check_answer("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7", empty);
        check_answer("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7", empty);
        check_answer("GET", "HTTP/1.1 204 No Content", empty);
        check_answer("GET", "HTTP/1.1 100 Continue", empty);
        check_answer("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Ok(Framing::Chunked));
        check_answer("GET", "HTTP/1.0 200 OK", Ok(Framing::UntilEnd));
        check_answer("GET", "HTTP/1.1 200", Ok(Framing::UntilEnd));
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked";
        check_answer("GET", both, Err(Because::Ambiguous));
        check_answer("GET", "HTTP/1.1 099 Odd", Err(Because::Ambiguous));
        check_answer("GET", "SSH-2.0-x", Err(Because::NotHttp));
    }

    #[test]
    fn a_head_is_gathered_whatever_its_pieces() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for size in 1..text.len() {
            let mut gathered = Gathered::default();
            let mut pieces = text.chunks(size);
            let (head, rest) = loop {
                let mut piece = pieces.next().expect("a head");
                if let Some(head) = gathered.take(&mut piece).expect("short") {
                    break (head, piece);
                }
                assert!(piece.is_empty());
            };
            assert_eq!(head, &text[..27]);
            assert!(b"rest".starts_with(rest) && gathered.is_empty());
        }
        let mut endless = Gathered::default();
        assert_eq!(endless.take(&mut &[b'x'; HEAD_BYTES_MAX][..]), Ok(None));
        assert_eq!(endless.take(&mut &b"x"[..]), Err(Because::TooLong));
    }

    #[test]
    fn beginnings_are_recognised() {
        assert!(begins_request(b"GET /a HTTP") && begins_request(b"OPTIONS * HTTP"));
        assert!(
            !begins_request(b"GET") && !begins_request(b"get /") && !begins_request(b"\x16\x03")
        );
        assert!(begins_answer(b"HTTP/1.1 200") && !begins_answer(b"HTTP/2"));
    }
}
