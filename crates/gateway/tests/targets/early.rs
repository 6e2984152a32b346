//! What a target says before its answer.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::support::{all_to, gateway, listen};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

/// Asks a target that answers only once the client has read its hints.
async fn check(version: &str, framing: &str, expected: &str) {
    let (primary, listener) = listen().await;
    let (read, was_read) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway");
        let _ = stream.read(&mut [0; 4096]).await.expect("a request");
        stream.write_all(HINTS.as_bytes()).await.expect("sent");
        // A client that does not hear of them does not say so.
        let _ = was_read.await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        stream.write_all(answer).await.expect("sent");
    });
    let (at, _) = gateway(all_to(primary)).await;
    let mut stream = BufReader::new(TcpStream::connect(at).await.expect("a connection"));
    let asked = format!("POST / {version}\r\nhost: a\r\nconnection: close\r\n{framing}");
    stream.write_all(asked.as_bytes()).await.expect("sent");
    let mut hints = String::new();
    while hints.len() < expected.len() {
        assert!(stream.read_line(&mut hints).await.expect("text") > 0, "{hints}");
    }
    assert_eq!(hints, expected);
    read.send(()).expect("the target waits");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    assert!(answer.contains(" 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
    assert!(!answer.contains("103"), "{answer}");
}

#[tokio::test]
async fn hints_reach_the_client_before_the_answer_is_there() {
    check("HTTP/1.1", "content-length: 0\r\n\r\n", HINTS).await;
    check("HTTP/1.1", "content-length: 2\r\n\r\nhi", HINTS).await;
    // Of what comes before an answer HTTP/1.0 knows nothing.
    check("HTTP/1.0", "content-length: 0\r\n\r\n", "").await;
}
