//! Requests with more than one reading: production gets one of one reading, or nothing.

use umbra_gateway::gateway::Limits;

use crate::message::Message;
use crate::place::{Place, ask, ok};

/// What is sent behind each case: it is answered only if the case's end is where it was sent.
const BEHIND: &[u8] = b"GET /behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

enum Is<'a> {
    /// One request, and the one behind it another.
    Asked(&'a str),
    /// One request, behind which the connection is closed.
    Last(&'a str),
    /// Answered by the gateway, which closes the connection.
    Refused(u16),
}
use Is::{Asked, Last, Refused};

async fn check(sent: impl AsRef<[u8]>, is: Is<'_>) {
    let place = Place::new(Limits::default(), ok).await;
    let sent = sent.as_ref();
    let answers = ask(place.at, &[sent, BEHIND].concat()).await;
    let answers: Vec<u16> = answers.iter().map(Message::status).collect();
    let got = place.got();
    let got: Vec<String> =
        got.into_iter().map(|got| got.map_or_else(|why| why, |got| got.asked())).collect();
    let (statuses, asked) = match is {
        Asked(asked) => (vec![200, 200], vec![asked, "GET /behind"]),
        Last(asked) => (vec![200], vec![asked]),
        Refused(status) => (vec![status], vec![]),
    };
    let shown = sent[..sent.len().min(300)].escape_ascii();
    assert!(answers == statuses && got == asked, "\"{shown}\": {answers:?}, {got:?}");
}

/// A `POST /` with these lines in its head, and this behind it.
async fn post(lines: &str, rest: &str, is: Is<'_>) {
    check(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}"), is).await;
}

/// A `GET /` with this line in its head.
async fn get(line: impl AsRef<[u8]>, is: Is<'_>) {
    check([b"GET / HTTP/1.1\r\nHost: a\r\n", line.as_ref(), b"\r\n"].concat(), is).await;
}

#[tokio::test]
async fn a_length_is_one_number() {
    post("Content-Length: 5\r\n", "hello", Asked("POST / 5:hello")).await;
    post("Content-Length: 005\r\n", "hello", Asked("POST / 5:hello")).await;
    post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello", Asked("POST / 5:hello")).await;
    post("Content-Length: 5\r\nContent-Length: 3\r\n", "hello", Refused(400)).await;
    for bad in ["+3", "-3", "0x3", "3, 3", "3,4", "3 3", "3.0", "", "3;", "18446744073709551616"] {
        post(&format!("Content-Length: {bad}\r\n"), "abc", Refused(400)).await;
    }
    post("Content-Length : 3\r\n", "abc", Refused(400)).await;
    post("Content-Length\t: 3\r\n", "abc", Refused(400)).await;
    post("Content-Length: 3\r\nContent-Length : 5\r\n", "abc", Refused(400)).await;
}

#[tokio::test]
async fn an_encoding_is_chunked_and_nothing_else() {
    let body = "5\r\nhello\r\n0\r\n\r\n";
    post("Transfer-Encoding: chunked\r\n", body, Asked("POST / chunked:hello")).await;
    post("tRANSFER-eNCODING: CHUNKED\r\n", body, Asked("POST / chunked:hello")).await;
    post("Transfer-Encoding:\tchunked \r\n", body, Asked("POST / chunked:hello")).await;
    for bad in [
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "chunked, identity",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked;q=1",
        "",
        "\x0bchunked",
    ] {
        post(&format!("Transfer-Encoding: {bad}\r\n"), body, Refused(400)).await;
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    post(twice, body, Refused(400)).await;
    let other = "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n";
    post(other, body, Refused(400)).await;
    post("Transfer-Encoding : chunked\r\n", body, Refused(400)).await;
    post(" Transfer-Encoding: chunked\r\n", body, Refused(400)).await;
    post("X: a\r\n Transfer-Encoding: chunked\r\n", body, Refused(400)).await;
    post("Transfer-Encoding:\r\n chunked\r\n", body, Refused(400)).await;
    let old = format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    check(old, Refused(400)).await;
}

/// Somebody in front who counts bytes sees one request here: what follows the last chunk must not
/// become another.
#[tokio::test]
async fn a_body_with_two_framings_is_the_last_of_its_connection() {
    let hidden = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let encoding = "Transfer-Encoding: chunked\r\n";
    post(&format!("{length}{encoding}"), hidden, Last("POST / chunked:")).await;
    post(&format!("{encoding}{length}"), hidden, Last("POST / chunked:")).await;
    post(&format!("{length}{encoding}{length}"), hidden, Last("POST / chunked:")).await;
    let wrong = format!("Content-Length: 4\r\n{encoding}");
    let body = "5c\r\nGPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\nx=1\r\n0\r\n\r\n";
    // Its first chunk has no end where it should be.
    let place = Place::new(Limits::default(), ok).await;
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{wrong}\r\n");
    let answers = ask(place.at, format!("{head}{body}{}", "x".repeat(200)).as_bytes()).await;
    assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [400]);
    assert!(place.got().iter().all(Result::is_err), "no whole request");
    // A length that is none counts as one, even where it is not what frames.
    post(&format!("Content-Length: 0x3\r\n{encoding}"), "0\r\n\r\n", Refused(400)).await;
    let named = format!("{encoding}Connection: transfer-encoding\r\n");
    post(&named, "0\r\n\r\n", Asked("POST / chunked:")).await;
}

#[tokio::test]
async fn a_request_in_a_body_is_a_body() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let shown = hidden.escape_default();
    post(&length, hidden, Asked(&format!("POST / {}:{shown}", hidden.len()))).await;
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    post("Transfer-Encoding: chunked\r\n", &chunked, Asked(&format!("POST / chunked:{shown}")))
        .await;
    // One without a body as a rule has one where it says so.
    for method in ["GET", "DELETE", "OPTIONS"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n");
        let (asked, length) = (format!("{method} / {}:{shown}", hidden.len()), &length);
        check(format!("{head}{length}\r\n{hidden}"), Asked(&asked)).await;
        let asked = format!("{method} / chunked:{shown}");
        check(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}"), Asked(&asked)).await;
    }
    // What makes the length none of the message's business does not free the body.
    let named = format!("{length}Connection: content-length\r\n");
    post(&named, hidden, Asked(&format!("POST / {}:{shown}", hidden.len()))).await;
}

#[tokio::test]
async fn chunks_are_written_anew() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let hello = Asked("POST / chunked:hello");
    post(chunked, "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n", hello).await;
    post(chunked, "0005\r\nhello\r\n000\r\n\r\n", Asked("POST / chunked:hello")).await;
    let trailers = "5\r\nhello\r\n0\r\nContent-Length: 3\r\nHost: b\r\nX: y\r\n\r\n";
    post(chunked, trailers, Asked("POST / chunked:hello")).await;
}

/// The primary may have got the head, but never a request that is whole.
#[tokio::test]
async fn chunks_that_are_none_end_the_request() {
    for bad in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "x\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\rx\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
    ] {
        let place = Place::new(Limits::default(), ok).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answers = ask(place.at, &[head.as_bytes(), bad.as_bytes(), BEHIND].concat()).await;
        let answers: Vec<u16> = answers.iter().map(Message::status).collect();
        let got = place.got();
        assert!(answers.is_empty() || answers == [400], "{bad:?}: {answers:?}, {got:?}");
        assert!(got.iter().all(Result::is_err), "{bad:?}: {got:?}");
    }
}

#[tokio::test]
async fn a_header_is_one_line_of_text() {
    get("X: a\r\n b\r\n", Refused(400)).await;
    get("X: a\r\n\tb\r\n", Refused(400)).await;
    get("X : a\r\n", Refused(400)).await;
    get(": a\r\n", Refused(400)).await;
    get("X\r\n", Refused(400)).await;
    get("X Y: a\r\n", Refused(400)).await;
    get("X\0: a\r\n", Refused(400)).await;
    get("X: a\0b\r\n", Refused(400)).await;
    get("X: a\rb\r\n", Refused(400)).await;
    get("X: a\r\r\n", Refused(400)).await;
    get("X: a\x7fb\r\n", Refused(400)).await;
    get("X(: a\r\n", Refused(400)).await;
    get(b"X\xe9: a\r\n", Refused(400)).await;
    // A lone LF ends a line for everybody here; what is written ends with both.
    get("X: a\nY: b\r\n", Asked("GET /")).await;
    let (encoding, body) = ("X: a\nTransfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n");
    post(encoding, body, Asked("POST / chunked:a")).await;
    // Bytes of a value are the application's.
    get(b"X: \xff\xfe\r\n", Asked("GET /")).await;
}

#[tokio::test]
async fn a_head_is_bounded() {
    get(format!("X: {}\r\n", "a".repeat(16 << 10)), Asked("GET /")).await;
    get(format!("X: {}\r\n", "a".repeat(70 << 10)), Refused(431)).await;
    get("X: a\r\n".repeat(101), Refused(431)).await;
    get(format!("{}: a\r\n", "x".repeat(70 << 10)), Refused(431)).await;
    let path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(66 << 10));
    check(path, Refused(431)).await;
}

#[tokio::test]
async fn a_request_is_for_one_host() {
    check("GET / HTTP/1.1\r\n\r\n", Refused(400)).await;
    check("GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)).await;
    get("Host: b\r\n", Refused(400)).await;
    get("Host: a\r\n", Refused(400)).await;
    for bad in ["a/b", "a b", "u@a", "a, b", "a\\b", "a?b", "a#b"] {
        check(format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n"), Refused(400)).await;
    }
    check("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", Asked("GET /")).await;
    check("GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", Asked("GET /?b")).await;
    // Production's name is asked for where an old client names none.
    check("GET / HTTP/1.0\r\n\r\n", Last("GET /")).await;
}

#[tokio::test]
async fn the_requests_target_names_its_host() {
    let place = Place::new(Limits::default(), ok).await;
    let sent = b"GET http://b:80/x HTTP/1.1\r\nHost: a\r\nConnection: close, x-forwarded-host\r\nX-Forwarded-Host: c\r\n\r\n";
    assert_eq!(ask(place.at, sent).await.len(), 1);
    let got = place.got().remove(0).expect("a request");
    assert_eq!(got.line, "GET /x HTTP/1.1");
    assert_eq!((got.header("host"), got.header("x-forwarded-host")), (Some("b:80"), Some("b:80")));
    assert_eq!(got.header("connection"), None);
}

#[tokio::test]
async fn a_request_line_has_three_words() {
    check("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET\r\n\r\n", Refused(400)).await;
    check("GET /\r\n\r\n", Refused(400)).await;
    check("GET / \r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    for bad in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.01", "http/1.1", "HTTP/11"] {
        check(format!("GET / {bad}\r\nHost: a\r\n\r\n"), Refused(400)).await;
    }
    check("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check("GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    check(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)).await;
    // Empty lines in front are what some clients leave behind a body.
    check("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Asked("GET /")).await;
    check("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Asked("GET /a")).await;
    check("GET /a/../b%00%0d HTTP/1.1\r\nHost: a\r\n\r\n", Asked("GET /a/../b%00%0d")).await;
}
