//! Bodies longer than any buffer on their way.

use std::sync::Arc;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use umbra_gateway::fraction::Fraction;
use umbra_gateway::gateway::Limits;
use umbra_gateway::mirror::{self, Filter, Mirror, Settings};
use umbra_gateway::upstream::{Trust, Upstream};

use crate::message::{self, Framing, Message};
use crate::place::{Place, ok, recorder};

const BYTES: usize = 64 << 20;

/// Bytes whose period is no buffer's.
fn body() -> Vec<u8> {
    let period: Vec<u8> = (0..65_521_u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect();
    let mut body = period.repeat(BYTES / period.len() + 1);
    body.truncate(BYTES);
    body
}

/// In pieces that fit no buffer.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + body.len() / 1_000);
    for piece in body.chunks(49_999) {
        bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// With so much memory for copies, whatever that does to the shadow.
async fn check(memory: usize) -> bool {
    fn sends_back(asked: &Message) -> Vec<u8> {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        [&head[..], &chunked(&asked.body)].concat()
    }
    let place = Place::new(Limits::default(), sends_back).await;
    let (shadow, shadow_got) = recorder(ok).await;
    let settings = Settings {
        name: "shadow".to_owned(),
        filter: Filter::default(),
        fraction: Fraction::ALL,
        sessions: None,
        host: None,
        limits: mirror::Limits { body_bytes_max: u64::MAX, ..mirror::Limits::default() },
        role: None,
        compare: umbra_gateway::compare::Settings::default(),
    };
    let to = shadow.to_string().parse().expect("a target");
    let memory = Arc::new(Semaphore::new(memory));
    let mirror = Arc::new(Mirror::new(
        settings,
        Upstream::new(to, &Trust::default()).expect("no TLS"),
        memory,
        0,
    ));
    place
        .front
        .proxy()
        .change_mirrors(|_| Ok::<_, ()>(vec![Arc::clone(&mirror)]))
        .expect("mirrors");

    let body = body();
    let (from, mut to) = TcpStream::connect(place.at).await.expect("a connection").into_split();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let sent = [&head[..], &chunked(&body)].concat();
    let writing = tokio::spawn(async move {
        to.write_all(&sent).await.expect("sent");
        to
    });
    let answer = message::answer(&mut BufReader::new(from), false).await.expect("one reading");
    let answer = answer.expect("an answer");
    assert_eq!(answer.framing, Framing::Chunked);
    assert!(answer.body == body, "what came back differs, {} bytes", answer.body.len());
    let got = place.got().remove(0).expect("one reading");
    assert!(got.body == body, "what production got differs, {} bytes", got.body.len());
    writing.await.expect("sent");
    while mirror.counted().in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    let counted = mirror.counted();
    assert_eq!((counted.eligible, counted.mirrored), (1, 1), "{counted:?}");
    let mut got = shadow_got.lock().expect("nobody panicked");
    // One that breaks off must not look whole.
    let whole = got.pop().is_some_and(|got| got.is_ok_and(|got| got.body == body));
    assert_eq!((counted.answered == 1, counted.truncated == 0), (whole, whole), "{counted:?}");
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_arrives_as_it_was_sent() {
    assert!(check(2 * BYTES).await, "the shadow gets it, too");
    // Too little, unless the shadow happens to read as fast.
    check(1 << 20).await;
}
