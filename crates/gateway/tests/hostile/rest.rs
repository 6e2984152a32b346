//! Connections that rest between two requests, and those that only seem to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use umbra_gateway::gateway::Limits;

use crate::message::{self, Message};
use crate::place::{Place, in_front, listen, ok};

/// Longer than it takes until a connection is parked.
const REST: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_connection_goes_on_after_a_rest() {
    let place = Place::new(Limits::default(), ok).await;
    let mut stream = BufReader::new(TcpStream::connect(place.at).await.expect("a connection"));
    for number in 0..4 {
        let body = "hello".repeat(number);
        let length = body.len();
        let asks =
            format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        stream.get_mut().write_all((asks + &body).as_bytes()).await.expect("sent");
        let answer = message::answer(&mut stream, false).await.expect("one reading");
        assert_eq!(answer.as_ref().map(Message::status), Some(200), "{number}");
        // It is parked then, whatever the machine does besides.
        tokio::time::sleep(REST).await;
        let got = place.got().remove(0).expect("one reading");
        assert_eq!(got.asked(), format!("POST /{number} {length}:{body}"));
    }
}

/// The beginning of a head comes before the rest, its end after it.
#[tokio::test]
async fn a_head_goes_on_after_a_rest() {
    let place = Place::new(Limits::default(), ok).await;
    let mut stream = BufReader::new(TcpStream::connect(place.at).await.expect("a connection"));
    let twice = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHo";
    stream.get_mut().write_all(twice).await.expect("sent");
    let answer = message::answer(&mut stream, false).await.expect("one reading");
    assert_eq!(answer.as_ref().map(Message::status), Some(200));
    tokio::time::sleep(REST).await;
    stream.get_mut().write_all(b"st: a\r\n\r\n").await.expect("sent");
    let answer = message::answer(&mut stream, false).await.expect("one reading");
    assert_eq!(answer.as_ref().map(Message::status), Some(200));
    let asked = place.got().into_iter().map(|got| got.expect("one reading").asked());
    assert_eq!(asked.collect::<Vec<_>>(), ["GET /1", "GET /2"]);
}

/// Production answers before it has the body: what else comes of that is never another request.
#[tokio::test]
async fn a_body_nobody_waited_for_is_no_request() {
    let (primary, listener) = listen().await;
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let writes = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            let _ = stream.read_line(&mut line).await;
            writes.lock().expect("nobody panicked").push(line);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            // It neither reads the rest nor closes.
            tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
        }
    });
    let at = in_front(primary).await;
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(at).await.expect("a connection");
        let asks = format!("POST /seen HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        stream.write_all(asks.as_bytes()).await.expect("sent");
        tokio::time::sleep(REST).await;
        // The gateway may have closed it.
        let _ = stream.write_all(b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut came = Vec::new();
        let _ = tokio::time::timeout(REST, stream.read_to_end(&mut came)).await;
        let answers = String::from_utf8_lossy(&came).matches("HTTP/1.1").count();
        assert!(answers <= 1, "{framing}: {}", String::from_utf8_lossy(&came));
    }
    let heads = heads.lock().expect("nobody panicked");
    assert!(heads.iter().all(|line| line.starts_with("POST /seen ")), "{heads:?}");
}
