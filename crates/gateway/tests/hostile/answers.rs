//! Answers with more than one reading: a client gets one of one reading, and never another's.

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use umbra_gateway::gateway::Limits;

use crate::message::{self, Framing, Message};
use crate::place::{Place, ok};

/// A request whose path says how production answers, then one on the same connection that shows
/// that the client still knows where answers begin.
async fn check(
    method: &str,
    path: &str,
    answer: fn(&Message) -> Vec<u8>,
    is: (u16, Framing, &str),
) {
    let place = Place::new(Limits::default(), answer).await;
    let mut stream = BufReader::new(TcpStream::connect(place.at).await.expect("a connection"));
    let sent = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(sent.as_bytes()).await.expect("sent");
    let first = message::answer(&mut stream, method == "HEAD").await.expect("one reading");
    let first = first.unwrap_or_else(|| panic!("no answer: {method} {path}"));
    let shown = (first.status(), first.framing, std::str::from_utf8(&first.body).expect("text"));
    assert_eq!(shown, is, "{method} {path}");
    stream.write_all(b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let behind = message::answer(&mut stream, false).await.expect("one reading");
    // A body that ends with its connection is the last there.
    assert_eq!(behind.map(|answer| answer.body), Some(b"ok".to_vec()), "{method} {path}");
}

#[tokio::test]
async fn an_answer_without_a_body_has_none() {
    fn answer(asked: &Message) -> Vec<u8> {
        let status = match asked.line.split(' ').nth(1) {
            Some("/head") => "200 OK\r\nContent-Length: 5",
            Some("/chunked") => "200 OK\r\nTransfer-Encoding: chunked",
            Some("/204") => "204 No Content",
            Some("/304") => "304 Not Modified\r\nContent-Length: 5",
            _ => return ok(asked),
        };
        format!("HTTP/1.1 {status}\r\n\r\n").into_bytes()
    }
    check("HEAD", "/head", answer, (200, Framing::Length(5), "")).await;
    check("HEAD", "/chunked", answer, (200, Framing::None, "")).await;
    check("GET", "/204", answer, (204, Framing::None, "")).await;
    check("GET", "/304", answer, (304, Framing::None, "")).await;
}

/// What production sends behind an answer without a body is nobody's answer.
#[tokio::test]
async fn what_stands_behind_an_answer_is_not_the_next_one() {
    fn answer(asked: &Message) -> Vec<u8> {
        let status = match asked.line.split(' ').nth(1) {
            Some("/head") => "200 OK\r\nContent-Length: 44",
            Some("/204") => "204 No Content\r\nContent-Length: 44",
            Some("/304") => "304 Not Modified",
            Some("/zero") => "200 OK\r\nContent-Length: 0",
            _ => return ok(asked),
        };
        let hidden = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";
        format!("HTTP/1.1 {status}\r\n\r\n{hidden}").into_bytes()
    }
    check("HEAD", "/head", answer, (200, Framing::Length(44), "")).await;
    check("GET", "/204", answer, (204, Framing::None, "")).await;
    check("GET", "/304", answer, (304, Framing::None, "")).await;
    check("GET", "/zero", answer, (200, Framing::Length(0), "")).await;
}

#[tokio::test]
async fn an_answer_is_framed_once() {
    fn answer(asked: &Message) -> Vec<u8> {
        let hidden = "0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";
        let (length, encoding) = ("Content-Length: 49", "Transfer-Encoding: chunked");
        let (lines, body) = match asked.line.split(' ').nth(1) {
            Some("/cl-te") => (format!("{length}\r\n{encoding}"), hidden),
            Some("/te-cl") => (format!("{encoding}\r\n{length}"), hidden),
            Some("/twice") => ("Content-Length: 5\r\nContent-Length: 3".to_owned(), "hello"),
            Some("/same") => ("Content-Length: 5\r\nContent-Length: 5".to_owned(), "hello"),
            Some("/plus") => ("Content-Length: +5".to_owned(), "hello"),
            Some("/fold") => ("Content-Length: 5\r\nX: a\r\n b".to_owned(), "hello"),
            Some("/space") => ("Content-Length : 5".to_owned(), "hello"),
            Some("/nul") => ("Content-Length: 5\r\nX: a\0b".to_owned(), "hello"),
            Some("/xchunked") => {
                ("Transfer-Encoding: xchunked\r\nConnection: close".to_owned(), "0\r\n\r\n")
            }
            Some("/closed") => ("Connection: close".to_owned(), "hello"),
            _ => return ok(asked),
        };
        format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}").into_bytes()
    }
    let bad = (502, Framing::Length(26), "the server did not answer\n");
    for path in ["/twice", "/plus", "/fold", "/space", "/nul"] {
        check("GET", path, answer, bad).await;
    }
    check("GET", "/same", answer, (200, Framing::Length(5), "hello")).await;
    check("GET", "/cl-te", answer, bad).await;
    check("GET", "/te-cl", answer, bad).await;
    check("GET", "/xchunked", answer, bad).await;
    check("GET", "/closed", answer, (200, Framing::Chunked, "hello")).await;
}

/// What breaks off in production breaks off for the client: it does not end.
#[tokio::test]
async fn an_answer_that_breaks_off_is_not_whole() {
    fn answer(asked: &Message) -> Vec<u8> {
        let rest = match asked.line.split(' ').nth(1) {
            Some("/chunk") => "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
            Some("/part") => "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhel",
            _ => "Content-Length: 9\r\nConnection: close\r\n\r\nhello",
        };
        format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes()
    }
    let place = Place::new(Limits::default(), answer).await;
    for path in ["/chunk", "/part", "/length"] {
        let mut stream = BufReader::new(TcpStream::connect(place.at).await.expect("a connection"));
        let sent = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let answer = message::answer(&mut stream, false).await;
        assert!(answer.is_err(), "{path}: {answer:?}");
    }
}
