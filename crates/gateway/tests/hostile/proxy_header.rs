//! Connections that should begin with a PROXY header.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use umbra_gateway::gateway::Limits;
use umbra_gateway::listen::front::Front;
use umbra_gateway::listen::proxy_header::{Ends, Version, write};

use crate::message::Message;
use crate::place::{Place, ask, closed_after, ok};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

async fn place(limits: Limits) -> Place {
    Place::with(limits, ok, Front::with_proxy_protocol).await
}

fn ends() -> Ends {
    let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Ends { source: at("192.0.2.7:4000"), destination: at("198.51.100.1:443") }
}

/// Behind this header production is told that it was asked from there.
async fn check(place: &Place, header: &[u8], from: &str) {
    let answers = ask(place.at, &[header, GET].concat()).await;
    assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [200], "{header:?}");
    let got = place.got().remove(0).expect("one reading");
    assert_eq!(got.header("x-forwarded-for"), Some(from), "{header:?}");
}

#[tokio::test]
async fn a_header_says_whose_a_connection_is() {
    let place = place(Limits::default()).await;
    check(&place, &write(ends(), Version::V1), "192.0.2.7").await;
    check(&place, &write(ends(), Version::V2), "192.0.2.7").await;
    check(&place, b"PROXY UNKNOWN\r\n", "127.0.0.1").await;
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0";
    check(&place, local, "127.0.0.1").await;
    assert_eq!(place.closed("proxy_header"), 0);
}

#[tokio::test]
async fn a_header_in_pieces_is_one() {
    let place = place(Limits::default()).await;
    for version in [Version::V1, Version::V2] {
        let mut stream = TcpStream::connect(place.at).await.expect("a connection");
        stream.set_nodelay(true).expect("set");
        for byte in [&write(ends(), version), GET].concat() {
            stream.write_all(&[byte]).await.expect("sent");
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let got = place.got().remove(0).expect("one reading");
        assert_eq!(got.header("x-forwarded-for"), Some("192.0.2.7"));
    }
}

#[tokio::test]
async fn what_is_no_header_closes_the_connection() {
    let limits = Limits { head_time: Duration::from_millis(300), ..Limits::default() };
    let place = place(limits).await;
    let twice = write(ends(), Version::V1).repeat(2);
    for bad in [
        GET,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 443\r\n",
        b"PROXY UNKNOWN\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
        // Begun, and then nothing.
        b"PROXY TCP4 192.0.2.7",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0",
    ] {
        let came = closed_after(place.at, bad).await;
        assert!(came.is_empty(), "{bad:?} is answered {came:?}");
    }
    assert_eq!(place.closed("proxy_header"), 6);
    // Behind one header comes a request.
    let answers = ask(place.at, &[&twice[..], GET].concat()).await;
    assert!(answers.iter().all(|answer| answer.status() == 400), "{answers:?}");
    assert!(place.got().is_empty());
}
