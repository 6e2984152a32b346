//! Clients that never come to an end.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use umbra_gateway::gateway::Limits;

use crate::place::{PATIENCE, Place, closed_after, ok};

/// A client that sends this and then nothing is closed, and production hears nothing of it.
async fn check(sent: &str) {
    let limits = Limits { head_time: Duration::from_millis(200), ..Limits::default() };
    let place = Place::new(limits, ok).await;
    closed_after(place.at, sent.as_bytes()).await;
    assert!(place.got().is_empty(), "{sent:?}");
    place.still_serves().await;
}

#[tokio::test]
async fn a_head_comes_in_time() {
    check("G").await;
    check("GET / HTTP/1.1\r\n").await;
    check("GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    check("GET / HTTP/1.1\r\nHost: a\r\n\r").await;
    check("\r\n").await;
}

/// What protocol it is to be is not known yet.
#[tokio::test]
async fn a_connection_says_in_time_what_it_is() {
    check("").await;
    check("P").await;
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await;
}

#[tokio::test]
async fn a_head_that_drips_has_no_more_time() {
    let limits = Limits { head_time: Duration::from_millis(300), ..Limits::default() };
    let place = Place::new(limits, ok).await;
    let mut stream = TcpStream::connect(place.at).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.expect("sent");
    let dripped = timeout(PATIENCE, async {
        while stream.write_all(b"X: a\r\n").await.is_ok() {
            // How slow it is, not a wait for something.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(dripped.await.is_ok(), "it drips on");
    assert!(place.got().is_empty());
    place.still_serves().await;
}
