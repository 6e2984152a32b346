//! Clients that take more than is theirs: connections, time, bytes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use umbra_gateway::gateway::Limits;

use crate::message::Message;
use crate::place::{self, PATIENCE, Place, ask, ok};

fn statuses(answers: &[Message]) -> Vec<u16> {
    answers.iter().map(Message::status).collect()
}

/// The text that comes after this.
async fn closed_after(place: &Place, sent: &str) -> String {
    let came = place::closed_after(place.at, sent.as_bytes()).await;
    String::from_utf8(came).expect("text")
}

#[tokio::test]
async fn a_body_is_no_longer_than_it_may_be() {
    let limits = Limits { body_bytes_max: Some(10), ..Limits::default() };
    let place = Place::new(limits, ok).await;
    let post = |framing: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}")
    };
    let long = post("Content-Length: 11", "hello hello");
    assert_eq!(statuses(&ask(place.at, long.as_bytes()).await), [413]);
    assert!(place.got().is_empty(), "nobody hears of it");
    let chunked = post("Transfer-Encoding: chunked", "6\r\nhello \r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(statuses(&ask(place.at, chunked.as_bytes()).await), [413]);
    assert!(place.got().iter().all(Result::is_err), "no whole request");
    assert_eq!(place.closed("long_body"), 2);
    let fits = post("Content-Length: 10\r\nConnection: close", "hello hell");
    assert_eq!(statuses(&ask(place.at, fits.as_bytes()).await), [200]);
}

#[tokio::test]
async fn a_body_goes_on() {
    let limits = Limits { body_time: Duration::from_millis(300), ..Limits::default() };
    let place = Place::new(limits, ok).await;
    for sent in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
    ] {
        let answer = closed_after(&place, sent).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{sent:?}: {answer}");
    }
    assert_eq!(place.closed("slow_body"), 3);
    // One that takes longer, and pauses less.
    let mut stream = TcpStream::connect(place.at).await.expect("a connection");
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    for byte in b"hello hell" {
        // How slow it is, not a wait for something.
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(&[*byte]).await.expect("sent");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_connection_nobody_uses_is_closed() {
    let limits = Limits { idle_time: Duration::from_millis(300), ..Limits::default() };
    let place = Place::new(limits, ok).await;
    let answer = closed_after(&place, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(place.closed("idle"), 1);
    // A head that has begun has a head's time.
    let limits = Limits { head_time: Duration::from_millis(300), ..Limits::default() };
    let place = Place::new(limits, ok).await;
    let mut stream = TcpStream::connect(place.at).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    assert_ne!(stream.read(&mut [0; 1024]).await.expect("an answer"), 0);
    stream.write_all(b"GET / HT").await.expect("sent");
    let closed = timeout(PATIENCE, stream.read(&mut [0; 1024])).await;
    assert_eq!(closed.expect("it is waited for").expect("closed"), 0);
    assert_eq!(place.closed("head"), 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed() {
    fn much(_: &Message) -> Vec<u8> {
        let body = vec![b'a'; 32 << 20];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
    let limits = Limits { body_time: Duration::from_millis(300), ..Limits::default() };
    let place = Place::new(limits, much).await;
    let mut stream = TcpStream::connect(place.at).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let closed = timeout(PATIENCE, async {
        while place.closed("stalled") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(closed.await.is_ok(), "it is waited for");
}

#[tokio::test]
async fn a_client_has_so_many_connections() {
    let limits = Limits { connections_per_client_max: Some(2), ..Limits::default() };
    let place = Place::new(limits, ok).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(place.at).await.expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        assert_ne!(stream.read(&mut [0; 64]).await.expect("an answer"), 0);
        held.push(stream);
    }
    assert_eq!(closed_after(&place, "").await, "", "one more is closed");
    assert_eq!(place.closed("per_client"), 1);
    drop(held);
    let freed = timeout(PATIENCE, async {
        while ask(place.at, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .is_empty()
        {}
    });
    assert!(freed.await.is_ok(), "those who left have left their places");
}
