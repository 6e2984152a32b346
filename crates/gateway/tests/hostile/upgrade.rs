//! Connections whose protocol changes, and those whose does not although it should.

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use umbra_gateway::gateway::Limits;

use crate::message::{self, Message};
use crate::place::{Place, answers, ask, in_front, listen, ok};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2FtcGxl\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: eA==\r\n\r\n";

/// Says something at once, then sends back what it gets until that ends, then says farewell.
async fn echo(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let asked = message::request(&mut stream).await.map_err(std::io::Error::other)?;
    let asked = asked.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    assert_eq!(
        (asked.header("connection"), asked.header("upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(asked.header("sec-websocket-key"), Some("c2FtcGxl"));
    stream.write_all(format!("{SWITCHES}early ").as_bytes()).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.write_all(b" farewell").await?;
    to.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_both_ways_from_the_first_to_the_last() {
    let (primary, listener) = listen().await;
    let served = tokio::spawn(async move { echo(listener.accept().await?.0).await });
    let at = in_front(primary).await;
    let stream = TcpStream::connect(at).await.expect("a connection");
    let (from, mut to) = stream.into_split();
    // No request any more, although it looks like one.
    let bytes: Vec<u8> = b"GET /hidden HTTP/1.1\r\n\r\n\0\xff".repeat(40_000);
    let sent = [HANDSHAKE.as_bytes(), &bytes].concat();
    let writing = tokio::spawn(async move {
        to.write_all(&sent).await?;
        to.shutdown().await
    });
    let mut from = BufReader::new(from);
    let switched = message::answer(&mut from, false).await.expect("one reading").expect("101");
    assert_eq!(switched.status(), 101);
    assert_eq!(switched.header("upgrade"), Some("websocket"));
    assert_eq!(switched.header("sec-websocket-accept"), Some("eA=="));
    let mut came = Vec::new();
    from.read_to_end(&mut came).await.expect("everything");
    assert!(came == [b"early ", &bytes[..], b" farewell"].concat(), "{} bytes", came.len());
    writing.await.expect("no panic").expect("sent");
    served.await.expect("no panic").expect("served");
}

/// The bytes behind are a request like any other: they reach production only through the gateway's
/// parser.
#[tokio::test]
async fn a_protocol_that_is_not_changed_stays() {
    fn answer(asked: &Message) -> Vec<u8> {
        match asked.header("upgrade") {
            Some(_) => b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n".to_vec(),
            None => ok(asked),
        }
    }
    let place = Place::new(Limits::default(), answer).await;
    let behind = "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = ask(place.at, format!("{HANDSHAKE}{behind}").as_bytes()).await;
    assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [426, 400]);
    assert_eq!(place.got().len(), 1);
}

#[tokio::test]
async fn nothing_changes_that_nobody_asked_for() {
    let place = Place::new(Limits::default(), |_| SWITCHES.as_bytes().to_vec()).await;
    let mut stream = BufReader::new(TcpStream::connect(place.at).await.expect("a connection"));
    let sent = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(sent.as_bytes()).await.expect("sent");
    let answers = answers(&mut stream).await;
    assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [502]);
    // HTTP/2 is not spoken past the gateway's own reading of it.
    let sent = sent.replace("close", "close, Upgrade, HTTP2-Settings").replace("websocket", "h2c");
    place.got();
    ask(place.at, sent.as_bytes()).await;
    assert_eq!(place.got().remove(0).expect("a request").header("upgrade"), None);
}
